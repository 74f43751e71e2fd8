"""A metric over a numeric axis of a study: a line a series, a panel for each value of the rest."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, NullFormatter, NullLocator

from ..assignments import Axis, axes_of, quantity_of, without_lock_step
from ..intervals import METHOD, mean_interval
from ..load import Folder, InputError, Run, Study, failed
from ..metrics import metric_title
from ..palette import FAINT_INK, INK, line_style
from . import picture as pictures
from .picture import Picture

_SERIES = 12  # more lines in one panel cannot be told apart
_PANELS = 12
_DEFAULT_METRICS = ("makespan_seconds", "total_seconds")
_LOGARITHMIC_FROM = 30  # greatest over smallest value of y
MARKERS = "osD^vP*"  # seven, and six colours: the first 42 lines differ
_MARK_HEIGHT = 0.05  # of a panel: what the mark of a failure takes
_NEEDS = "curve needs a study that varies at least one path over numbers"


@dataclass(frozen=True)
class Choice:
    """What the user wants over what; None: what suits the study."""

    x: str | None = None
    y: str | None = None
    by: str | None = None


@dataclass(frozen=True)
class Curves:
    """What is drawn: `data` has one row a point.

    Columns: the paths of panels, series and x (text), `x` (number), `repetitions`, `failed`,
    `mean`, `low`, `high` (the confidence interval; NaN for a single repetition).
    """

    data: pd.DataFrame
    x: Axis
    y: str
    series: Axis | None
    panels: list[Axis]


def every_picture(folder: Folder) -> list[Picture]:
    """One for each of `choices`; several are named by their metrics."""
    if isinstance(folder, Run):
        return [picture(folder)]
    chosen = choices(folder)
    metrics = [choice.y for choice in chosen]
    if len(chosen) == 1:
        return [picture(folder, chosen[0])]
    names = [
        f"curve-{choice.y}" if metrics.count(choice.y) == 1 else f"curve-{number}-{choice.y}"
        for number, choice in enumerate(chosen, 1)
    ]
    return [picture(folder, choice, name) for choice, name in zip(chosen, names)]


def picture(folder: Folder, choice: Choice = Choice(), name: str = "curve") -> Picture:
    """The means over repetitions with their confidence intervals."""
    if isinstance(folder, Run):
        raise InputError(f"{folder.path}: is a run; {_NEEDS}")
    curves = prepare(folder, choice)
    with pictures.style():
        return _draw(folder, curves, name)


def choices(study: Study) -> list[Choice]:
    """What the study's file asks for; if it says nothing, what suits the study."""
    return [Choice(curve.get("x"), curve["y"], curve.get("by")) for curve in study.curves] or [Choice()]


def fits(study: Study) -> bool:
    """Whether a study has an axis of numbers, three at least, and a metric to draw."""
    axes = without_lock_step(axes_of(study.cells, study.paths), study.cells)
    if study.curves:
        return True
    return _default_metric(study) is not None and any(
        axis.is_numeric and len(axis.values) >= 3 for axis in axes
    )


def prepare(study: Study, choice: Choice) -> Curves:
    cells = study.cells
    every = axes_of(cells, study.paths)
    axes = without_lock_step(every, cells)
    x = _x_axis(study, axes, every, choice.x)
    y = _metric(study, choice.y)
    rest = [axis for axis in axes if not _same_steps(axis, x, cells)]
    series = _series_axis(study, rest, choice.by)
    panels = [axis for axis in rest if axis is not series]
    count = math.prod(len(axis.values) for axis in panels)
    if count > _PANELS:
        raise InputError(
            f"{study.path}: curve would need {count} panels, for the values of "
            f"{', '.join(axis.path for axis in panels)}; {_PANELS} can be drawn: a study that "
            "varies less would be right"
        )
    keys = [axis.path for axis in (*panels, *([series] if series else []), x)]
    values = pd.Series(list(zip(*(cells[key] for key in keys))), index=cells.index, dtype=object)
    rows = [_point(dict(zip(keys, key)), group, x, y) for key, group in cells.groupby(values)]
    order = [*panels, *([series] if series else []), x]
    rows.sort(key=lambda row: tuple(axis.values.index(row[axis.path]) for axis in order))
    data = pd.DataFrame(rows)
    if data["mean"].isna().all():
        raise InputError(
            f"{study.path / 'cells.csv'}: {y} has no values in cells that succeeded; "
            "curve needs at least one"
        )
    return Curves(data, x, y, series, panels)


