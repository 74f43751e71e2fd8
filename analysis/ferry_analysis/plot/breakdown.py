"""Stacked bars of the seven phases, with a table of their values below."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patches import Patch, Rectangle

from ..assignments import Axis, axes_of, display_name, sort_key, without_lock_step
from ..load import PHASES, Folder, InputError, Run, Study, succeeded
from ..palette import FAINT_INK, INK, phase_colour
from ..quantities import plain_seconds_text
from . import picture as pictures
from .picture import Margins, Picture

_TABLE_BARS = 20  # up to here each bar's values stand below it, beyond they are in the legend
_ROW_HEIGHT = 0.19  # inches, of the table
_BAR_WIDTH = 0.72  # of a column
_SMALLEST = 6.5  # points, of a label; a longer one is cut
_LONGEST_LABEL = 3.2  # inches, of a label that stands upright


@dataclass(frozen=True)
class Bars:
    """What is drawn: `data` has one row a bar, from left to right.

    Columns: one for each axis (text), `count` (of the moves or repetitions that were averaged),
    `failed_moves`, `missing_cells`, `<phase>_seconds`, `total_seconds`, `total_min_seconds`,
    `total_max_seconds`.
    """

    data: pd.DataFrame
    axes: list[Axis]
    method: str
    failed_moves: int  # of the whole folder: also of what has no bar, as nothing of it succeeded
    missing_cells: int


def picture(folder: Folder) -> Picture:
    """The mean seconds of each phase: a bar for each assignment of a study, or move of a run."""
    bars = _run_bars(folder) if isinstance(folder, Run) else _study_bars(folder)
    with pictures.style():
        return _draw(folder, bars)


def _run_bars(run: Run) -> Bars:
    moves = run.migrations
    done = succeeded(moves)
    if done.empty:
        what = "has no moves" if moves.empty else "has no move that succeeded"
        raise InputError(
            f"{run.path / 'migrations.csv'}: {what}; breakdown needs at least one"
        )
    paths = ["migration", "transport", *(["device"] if "device" in moves else [])]
    axes = axes_of(done, paths)
    if any(axis.path == "transport" for axis in axes):
        axes = _without_lock_step_names(axes, done)
    keys = [axis.path for axis in axes] or ["transport"]
    rows = []
    for key, group in _groups(done, keys):
        lost = len(moves[_equal(moves, key)]) - len(group)
        rows.append(_bar(key, group, np.mean, failed_moves=lost, missing_cells=0))
    moved = _counts_text([row["count"] for row in rows], "move", "moves")
    method = moved if all(row["count"] == 1 for row in rows) else f"mean over {moved}"
    return Bars(_in_order(rows, axes), axes or [_single_axis(keys[0], done)], method,
                failed_moves=len(moves) - len(done), missing_cells=0)


def _study_bars(study: Study) -> Bars:
    cells = study.cells
    needed = [*(f"{phase}_seconds" for phase in PHASES), "total_seconds"]
    missing = [column for column in needed if column not in cells]
    if missing:
        raise InputError(
            f"{study.path / 'cells.csv'}:1: breakdown needs the columns {', '.join(missing)}; "
            "a study whose cells migrate has them"
        )
    done = cells.dropna(subset=["total_seconds"])  # means over the moves that succeeded
    if done.empty:
        raise InputError(
            f"{study.path / 'cells.csv'}: has no cell with a migration that succeeded; "
            "breakdown needs at least one"
        )
    axes = without_lock_step(axes_of(done, study.paths), done)
    keys = [axis.path for axis in axes]
    rows = []
    for key, group in _groups(done, keys):
        missing = len(cells[_equal(cells, key)]) - len(group)
        lost = int(group["failed"].sum()) if "failed" in group else 0
        rows.append(_bar(key, group, np.median, failed_moves=lost, missing_cells=missing))
    counts = [row["count"] for row in rows]
    method = (
        "mean over the moves of a run"
        if max(counts) == 1
        else f"median over {_counts_text(counts, 'repetition', 'repetitions')}"
    )
    return Bars(_in_order(rows, axes), axes, method,
                failed_moves=sum(row["failed_moves"] for row in rows), missing_cells=len(cells) - len(done))


def _groups(
    table: pd.DataFrame, keys: Sequence[str]
) -> Iterator[tuple[dict[str, str], pd.DataFrame]]:
    """The rows that share their values of the keys; without keys all of them."""
    for values in dict.fromkeys(zip(*(table[key] for key in keys))) if keys else [()]:
        key = dict(zip(keys, values))
        yield key, table[_equal(table, key)]


def _bar(
    key: dict[str, str], group: pd.DataFrame, average: Callable[[pd.Series], float],
    failed_moves: int, missing_cells: int,
) -> dict[str, object]:
    phases = {}
    for phase in PHASES:
        values = group[f"{phase}_seconds"].dropna()
        phases[f"{phase}_seconds"] = float(average(values)) if len(values) else np.nan
    total = group["total_seconds"]
    return {
        **key,
        "count": len(group),
        "failed_moves": failed_moves,
        "missing_cells": missing_cells,
        **phases,
        "total_seconds": float(average(total)),
        "total_min_seconds": float(total.min()),
        "total_max_seconds": float(total.max()),
    }


def _in_order(rows: list[dict[str, object]], axes: Sequence[Axis]) -> pd.DataFrame:
    return pd.DataFrame(sorted(rows, key=lambda row: sort_key(axes, row)))


def _equal(table: pd.DataFrame, key: dict[str, str]) -> pd.Series:
    wanted = pd.Series(True, index=table.index)
    for column, value in key.items():
        wanted &= table[column] == value
    return wanted


def _without_lock_step_names(axes: list[Axis], moves: pd.DataFrame) -> list[Axis]:
    """Migration names say nothing more if each has its own transport."""
    transports = moves["transport"].nunique()
    names = moves["migration"].nunique()
    pairs = len(moves[["migration", "transport"]].drop_duplicates())
    if transports == names == pairs:
        return [axis for axis in axes if axis.path != "migration"]
    return axes


def _single_axis(path: str, table: pd.DataFrame) -> Axis:
    return Axis(path, path, tuple(dict.fromkeys(table[path])), "")


def _counts_text(counts: Sequence[int], one: str, many: str) -> str:
    low, high = min(counts), max(counts)
    if low == high:
        return f"{low} {one if low == 1 else many}"
    return f"{low} to {high} {many}"


def _draw(folder: Folder, bars: Bars) -> Picture:
    has_table = len(bars.data) <= _TABLE_BARS
    left = _positions(bars)
    column = _column_width(bars, has_table)
    width = max(2.6, column * (left[-1] + 1))
    margins = _margins(bars, has_table)
    subtitle = _subtitle(folder, bars)
    margins = Margins(
        margins.left, margins.right, margins.bottom,
        pictures.subtitle_height(subtitle, margins.left + width + margins.right),
    )
    figure, axes = pictures.new_axes(width, 3.3, margins)
    pictures.add_title(figure, f"{folder.name}: migration time by phase", subtitle)
    _draw_bars(axes, bars, left, column)
    spare = (width / column - left[-1] - 1) / 2
    axes.set_xlim(-0.5 - spare, left[-1] + 0.5 + spare)
    if has_table:
        _draw_table(axes, bars, left, column, margins)
    else:
        _draw_labels(axes, bars, left, column)
        _draw_legend(axes, bars)
    return Picture("breakdown", figure, bars.data)


def _positions(bars: Bars) -> list[float]:
    """Where the bars stand, in columns; the groups of the outermost axis keep a distance."""
    if len(bars.axes) < 2:
        return [float(index) for index in range(len(bars.data))]
    outer = bars.data[bars.axes[0].path].tolist()
    positions, at = [], 0.0
    for index, value in enumerate(outer):
        at += 0.4 if index and value != outer[index - 1] else 0.0
        positions.append(index + at)
    return positions


def _column_width(bars: Bars, has_table: bool) -> float:
    """Inches of one column: its innermost label fits, within reason."""
    if not has_table:
        return max(0.055, min(0.35, 14.0 / len(bars.data)))
    innermost = bars.axes[-1:] or []
    longest = max(
        (pictures.text_width(axis.label(value), 9) for axis in innermost for value in axis.values),
        default=0.5,
    )
    roomy = 1.0 if len(bars.data) <= 5 else 0.52
    return min(max(roomy, longest + 0.1), 1.6 if len(bars.data) <= 10 else 0.9)


def _margins(bars: Bars, has_table: bool) -> Margins:
    if has_table:
        header = max(
            (pictures.text_width(axis.title, 8.5) for axis in bars.axes), default=0.0
        )
        rows = len(bars.axes) + len(PHASES)
        return Margins(max(1.75, header + 0.3), 0.3, 0.42 + rows * _ROW_HEIGHT, 0.75)
    longest = max(pictures.text_width(text, 8) for text in _one_line_labels(bars))
    return Margins(0.75, 3.1, 0.5 + longest, 0.75)


def _subtitle(folder: Folder, bars: Bars) -> str:
    spread = "error bars: shortest to longest total" if (bars.data["count"] > 1).any() else ""
    lost, missing = bars.failed_moves, bars.missing_cells
    stacked = bars.data[[f"{phase}_seconds" for phase in PHASES]].sum(axis=1)
    apart = bars.method.startswith("median") and any(
        plain_seconds_text(stack) != plain_seconds_text(total)
        for stack, total in zip(stacked, bars.data["total_seconds"])
    )
    return pictures.joined(
        pictures.origin(folder), bars.method, spread,
        "bold: the median of the totals, which the medians of the phases need not add up to" if apart else "",
        f"left out: {_counts_text([lost], 'failed move', 'failed moves')}" if lost else "",
        f"without values: {_counts_text([missing], 'cell', 'cells')}" if missing else "",
    )


def _draw_bars(axes: Axes, bars: Bars, left: Sequence[float], column: float) -> None:
    data = bars.data
    bottom = np.zeros(len(data))
    tallest = float(data["total_max_seconds"].max())
    for phase in PHASES:
        heights = data[f"{phase}_seconds"].fillna(0.0).to_numpy()
        thick = (heights > 0.02 * tallest) & (column > 0.2)  # an edge would hide a thin one
        axes.bar(
            left, heights, _BAR_WIDTH if column > 0.2 else 0.9, bottom, label=phase,
            color=phase_colour(phase), edgecolor="white", linewidth=np.where(thick, 0.5, 0.0),
        )
        bottom += heights
    totals = data["total_seconds"].to_numpy()
    highest = np.maximum(data["total_max_seconds"].to_numpy(), bottom)
    _draw_spread(axes, data, left, column)
    axes.set_ylim(0, float(highest.max()) * 1.12 or 1.0)
    axes.set_ylabel("time (seconds)")
    axes.grid(axis="y")
    if column >= 0.3:
        unit = " s" if column >= 0.7 else ""
        for x, total, top in zip(left, totals, highest):
            axes.annotate(
                plain_seconds_text(total) + unit, (x, top), (0, 3), textcoords="offset points",
                ha="center", va="bottom", size=9 if column >= 0.5 else 7, weight="bold",
            )


def _draw_spread(axes: Axes, data: pd.DataFrame, left: Sequence[float], column: float) -> None:
    several = (data["count"] > 1).to_numpy()
    if not several.any():
        return
    totals = data["total_seconds"].to_numpy()
    below = totals - data["total_min_seconds"].to_numpy()
    above = data["total_max_seconds"].to_numpy() - totals
    axes.errorbar(
        np.asarray(left)[several], totals[several],
        yerr=np.clip([below[several], above[several]], 0, None),
        fmt="none", ecolor=INK, elinewidth=1.0, capsize=3 if column > 0.2 else 0,
    )


def _draw_table(
    axes: Axes, bars: Bars, left: Sequence[float], column: float, margins: Margins
) -> None:
    """Labels and values under the bars; the row heads are the legend, in the order of the stack."""
    figure = axes.figure
    width, height = figure.get_size_inches()
    box = axes.get_position()
    rows = len(bars.axes) + len(PHASES)
    table = figure.add_axes(
        (box.x0, 0.3 / height, box.width, (margins.bottom - 0.36) / height), sharex=axes
    )
    table.axis("off")
    table.set_ylim(rows, 0)
    axes.tick_params(axis="x", bottom=False, labelbottom=False)
    for row, axis in enumerate(reversed(bars.axes)):
        outer = bars.axes[: len(bars.axes) - row]
        _draw_label_row(table, bars.data, outer, left, row + 0.5, column)
    first = len(bars.axes)
    table.axhline(first, color=FAINT_INK, linewidth=0.6)
    head = table.get_yaxis_transform()
    gap = 0.1 / (box.width * width)
    swatch = 0.11 / (box.width * width)
    for row, phase in enumerate(reversed(PHASES), start=first):
        table.add_patch(
            Rectangle(
                (-gap - swatch, row + 0.22), swatch, 0.56, transform=head, clip_on=False,
                facecolor=phase_colour(phase), edgecolor="none", gid=f"key-{phase}",
            )
        )
        table.text(
            -gap * 1.6 - swatch, row + 0.5, phase, transform=head, ha="right", va="center", size=8.5
        )
        for x, seconds in zip(left, bars.data[f"{phase}_seconds"]):
            table.text(x, row + 0.5, plain_seconds_text(seconds), ha="center", va="center", size=8)
    figure.text(
        0.15 / width, 0.13 / height, "values in seconds; the bars stack in the order of the rows",
        size=7.5, color=FAINT_INK, va="center",
    )


def _draw_label_row(
    table: Axes, data: pd.DataFrame, axes: Sequence[Axis], left: Sequence[float], y: float,
    column: float,
) -> None:
    """One axis's values, each once over the bars that share it and all outer values."""
    axis = axes[-1]
    table.text(
        0, y, f"{axis.title}  ", transform=table.get_yaxis_transform(), ha="right", va="center",
        size=8.5, color=FAINT_INK,
    )
    keys = list(zip(*(data[outer.path] for outer in axes)))
    spans, start = [], 0  # label, its middle and its room in inches
    for index in range(1, len(keys) + 1):
        if index < len(keys) and keys[index] == keys[start]:
            continue
        room = (left[index - 1] - left[start] + 0.96) * column
        spans.append((axis.label(keys[start][-1]), (left[start] + left[index - 1]) / 2, room))
        start = index
    fitting = min(
        9.0 * room / max(pictures.text_width(label, 9.0), 1e-9) for label, _, room in spans
    )
    size = min(9.0, max(fitting, _SMALLEST))
    for label, middle, room in spans:
        label = pictures.cut(label, size, room)
        table.text(middle, y, label, ha="center", va="center", size=size)


