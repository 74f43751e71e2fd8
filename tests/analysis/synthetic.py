"""Writes run folders and study folders as `ferry` does, with made-up but plausible figures."""

from __future__ import annotations

import csv
import itertools
import json
import random
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import yaml

HERE = Path(__file__).resolve().parent
TRANSPORT = "migrations.leave.transport"
PHASES = (
    "set_pre_migration", "detach_vf", "remove_ivshmem", "migration",
    "attach_vf", "add_ivshmem", "set_post_migration",
)
MIGRATION_COLUMNS = (
    "migration", "vm", "from", "to", "job", "strategy", "transport", "device", "total_seconds",
    "downtime_seconds", "outage_seconds", "bytes", "rounds", "outcome", "reason",
    *(f"{phase}_seconds" for phase in PHASES),
)
MEAN_SECONDS = {
    "set_pre_migration": 0.018, "detach_vf": 0.21, "remove_ivshmem": 0.03, "migration": 1.62,
    "attach_vf": 0.24, "add_ivshmem": 0.035, "set_post_migration": 0.002,
}
SPEED = {"tcp": 1.0, "ipoib": 0.85, "rdma": 0.7}
GIB = 2**30


def write_csv(path: Path, columns: Sequence[str], rows: Sequence[dict[str, object]]) -> None:
    """Rows as CSV; a value that is missing becomes an empty field."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def move(
    vm: str, transport: str = "tcp", migration: str = "leave", memory_gib: float = 1.0,
    device: bool = True, noise: random.Random | None = None,
) -> dict[str, object]:
    """A row of migrations.csv; without noise every phase has its mean length."""
    factor = noise.uniform(0.9, 1.1) if noise else 1.0
    seconds = {phase: mean * factor for phase, mean in MEAN_SECONDS.items()}
    seconds["migration"] = (0.9 + 0.72 * memory_gib) * SPEED[transport] * factor
    seconds["attach_vf"] = (0.12 + 0.12 * memory_gib) * factor
    if not device:
        seconds["attach_vf"] = seconds["detach_vf"] = 0.0
    downtime = 0.060 * SPEED[transport] * (noise.lognormvariate(0, 0.35) if noise else 1.0)
    columns = {f"{phase}_seconds": round(value, 9) for phase, value in seconds.items()}
    return {
        "migration": migration, "vm": vm, "from": "host0", "to": "host4", "job": "lu",
        "strategy": "migration_thread", "transport": transport, "device": "detach",
        "total_seconds": round(sum(columns.values()), 9), "downtime_seconds": round(downtime, 9),
        "outage_seconds": round(sum(columns.values()) - 0.02, 9), "bytes": int(memory_gib * GIB),
        "rounds": 3, "outcome": "completed", "reason": "", **columns,
    }


def spans_of(
    moves: Sequence[dict[str, object]], starts: Sequence[float]
) -> list[dict[str, object]]:
    """The phases of each move one after the other; a failed move ends with its migration."""
    spans = []
    for row, start in zip(moves, starts):
        at = start
        for phase in PHASES:
            end = at + float(row[f"{phase}_seconds"])
            broken = row["outcome"] != "completed" and phase == "migration"
            spans.append(
                {"vm": row["vm"], "phase": phase, "host": "host0",
                 "start_seconds": round(at, 9), "end_seconds": round(end, 9),
                 "outcome": row["outcome"] if broken else "completed"}
            )
            at = end
            if broken:
                break
    return spans


def scenario(name: str = "two-vms", transport: str = "tcp", count: int = 2) -> dict[str, object]:
    """A resolved scenario, as far as comparisons need it."""
    return {
        "ferry": 1, "name": name, "description": "", "seed": 1,
        "platform": {"hypervisor": {"prepare": "1.8s"}},
        "vms": [{"name": "vm", "count": count, "memory": "1GiB"}],
        "migrations": [{"name": "leave", "vms": "vm", "to": "any", "transport": transport}],
        "schedule": {"order": "parallel"},
    }


def write_run(
    folder: Path, moves: Sequence[dict[str, object]] | None = None, *, name: str = "two-vms",
    world: str = "sim", starts: Sequence[float] | None = None,
    resolved: dict[str, object] | None = None,
) -> Path:
    """A run folder; by default two VMs that move with TCP."""
    moves = [move("vm0"), move("vm1")] if moves is None else moves
    folder.mkdir(parents=True)
    info = {"kind": "run", "name": name, "versions": {"ferry": "1"}, "seed": 1,
            "command": "ferry run", "world": world, "host": "node01", "wall_seconds": 0.1,
            "simulate_seconds": 0.01, "peak_memory_bytes": 1, "status": "ok"}
    (folder / "run.json").write_text(json.dumps(info), encoding="utf-8")
    text = yaml.safe_dump(resolved or scenario(name))
    (folder / "resolved.yaml").write_text(text, encoding="utf-8")
    write_csv(folder / "migrations.csv", MIGRATION_COLUMNS, moves)
    write_csv(
        folder / "spans.csv",
        ("vm", "phase", "host", "start_seconds", "end_seconds", "outcome"),
        spans_of(moves, starts or [2.0] * len(moves)),
    )
    return folder


def write_study(
    folder: Path, vary: dict[str, Sequence[str]], *, repeat: int = 1, name: str = "a-study",
    plots: Sequence[str] | None = None, runs: bool = False,
    curves: Sequence[Mapping[str, str]] | None = None,
) -> Path:
    """A study folder over the grid `vary`; with `runs` it also has its cells' run folders."""
    folder.mkdir(parents=True)
    info = {"kind": "study", "name": name, "seed": 1, "world": "sim", "host": "node01"}
    (folder / "run.json").write_text(json.dumps(info), encoding="utf-8")
    study = {"ferry": 1, "study": name, "scenario": "two-vms.yaml", "vary": dict(vary)}
    if plots is not None:
        study["plots"] = list(plots)
    if curves is not None:
        study["curves"] = list(curves)
    (folder / "study.yaml").write_text(yaml.safe_dump(study), encoding="utf-8")
    noise = random.Random(7)
    rows = []
    for index, values in enumerate(itertools.product(*vary.values())):
        assignment = dict(zip(vary, values))
        for repetition in range(repeat):
            cell = f"{index:03}-{repetition}"
            moves = _moves_of(assignment, noise if repeat > 1 else None)
            rows.append(_cell(cell, assignment, repetition, moves))
            if runs:
                resolved = scenario(transport=str(moves[0]["transport"]), count=len(moves))
                write_run(folder / "cells" / cell, moves, name=name, resolved=resolved)
    write_csv(folder / "cells.csv", list(rows[0]), rows)
    return folder


