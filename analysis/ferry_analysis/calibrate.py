"""The constants of a platform file that runs determine, with their residuals and intervals.

A move that ran alone determines the cost of each operation by itself: the median over all of them,
or a straight line over guest memory for `attach_vf`. Moves that overlapped determine `serial`: the
value with which simulating the same scenarios comes closest to their makespans. Moves that met MPI
ranks also determine what those add (`rank_costs`). What no run determines keeps its value, source
and kind.
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

from .fits import Fit, line_interval, median_fit, median_interval, theil_sen
from .load import PHASES, InputError, Run, open_folder, read_yaml_file, succeeded
from .moves import Move, read_moves
from .quantities import parse_quantity, percent_text, seconds_text
from .rank_costs import beyond_simulation, read_off

GIBI = 2.0**30
ENOUGH = 5  # moves that a constant should rest on; fewer are said
_SIMULATION_SECONDS = 300  # a simulated calibration run takes far less
_STEPS = 16  # golden sections: 5e-4 of the range
_TURNS = 2  # of two constants, each with the other as it was found last


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
    moves = [move for run in runs for move in read_moves(run)]
    if not moves:
        raise InputError(f"{paths[0]}: no move completed; calibrate needs moves that did")
    calibration = Calibration([], [], platform)
    alone = [move for move in moves if move.alone]
    _fit_operations(calibration, alone, _fit_streams(calibration, alone))
    _read_off_ranks(calibration, alone)
    where = _where(runs)
    for fit in calibration.fits:
        _set(platform, fit, where)
    _raise_links(platform, calibration.fits, where)
    if any(move.devices_at_once is not None for move in moves):
        platform["hypervisor"]["devices_at_once"] = any(move.devices_at_once for move in moves)
    crowded = [run for run in runs if any(not m.alone for m in moves if m.run is run)]
    if crowded:
        fits = _fit_crowded(crowded, alone, platform, ferry)
    else:
        calibration.untouched.append(("hypervisor.serial", "no two moves overlapped"))
        fits = _ivshmem_fits(alone, _ratio(platform["hypervisor"]["serial"]))
    for fit in fits:
        calibration.fits.append(fit)
        _set(platform, fit, where)
    for fit in _fit_rank_rests(alone, platform, ferry):
        calibration.fits.append(fit)
        _set(platform, fit, where)
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
    lines += ["", "what the new constants give for the runs themselves (medians over moves; unplug "
              "and plug: both devices)",
              f"{'scenario':<32} {'quantity':<10} {'moves':>6} {'measured':>12} {'simulated':>12} "
              f"{'error':>9}"]
    for row in calibration.residuals.to_dict("records"):
        lines.append(
            f"{row['scenario']:<32} {row['quantity']:<10} {row['moves']:>6} "
            f"{seconds_text(row['measured']):>12} {seconds_text(row['simulated']):>12} "
            f"{percent_text(row['error_percent']):>9}"
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
            calibration.fits.append(median_fit(path, known, "s"))
        else:
            calibration.untouched.append((path, "no move that ran alone shows it"))

    def phase(name: str, moves: Sequence[Move] = alone) -> list[float]:
        return [move.phases.get(name, math.nan) for move in moves]

    plain = [move for move in alone if not move.cooperates]
    constant("hypervisor.set_status",
             phase("set_pre_migration", plain) + phase("set_post_migration", plain))
    constant("hypervisor.detach_vf", phase("detach_vf"))
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
        calibration.fits.append(median_fit("hypervisor.attach_vf.fixed", list(time), "s"))
        calibration.fits.append(Fit(
            "hypervisor.attach_vf.per_gib", 0.0, "s/GiB", len(time), math.nan, math.nan,
            (math.nan, math.nan), how="all guests have one size: all of it is in fixed"))
        return
    slope, fixed = theil_sen(size, time)
    if slope < 0:  # no device is attached sooner because its guest is larger
        slope, fixed = 0.0, float(np.median(time))
    residuals = time - fixed - slope * size
    half = tuple(np.quantile(residuals, [0.25, 0.75]))
    low, high = line_interval(size, time)
    calibration.fits.append(Fit("hypervisor.attach_vf.fixed", max(0.0, fixed), "s", len(time),
                                *median_interval(list(time - slope * size)), half,
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
            fit = median_fit(f"streams.{transport}.bandwidth", speeds, "B/s")
            calibration.fits.append(fit)
            fitted[transport] = fit.value
    return fitted


# --- Ranks ---


def _read_off_ranks(calibration: Calibration, alone: Sequence[Move]) -> None:
    met = [move for move in alone if move.cooperates]
    if not met:
        calibration.untouched.append(("mpi", "no move that ran alone met ranks"))
        return
    for found in read_off(met):
        if isinstance(found, Fit):
            calibration.fits.append(found)
        else:
            calibration.untouched.append(found)


def _fit_rank_rests(
    alone: Sequence[Move], platform: dict[str, Any], ferry: str
) -> list[Fit]:
    met = [move for move in alone if move.cooperates]
    if not met:
        return []
    runs = list({id(move.run): move.run for move in met}.values())

    def simulate(added: dict[str, float]) -> list[tuple[Move, Move]]:
        mpi = {**platform.get("mpi", {}), **{name: _text(time, "s") for name, time in added.items()}}
        pairs = []
        for same in _by_scenario(runs):
            simulated = {(move.migration, move.vm): move
                         for move in _simulate(same[0], {**platform, "mpi": mpi}, ferry).moves}
            pairs += [(move, simulated[move.migration, move.vm]) for move in met
                      if any(move.run is run for run in same)
                      and (move.migration, move.vm) in simulated]
        return pairs

    return list(beyond_simulation(met, simulate))


# --- The serial part, and what the constants give ---


@dataclass(frozen=True)
class Simulated:
    """A scenario with other constants: its moves, its makespan, the rows of migrations.csv."""

    makespan: float
    moves: list[Move]
    rows: pd.DataFrame


def _fit_crowded(runs: Sequence[Run], alone: Sequence[Move], platform: dict[str, Any],
                 ferry: str) -> list[Fit]:
    """What only moves at once show: `serial`, fitted to makespans. Where the platform names the
    `processors` that hosts share, those also slow streams: then `serial` is fitted to the phases in
    which devices go and come, what a stream needs of processors to the migrations, each with the
    other as it was found last. `platform` is left as it is."""
    scenarios = [(same, _quantities(same).median(),
                  float(np.median([_makespan(run) for run in same]))) for same in _by_scenario(runs)]
    stream = _stream_that_shares(alone, platform)

    def distance(serial: float, work: float, names: Sequence[str]) -> float:
        trial = _with_work(_with_serial(platform, alone, serial), stream, work)
        off = 0.0
        for same, measured, makespan in scenarios:
            got = _simulate(same[0], trial, ferry)
            simulated = got.rows.median()
            ratios = [got.makespan / makespan if name == "makespan"
                      else simulated[name] / measured[name] for name in names]
            off += len(same) * sum(math.log(ratio)**2 for ratio in ratios)
        return off

    if not stream:
        serial = _least(lambda value: distance(value, 0.0, ["makespan"]), 0.0, 1.0)
        return [_fitted("hypervisor.serial", serial, "ratio", len(runs), ("makespan",),
                        "least error of the simulated makespans of runs whose moves overlap"),
                *_ivshmem_fits(alone, serial)]
    serial, work, most = 0.0, 0.0, _most_work(alone, stream)
    for _ in range(_TURNS):
        serial = _least(lambda value: distance(value, work, ["unplug", "plug"]), 0.0, 1.0)
        work = _least(lambda value: distance(serial, value, ["migration"]), 0.0, most)
    how = "least error of the simulated {} of runs whose moves overlap"
    return [_fitted("hypervisor.serial", serial, "ratio", len(runs), ("unplug", "plug"),
                    how.format("phases in which devices go and come,")),
            *(_fitted(f"streams.{stream}.cpu.{end}", work, "s", len(runs), ("migration",),
                      how.format("migrations, the same at both ends,")) for end in ("send", "receive")),
            *_ivshmem_fits(alone, serial)]


def _fitted(path: str, value: float, unit: str, count: int, to: tuple[str, ...],
            how: str) -> Fit:
    unknown = (math.nan, math.nan)
    return Fit(path, value, unit, count, *unknown, unknown, kind="fitted", to=to, how=how)


def _stream_that_shares(alone: Sequence[Move], platform: dict[str, Any]) -> str:
    """The one transport whose lone streams were seen, if processors are named; else empty."""
    seen = {move.transport for move in alone if move.sending > 0}
    return seen.pop() if len(seen) == 1 and "processors" in platform else ""


def _most_work(alone: Sequence[Move], stream: str) -> float:
    """Seconds of a core for a GiB at which a lone stream's thread is never idle."""
    return float(np.median([move.sending / move.sent * GIBI for move in alone
                            if move.transport == stream and move.sent > 0]))