def _point(key: dict[str, str], group: pd.DataFrame, x: Axis, y: str) -> dict[str, object]:
    lost = group["outcome"].map(failed)
    values = group.loc[~lost, y].dropna()
    mean, low, high = mean_interval(values) if len(values) else (math.nan,) * 3
    quantity = quantity_of(x.path, key[x.path])
    return {
        **key, "x": quantity.value if quantity else math.nan, "repetitions": len(values),
        "failed": int(lost.sum()), "mean": mean, "low": low, "high": high,
    }


def _x_axis(study: Study, axes: Sequence[Axis], every: Sequence[Axis], path: str | None) -> Axis:
    if path is not None:
        axis = _named(study, every, path, "--x")
        if not axis.is_numeric:
            raise InputError(
                f"--x {path}: its values are no numbers of one unit; "
                f"{_numeric_text(every)} would be right"
            )
        return axis
    numeric = [axis for axis in axes if axis.is_numeric]
    if not numeric:
        varied = ", ".join(study.paths) or "nothing"
        raise InputError(f"{study.path / 'cells.csv'}: this study varies {varied}; {_NEEDS}")
    return max(numeric, key=lambda axis: len(axis.values))


def _metric(study: Study, metric: str | None) -> str:
    if metric is None:
        found = _default_metric(study)
        if found is None:
            raise InputError(
                f"{study.path / 'cells.csv'}:1: has neither {' nor '.join(_DEFAULT_METRICS)}; "
                f"--y with one of {_metrics_text(study)} would be right"
            )
        return found
    if metric not in _metrics(study):
        raise InputError(f"--y {metric}: no such metric; one of {_metrics_text(study)} would be right")
    return metric


def _series_axis(study: Study, axes: Sequence[Axis], path: str | None) -> Axis | None:
    if path is not None:
        return _named(study, axes, path, "--by")
    fitting = [axis for axis in axes if len(axis.values) <= _SERIES]
    # Words make better lines than numbers, which make better panels.
    return max(fitting, key=lambda axis: (not axis.is_numeric, len(axis.values)), default=None)


def _named(study: Study, axes: Sequence[Axis], path: str, option: str) -> Axis:
    for axis in axes:
        if path in (axis.path, axis.name):
            return axis
    names = ", ".join(axis.path for axis in axes) or "nothing else"
    raise InputError(f"{option} {path}: this study does not vary it; it varies {names}")


def _same_steps(axis: Axis, x: Axis, cells: pd.DataFrame) -> bool:
    """Whether an axis is x, or moves with it."""
    pairs = set(zip(cells[axis.path], cells[x.path]))
    return len(pairs) == len(axis.values) == len(x.values)


def _default_metric(study: Study) -> str | None:
    return next((metric for metric in _DEFAULT_METRICS if metric in study.cells), None)


def _metrics(study: Study) -> list[str]:
    known = {"cell", "repetition", "seed", "outcome", "reason", *study.paths}
    return [column for column in study.cells if column not in known]


def _metrics_text(study: Study) -> str:
    return ", ".join(_metrics(study))


def _numeric_text(axes: Sequence[Axis]) -> str:
    return ", ".join(axis.path for axis in axes if axis.is_numeric) or "a path over numbers"


# --- Drawing ---


