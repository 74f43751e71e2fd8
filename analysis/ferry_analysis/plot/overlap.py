"""How much of a migration a job's computation hides, over what the job computes."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import NullFormatter, NullLocator, PercentFormatter

from ..assignments import axes_of, without_lock_step
from ..intervals import METHOD
from ..load import Folder, InputError, Run, Study, failed, succeeded
from ..palette import FAINT_INK, line_style
from . import curve as curves
from . import picture as pictures
from .curve import MARKERS, Choice, Curves, Scale
from .picture import Picture

_ENDINGS = (".share", ".compute")  # of paths that say how much is computed
_PANELS = 4
_BOUND = "overlap_bound"
_NEEDS = (
    "overlap needs a study that varies numbers, such as jobs.pair.workload.share, of jobs that "
    "send messages"
)


def picture(folder: Folder) -> Picture:
    """Above, the share of a migration's total that is not exposed, with the bound that the
    messages set; below, the exposed time."""
    if isinstance(folder, Run):
        raise InputError(f"{folder.path}: is a run; {_NEEDS}")
    if "overlap" not in folder.cells or succeeded(folder.cells)["overlap"].isna().all():
        raise InputError(f"{folder.path / 'cells.csv'}: overlap has no values; {_NEEDS}")
    hidden = curves.prepare(folder, Choice(_x_path(folder), "overlap"))
    panels = list(dict.fromkeys(zip(*(hidden.data[axis.path] for axis in hidden.panels)))) or [()]
    if len(panels) > _PANELS:
        raise InputError(
            f"{folder.path}: overlap would need {len(panels)} panels, for the values of "
            f"{', '.join(axis.path for axis in hidden.panels)}; {_PANELS} can be drawn: a study "
            "that varies less would be right"
        )
    with pictures.style():
        return _draw(folder, hidden, _prepare(folder, hidden), panels)


def fits(study: Study) -> bool:
    """Whether a study has a path that says how much is computed, and jobs for which that counts."""
    return (
        "overlap" in study.cells
        and bool(succeeded(study.cells)["overlap"].notna().any())
        and _x_path(study) is not None
    )


def _x_path(study: Study) -> str | None:
    """The path of computation, or None: the one with most numbers."""
    axes = without_lock_step(axes_of(study.cells, study.paths), study.cells)
    numeric = [axis.path for axis in axes if axis.is_numeric and axis.path.endswith(_ENDINGS)]
    return numeric[0] if numeric else None


def _prepare(study: Study, hidden: Curves) -> pd.DataFrame:
    """One row a point: the paths (text), `x`, `repetitions`, `failed`, and of `hidden` (a share)
    and `exposed_seconds` the mean, `low` and `high`; `bound`: the mean, NaN where not known."""
    choice = Choice(hidden.x.path, "exposed_seconds")
    exposed = curves.prepare(study, choice).data
    table = hidden.data.rename(
        columns={"mean": "hidden", "low": "hidden_low", "high": "hidden_high"}
    )
    for column, source in (("exposed_seconds", "mean"), ("exposed_low", "low"),
                           ("exposed_high", "high")):
        table[column] = exposed[source].to_numpy()
    table["bound"] = math.nan
    if _BOUND in study.cells and succeeded(study.cells)[_BOUND].notna().any():
        table["bound"] = curves.prepare(study, Choice(hidden.x.path, _BOUND)).data["mean"].to_numpy()
    return table


# --- Drawing ---


def _draw(study: Study, hidden: Curves, data: pd.DataFrame, panels: Sequence[tuple]) -> Picture:
    width, upper, lower = (4.8, 2.7, 1.6) if len(panels) == 1 else (3.1, 2.3, 1.4)
    left, gap_x, gap_y, bottom = 0.8, 0.25, 0.18, 0.62
    legend = _legend_width(hidden, data)
    total_width = left + len(panels) * width + (len(panels) - 1) * gap_x + legend
    subtitle = _subtitle(study, data)
    top = pictures.subtitle_height(subtitle, total_width) + (0.22 if hidden.panels else 0.0)
    total_height = bottom + lower + gap_y + upper + top
    figure = pictures.new_figure(total_width, total_height)
    pictures.add_title(
        figure, f"{study.name}: how much of a migration is hidden, over "
        f"{curves.axis_name(hidden.x)}", subtitle,
    )
    scale = Scale.of(hidden)
    for index, values in enumerate(panels):
        chosen = data
        for axis, value in zip(hidden.panels, values):
            chosen = chosen[chosen[axis.path] == value]
        x = (left + index * (width + gap_x)) / total_width
        above = figure.add_axes(
            (x, (bottom + lower + gap_y) / total_height, width / total_width, upper / total_height)
        )
        below = figure.add_axes((x, bottom / total_height, width / total_width, lower / total_height))
        for axes in (above, below):
            _draw_axis(axes, scale)
            axes.tick_params(labelleft=index == 0, labelbottom=axes is below)
        _draw_lines(above, chosen, hidden, "hidden", "hidden_low", "hidden_high")
        _draw_lines(below, chosen, hidden, "exposed_seconds", "exposed_low", "exposed_high")
        if data["bound"].notna().any():
            bound = chosen.groupby("x")["bound"].max()
            above.plot(bound.index, bound, color=FAINT_INK, linewidth=1.0, linestyle=(0, (4, 3)))
        above.set_ylim(min(0.0, 1.1 * float(data["hidden"].min())), 1.04)
        below.set_ylim(0, 1.12 * float(data[["exposed_seconds", "exposed_high"]].max().max()) or 1)
        above.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0, symbol=" %"))
        if values:
            above.set_title(
                ", ".join(curves.titled(axis, value) for axis, value in zip(hidden.panels, values)),
                size=9, loc="left", pad=4,
            )
        if index == 0:
            above.set_ylabel("hidden: 1 − exposed / total")
            below.set_ylabel("exposed (seconds)")
        below.set_xlabel(scale.x_title)
    _draw_legend(figure, hidden, data, 1 - (legend - 0.15) / total_width, 1 - top / total_height)
    return Picture("overlap", figure, data)


def _draw_axis(axes: Axes, scale: Scale) -> None:
    axes.set_xscale("log" if scale.x_logarithmic else "linear")
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_minor_formatter(NullFormatter())
    shown = curves.spread_out(scale)
    axes.set_xticks([scale.x_ticks[i] for i in shown], [scale.x_labels[i] for i in shown], size=8)
    axes.grid()


def _draw_lines(
    axes: Axes, data: pd.DataFrame, hidden: Curves, mean: str, low: str, high: str
) -> None:
    for index, value in enumerate(hidden.series.values if hidden.series else ("",)):
        points = data[data[hidden.series.path] == value] if hidden.series else data
        style = line_style(index)
        axes.plot(
            points["x"], points[mean], linewidth=1.5, markersize=4,
            marker=MARKERS[index % len(MARKERS)], **style,
        )
        several = points[low].notna()
        if several.any():
            axes.errorbar(
                points.loc[several, "x"], points.loc[several, mean],
                yerr=[(points[mean] - points[low])[several], (points[high] - points[mean])[several]],
                fmt="none", ecolor=style["color"], elinewidth=1.1, capsize=2.5,
            )


def _texts(hidden: Curves, data: pd.DataFrame) -> list[str]:
    series = hidden.series.values if hidden.series else ()
    bound = ["bound: longest slice / total"] if data["bound"].notna().any() else []
    return [*(curves.series_text(hidden, value) for value in series), *bound]


def _legend_width(hidden: Curves, data: pd.DataFrame) -> float:
    texts = [*_texts(hidden, data), hidden.series.name if hidden.series else ""]
    return 0.3 if not any(texts) else 0.85 + max(pictures.text_width(text, 8.5) for text in texts)


def _draw_legend(figure, hidden: Curves, data: pd.DataFrame, x: float, y: float) -> None:
    texts = _texts(hidden, data)
    if not texts:
        return
    count = len(hidden.series.values) if hidden.series else 0
    handles = [
        Line2D([], [], linewidth=1.5, marker=MARKERS[index % len(MARKERS)], markersize=4,
               label=text, **line_style(index))
        for index, text in enumerate(texts[:count])
    ]
    handles += [
        Line2D([], [], color=FAINT_INK, linewidth=1.0, linestyle=(0, (4, 3)), label=text)
        for text in texts[count:]
    ]
    figure.legend(
        handles=handles, loc="upper left", bbox_to_anchor=(x, y), borderaxespad=0,
        title=hidden.series.name.replace("_", " ") if hidden.series else None, alignment="left",
        title_fontsize=8.5, handlelength=2.6,
    )


def _subtitle(study: Study, data: pd.DataFrame) -> str:
    most = int(data["repetitions"].max())
    lost = int(study.cells["outcome"].map(failed).sum())
    return pictures.joined(
        pictures.origin(study),
        "exposed: job time lost against the same job without migrations; total: from the request "
        "on, the wait for the next MPI call included",
        f"means over {most} repetitions" if most > 1 else "",
        f"bars: {METHOD}" if most > 1 else "",
        f"{lost} of {len(study.cells)} cells failed and are left out" if lost else "",
    )