def _with_work(platform: dict[str, Any], stream: str, work: float) -> dict[str, Any]:
    if not stream:
        return platform
    streams = dict(platform["streams"])
    time = _text(work, "s")
    streams[stream] = {**streams[stream], "cpu": {"send": time, "receive": time}}
    return {**platform, "streams": streams}


def _ivshmem_fits(alone: Sequence[Move], serial: float) -> list[Fit]:
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


def _ratio(constant: Any) -> float:
    text = str(constant["value"] if isinstance(constant, dict) else constant)
    quantity = parse_quantity(text)
    return quantity.value if quantity is not None else 0.0


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
    for _ in range(_STEPS):
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


def _simulate(run: Run, platform: dict[str, Any], ferry: str) -> Simulated:
    """The run's scenario with these constants."""
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
        return Simulated(_makespan(simulated), read_moves(simulated), _quantities([simulated]))


def _with_serial(platform: dict[str, Any], alone: Sequence[Move], serial: float
                 ) -> dict[str, Any]:
    hypervisor = {**platform["hypervisor"], "serial": f"{serial * 100:.4f}%"}
    for fit in _ivshmem_fits(alone, serial):
        hypervisor[fit.path.rpartition(".")[2]] = _text(fit.value, fit.unit)
    return {**platform, "hypervisor": hypervisor}


