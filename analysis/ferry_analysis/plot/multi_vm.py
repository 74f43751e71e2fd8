"""Grouped bars of the makespan against the number of VMs, with what the second series saves."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from ..assignments import Axis, axes_of, independent
from ..load import Folder, InputError, Run, Study, succeeded
from ..palette import INK, series_colour
from . import picture as pictures
from .picture import Margins, Picture

_NEEDS = (
    "multi_vm needs a study that varies exactly two paths: one that ends in .count (the x axis) "
    "and one more (the series, such as schedule.order)"
)


def picture(folder: Folder) -> Picture:
    """The makespan of each number of VMs and each value of the other path."""
    if isinstance(folder, Run):
        raise InputError(f"{folder.path}: is a run; {_NEEDS}")
    found = _count_and_series(folder)
    if found is None:
        varied = ", ".join(folder.paths) or "nothing"
        raise InputError(f"{folder.path / 'cells.csv'}: this study varies {varied}; {_NEEDS}")
    if "makespan_seconds" not in folder.cells:
        raise InputError(
            f"{folder.path / 'cells.csv'}:1: column makespan_seconds is missing; "
            "multi_vm needs it"
        )
    count, series = found
    with pictures.style():
        return _draw(folder, count, series, _prepare(folder, count, series))


def fits(study: Study) -> bool:
    """Whether a study varies what multi_vm needs."""
    return "makespan_seconds" in study.cells and _count_and_series(study) is not None


def _count_and_series(study: Study) -> tuple[Axis, Axis] | None:
    """The axis of counts and the other one; of paths in lock-step only the first counts."""
    axes = independent(axes_of(study.cells, study.paths), study.cells)
    counts = [axis for axis in axes if axis.path.endswith(".count") and axis.is_numeric]
    others = [axis for axis in axes if axis not in counts]
    if len(counts) != 1 or len(others) != 1:
        return None
    return counts[0], _reference_first(others[0])


def _reference_first(axis: Axis) -> Axis:
    """Savings are against `sequential` if there is such a value, else against the first."""
    if "sequential" not in axis.values:
        return axis
    rest = tuple(value for value in axis.values if value != "sequential")
    return Axis(axis.path, axis.name, ("sequential", *rest), axis.dimension)


def _prepare(study: Study, count: Axis, series: Axis) -> pd.DataFrame:
    """One row a bar: count, series, repetitions, makespan_seconds with its least and greatest
    value, and saved_percent against the first series (NaN for that one)."""
    done = succeeded(study.cells).dropna(subset=["makespan_seconds"])
    if done.empty:
        raise InputError(
            f"{study.path / 'cells.csv'}: has no cell that succeeded; multi_vm needs at least one"
        )
    medians = done.groupby([count.path, series.path])["makespan_seconds"]
    rows = []
    for vms in count.values:
        reference = np.nan
        for index, value in enumerate(series.values):
            if (vms, value) not in medians.groups:
                continue
            group = medians.get_group((vms, value))
            makespan = float(group.median())
            if index == 0:
                reference = makespan
            saved = 100 * (1 - makespan / reference) if index and reference > 0 else np.nan
            rows.append((vms, value, len(group), makespan, group.min(), group.max(), saved))
    columns = [
        count.path, series.path, "repetitions", "makespan_seconds", "makespan_min_seconds",
        "makespan_max_seconds", "saved_percent",
    ]
    return pd.DataFrame(rows, columns=columns)


def _draw(study: Study, count: Axis, series: Axis, data: pd.DataFrame) -> Picture:
    groups, bars = len(count.values), len(series.values)
    width = max(3.6, groups * (0.94 if bars <= 2 else 0.62 * bars))
    several = (data["repetitions"] > 1).any()
    failed = len(study.cells) - int(data["repetitions"].sum())
    subtitle = pictures.joined(
        pictures.origin(study),
        _repetitions(data),
        "error bars: least to greatest" if several else "",
        f"percentages: change against {series.text(series.values[0])}",
        f"{failed} of {len(study.cells)} cells failed and are left out" if failed else "",
    )
    right = 0.4 + max(pictures.text_width(series.text(value), 8.5) for value in series.values)
    margins = Margins(
        0.8, max(right + 0.45, 1.3), 0.6,
        pictures.subtitle_height(subtitle, 0.8 + width + max(right + 0.45, 1.3)),
    )
    figure, axes = pictures.new_axes(width, 3.2, margins)
    pictures.add_title(figure, f"{study.name}: makespan by number of VMs", subtitle)
    bar_width = 0.76 / bars
    for index, value in enumerate(series.values):
        chosen = data[data[series.path] == value]
        x = _positions(chosen, count) + (index - (bars - 1) / 2) * bar_width
        _draw_series(axes, chosen, x, bar_width, series_colour(index), series.text(value))
    _draw_savings(axes, data, count, series, bar_width)
    axes.set_xticks(range(groups), [count.label(value) for value in count.values])
    axes.tick_params(axis="x", length=0)
    axes.set_xlim(-0.6, groups - 0.4)
    axes.set_ylim(0, float(data["makespan_max_seconds"].max()) * 1.15 or 1.0)
    axes.set_ylabel("makespan (seconds)")
    axes.set_xlabel(_count_title(count))
    axes.grid(axis="y")
    axes.legend(
        loc="upper left", bbox_to_anchor=(1.01, 1.0), borderaxespad=0, title=series.name,
        alignment="left", title_fontsize=8.5,
    )
    return Picture("multi_vm", figure, data)


def _positions(rows: pd.DataFrame, count: Axis) -> np.ndarray:
    return np.array([count.values.index(value) for value in rows[count.path]], dtype=float)


def _draw_series(
    axes: Axes, rows: pd.DataFrame, x: np.ndarray, bar_width: float, colour: str, label: str
) -> None:
    heights = rows["makespan_seconds"].to_numpy()
    axes.bar(x, heights, bar_width * 0.94, color=colour, label=label)
    several = (rows["repetitions"] > 1).to_numpy()
    if several.any():
        below = heights - rows["makespan_min_seconds"].to_numpy()
        above = rows["makespan_max_seconds"].to_numpy() - heights
        axes.errorbar(
            x[several], heights[several],
            yerr=np.clip([below[several], above[several]], 0, None),
            fmt="none", ecolor=INK, elinewidth=1.0, capsize=2.5,
        )


def _draw_savings(
    axes: Axes, data: pd.DataFrame, count: Axis, series: Axis, bar_width: float
) -> None:
    """Over each pair with two series, over each bar but the first with more."""
    pair = len(series.values) == 2
    for row in data[data["saved_percent"].notna()].to_dict("records"):
        position = count.values.index(row[count.path])
        index = series.values.index(row[series.path])
        same = data[data[count.path] == row[count.path]] if pair else pd.DataFrame([row])
        x = position if pair else position + (index - (len(series.values) - 1) / 2) * bar_width
        axes.annotate(
            _saving_text(row["saved_percent"]), (x, same["makespan_max_seconds"].max()), (0, 3),
            textcoords="offset points", ha="center", va="bottom",
            size=9 if pair else 7, weight="bold",
        )


def _saving_text(saved_percent: float) -> str:
    change = round(-saved_percent)
    return f"{change:+d} %".replace("-", "−") if change else "0 %"


def _count_title(count: Axis) -> str:
    return f"number of VMs ({count.path})" if count.path.startswith("vms.") else count.path


def _repetitions(data: pd.DataFrame) -> str:
    low, high = int(data["repetitions"].min()), int(data["repetitions"].max())
    if high == 1:
        return ""
    return f"median over {low if low == high else f'{low} to {high}'} repetitions"
