"""The constants of a platform file that runs determine, with their residuals and intervals.

A move that ran alone determines the cost of each operation by itself: the median over all of them,
or a straight line over guest memory for `attach_vf`. Moves that overlapped determine `serial`: the
value with which simulating the same scenarios comes closest to their makespans. What no run
determines keeps its value, source and kind.
"""

from __future__ import annotations

import math
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from .load import (
    InputError, Run, convert_numbers, open_folder, read_text_table, read_yaml_file, succeeded,
)
from .quantities import parse_quantity, percent_text, seconds_text

GIBI = 2.0**30
ENOUGH = 5  # moves that a constant should rest on; fewer are said
_SIMULATION_SECONDS = 300  # a simulated calibration run takes far less
_SERIAL_STEPS = 24  # golden sections: 1e-5 of the range


@dataclass(frozen=True)
class Move:
    """A completed move and what it tells. Times in seconds, sizes in bytes; NaN: not known."""

    run: Run
    vm: str
    alone: bool  # no other move of its run overlaps it
    transport: str
    memory: float
    cooperates: bool  # a job with ranks that answer is in its VM: phases hold their time too
    limited: bool  # its bandwidth was limited
    phases: dict[str, float]
    downtime: float
    sent: float  # in the rounds before the pause
    sending: float  # time of those rounds
    last_sent: float  # during the pause
    devices_at_once: bool | None  # its two devices went at the same time; None: it has not both


@dataclass(frozen=True)
class Fit:
    """One constant: `path` in the platform file, the new value, and what it rests on."""

    path: str
    value: float
    unit: str  # s, s/GiB, B/s or ratio
    count: int
    low: float  # 95 % interval
    high: float
    spread: tuple[float, float]  # middle half of the observations, or of the residuals of a line
    kind: str = "measured"
    how: str = "median"


@dataclass
class Calibration:
    """What `calibrate` found out."""

    fits: list[Fit]
    untouched: list[tuple[str, str]]  # path and why no run determines it
    platform: dict[str, Any]
    residuals: pd.DataFrame = field(default_factory=pd.DataFrame)


def calibrate(paths: Sequence[str], platform_path: Path, ferry: str) -> Calibration:
    """Fits; raises InputError where a run or the platform file cannot be used."""
    platform = read_yaml_file(platform_path, "a platform file")
    if "ferry_platform" not in platform:
        raise InputError(f"{platform_path}: has no ferry_platform; a platform file would be right")
    runs = [run for path in paths for run in _runs(path)]
    moves = [move for run in runs for move in _moves(run)]
    if not moves:
        raise InputError(f"{paths[0]}: no move completed; calibrate needs moves that did")
    calibration = Calibration([], [], platform)
    alone = [move for move in moves if move.alone]
    _fit_operations(calibration, alone, _fit_streams(calibration, alone))
    where = _where(runs)
    for fit in calibration.fits:
        _set(platform, fit, where)
    _raise_links(platform, calibration.fits, where)
    if any(move.devices_at_once is not None for move in moves):
        platform["hypervisor"]["devices_at_once"] = any(move.devices_at_once for move in moves)
    crowded = [run for run in runs if any(not m.alone for m in moves if m.run is run)]
    if crowded:
        fit = _fit_serial(crowded, platform, ferry)
        calibration.fits.append(fit)
        _set(platform, fit, where)
    else:
        calibration.untouched.append(("hypervisor.serial", "no two moves overlapped"))
    calibration.residuals = _residuals(runs, platform, ferry)
    return calibration