def _draw(study: Study, curves: Curves, name: str) -> Picture:
    data = curves.data
    panels = list(dict.fromkeys(zip(*(data[axis.path] for axis in curves.panels)))) or [()]
    columns = min(3, len(panels)) if len(panels) != 4 else 2
    lines = -(-len(panels) // columns)
    width, height = (5.0, 3.3) if len(panels) == 1 else (3.1, 2.5)
    legend = _legend_width(curves)
    left, gap_x, gap_y, bottom = 0.8, 0.25, 0.42, 0.62
    total_width = left + columns * width + (columns - 1) * gap_x + legend
    subtitle = _subtitle(study, curves)
    top = pictures.subtitle_height(subtitle, total_width) + (0.22 if curves.panels else 0.0)
    total_height = bottom + lines * height + (lines - 1) * gap_y + top
    figure = pictures.new_figure(total_width, total_height)
    pictures.add_title(
        figure, f"{study.name}: {metric_title(curves.y).split(' (')[0]} over {axis_name(curves.x)}", subtitle
    )
    scale = Scale.of(curves)
    for index, values in enumerate(panels):
        row, column = divmod(index, columns)
        axes = figure.add_axes(
            (
                (left + column * (width + gap_x)) / total_width,
                (bottom + (lines - 1 - row) * (height + gap_y)) / total_height,
                width / total_width, height / total_height,
            )
        )
        chosen = data
        for axis, value in zip(curves.panels, values):
            chosen = chosen[chosen[axis.path] == value]
        _draw_panel(axes, chosen, curves, scale)
        if values:
            axes.set_title(
                ", ".join(titled(axis, value) for axis, value in zip(curves.panels, values)),
                size=9, color=INK, loc="left", pad=4,
            )
        last_in_column = index + columns >= len(panels)
        axes.tick_params(labelleft=column == 0, labelbottom=last_in_column)
        if column == 0:
            axes.set_ylabel(metric_title(curves.y))
        if last_in_column:
            axes.set_xlabel(scale.x_title)
    _draw_legend(figure, curves, data, 1 - (legend - 0.15) / total_width, 1 - top / total_height)
    return Picture(name, figure, data)


@dataclass(frozen=True)
class Scale:
    """Both scales, the same in every panel."""

    x_title: str
    x_ticks: list[float]
    x_labels: list[str]
    x_logarithmic: bool
    y_logarithmic: bool
    y_limits: tuple[float, float]

    @staticmethod
    def of(curves: Curves) -> "Scale":
        points = curves.data.drop_duplicates(curves.x.path).sort_values("x")
        ticks = points["x"].tolist()
        labels, unit = _without_unit([curves.x.label(value) for value in points[curves.x.path]])
        x_logarithmic = _spaced_by_factors(ticks)
        ends = pd.concat([curves.data[name] for name in ("mean", "low", "high")]).dropna()
        least, most = float(ends.min()), float(ends.max())
        y_logarithmic = least > 0 and most / least >= _LOGARITHMIC_FROM
        limits = (least / 1.35, most * 1.35) if y_logarithmic else _linear_limits(least, most)
        limits = _with_room_above(limits, _most_failures(curves) * _MARK_HEIGHT, y_logarithmic)
        return Scale(_x_title(curves.x, unit, x_logarithmic), ticks, labels, x_logarithmic,
                      y_logarithmic, limits)


def _linear_limits(least: float, most: float) -> tuple[float, float]:
    """From zero, unless the values fill only a small part of that range."""
    margin = 0.08 * (most - least) or 0.05 * abs(most) or 1.0
    if least > 0.7 * most:
        return max(0.0, least - margin), most + margin
    return min(0.0, least - margin), most + margin


def _x_title(x: Axis, unit: str, logarithmic: bool) -> str:
    title = axis_name(x) + (x.title.removeprefix(x.name) or (f" ({unit})" if unit else ""))
    return f"{title}{', logarithmic' if logarithmic else ''}"


def axis_name(axis: Axis) -> str:
    if "*" in axis.path:  # of each item: the path says so
        return axis.path
    of_vms = axis.path.startswith("vms.") and axis.path.endswith(".count")
    return "number of VMs" if of_vms else axis.name.replace("_", " ")


def _without_unit(labels: list[str]) -> tuple[list[str], str]:
    """The labels without the unit that they share, and that unit."""
    units = {label.lstrip("-+.0123456789") for label in labels}
    unit = units.pop() if len(units) == 1 else ""
    return [label.removesuffix(unit) for label in labels] if unit else labels, unit


def _most_failures(curves: Curves) -> int:
    """How many marks of failures stand over one value of x, at most."""
    keys = [axis.path for axis in (*curves.panels, curves.x)]
    return int((curves.data["failed"] > 0).groupby([curves.data[key] for key in keys]).sum().max())


def _with_room_above(
    limits: tuple[float, float], share: float, logarithmic: bool
) -> tuple[float, float]:
    """The limits with so much of the height left free at the top."""
    low, high = limits
    if logarithmic:
        return low, high * (high / low) ** (share / (1 - share))
    return low, high + (high - low) * share / (1 - share)


def _spaced_by_factors(values: Sequence[float]) -> bool:
    """Whether the values are spaced more evenly on a logarithmic scale."""
    if len(values) < 3 or values[0] <= 0:
        return False
    steps, factors = np.diff(values), np.diff(np.log(values))
    return bool(np.ptp(factors) / factors.mean() < np.ptp(steps) / steps.mean())


def _draw_panel(axes: Axes, data: pd.DataFrame, curves: Curves, scale: Scale) -> None:
    axes.set_xscale("log" if scale.x_logarithmic else "linear")
    axes.set_yscale("log" if scale.y_logarithmic else "linear")
    axes.set_ylim(*scale.y_limits)
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_minor_formatter(NullFormatter())
    shown = spread_out(scale)
    axes.set_xticks([scale.x_ticks[i] for i in shown], [scale.x_labels[i] for i in shown], size=8)
    first, last = scale.x_ticks[0], scale.x_ticks[-1]
    if scale.x_logarithmic:
        margin = (last / first) ** 0.06
        axes.set_xlim(first / margin, last * margin)
    else:
        margin = 0.06 * (last - first) or 1.0
        axes.set_xlim(first - margin, last + margin)
    if scale.y_logarithmic:
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.grid()
    lost_at: dict[float, int] = {}
    for index, value in enumerate(curves.series.values if curves.series else ("",)):
        points = data[data[curves.series.path] == value] if curves.series else data
        if points.empty:
            continue
        style = line_style(index)
        marker = MARKERS[index % len(MARKERS)]
        axes.plot(points["x"], points["mean"], linewidth=1.5, marker=marker, markersize=4, **style)
        several = points["low"].notna()
        if several.any():
            axes.errorbar(
                points.loc[several, "x"], points.loc[several, "mean"],
                yerr=[(points["mean"] - points["low"])[several],
                      (points["high"] - points["mean"])[several]],
                fmt="none", ecolor=style["color"], elinewidth=1.1, capsize=2.5,
            )
        for x in points.loc[points["failed"] > 0, "x"]:
            place = lost_at.get(x, 0)
            lost_at[x] = place + 1
            axes.plot(
                [x], [0.975 - _MARK_HEIGHT * place], marker, markersize=5, markeredgewidth=1.2,
                transform=axes.get_xaxis_transform(), color=style["color"],
                markerfacecolor="none", clip_on=False,
            )


def spread_out(scale: Scale) -> list[int]:
    """The ticks whose labels have room, the first and the last among them."""
    count = len(scale.x_ticks)
    if count <= 8:
        return list(range(count))
    step = -(-(count - 1) // 7)
    kept = list(range(0, count - 1, step))
    if count - 1 - kept[-1] < step:
        kept.pop()
    return [*kept, count - 1]


def _legend_width(curves: Curves) -> float:
    if curves.series is None:
        return 0.3
    texts = [curves.series.name, *(series_text(curves, value) for value in curves.series.values)]
    return 0.85 + max(pictures.text_width(text, 8.5) for text in texts)


def _draw_legend(figure, curves: Curves, data: pd.DataFrame, x: float, y: float) -> None:
    if curves.series is None:
        return
    handles = []
    for index, value in enumerate(curves.series.values):
        handles.append(
            Line2D([], [], linewidth=1.5, marker=MARKERS[index % len(MARKERS)], markersize=4,
                   label=series_text(curves, value), **line_style(index))
        )
    if data["failed"].any():
        handles.append(
            Line2D([], [], color=FAINT_INK, marker="o", linestyle="none", markersize=5,
                   markerfacecolor="none", markeredgewidth=1.2, label="hollow: failed")
        )
    figure.legend(
        handles=handles, loc="upper left", bbox_to_anchor=(x, y), borderaxespad=0,
        title=curves.series.name.replace("_", " "), alignment="left", title_fontsize=8.5,
        handlelength=2.6,
    )


def series_text(curves: Curves, value: str) -> str:
    series = curves.series
    return f"{series.label(value)} GiB" if series.dimension == "bytes" else series.label(value)


def titled(axis: Axis, value: str) -> str:
    unit = " GiB" if axis.dimension == "bytes" else ""
    return f"{axis.name.replace('_', ' ')} {axis.label(value)}{unit}"


def _subtitle(study: Study, curves: Curves) -> str:
    data = curves.data
    most = int(data["repetitions"].max())
    least = int(data.loc[data["repetitions"] > 0, "repetitions"].min())
    count = f"{most}" if least == most else f"{least} to {most}"
    lost, cells = int(data["failed"].sum()), len(study.cells)
    return pictures.joined(
        pictures.origin(study),
        f"points: means over {count} repetitions" if most > 1 else "one repetition",
        f"bars: {METHOD}" if most > 1 else "",
        f"{lost} of {cells} cells failed and are left out" if lost else "",
        "logarithmic y axis" if Scale.of(curves).y_logarithmic else "",
    )