_QUANTITIES: dict[str, tuple[str, ...]] = {
    "total": ("total",), "set_pre": (PHASES[0],), "unplug": PHASES[1:3], "migration": (PHASES[3],),
    "plug": PHASES[4:6], "set_post": (PHASES[6],),
}


def _quantities(runs: Sequence[Run]) -> pd.DataFrame:
    """One row a move that succeeded: seconds in total and by phase; both devices together, as
    which of them is ready last is chance."""
    moves = pd.concat([succeeded(run.migrations) for run in runs])
    return pd.DataFrame({name: sum(moves[f"{part}_seconds"] for part in parts)
                         for name, parts in _QUANTITIES.items()})


def _residuals(runs: Sequence[Run], platform: dict[str, Any], ferry: str) -> pd.DataFrame:
    """One row a scenario and quantity: medians, measured and simulated."""
    rows = []
    for same in _by_scenario(runs):
        real = _quantities(same)
        if real.empty:
            continue
        simulated = _simulate(same[0], platform, ferry).rows.median()
        for name, measured in real.median().items():
            got = float(simulated[name])
            rows.append({"scenario": same[0].name, "quantity": name, "moves": len(real),
                         "measured": measured, "simulated": got,
                         "error_percent": 100 * (got / measured - 1) if measured else math.nan})
    return pd.DataFrame(rows)


# --- The platform file ---


def _set(platform: dict[str, Any], fit: Fit, where: str) -> None:
    *parents, last = fit.path.split(".")
    place = platform
    for parent in parents:
        place = place.setdefault(parent, {})
    unit = {"s/GiB": "s"}.get(fit.unit, fit.unit)
    constant: dict[str, Any] = {"value": _text(fit.value, unit)}
    middle = "" if math.isnan(fit.spread[0]) or not fit.how.startswith("median") else \
        f", middle half {_range(*fit.spread, unit)}"
    rests = f" of {fit.count} moves" if fit.how == "median" else f"; {fit.count} observations"
    constant["source"] = f"calibrated: {fit.how}{rests}{middle} ({where})"
    if fit.kind == "fitted":
        constant["source"] = f"calibrated: {fit.how}{middle} ({where})"
    constant["kind"] = fit.kind
    if fit.kind == "fitted":
        constant["to"] = list(fit.to)
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
