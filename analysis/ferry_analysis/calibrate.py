"""The constants of a platform file that runs determine, with their residuals and intervals.

A move that ran alone determines the cost of each operation by itself: the median over all of them,
or a straight line over guest memory for `attach_vf`. Moves that overlapped determine what moves share
(`crowded`), and moves that met MPI ranks what those add (`rank_costs`): values with which simulating
the same scenarios comes closest to them. What no run determines keeps its value, source and kind.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from .crowded import (GIBI, fit_crowded, ivshmem_fits, lone_factors, operation_times, ratio_of,
                      rest_of_migration, scaled)
from .fits import (Fit, constant_text, line_interval, median_fit, median_interval, spread_fit,
                   theil_sen)
from .load import InputError, Run, open_folder, read_yaml_file
from .moves import Move, read_moves
from .progress import Progress
from .quantities import parse_quantity, percent_text, seconds_text
from .rank_costs import beyond_simulation, read_off
from .simulated import by_scenario, quantities, simulate, simulate_moves

ENOUGH = 5  # moves that a constant should rest on; fewer are said


@dataclass
class Calibration:
    """What `calibrate` found out."""

    fits: list[Fit]
    untouched: list[tuple[str, str]]  # path and why no run determines it
    platform: dict[str, Any]
    residuals: pd.DataFrame = field(default_factory=pd.DataFrame)
    untold: dict[str, int] = field(default_factory=dict)  # moves alone whose rounds do not count, by why


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
    calibration.untold = Counter(move.untold for move in alone if move.untold)
    # What is simulated to be compared are medians.
    variation = platform["hypervisor"].pop("variation", None)
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
        for fit in _fit_rank_rests(alone, platform, ferry):  # for the time being
            _set(platform, fit, where)
        with Progress() as progress:
            found = fit_crowded(crowded, alone, platform, ferry, progress)
        calibration.fits = [scaled(fit, found.factors.get(fit.path, 1)) for fit in calibration.fits]
        fits = [scaled(fit, found.factors.get(fit.path, 1)) for fit in found.fits]
        calibration.untouched += found.untouched
        for fit in calibration.fits:
            _set(platform, fit, where)
    else:
        shared = "hypervisor.cpu" if "processors" in platform else "hypervisor.serial"
        calibration.untouched.append((shared, "no two moves overlapped"))
        factors = lone_factors(alone, platform, ferry)
        fits = ivshmem_fits(alone, ratio_of(platform["hypervisor"]["serial"]))
        calibration.fits, fits = ([scaled(fit, factors.get(fit.path, 1)) for fit in some]
                                  for some in (calibration.fits, fits))
        for fit in calibration.fits:
            _set(platform, fit, where)
    for fit in fits:
        calibration.fits.append(fit)
        _set(platform, fit, where)
    for fit in _fit_rank_rests(alone, platform, ferry):
        calibration.fits.append(fit)
        _set(platform, fit, where)
    calibration.residuals = _residuals(runs, platform, ferry)
    if variation is not None:
        platform["hypervisor"]["variation"] = variation
    spread = spread_fit("hypervisor.variation", operation_times(alone),
                        how="standard deviation of the logarithm of times that operations took alone, "
                            "within their scenarios and guest sizes, long ones counting most")
    if spread is not None:
        calibration.fits.append(spread)
        _set(platform, spread, where)
    else:
        calibration.untouched.append(("hypervisor.variation", "no operation was seen twice alone"))
    return calibration


def report(calibration: Calibration) -> str:
    """The tables that the command prints."""
    lines = [f"{'constant':<30} {'value':>12} {'95 % interval':>25} {'middle half':>25} {'from':>6}"]
    for fit in calibration.fits:
        lines.append(
            f"{fit.path:<30} {constant_text(fit.value, fit.unit):>12} "
            f"{_range(fit.low, fit.high, fit.unit):>25} "
            f"{_range(*fit.spread, fit.unit):>25} {fit.count:>6}"
        )
    few = [fit.path for fit in calibration.fits if fit.count < ENOUGH]
    if few:
        lines.append(f"resting on fewer than {ENOUGH} observations: {', '.join(few)}")
    for path, why in calibration.untouched:
        lines.append(f"{path}: kept, {why}")
    if calibration.untold:
        moves = ", ".join(f"{count} {why}" for why, count in calibration.untold.items())
        lines.append(f"moves alone that streams, hypervisor.finish and hypervisor.prepare do not rest on: {moves}")
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
             [_not_negative(move.pause - move.last_sent / speeds[move.transport])
              for move in alone if move.transport in speeds])
    # What a migration takes beside its rounds and its pause: no phase tells how much of it comes
    # before memory flows and how much after the switch-over.
    rests = [rest_of_migration(move) for move in alone if move.transport != "rdma"]
    constant("hypervisor.prepare", [_not_negative(rest) for rest in rests])
    known = sum(not math.isnan(rest) for rest in rests)
    if known:
        calibration.fits.append(Fit(
            "hypervisor.clean_up", 0.0, "s", known, 0.0, 0.0, (0.0, 0.0),
            how="contained in prepare"))
    _fit_attach(calibration, alone)


def _not_negative(time: float) -> float:
    """NaN stays NaN, which `max` alone would make zero."""
    return time if math.isnan(time) else max(0.0, time)


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

    def simulated(added: dict[str, float]) -> list[tuple[Move, Move]]:
        times = {name: constant_text(time, "s") for name, time in added.items()}
        mpi = {**platform.get("mpi", {}), **times}
        return simulate_moves(met, {**platform, "mpi": mpi}, ferry)

    return list(beyond_simulation(met, simulated))


# --- What the constants give ---


def _residuals(runs: Sequence[Run], platform: dict[str, Any], ferry: str) -> pd.DataFrame:
    """One row a scenario and quantity: medians, measured and simulated."""
    rows = []
    for same in by_scenario(runs):
        real = quantities(same)
        if real.empty:
            continue
        simulated = simulate(same[0], platform, ferry).rows.median()
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
    constant: dict[str, Any] = {"value": constant_text(fit.value, unit)}
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
                    "value": constant_text(fit.value, fit.unit),
                    "source": f"calibrated: at least what one stream reached; {text} was less "
                              f"({where})",
                    "kind": "measured",
                }


def _range(low: float, high: float, unit: str) -> str:
    return "-" if math.isnan(low) else f"{constant_text(low, unit)} to {constant_text(high, unit)}"
