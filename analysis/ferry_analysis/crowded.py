"""What only moves that overlap show: constants of what moves share.

Where the platform names no `processors` that hosts share, that is `serial`, fitted to makespans.
Where it does, moves compete for cores: `hypervisor.cpu` is fitted to the phases in which devices go
and come, and, where ranks answer, in which guests open them; `hypervisor.migration_cpu` to the
migrations; what a stream needs (`streams.TRANSPORT.cpu`) to the times in which migrations send; each
with the others as they were found last; `serial` is kept. A move that runs alone also competes with
itself (its stream's ends, its ranks): its constants are made so much smaller that, simulated alone,
it takes as long as it was measured.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .fits import Fit, constant_text, median_fit
from .load import Run, succeeded
from .moves import Move, read_moves
from .progress import Progress
from .quantities import parse_quantity
from .rank_costs import closings, openings
from .simulated import by_scenario, makespan, quantities, simulate, simulate_moves

GIBI = 2.0**30
_GRID, _STEPS = 8, 12  # intervals to begin with; golden sections of the best two: 1e-3 of the range
_NEAR = 0.06  # of the range: a later turn looks so far to both sides of what was found last
_NEAR_STEPS = 10  # golden sections of that: 1e-3 of the range, too
_TURNS = 4  # at most, of these constants, each with the others as they were found last
_SAME = 0.01  # of the range: a turn that moves them all by less is the last
_FEWEST_CORES, _MOST_CORES = 1e-3, 4.0  # that a control operation keeps busy
_LEAST_WORK = 1e-3  # of what a stream could do: with none at all nothing competes for cores
_PASSES = 2  # of what a move takes from itself
_NO_VALUE = "no value was found with which the measured moves complete in simulation"


@dataclass(frozen=True)
class Crowded:
    """`fits` of constants that were not determined before; `factors` of some that were, by path;
    what is left as it was, and why."""

    fits: list[Fit]
    factors: dict[str, float]
    untouched: list[tuple[str, str]]


class _NoValue(Exception):
    """None that was tried can be simulated: the error is infinite everywhere."""


def fit_crowded(runs: Sequence[Run], alone: Sequence[Move], platform: dict[str, Any],
                ferry: str, progress: Progress) -> Crowded:
    """From runs with moves that overlap and moves that ran alone; `platform` is left as it is."""
    measured = [(same, min(len(succeeded(run.migrations)) for run in same),
                 {**quantities(same).median(),
                  "sending": _sending([move for run in same for move in read_moves(run)]),
                  "makespan": float(np.median([makespan(run) for run in same]))})
                for same in by_scenario(runs)]

    def distance(trial: dict[str, Any], names: Sequence[str]) -> float:
        off = 0.0
        for same, fewest, theirs in measured:
            got = simulate(same[0], trial, ferry)
            if len(got.rows) < fewest:
                return math.inf
            ours = {**got.rows.median(), "sending": _sending(got.moves), "makespan": got.makespan}
            off += len(same) * sum(_error(ours[name], theirs[name]) for name in names if theirs[name] > 0)
        return off

    def unfitted(path: str, why: str) -> Crowded:
        return Crowded(ivshmem_fits(alone, ratio_of(platform["hypervisor"]["serial"])), {}, [(path, why)])

    how = "least error of the simulated {} of runs whose moves overlap"
    stream = stream_that_shares(alone, platform)
    if not stream and "processors" in platform:
        return unfitted("hypervisor.cpu, hypervisor.serial",
                        "what moves share of processors needs moves alone by one transport")
    if not stream:
        try:
            serial = _least(lambda value: distance(_with_serial(platform, alone, value), ["makespan"]),
                            1.0, lambda tried: progress.tell(f"fitting hypervisor.serial: {tried}"))
        except _NoValue:
            return unfitted("hypervisor.serial", _NO_VALUE)
        return Crowded([_fitted("hypervisor.serial", serial, "ratio", len(runs), ("makespan",),
                                how.format("makespans")), *ivshmem_fits(alone, serial)], {}, [])

    serial = ratio_of(platform["hypervisor"]["serial"])
    kept = _with_serial(platform, alone, serial)

    def trial(cpu: float, migration: float, work: float) -> tuple[dict[str, Any], dict[str, float]]:
        return _undisturbed(_with_cores(kept, cpu, migration, stream, work), alone, ferry)

    phases = ("unplug", "plug")
    if any(move.cooperates for move in alone):
        phases = (*phases, "set_post")
    # From streams that need something: beside some that need nothing, operations may have cores
    # enough whatever they keep busy.
    most = _most_work(alone, stream)
    cpu, migration, work = math.nan, 1.0, most / 2
    for turn in range(1, _TURNS + 1):
        known = turn > 1
        def tell(path: str) -> Callable[[str], None]:
            return lambda tried: progress.tell(
                f"fitting {path}: turn {turn} of at most {_TURNS}, {tried}")

        before = cpu, migration, work
        try:
            cpu = _least(lambda value: distance(trial(value, migration, work)[0], phases), _MOST_CORES,
                         tell("hypervisor.cpu"), _FEWEST_CORES, cpu if known else None)
            migration = _least(lambda value: distance(trial(cpu, value, work)[0], ["migration"]),
                               _MOST_CORES, tell("hypervisor.migration_cpu"), _FEWEST_CORES,
                               migration if known else None)
            work = _least(lambda value: distance(trial(cpu, migration, value)[0], ["sending"]), most,
                          tell(f"streams.{stream}.cpu"), _LEAST_WORK * most,
                          work if known else None)
        except _NoValue:
            return unfitted(f"hypervisor.cpu, hypervisor.migration_cpu, streams.{stream}.cpu", _NO_VALUE)
        if all(abs(now - then) < _SAME * high for now, then, high in zip(
                (cpu, migration, work), before, (_MOST_CORES, _MOST_CORES, most))):
            break
    return Crowded(
        [_fitted("hypervisor.cpu", cpu, "ratio", len(runs), phases,
                 how.format("phases in which devices go, come and open,")),
         _fitted("hypervisor.migration_cpu", migration, "ratio", len(runs),
                 ("migration",), how.format("migrations")),
         *(_fitted(f"streams.{stream}.cpu.{end}", work, "s", len(runs), ("migration",),
                   how.format("times in which migrations send, the same at both ends,"))
           for end in ("send", "receive")),
         *ivshmem_fits(alone, serial)],
        trial(cpu, migration, work)[1],
        [("hypervisor.serial", "what overlapping moves show is how they share processors")])


def ivshmem_fits(alone: Sequence[Move], serial: float) -> list[Fit]:
    """Where both devices go at once, the second waits for the serial part of the first, which its
    span holds too."""
    fits = []
    for path, own, other in (("hypervisor.remove_ivshmem", "remove_ivshmem", "detach_vf"),
                             ("hypervisor.add_ivshmem", "add_ivshmem", "attach_vf")):
        times = [max(0.0, move.phases[own] - serial * move.phases.get(other, 0.0)
                     * bool(move.devices_at_once)) for move in alone if own in move.phases]
        if times:
            how = "median" if serial == 0 else \
                f"median of what it took beyond {serial:.0%} of {other}"
            fits.append(median_fit(path, times, "s", how=how))
    return fits


def scaled(fit: Fit, factor: float) -> Fit:
    """What moves that ran alone took, without what they took from themselves."""
    if abs(factor - 1) < 5e-4:
        return fit
    return replace(fit, value=fit.value * factor, low=fit.low * factor, high=fit.high * factor,
                   spread=(fit.spread[0] * factor, fit.spread[1] * factor),
                   how=f"{fit.how}, times {factor:.3f} for what a move alone takes of its own cores")


def ratio_of(constant: Any) -> float:
    """Of a platform's constant in percent."""
    return _value_of(constant)