def report(calibration: Calibration) -> str:
    """The tables that the command prints."""
    lines = [f"{'constant':<30} {'value':>12} {'95 % interval':>25} {'middle half':>25} {'from':>6}"]
    for fit in calibration.fits:
        lines.append(
            f"{fit.path:<30} {_text(fit.value, fit.unit):>12} "
            f"{_range(fit.low, fit.high, fit.unit):>25} "
            f"{_range(*fit.spread, fit.unit):>25} {fit.count:>6}"
        )
    few = [fit.path for fit in calibration.fits if fit.count < ENOUGH]
    if few:
        lines.append(f"resting on fewer than {ENOUGH} observations: {', '.join(few)}")
    for path, why in calibration.untouched:
        lines.append(f"{path}: kept, {why}")
    lines += ["", "what the new constants give for the runs themselves (medians of totals)",
              f"{'scenario':<32} {'moves':>6} {'measured':>12} {'simulated':>12} {'error':>9}"]
    for row in calibration.residuals.to_dict("records"):
        lines.append(
            f"{row['scenario']:<32} {row['moves']:>6} {seconds_text(row['measured']):>12} "
            f"{seconds_text(row['simulated']):>12} {percent_text(row['error_percent']):>9}"
        )
    return "\n".join(lines)


def write(calibration: Calibration, out: Path, title: str) -> None:
    """The platform file; an existing one is never overwritten."""
    text = f"# {title}\n" + yaml.dump(
        calibration.platform, sort_keys=False, allow_unicode=True, width=1000,
        default_flow_style=None,
    )
    try:
        with out.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise InputError(
            f"{out}: exists already, and nothing is ever overwritten; another --out would be right"
        ) from None
    except OSError as error:
        raise InputError(f"{out}: cannot be written: {error}") from None


# --- What runs say ---


def _runs(path: str) -> list[Run]:
    folder = open_folder(path)
    return [folder] if isinstance(folder, Run) else [run for _, run in folder.runs()]


def _moves(run: Run) -> list[Move]:
    table = succeeded(run.migrations)
    rounds_path = run.path / "rounds.csv"
    columns = ("round", "bytes", "seconds")
    rounds = convert_numbers(
        rounds_path, read_text_table(rounds_path, required=("vm", *columns)), columns
    )
    spans = succeeded(run.spans)
    guests, jobs = _guests(run), _cooperating_vms(run)
    limits = {m["name"]: m.get("memory", {}).get("bandwidth_limit", "none")
              for m in run.resolved.get("migrations", [])}
    begins = spans.groupby("vm")["start_seconds"].min()
    ends = spans.groupby("vm")["end_seconds"].max()
    moves = []
    for row in table.to_dict("records"):
        vm = row["vm"]
        if (run.migrations["vm"] == vm).sum() > 1:
            continue  # its spans and rounds are of several moves
        mine = spans[spans["vm"] == vm]
        others = [other for other in begins.index if other != vm]
        overlapped = any(
            begins[other] < ends[vm] and begins[vm] < ends[other] for other in others
        )
        sent = rounds[rounds["vm"] == vm]
        live = sent.iloc[:-1]
        lengths = mine["end_seconds"] - mine["start_seconds"]
        moves.append(Move(
            run=run, vm=vm, alone=not overlapped, transport=row["transport"],
            memory=guests.get(vm, math.nan), cooperates=vm in jobs,
            limited=limits.get(row["migration"], "none") != "none",
            phases={phase: float(time) for phase, time in zip(mine["phase"], lengths)},
            downtime=row["downtime_seconds"], sent=float(live["bytes"].sum()),
            sending=float(live["seconds"].sum()),
            last_sent=float(sent["bytes"].iloc[-1]) if len(sent) else math.nan,
            devices_at_once=_at_once(mine),
        ))
    return moves


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
        for name in _names(group):
            sizes[name] = quantity.value
    return sizes


def _names(group: dict[str, Any]) -> list[str]:
    if "count" not in group:
        return [group["name"]]
    return [f"{group['name']}{i}" for i in range(int(group["count"]))]


def _cooperating_vms(run: Run) -> set[str]:
    """All VMs, if any job cooperates: which VMs its ranks are in is not worked out here."""
    cooperating = any(job.get("strategy") != "none" for job in run.resolved.get("jobs", []))
    return {name for group in run.resolved.get("vms", []) for name in _names(group)} \
        if cooperating else set()