def _moves_of(assignment: dict[str, str], noise: random.Random | None) -> list[dict[str, object]]:
    values = {path.split(".")[-1]: value for path, value in assignment.items()}
    memory = values.get("memory", "1GiB")
    gib = float(memory[:-3]) / (1024 if memory.endswith("MiB") else 1)
    return [
        move(f"vm{index}", values.get("transport", "tcp"), memory_gib=gib, noise=noise,
             device=values.get("virtual_functions", "1") != "0")
        for index in range(int(values.get("count", 2)))
    ]


def _cell(
    cell: str, assignment: dict[str, str], repetition: int, moves: Sequence[dict[str, object]]
) -> dict[str, object]:
    totals = [float(row["total_seconds"]) for row in moves]
    together = "sequential" not in assignment.values()
    makespan = max(totals) + 0.5 * sum(totals) - 0.5 * totals[0] if together else sum(totals)
    phases = {
        f"{phase}_seconds": sum(float(row[f"{phase}_seconds"]) for row in moves) / len(moves)
        for phase in PHASES
    }
    return {
        "cell": cell, **assignment, "repetition": repetition, "seed": 1000 + repetition,
        "makespan_seconds": round(makespan, 9), "total_seconds": sum(totals) / len(totals),
        "total_max_seconds": max(totals), "downtime_seconds": moves[0]["downtime_seconds"],
        "bytes": sum(int(row["bytes"]) for row in moves), "migrations": len(moves), "failed": 0,
        **phases, "outcome": "completed", "reason": "",
    }