def rest_of_migration(move: Move) -> float:
    """What it took beside its rounds and its pause."""
    return move.phases.get("migration", math.nan) - move.sending - move.pause


# --- Trials ---


def lone_factors(alone: Sequence[Move], platform: dict[str, Any], ferry: str) -> dict[str, float]:
    """Of a platform whose operations compete for cores: what moves alone take from themselves."""
    hypervisor, stream = platform["hypervisor"], stream_that_shares(alone, platform)
    if not stream or "cpu" not in hypervisor or "cpu" not in platform["streams"][stream]:
        return {}
    kept = _with_serial(platform, alone, ratio_of(hypervisor["serial"]))
    return _undisturbed(kept, alone, ferry)[1]


def stream_that_shares(alone: Sequence[Move], platform: dict[str, Any]) -> str:
    """The one transport whose lone streams were seen, if processors are named; else empty."""
    seen = {move.transport for move in alone if move.sending > 0 and not move.limited}
    return seen.pop() if len(seen) == 1 and "processors" in platform else ""


def _most_work(alone: Sequence[Move], stream: str) -> float:
    """Seconds of a core for a GiB at which a lone stream's thread is never idle."""
    return float(np.median([move.sending / move.sent * GIBI for move in alone
                            if move.transport == stream and move.sent > 0 and not move.limited]))


def _with_serial(platform: dict[str, Any], alone: Sequence[Move], serial: float
                 ) -> dict[str, Any]:
    hypervisor = {**platform["hypervisor"], "serial": constant_text(serial, "ratio")}
    for fit in ivshmem_fits(alone, serial):
        hypervisor[fit.path.rpartition(".")[2]] = constant_text(fit.value, fit.unit)
    return {**platform, "hypervisor": hypervisor}


def _with_cores(platform: dict[str, Any], cpu: float, migration: float, stream: str, work: float
                ) -> dict[str, Any]:
    streams = dict(platform["streams"])
    time = constant_text(work, "s")
    streams[stream] = {**streams[stream], "cpu": {"send": time, "receive": time}}
    hypervisor = {**platform["hypervisor"], "cpu": constant_text(cpu, "ratio"),
                  "migration_cpu": constant_text(migration, "ratio")}
    return {**platform, "hypervisor": hypervisor, "streams": streams}


