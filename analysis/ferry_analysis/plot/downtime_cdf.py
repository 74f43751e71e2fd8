"""The share of moves whose VM was paused for at most so long."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from ..assignments import (
    Axis, assignment_text, axes_of, display_name, sort_key, transport_rank, without_lock_step,
)
from ..load import Folder, InputError, Run, Study, succeeded
from ..palette import line_style, series_colour
from . import picture as pictures
from .picture import Margins, Picture

_CURVES = 24  # that many line styles differ
_APART = 8  # so many curves are told apart; more are grouped by what the study varies
_GROUPS = 6  # so many colours differ
_LEVELS = tuple(np.arange(1, 20) / 20)  # of quantiles, by which groups are held against each other
_VECTOR_POINTS = 20000


def picture(folder: Folder) -> Picture:
    """One curve for each transport of a run or each assignment of a study; of many assignments, thin
    ones in the colour of a group, and a thick one over all moves of the group."""
    downtimes, lost = _run_moves(folder) if isinstance(folder, Run) else _study_moves(folder)
    curves = list(dict.fromkeys(downtimes["curve"]))  # in the order in which they are drawn
    by = _grouping(folder, downtimes) if isinstance(folder, Study) and len(curves) > _APART else None
    if by is not None:
        groups = [by.text(value) for value in by.values if (downtimes[by.path] == value).any()]
        downtimes["group"] = downtimes[by.path].map(by.text)
        tables = [_distribution(downtimes, curve).assign(group=downtimes.loc[downtimes["curve"] == curve, "group"].iloc[0])
                  for curve in curves]
        pooled = downtimes.assign(curve=downtimes["group"])
        tables += [_distribution(pooled, group).assign(group=group) for group in groups]
        with pictures.style():
            return _draw(folder, pd.concat(tables, ignore_index=True), groups, lost, (by.name, curves))
    if len(curves) > _CURVES:
        raise InputError(
            f"{folder.path}: has {len(curves)} assignments; "
            f"downtime_cdf draws at most {_CURVES} curves"
        )
    data = pd.concat([_distribution(downtimes, curve) for curve in curves], ignore_index=True)
    with pictures.style():
        return _draw(folder, data, curves, lost)


def _run_moves(run: Run) -> tuple[pd.DataFrame, int]:
    """Table of curve and downtime_ms, one row a move; and how many moves have no downtime."""
    moves = run.migrations
    done = succeeded(moves).dropna(subset=["downtime_seconds"])
    if done.empty:
        raise InputError(
            f"{run.path / 'migrations.csv'}: has no move with a downtime; "
            "downtime_cdf needs at least one"
        )
    order = done["transport"].map(transport_rank).sort_values(kind="stable").index
    done = done.loc[order]
    names = done["transport"].map(display_name)
    return _table(names, done["downtime_seconds"]), len(moves) - len(done)


def _grouping(study: Study, downtimes: pd.DataFrame) -> Axis | None:
    """What parts the curves most, by how far those of its values are apart on average; None if
    everything has too many values, or only one thing varies."""
    axes = without_lock_step(axes_of(study.cells, study.paths), study.cells)

    def apart(axis: Axis) -> float:
        groups = downtimes.groupby(axis.path)["downtime_ms"]
        quantiles = np.stack([values.quantile(_LEVELS).to_numpy() for _, values in groups])
        return float(np.ptp(quantiles, axis=0).mean())

    few = [axis for axis in axes if len(axis.values) <= _GROUPS]
    return max(few, key=apart) if len(axes) > 1 and few else None


def _study_moves(study: Study) -> tuple[pd.DataFrame, int]:
    axes = without_lock_step(axes_of(study.cells, study.paths), study.cells)
    rows, lost = [], 0
    for assignment, run in study.runs():
        done = succeeded(run.migrations).dropna(subset=["downtime_seconds"])
        lost += len(run.migrations) - len(done)
        rows.append((sort_key(axes, assignment), assignment, done["downtime_seconds"]))
    if not any(len(downtimes) for _, _, downtimes in rows):
        raise InputError(
            f"{study.path / 'cells'}: has no move with a downtime; downtime_cdf needs at least one"
        )
    rows.sort(key=lambda row: row[0])
    tables = [
        _table(pd.Series(assignment_text(axes, assignment) or "all", downtimes.index), downtimes)
        .assign(**{axis.path: assignment[axis.path] for axis in axes})
        for _, assignment, downtimes in rows
    ]
    return pd.concat(tables, ignore_index=True), lost


def _table(curves: pd.Series, downtime_seconds: pd.Series) -> pd.DataFrame:
    return pd.DataFrame({"curve": curves, "downtime_ms": 1000 * downtime_seconds})


def _distribution(downtimes: pd.DataFrame, curve: str) -> pd.DataFrame:
    """Columns curve, downtime_ms (ascending), share (of moves with at most this downtime)."""
    values = np.sort(downtimes.loc[downtimes["curve"] == curve, "downtime_ms"].to_numpy())
    share = np.arange(1, len(values) + 1) / len(values)
    return pd.DataFrame({"curve": curve, "downtime_ms": values, "share": share})


def _draw(
    folder: Folder, data: pd.DataFrame, curves: list[str], lost: int,
    grouped: tuple[str, list[str]] = ("", []),
) -> Picture:
    """Thick curves with a label each; of `grouped` the second are the thin ones, without a label."""
    by, thin = grouped
    moves = int(data["curve"].isin(curves).sum())
    subtitle = pictures.joined(
        pictures.origin(folder),
        f"{moves} moves" if moves != 1 else "1 move",
        f"thin: the {len(thin)} assignments; thick: all moves of each {by} together" if thin else "",
        f"{lost} without a downtime left out" if lost else "",
    )
    labels = {curve: _label(data[data["curve"] == curve]) for curve in curves}
    lines = [line for label in labels.values() for line in label.split("\n")]
    longest = max(pictures.text_width(line, 8.5) for line in lines)
    right = 0.75 + longest
    width = 5.0
    margins = Margins(0.8, right, 0.6, pictures.subtitle_height(subtitle, 0.8 + width + right))
    height = max(3.2, 0.36 * len(curves) + 0.2)
    figure, axes = pictures.new_axes(width, height, margins)
    pictures.add_title(figure, f"{folder.name}: downtime of the VMs", subtitle)
    least, most = data["downtime_ms"].min(), data["downtime_ms"].max()
    logarithmic = least > 0 and most / least > 50
    edge = (least / 1.2, most * 1.2) if logarithmic else _linear_limits(least, most)
    for curve in thin:
        points = data[data["curve"] == curve]
        axes.step(
            [edge[0], *points["downtime_ms"], edge[1]], [0.0, *points["share"], 1.0],
            where="post", linewidth=0.7, alpha=0.45, rasterized=len(points) > _VECTOR_POINTS,
            color=series_colour(curves.index(points["group"].iloc[0])),
        )
    for index, curve in enumerate(curves):
        points = data[data["curve"] == curve]
        axes.step(
            [edge[0], *points["downtime_ms"], edge[1]], [0.0, *points["share"], 1.0],
            where="post", linewidth=2.2 if thin else 1.6, label=labels[curve],
            rasterized=len(points) > _VECTOR_POINTS, **line_style(index),
        )
    if logarithmic:
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.set_xlim(*edge)
    axes.set_ylim(0, 1.02)
    axes.set_yticks([0, 0.25, 0.5, 0.75, 1.0], ["0", "25 %", "50 %", "75 %", "100 %"])
    axes.set_xlabel("downtime (ms)" + (", logarithmic scale" if logarithmic else ""))
    axes.set_ylabel("moves with at most this downtime")
    axes.grid()
    axes.legend(
        loc="upper left", bbox_to_anchor=(1.02, 1.0), borderaxespad=0, handlelength=3.2,
        labelspacing=0.8,
    )
    return Picture("downtime_cdf", figure, data)


def _linear_limits(least: float, most: float) -> tuple[float, float]:
    """From zero, unless the values fill only a small part of that range."""
    margin = 0.05 * (most - least) or max(0.05 * most, 0.5)
    if least > 0.7 * most:
        return max(0.0, least - margin), most + margin
    return 0.0, most + margin


def _label(points: pd.DataFrame) -> str:
    """The curve's name and, in the line below, its number of moves, median and 99th percentile."""
    values = points["downtime_ms"].to_numpy()
    median = values[math.ceil(0.5 * len(values)) - 1]
    high = values[math.ceil(0.99 * len(values)) - 1]
    numbers = f"median {median:.3g} ms, 99 %: {high:.3g} ms, n = {len(values)}"
    return f"{points['curve'].iloc[0]}\n{numbers}"