def add_links(folder: Path, usage: dict[str, Sequence[float]], interval: float = 0.5) -> None:
    """links.csv and link_usage.csv of a run: the utilisation of each link by interval."""
    active = max(len(values) for values in usage.values()) * interval
    loaded = sorted(usage, key=lambda link: -sum(usage[link]))
    write_csv(
        folder / "links.csv",
        ("network", "link", "bandwidth_bytes_per_second", "bytes", "mean_utilisation",
         "peak_utilisation", "full_seconds"),
        [
            {"network": "ethernet", "link": link, "bandwidth_bytes_per_second": 1250000000,
             "bytes": int(sum(usage[link]) * interval * 1250000000),
             "mean_utilisation": round(sum(usage[link]) * interval / active, 4),
             "peak_utilisation": max(usage[link]),
             "full_seconds": interval * sum(value >= 0.95 for value in usage[link])}
            for link in loaded
        ],
    )
    write_csv(
        folder / "link_usage.csv",
        ("network", "link", "start_seconds", "end_seconds", "utilisation"),
        [
            {"network": "ethernet", "link": link, "start_seconds": index * interval,
             "end_seconds": (index + 1) * interval, "utilisation": value}
            for link in loaded for index, value in enumerate(usage[link]) if value > 0
        ],
    )


def add_rounds(folder: Path, rounds: dict[str, Sequence[tuple[int, float]]]) -> None:
    """rounds.csv of a run: (bytes, seconds) of each round of each VM."""
    write_csv(
        folder / "rounds.csv", ("vm", "round", "bytes", "seconds", "dirty_bytes"),
        [
            {"vm": vm, "round": number, "bytes": size, "seconds": seconds, "dirty_bytes": 0}
            for vm, own in rounds.items() for number, (size, seconds) in enumerate(own, 1)
        ],
    )


def add_claims(folder: Path, claims: Sequence[dict[str, object]]) -> None:
    """claims.csv of a study; what is not given has a default."""
    default = {"text": "a claim", "source": "a source", "expected": "below 3 s", "got": "2 s",
               "holds": "yes", "basis": "predicted", "robust": "yes", "reason": ""}
    write_csv(
        folder / "claims.csv", ("id", *default), [{**default, **claim} for claim in claims]
    )


def add_sensitivity(folder: Path, rows: Sequence[tuple[object, ...]]) -> None:
    """sensitivity.csv of a study: its columns in their order."""
    columns = ("claim", "quantity", "constant", "factor", "low", "high", "least", "greatest",
               "holds", "reason")
    write_csv(folder / "sensitivity.csv", columns, [dict(zip(columns, row)) for row in rows])


JOB_COLUMNS = (
    "job", "strategy", "workload", "elapsed_seconds", "unmigrated_seconds", "exposed_seconds",
    "overlap", "messages", "bytes", "reason", "slice_seconds", "overlap_bound",
)


def job(
    name: str, strategy: str = "migration_thread", workload: str = "nas_lu", *,
    unmigrated: float = 10.0, exposed: float = 2.0, total: float = 2.5, bound: float = 0.25,
) -> dict[str, object]:
    """A row of jobs.csv: a job whose VMs were on the move for `total` seconds."""
    return {
        "job": name, "strategy": strategy, "workload": workload,
        "elapsed_seconds": unmigrated + exposed, "unmigrated_seconds": unmigrated,
        "exposed_seconds": exposed, "overlap": round(1 - exposed / total, 6), "messages": 100,
        "bytes": 800, "reason": "", "slice_seconds": bound * total, "overlap_bound": bound,
    }


def add_jobs(folder: Path, jobs: Sequence[dict[str, object]], columns: Sequence[str] = JOB_COLUMNS) -> None:
    """jobs.csv of a run, with these columns."""
    write_csv(folder / "jobs.csv", columns, [{key: row[key] for key in columns} for row in jobs])


def add_measurements(folder: Path, rows: Sequence[tuple[str, str, int, float]]) -> None:
    """measurements.csv of a run: (job, metric, message bytes, value)."""
    write_csv(
        folder / "measurements.csv", ("job", "metric", "message_bytes", "repetition", "value", "unit"),
        [
            {"job": job, "metric": metric, "message_bytes": size, "repetition": 0, "value": value,
             "unit": "s"}
            for job, metric, size, value in rows
        ],
    )


def add_overlap(folder: Path, of: Callable[[dict[str, str]], tuple[float, float, float]]) -> None:
    """Columns of cells.csv, from a cell's assignment: overlap, its bound and the exposed time."""
    path = folder / "cells.csv"
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        row["overlap"], row["overlap_bound"], row["exposed_seconds"] = map(str, of(row))
    columns = [key for key in rows[0] if key not in ("outcome", "reason")]
    write_csv(path, [*columns, "outcome", "reason"], rows)
