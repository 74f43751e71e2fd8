"""What MPI ranks add to a move: the constants of a platform's `mpi` that runs with jobs determine.

Two can be read off: `drain_channel`, what a rank of a job of two takes from having drained to
having closed its one connection; `open_device`, by how much longer than its peers a moved rank is
kept from going on. The rest of `set_pre_migration` and `set_post_migration` holds what a simulation
knows (the wait for a rank's next MPI call, the status of the VM): `notice` and `reactivate` are
what the measured phases take beyond one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from typing import Any

from .fits import Fit, median_fit
from .moves import Move, RankTimes

# Moves of the same scenarios, simulated with a platform's `mpi` changed like this.
Simulate = Callable[[dict[str, Any]], list[tuple[Move, Move]]]

_PASSES = 4  # the wait for a call moves with `notice`: it is corrected so often
ADDED = {"notice": "set_pre_migration", "reactivate": "set_post_migration"}


def read_off(moves: Sequence[Move]) -> Iterator[Fit | tuple[str, str]]:
    """The first two, or why no move shows one."""
    times = closings(moves)
    if times:
        yield median_fit("mpi.drain_channel", times, "s",
                         how="median from drained to closed, in jobs of two ranks")
    else:
        yield "mpi.drain_channel", "no move met a job of two ranks that communicate"
    gaps = openings(moves)
    if gaps:
        yield median_fit("mpi.open_device", gaps, "s",
                         how="median of how much later than its peers a moved rank went on")
    else:
        yield "mpi.open_device", "no move met ranks that stayed and ranks that went, all waiting"


def closings(moves: Sequence[Move]) -> list[float]:
    """What ranks took to close the one connection of a job of two."""
    return [rank.ready - rank.drained for move, ranks in _jobs(moves)
            if len(ranks) == 2 and _communicates(move, ranks[0].job) for rank in ranks]


def openings(moves: Sequence[Move]) -> list[float]:
    """How much later than its peers a moved rank went on, of those that tell."""
    return [gap for _, ranks in _jobs(moves) if (gap := _opening(ranks)) is not None]


def beyond_simulation(moves: Sequence[Move], simulate: Simulate) -> Iterator[Fit]:
    """`notice` and `reactivate`; `moves` met ranks and ran alone."""
    added = dict.fromkeys(ADDED, 0.0)
    best: dict[str, tuple[float, Fit]] = {}
    for _ in range(_PASSES):
        pairs = simulate(added)
        for name, phase in ADDED.items():
            rests = [real.phases[phase] - simulated.phases[phase] for real, simulated in pairs
                     if phase in real.phases and phase in simulated.phases]
            if not rests:
                continue
            fit = median_fit(f"mpi.{name}", [added[name] + rest for rest in rests], "s",
                             kind="fitted", to=(phase,),
                             how=f"median of what {phase} took beyond a simulation without it")
            off = abs(fit.value - added[name])
            if name not in best or off < best[name][0]:
                # What this pass was simulated with leaves so much.
                best[name] = (off, fit)
            added[name] = fit.value
    for _, fit in best.values():
        yield fit


def _jobs(moves: Sequence[Move]) -> Iterator[tuple[Move, list[RankTimes]]]:
    """The ranks of each job that a move met."""
    for move in moves:
        for _, ranks in groupby(move.ranks, key=lambda rank: rank.job):
            yield move, list(ranks)


def _opening(ranks: Sequence[RankTimes]) -> float | None:
    """From the first peer's going on to the last moved rank's, if all had to wait."""
    if any(rank.of_the_vm is None or rank.blocked_from >= rank.blocked_to for rank in ranks):
        return None
    stayed = [rank.blocked_to for rank in ranks if not rank.of_the_vm]
    went = [rank.blocked_to for rank in ranks if rank.of_the_vm]
    return max(went) - min(stayed) if stayed and went else None


def _communicates(move: Move, name: str) -> bool:
    """Else its ranks only have times: drained and closed at once."""
    jobs = {job["name"]: job for job in move.run.resolved.get("jobs", [])}
    return jobs.get(name, {}).get("workload", {}).get("type") != "timed"