def _one_line_labels(bars: Bars) -> list[str]:
    labels = (
        ", ".join(axis.label(row[axis.path]) for axis in bars.axes)
        for row in bars.data.to_dict("records")
    )
    return [pictures.cut(label, 8, _LONGEST_LABEL) for label in labels]


def _draw_labels(axes: Axes, bars: Bars, left: Sequence[float], column: float) -> None:
    labels = _one_line_labels(bars)
    step = max(1, int(np.ceil(0.15 / column)))
    axes.set_xticks(left[::step], labels[::step], rotation=90, size=8)
    shown = "" if step == 1 else f" (one in {step} is labelled)"
    axes.set_xlabel(", ".join(display_name(axis.title) for axis in bars.axes) + shown)


def _draw_legend(axes: Axes, bars: Bars) -> None:
    """The phases in the order of the stack, each with the range of its values over the bars."""
    handles = []
    for phase in reversed(PHASES):
        values = bars.data[f"{phase}_seconds"].dropna()
        low, high = (
            (plain_seconds_text(values.min()), plain_seconds_text(values.max()))
            if len(values) else ("–", "–")
        )
        text = f"{phase}  {low} s" if low == high else f"{phase}  {low} to {high} s"
        handles.append(Patch(facecolor=phase_colour(phase), label=text))
    axes.legend(handles=handles, loc="upper left", bbox_to_anchor=(1.01, 1.0), borderaxespad=0)