def _where(runs: Sequence[Run]) -> str:
    hosts = sorted({str(run.info.get("host") or "") for run in runs} - {""})
    worlds = sorted({run.world for run in runs} - {""})
    days = sorted({str(run.info.get("started_at") or "")[:10] for run in runs} - {""})
    parts = [f"{len(runs)} run" + "s" * (len(runs) > 1), f"world {'/'.join(worlds)}"]
    if hosts:
        parts.append("on " + ", ".join(hosts))
    if days:
        parts.append(days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}")
    return ", ".join(parts)


# --- Constants of operations ---


def _fit_operations(
    calibration: Calibration, alone: Sequence[Move], speeds: dict[str, float]
) -> None:
    def constant(path: str, values: Sequence[float]) -> None:
        known = [value for value in values if not math.isnan(value)]
        if known:
            calibration.fits.append(_median_fit(path, known, "s"))
        else:
            calibration.untouched.append((path, "no move that ran alone shows it"))

    def phase(name: str, moves: Sequence[Move] = alone) -> list[float]:
        return [move.phases.get(name, math.nan) for move in moves]

    plain = [move for move in alone if not move.cooperates]
    constant("hypervisor.set_status",
             phase("set_pre_migration", plain) + phase("set_post_migration", plain))
    constant("hypervisor.detach_vf", phase("detach_vf"))
    constant("hypervisor.remove_ivshmem", phase("remove_ivshmem"))
    constant("hypervisor.add_ivshmem", phase("add_ivshmem"))
    constant("hypervisor.finish",
             [max(0.0, move.downtime - move.last_sent / speeds[move.transport])
              for move in alone if move.transport in speeds])
    # What a migration takes beside its rounds and its pause: no phase tells how much of it comes
    # before memory flows and how much after the switch-over.
    rests = [move.phases.get("migration", math.nan) - move.sending - move.downtime
             for move in alone if move.transport != "rdma"]
    constant("hypervisor.prepare", [max(0.0, rest) for rest in rests])
    if any(not math.isnan(rest) for rest in rests):
        calibration.fits.append(Fit(
            "hypervisor.clean_up", 0.0, "s", len(rests), 0.0, 0.0, (0.0, 0.0),
            how="contained in prepare"))
    _fit_attach(calibration, alone)


def _fit_attach(calibration: Calibration, alone: Sequence[Move]) -> None:
    points = [(move.memory / GIBI, move.phases["attach_vf"]) for move in alone
              if "attach_vf" in move.phases and not math.isnan(move.memory)]
    if not points:
        calibration.untouched.append(("hypervisor.attach_vf", "no move that ran alone shows it"))
        return
    size, time = np.array(points).T
    if len(np.unique(size)) < 2:
        calibration.fits.append(_median_fit("hypervisor.attach_vf.fixed", list(time), "s"))
        calibration.fits.append(Fit(
            "hypervisor.attach_vf.per_gib", 0.0, "s/GiB", len(time), math.nan, math.nan,
            (math.nan, math.nan), how="all guests have one size: all of it is in fixed"))
        return
    slope, fixed = theil_sen(size, time)
    if slope < 0:  # no device is attached sooner because its guest is larger
        slope, fixed = 0.0, float(np.median(time))
    residuals = time - fixed - slope * size
    half = tuple(np.quantile(residuals, [0.25, 0.75]))
    low, high = _line_interval(size, time)
    calibration.fits.append(Fit("hypervisor.attach_vf.fixed", max(0.0, fixed), "s", len(time),
                                *_median_interval(list(time - slope * size)), half,
                                how="intercept over guest memory"))
    calibration.fits.append(Fit("hypervisor.attach_vf.per_gib", slope, "s/GiB", len(time),
                                low, high, half, how="slope over guest memory"))


def _fit_streams(calibration: Calibration, alone: Sequence[Move]) -> dict[str, float]:
    """The speed by transport, in B/s, of those that were seen."""
    fitted = {}
    for transport in ("tcp", "ipoib", "rdma"):
        speeds = [move.sent / move.sending for move in alone
                  if move.transport == transport and move.sending > 0 and not move.limited]
        if speeds:
            fit = _median_fit(f"streams.{transport}.bandwidth", speeds, "B/s")
            calibration.fits.append(fit)
            fitted[transport] = fit.value
    return fitted