def _sending(moves: Sequence[Move]) -> float:
    times = [move.sending for move in moves if move.sending > 0]
    return float(np.median(times)) if times else 0.0


def _error(ours: float, theirs: float) -> float:
    """Of a simulated time against a measured one; of one that is not there or nothing, infinite."""
    return math.log(ours / theirs)**2 if ours > 0 else math.inf


def _phase(name: str) -> Callable[[Sequence[Move]], list[float]]:
    return lambda moves: [move.phases[name] for move in moves if name in move.phases]


def operation_times(alone: Sequence[Move]) -> list[list[float]]:
    """Times of one operation on guests of one size in one scenario together, of moves that ran alone: larger
    guests take longer, which is no chance. Guests whose size is not known are left out."""
    runs = list({id(move.run): move.run for move in alone}.values())
    groups = []
    for same in by_scenario(runs):
        moves = [move for move in alone if any(move.run is run for run in same)]
        for size in {move.memory for move in moves}:
            groups += [shown([move for move in moves if move.memory == size]) for shown in _SHOWN.values()]
    return groups


# What moves that ran alone show of a constant: times in proportion to it, if nothing is in the way.
_SHOWN: dict[tuple[str, ...], Callable[[Sequence[Move]], list[float]]] = {
    ("hypervisor.detach_vf",): _phase("detach_vf"),
    ("hypervisor.remove_ivshmem",): _phase("remove_ivshmem"),
    ("hypervisor.attach_vf.fixed", "hypervisor.attach_vf.per_gib"): _phase("attach_vf"),
    ("hypervisor.add_ivshmem",): _phase("add_ivshmem"),
    ("hypervisor.prepare",): lambda moves: [rest for move in moves if move.transport != "rdma"
                                            and (rest := rest_of_migration(move)) > 0],
    ("mpi.drain_channel",): closings,
    ("mpi.open_device",): openings,
}  # fmt: skip


def _undisturbed(platform: dict[str, Any], alone: Sequence[Move], ferry: str
                 ) -> tuple[dict[str, Any], dict[str, float]]:
    """With constants for which moves take as long alone in simulation as they did; the factors."""
    changed = copy.deepcopy(platform)
    factors = {path: 1.0 for paths in _SHOWN for path in paths}
    for _ in range(_PASSES):
        pairs = simulate_moves(alone, changed, ferry)
        for paths, shown in _SHOWN.items():
            real, simulated = shown([move for move, _ in pairs]), shown([move for _, move in pairs])
            if not real or not simulated or min(np.median(real), np.median(simulated)) <= 0:
                continue
            factor = float(np.median(real) / np.median(simulated))
            for path in paths:
                if _scale(changed, path, factor):
                    factors[path] *= factor
    return changed, factors


def _scale(platform: dict[str, Any], path: str, factor: float) -> bool:
    *parents, last = path.split(".")
    place: Any = platform
    for parent in parents:
        place = place.get(parent, {}) if isinstance(place, dict) else {}
    if not isinstance(place, dict) or last not in place:
        return False
    place[last] = constant_text(_value_of(place[last]) * factor, "s")
    return True


def _value_of(constant: Any) -> float:
    text = str(constant["value"] if isinstance(constant, dict) else constant)
    quantity = parse_quantity(text)
    return quantity.value if quantity is not None else 0.0


# --- Search ---


def _least(function: Callable[[float], float], high: float, tell: Callable[[str], None],
           low: float = 0.0, near: float | None = None) -> float:
    """Where it is least from `low` to `high`: on a grid, as it may be level where nothing is short, and
    then by golden sections around the best; or `near` what is known, unless it is least where that
    ends. `tell` hears how many values were tried. Raises _NoValue if it is infinite wherever it was tried."""
    values: dict[float, float] = {}
    most = _GRID + _STEPS + 3 + (0 if near is None else _NEAR_STEPS + 2)

    def at(x: float) -> float:
        if x not in values:
            tell(f"value {len(values) + 1} of at most {most}")
            values[x] = function(x)
        return values[x]

    def sections(a: float, b: float, steps: int) -> float:
        ratio = (math.sqrt(5) - 1) / 2
        c, d = b - ratio * (b - a), a + ratio * (b - a)
        for _ in range(steps):
            if at(c) < at(d):
                b, d, c = d, c, d - ratio * (d - a)
            else:
                a, c, d = c, d, c + ratio * (b - c)
        return min(values, key=at)

    if near is not None:
        reach = _NEAR * (high - low)
        found = sections(max(low, near - reach), min(high, near + reach), _NEAR_STEPS)
        if abs(found - near) < 0.95 * reach and math.isfinite(at(found)):
            return found
    step = (high - low) / _GRID
    best = min((low + i * step for i in range(_GRID + 1)), key=at)
    found = sections(max(low, best - step), min(high, best + step), _STEPS)
    if not math.isfinite(at(found)):
        raise _NoValue
    return found


def _fitted(path: str, value: float, unit: str, count: int, to: tuple[str, ...],
            how: str) -> Fit:
    unknown = (math.nan, math.nan)
    return Fit(path, value, unit, count, *unknown, unknown, kind="fitted", to=to, how=how)
