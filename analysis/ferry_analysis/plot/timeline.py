"""A Gantt chart of the phases: one row a VM, sorted by the start of its first phase."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from ..load import PHASES, Folder, InputError, Run, Study, failed
from ..palette import FAILED_COLOUR, FAINT_INK, phase_colour
from ..quantities import seconds_text
from . import picture as pictures
from .picture import Margins, Picture

_NAMED_ROWS = 40  # up to here each row has its VM's name
_HATCH = "//////"


def picture(folder: Folder) -> Picture:
    """The phases of each VM of a run over time."""
    if isinstance(folder, Study):
        cell = folder.cell_path(folder.cells["cell"].iloc[0])
        raise InputError(
            f"{folder.path}: is a study; timeline draws one run, such as {cell}"
        )
    data = _prepare(folder)
    with pictures.style():
        return _draw(folder, data)


def _prepare(run: Run) -> pd.DataFrame:
    """One row a span that is drawn: row (0 is at the top), vm, phase, host, start_seconds,
    end_seconds, outcome."""
    spans = run.spans.dropna(subset=["start_seconds", "end_seconds"])
    if spans.empty:
        raise InputError(f"{run.path / 'spans.csv'}: has no spans; timeline needs at least one")
    starts = spans.groupby("vm", sort=False)["start_seconds"].min()
    rows = {vm: row for row, vm in enumerate(starts.sort_values(kind="stable").index)}
    columns = ["row", "vm", "phase", "host", "start_seconds", "end_seconds", "outcome"]
    data = spans.assign(row=spans["vm"].map(rows))[columns]
    return data.sort_values(["row", "start_seconds"], kind="stable", ignore_index=True)


def _draw(run: Run, data: pd.DataFrame) -> Picture:
    rows = int(data["row"].max()) + 1
    named = rows <= _NAMED_ROWS
    names = data["vm"].unique() if named else ["100,000"]
    longest = max(pictures.text_width(name, 9) for name in names)
    left = 0.3 + longest
    lost = data["outcome"].map(failed)
    failures = int(lost.sum())
    subtitle = pictures.joined(
        pictures.origin(run),
        f"{rows:,} VMs, sorted by start" if rows > 1 else "1 VM",
        f"{failures:,} {'span' if failures == 1 else 'spans'} failed" if failures else "",
    )
    width, right = 6.4, 2.75
    margins = Margins(left, right, 0.6, pictures.subtitle_height(subtitle, left + width + right))
    height = max(1.9, rows * 0.24) if named else 5.6
    figure, axes = pictures.new_axes(width, height, margins)
    pictures.add_title(figure, f"{run.name}: phases of each VM", subtitle)
    _draw_spans(axes, data, lost, rows, named)
    _scale(axes, data, rows, named)
    _draw_legend(axes, data, lost)
    return Picture("timeline", figure, data)


def _draw_spans(
    axes: Axes, data: pd.DataFrame, lost: pd.Series, rows: int, named: bool
) -> None:
    """A collection for each phase; thin rows become pixels, also in SVG."""
    thickness = 0.72 if named else 1.0
    others = [phase for phase in dict.fromkeys(data["phase"]) if phase not in PHASES]
    for phase in (*others, *PHASES):
        chosen = data["phase"] == phase
        if not chosen.any():
            continue
        axes.add_collection(
            PolyCollection(
                _rectangles(data[chosen], thickness), facecolors=phase_colour(phase),
                edgecolors="none", antialiaseds=named, rasterized=not named, label=phase,
            )
        )
    if lost.any() and named:
        axes.add_collection(
            PolyCollection(
                _rectangles(data[lost], thickness), facecolors="none",
                edgecolors=FAILED_COLOUR, linewidths=0.8, hatch=_HATCH,
            )
        )
    if lost.any():
        axes.plot(
            data.loc[lost, "end_seconds"], data.loc[lost, "row"], "x", color=FAILED_COLOUR,
            markersize=5 if rows <= 200 else 4, markeredgewidth=1.2, clip_on=False, zorder=4,
        )


def _rectangles(spans: pd.DataFrame, thickness: float) -> np.ndarray:
    """The corners of the spans, shape (spans, 4, 2), in seconds and rows."""
    start, end = spans["start_seconds"].to_numpy(), spans["end_seconds"].to_numpy()
    top = spans["row"].to_numpy() - thickness / 2
    bottom = top + thickness
    return np.stack(
        [
            np.column_stack([start, top]),
            np.column_stack([end, top]),
            np.column_stack([end, bottom]),
            np.column_stack([start, bottom]),
        ],
        axis=1,
    )


def _scale(axes: Axes, data: pd.DataFrame, rows: int, named: bool) -> None:
    first, last = data["start_seconds"].min(), data["end_seconds"].max()
    margin = 0.01 * (last - first) or 0.5
    axes.set_xlim(first - margin, last + margin)
    axes.set_ylim(rows - 0.5, -0.5)
    axes.set_xlabel("time since the start of the run (seconds)")
    axes.grid(axis="x")
    if named:
        names = data.drop_duplicates("row")["vm"].tolist()
        axes.set_yticks(range(rows), names, size=8)
        axes.tick_params(axis="y", length=0)
    else:
        steps = MaxNLocator(nbins=10, integer=True, steps=[1, 2, 5, 10]).tick_values(0, rows)
        ticks = [int(tick) for tick in steps if 0 < tick <= rows]
        axes.set_yticks([tick - 1 for tick in ticks], [f"{tick:,}" for tick in ticks])
        axes.set_ylabel("VMs, counted in the order of their start")


def _draw_legend(axes: Axes, data: pd.DataFrame, lost: pd.Series) -> None:
    """Each phase with its median length, since short ones are too thin to be seen."""
    handles = []
    others = [phase for phase in dict.fromkeys(data["phase"]) if phase not in PHASES]
    lengths = (data["end_seconds"] - data["start_seconds"]).groupby(data["phase"]).median()
    for phase in (*PHASES, *others):
        if phase in lengths:
            text = f"{phase}  {seconds_text(lengths[phase], digits=3)}"
            handles.append(Patch(facecolor=phase_colour(phase), label=text))
    if lost.any():
        handles.append(
            Line2D([], [], color=FAILED_COLOUR, marker="x", linestyle="none", markersize=5,
                   markeredgewidth=1.2, label="failed")
        )
    legend = axes.legend(
        handles=handles, loc="upper left", bbox_to_anchor=(1.01, 1.0), borderaxespad=0,
        title="phase, median length", alignment="left", title_fontsize=8.5,
    )
    legend.get_title().set_color(FAINT_INK)