def theil_sen(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Slope and intercept of a line that a few outliers do not bend: medians of pairwise slopes
    (Theil 1950, Sen 1968) and of what the slope leaves."""
    i, j = np.triu_indices(len(x), 1)
    apart = x[i] != x[j]
    slope = float(np.median((y[j] - y[i])[apart] / (x[j] - x[i])[apart]))
    return slope, float(np.median(y - slope * x))


def _line_interval(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """95 % interval of the slope, by resampling the points (fixed seed)."""
    random = np.random.default_rng(1)
    slopes = []
    for _ in range(500):
        chosen = random.integers(0, len(x), len(x))
        if len(np.unique(x[chosen])) > 1:
            slopes.append(theil_sen(x[chosen], y[chosen])[0])
    return tuple(np.quantile(slopes, [0.025, 0.975])) if slopes else (math.nan, math.nan)


def _median_fit(path: str, values: list[float], unit: str) -> Fit:
    half = tuple(np.quantile(values, [0.25, 0.75]))
    return Fit(path, float(np.median(values)), unit, len(values), *_median_interval(values), half)


def _median_interval(values: list[float]) -> tuple[float, float]:
    """95 % interval of the median from the order of the values, whatever their distribution; NaN
    for fewer than six, which have none."""
    count, ordered = len(values), sorted(values)
    below, chance = 0, 0.5**count
    while below < count // 2 and chance <= 0.025:
        below += 1
        chance += math.comb(count, below) * 0.5**count
    return (ordered[below - 1], ordered[count - below]) if below else (math.nan, math.nan)


# --- The serial part, and what the constants give ---


def _fit_serial(runs: Sequence[Run], platform: dict[str, Any], ferry: str) -> Fit:
    measured = [(same, float(np.median([_makespan(run) for run in same])))
                for same in _by_scenario(runs)]

    def distance(serial: float) -> float:
        trial = _with_serial(platform, serial)
        return sum(
            len(same) * math.log(_simulate(same[0], trial, ferry)["makespan"] / makespan)**2
            for same, makespan in measured
        )

    best = _least(distance, 0.0, 1.0)
    return Fit("hypervisor.serial", best, "ratio", len(runs), math.nan, math.nan,
               (math.nan, math.nan), kind="fitted",
               how="least error of the simulated makespans of runs whose moves overlap")


def _by_scenario(runs: Sequence[Run]) -> list[list[Run]]:
    """Runs of one scenario together: repetitions of one measurement."""
    scenarios: dict[str, list[Run]] = {}
    for run in runs:
        scenarios.setdefault(yaml.dump(_scenario(run, None)), []).append(run)
    return list(scenarios.values())


def _least(function: Callable[[float], float], low: float, high: float) -> float:
    """Where a function with one minimum is least, by golden sections; its ends count too."""
    ratio = (math.sqrt(5) - 1) / 2
    a, b = low, high
    c, d = b - ratio * (b - a), a + ratio * (b - a)
    at_c, at_d = function(c), function(d)
    for _ in range(_SERIAL_STEPS):
        if at_c <= at_d:
            b, d, at_d = d, c, at_c
            c = b - ratio * (b - a)
            at_c = function(c)
        else:
            a, c, at_c = c, d, at_d
            d = a + ratio * (b - a)
            at_d = function(d)
    return min((low, high, (a + b) / 2), key=function)


def _makespan(run: Run) -> float:
    spans = run.spans
    return float(spans["end_seconds"].max() - spans["start_seconds"].min())


def _scenario(run: Run, platform: dict[str, Any] | None) -> dict[str, Any]:
    scenario = dict(run.resolved)
    scenario.pop("platform", None)
    if platform is not None:
        scenario["platform"] = {k: v for k, v in platform.items() if k != "ferry_platform"}
    return scenario


def _simulate(run: Run, platform: dict[str, Any], ferry: str) -> dict[str, float]:
    """Makespan and median total of the run's scenario with these constants."""
    with tempfile.TemporaryDirectory(prefix="ferry-calibrate-") as folder:
        file = Path(folder) / "scenario.yaml"
        file.write_text(yaml.dump(_scenario(run, platform), sort_keys=False), encoding="utf-8")
        out = Path(folder) / "run"
        try:
            done = subprocess.run(
                [ferry, "run", str(file), "--on", "sim", "--quiet", "--out", str(out)],
                capture_output=True, text=True, timeout=_SIMULATION_SECONDS, check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise InputError(f"{run.path}: cannot be simulated: {error}") from None
        if not (out / "spans.csv").exists():
            raise InputError(f"{run.path}: cannot be simulated: {done.stderr.strip()}")
        simulated = open_folder(out)
        assert isinstance(simulated, Run)
        totals = succeeded(simulated.migrations)["total_seconds"]
        return {"makespan": _makespan(simulated), "total": float(totals.median())}


def _with_serial(platform: dict[str, Any], serial: float) -> dict[str, Any]:
    hypervisor = {**platform["hypervisor"], "serial": f"{serial * 100:.4f}%"}
    return {**platform, "hypervisor": hypervisor}


def _residuals(runs: Sequence[Run], platform: dict[str, Any], ferry: str) -> pd.DataFrame:
    rows = []
    for same in _by_scenario(runs):
        totals = pd.concat([succeeded(run.migrations)["total_seconds"] for run in same])
        if totals.empty:
            continue
        measured, simulated = float(totals.median()), _simulate(same[0], platform, ferry)["total"]
        rows.append({"scenario": same[0].name, "moves": len(totals), "measured": measured,
                     "simulated": simulated, "error_percent": 100 * (simulated / measured - 1)})
    return pd.DataFrame(rows)


# --- The platform file ---


def _set(platform: dict[str, Any], fit: Fit, where: str) -> None:
    *parents, last = fit.path.split(".")
    place = platform
    for parent in parents:
        place = place.setdefault(parent, {})
    unit = {"s/GiB": "s"}.get(fit.unit, fit.unit)
    constant: dict[str, Any] = {"value": _text(fit.value, unit)}
    middle = "" if math.isnan(fit.spread[0]) or fit.how != "median" else \
        f", middle half {_range(*fit.spread, unit)}"
    constant["source"] = f"calibrated: {fit.how} of {fit.count} moves{middle} ({where})"
    if fit.kind == "fitted":
        constant["source"] = f"calibrated: {fit.how} ({where})"
    constant["kind"] = fit.kind
    if fit.kind == "fitted":
        constant["to"] = ["makespan"]
    place[last] = constant


def _raise_links(platform: dict[str, Any], fits: Sequence[Fit], where: str) -> None:
    """No stream is faster than its link: a link that was thought slower is at least as fast."""
    for fit in fits:
        kind, _, transport = fit.path.partition(".")
        if kind != "streams":
            continue
        for network in platform.get("networks", []):
            if transport.removesuffix(".bandwidth") not in network.get("carries", []):
                continue
            link = network["link"]
            given = link["bandwidth"]
            text = str(given["value"] if isinstance(given, dict) else given)
            quantity = parse_quantity(text)
            if quantity is not None and quantity.value / 8 < fit.value:
                link["bandwidth"] = {
                    "value": _text(fit.value, fit.unit),
                    "source": f"calibrated: at least what one stream reached; {text} was less "
                              f"({where})",
                    "kind": "measured",
                }


def _text(value: float, unit: str) -> str:
    """As a platform file has it: no digits are lost that could matter."""
    if math.isnan(value):
        return "-"
    if unit == "ratio":
        return f"{100 * value:.4g}%"
    if unit == "B/s":
        return f"{value / 1e6:.6g}MB/s"
    return f"{format(round(value * 1e3, 6) + 0.0, '.6g')}ms"  # to the nanosecond; no -0


def _range(low: float, high: float, unit: str) -> str:
    return "-" if math.isnan(low) else f"{_text(low, unit)} to {_text(high, unit)}"
