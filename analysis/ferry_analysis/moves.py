"""The moves of a run, each with what the run's tables say of it and of the ranks that it met.

A VM may move several times in a run: its spans and rounds are split by move, in the order of time.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pandas as pd

from .load import PHASES, Run, SUCCESSES
from .quantities import parse_quantity

_SAME_SECONDS = 1e-6  # as exact as a table's times are


@dataclass(frozen=True)
class RankTimes:
    """A rank in a suspension: times in seconds, as `requested`."""

    job: str
    rank: int
    of_the_vm: bool | None  # whether it is in the VM that moves; None: not known
    requested: float
    drained: float
    ready: float
    blocked_from: float
    blocked_to: float


@dataclass(frozen=True)
class Move:
    """A completed move and what it tells. Times in seconds, sizes in bytes; NaN: not known.

    What its rounds tell is known of one stream that sends memory as it is, before the pause and during it:
    of any other move `untold` says why it is not.
    """

    run: Run
    migration: str
    vm: str
    alone: bool  # no other move of its run overlaps it
    transport: str
    memory: float
    cooperates: bool  # ranks answered: phases hold their time too
    limited: bool  # its bandwidth was limited
    untold: str  # "by post-copy" and the like; empty: sent, sending and last_sent are known
    phases: dict[str, float]  # the lengths of its spans
    pause: float  # of the guest, from the last round on: all of its downtime, unless it moves offline
    sent: float  # in the rounds before that
    sending: float  # time of those rounds
    last_sent: float  # in the last round
    devices_at_once: bool | None  # its two devices went at the same time; None: it has not both
    ranks: tuple[RankTimes, ...]


def read_moves(run: Run) -> list[Move]:
    """All that completed, of VMs whose spans tell which of them are of which move."""
    spans = _chunks(run.spans, run.spans["phase"] == PHASES[0], "start_seconds")
    rounds = _chunks(run.rounds, run.rounds["round"] == 1, None)
    windows = {vm: [(part["start_seconds"].min(), part["end_seconds"].max()) for part in parts]
               for vm, parts in spans.items()}
    guests, asked = _guests(run), {m["name"]: m for m in run.resolved.get("migrations", [])}
    moves = []
    for vm, rows in run.migrations.groupby("vm", sort=False):
        mine = spans.get(vm, [])
        if not _are_of(rows, windows.get(vm, [])):
            continue
        sent = rounds.get(vm, [])
        for index, row in enumerate(rows.to_dict("records")):
            if row["outcome"] not in SUCCESSES:
                continue
            of_rounds = sent[index] if len(sent) == len(rows) else run.rounds.iloc[:0]
            moves.append(_move(run, row, mine[index], of_rounds, guests.get(vm, math.nan),
                               asked.get(row["migration"], {}),
                               not _overlapped(vm, windows[vm][index], windows)))
    return moves


def _chunks(table: pd.DataFrame, begins: pd.Series, by: str | None
            ) -> dict[str, list[pd.DataFrame]]:
    """By VM, its rows in pieces that each start where `begins` holds."""
    pieces = {}
    for vm, rows in table.assign(begins=begins).groupby("vm", sort=False):
        ordered = rows.sort_values(by, kind="stable") if by else rows
        pieces[vm] = [piece for _, piece in ordered.groupby(ordered["begins"].cumsum())]
    return pieces


def _are_of(rows: pd.DataFrame, windows: list[tuple[float, float]]) -> bool:
    """Whether each row has its spans: not so where a move was tried again, or never begun."""
    return len(rows) == len(windows) and all(
        abs(total - (end - start)) <= _SAME_SECONDS
        for total, (start, end) in zip(rows["total_seconds"], windows)
    )


def _overlapped(vm: str, window: tuple[float, float],
                windows: dict[str, list[tuple[float, float]]]) -> bool:
    start, end = window
    return any(other[0] < end and start < other[1]
               for name, others in windows.items() if name != vm for other in others)


def _move(run: Run, row: dict[str, Any], spans: pd.DataFrame, rounds: pd.DataFrame, memory: float,
          asked: dict[str, Any], alone: bool) -> Move:
    untold = _untold(row, asked, rounds)
    live = rounds.iloc[:-1]
    lengths = spans["end_seconds"] - spans["start_seconds"]
    ranks = tuple(_ranks_of(run, row["vm"], spans))
    sending = math.nan if untold else float(live["seconds"].sum())
    stopped = _memory_of(asked).get("mode") == "offline"  # all the time
    return Move(
        run=run, migration=row["migration"], vm=row["vm"], alone=alone,
        transport=row["transport"], memory=memory, cooperates=bool(ranks),
        limited=_memory_of(asked).get("bandwidth_limit", "none") != "none", untold=untold,
        phases={phase: float(time) for phase, time in zip(spans["phase"], lengths)},
        pause=row["downtime_seconds"] - (sending if stopped else 0.0),
        sent=math.nan if untold else float(live["bytes"].sum()),
        sending=sending,
        last_sent=math.nan if untold else float(rounds["bytes"].iloc[-1]),
        devices_at_once=_at_once(spans), ranks=ranks,
    )


def _memory_of(asked: dict[str, Any]) -> dict[str, Any]:
    return dict(asked.get("memory", {}))


def _untold(row: dict[str, Any], asked: dict[str, Any], rounds: pd.DataFrame) -> str:
    """Why its rounds do not tell what one stream sends; `asked` is its migration in the scenario."""
    memory = _memory_of(asked)
    # A pre-copy that stalled may have ended so, too: its reason says it.
    if memory.get("mode", "precopy") in ("postcopy", "hybrid") or "post-copy" in row.get("reason", ""):
        return "by post-copy"
    if memory.get("compression", "none") != "none":
        return "with compression"
    streams = memory.get("streams", 1)
    if int(streams["value"] if isinstance(streams, dict) else streams) > 1:
        return "with several streams"
    if asked.get("device") == "vfio":
        return "with device: vfio"
    if row["transport"] == "rdma" and not memory.get("pin_all", True):
        return "by rdma without pin_all"
    return "" if len(rounds) else "without rounds of their own"


def _ranks_of(run: Run, vm: str, spans: pd.DataFrame) -> Iterator[RankTimes]:
    """What ranks were asked during its `set_pre_migration`."""
    asked = spans[spans["phase"] == PHASES[0]].iloc[0]
    table = run.ranks
    within = table["requested"].between(asked["start_seconds"], asked["end_seconds"])
    places = _rank_places(run)
    for row in table[within].to_dict("records"):
        home = places.get((row["job"], int(row["rank"])))
        yield RankTimes(row["job"], int(row["rank"]), None if home is None else home == vm,
                        row["requested"], row["drained"], row["ready"], row["blocked_from"],
                        row["blocked_to"])


def _rank_places(run: Run) -> dict[tuple[str, int], str]:
    """VM by job and rank, of jobs that say so plainly: one job on all VMs of a group, no
    containers."""
    groups = {group["name"]: group for group in run.resolved.get("vms", [])}
    places = {}
    for job in run.resolved.get("jobs", []):
        group = groups.get(str(job.get("on", {}).get("vms", "")))
        if group is None or "count" in job or int(group.get("containers", 0) or 0) > 0:
            continue
        each = int(job["ranks"])
        for index, vm in enumerate(names_of(group)):
            for rank in range(index * each, (index + 1) * each):
                places[job["name"], rank] = vm
    return places


def _at_once(spans: pd.DataFrame) -> bool | None:
    by_phase = spans.set_index("phase")
    if not {"detach_vf", "remove_ivshmem"} <= set(by_phase.index):
        return None
    first, second = by_phase.loc["detach_vf"], by_phase.loc["remove_ivshmem"]
    return bool(max(first["start_seconds"], second["start_seconds"])
                < min(first["end_seconds"], second["end_seconds"]))


def _guests(run: Run) -> dict[str, float]:
    """Memory by VM name, of the VMs whose memory is one value."""
    sizes = {}
    for group in run.resolved.get("vms", []):
        quantity = parse_quantity(str(group.get("memory", "")))
        if quantity is None or quantity.dimension != "bytes":
            continue
        for name in names_of(group):
            sizes[name] = quantity.value
    return sizes


def names_of(group: dict[str, Any]) -> list[str]:
    """Of a list item with or without `count`."""
    if "count" not in group:
        return [group["name"]]
    return [f"{group['name']}{i}" for i in range(int(group["count"]))]
