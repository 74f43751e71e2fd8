"""What the OSU benchmarks measured by message size, and how long migrations kept them waiting."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, NullFormatter, NullLocator

from ..assignments import assignment_text, axes_of, sort_key, without_lock_step
from ..load import Folder, InputError, Run, Study, failed
from ..palette import line_style
from ..quantities import seconds_text
from . import picture as pictures
from .curve import MARKERS
from .picture import Picture

_METRICS = {
    "latency": ("latency", "median latency (µs)", 1e6),
    "bcast_latency": ("broadcast time", "median time (µs)", 1e6),
    "allreduce_latency": ("allreduce time", "median time (µs)", 1e6),
    "bandwidth": ("bandwidth", "median bandwidth (MB/s)", 1e-6),
}
_MET = "_exposed"  # of samples that met a migration: what they took beyond the median
_CURVES = 12
_NEEDS = "latency needs a job whose workload is osu_latency, osu_bw, osu_bcast or osu_allreduce"


def picture(folder: Folder) -> Picture:
    """Medians by message size, and below them the time that migrations cost. A curve is a job of a
    run, or an assignment of a study."""
    data = _prepare(folder)
    if data.empty:
        raise InputError(f"{folder.path}: has no sizes in measurements.csv; {_NEEDS}")
    curves = list(dict.fromkeys(data["curve"]))
    if len(curves) > _CURVES:
        raise InputError(
            f"{folder.path}: has {len(curves)} assignments or jobs that measure; "
            f"latency draws at most {_CURVES} curves"
        )
    with pictures.style():
        return _draw(folder, data, curves)


def fits(folder: Folder) -> bool:
    """Whether there is anything to draw, and no more than can be told apart."""
    try:
        data = _prepare(folder)
    except InputError:
        return False
    return not data.empty and data["curve"].nunique() <= _CURVES


def _prepare(folder: Folder) -> pd.DataFrame:
    """One row a curve, metric and size: `median` (s or B/s) over rounds and runs, without the
    samples that met a migration; `met_seconds`, what these took beyond the median (sum over a run,
    mean over runs; NaN where there were none); and `exposed_seconds` of the job, the same in all
    its rows: benchmarks do not time all that a job does."""
    rows = [
        {"curve": curve, "run": index, "metric": row["metric"].removesuffix(_MET),
         "message_bytes": row["message_bytes"], "value": row["value"],
         "met": row["metric"].endswith(_MET), "exposed": exposed}
        for index, (curve, table, exposed) in enumerate(_curves(folder))
        for row in table.to_dict("records")
    ]
    columns = ["curve", "metric", "message_bytes", "median", "met_seconds", "exposed_seconds", "runs"]
    if not rows:
        return pd.DataFrame(columns=columns)
    table = pd.DataFrame(rows)
    order = {curve: index for index, curve in enumerate(dict.fromkeys(table["curve"]))}
    lost = {curve: group.groupby("run")["exposed"].first().mean()
            for curve, group in table.groupby("curve")}
    result = []
    for (curve, metric, size), group in table.groupby(["curve", "metric", "message_bytes"]):
        typical = group.loc[~group["met"], "value"]
        met = group.loc[group["met"], "value"]
        runs = group["run"].nunique()
        result.append((curve, metric, int(size), typical.median() if len(typical) else math.nan,
                       met.sum() / runs if len(met) else math.nan, lost[curve], runs))
    result.sort(key=lambda row: (list(_METRICS).index(row[1]), order[row[0]], row[2]))
    return pd.DataFrame(result, columns=columns)


def _curves(folder: Folder) -> Iterator[tuple[str, pd.DataFrame, float]]:
    """The name of each curve with its rows of measurements.csv and the seconds that its job lost, in
    the order of drawing."""
    if isinstance(folder, Run):
        for job in dict.fromkeys(_measured(folder)["job"]):
            yield job, *_of_job(folder, job)
        return
    axes = without_lock_step(axes_of(folder.cells, folder.paths), folder.cells)
    runs = [(sort_key(axes, assignment), assignment, run) for assignment, run in folder.runs()]
    runs.sort(key=lambda entry: entry[0])
    for _, assignment, run in runs:
        jobs = dict.fromkeys(_measured(run)["job"])
        for job in jobs:
            parts = [assignment_text(axes, assignment), job if len(jobs) > 1 else ""]
            yield ", ".join(filter(None, parts)) or job, *_of_job(run, job)


def _measured(run: Run) -> pd.DataFrame:
    table = run.measurements
    known = table["metric"].str.removesuffix(_MET).isin(_METRICS)
    return table[known & table["message_bytes"].notna()]


def _of_job(run: Run, job: str) -> tuple[pd.DataFrame, float]:
    table, jobs = _measured(run), run.jobs
    exposed = jobs.loc[jobs["job"] == job, "exposed_seconds"]
    return table[table["job"] == job], float(exposed.iloc[0]) if len(exposed) else math.nan


# --- Drawing ---


def _draw(folder: Folder, data: pd.DataFrame, curves: Sequence[str]) -> Picture:
    metrics = list(dict.fromkeys(data["metric"]))
    exposes = bool(data["exposed_seconds"].notna().any())
    most = int(data["runs"].max())
    subtitle = pictures.joined(
        pictures.origin(folder),
        "above: samples that met no migration",
        "below: job time lost against the same job without migrations" if exposes else "",
        f"medians over {most} repetitions" if most > 1 else "",
        _left_out(folder),
    )
    legend = 0.85 + max(pictures.text_width(curve, 8.5) for curve in curves)
    width, upper, left, gap_x, gap_y, bottom = 4.6, 2.9, 0.85, 0.95, 0.62, 0.6
    lower = 0.22 * len(curves) + 0.12 if exposes else 0.0
    total_width = left + len(metrics) * width + (len(metrics) - 1) * gap_x + legend
    top = pictures.subtitle_height(subtitle, total_width)
    base = bottom + (lower + gap_y if exposes else 0)
    total_height = base + upper + top
    figure = pictures.new_figure(total_width, total_height)
    pictures.add_title(figure, f"{folder.name}: {_title(metrics)} by message size", subtitle)
    for index, metric in enumerate(metrics):
        x = left + index * (width + gap_x)
        axes = figure.add_axes(
            (x / total_width, base / total_height, width / total_width, upper / total_height)
        )
        _draw_medians(axes, data[data["metric"] == metric], curves, metric)
    if exposes:
        below = figure.add_axes(
            (left / total_width, bottom / total_height, width / total_width, lower / total_height)
        )
        _draw_exposed(below, data, curves)
    handles = [
        Line2D([], [], linewidth=1.5, markersize=3.5, marker=MARKERS[index % len(MARKERS)],
               markerfacecolor="none", label=curve, **line_style(index))
        for index, curve in enumerate(curves)
    ]
    figure.legend(
        handles=handles, loc="upper left", borderaxespad=0, handlelength=3.0,
        bbox_to_anchor=(1 - (legend - 0.15) / total_width, 1 - top / total_height),
    )
    return Picture("latency", figure, data)


def _draw_medians(axes: Axes, data: pd.DataFrame, curves: Sequence[str], metric: str) -> None:
    _, title, factor = _METRICS[metric]
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    for index, curve in enumerate(curves):
        points = data[data["curve"] == curve]
        axes.plot(
            points["message_bytes"], points["median"] * factor, linewidth=1.5, markersize=3.5,
            marker=MARKERS[index % len(MARKERS)], markerfacecolor="none", **line_style(index),
        )
    axes.xaxis.set_major_locator(FixedLocator(_shown(sorted(set(data["message_bytes"])))))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _size_text(value)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.set_ylabel(f"{title}, logarithmic scale")
    axes.set_xlabel("message size (bytes), logarithmic scale")
    axes.grid()


def _draw_exposed(axes: Axes, data: pd.DataFrame, curves: Sequence[str]) -> None:
    """A bar a curve, the first one at the top."""
    lost = [data.loc[data["curve"] == curve, "exposed_seconds"].iloc[0] for curve in curves]
    most = max((seconds for seconds in lost if seconds == seconds), default=0.0)
    for index, seconds in enumerate(lost):
        if seconds != seconds:
            axes.annotate("not known", (0, index), (3, 0), textcoords="offset points", size=8,
                          va="center")
            continue
        axes.barh(index, seconds, 0.62, color=line_style(index)["color"])
        axes.annotate(seconds_text(seconds), (max(seconds, 0), index), (3, 0),
                      textcoords="offset points", size=8, va="center")
    axes.set_xlim(min(0.0, 1.1 * min([*(s for s in lost if s == s), 0.0])), 1.18 * most or 1.0)
    axes.set_ylim(len(curves) - 0.4, -0.6)
    axes.set_yticks([])
    axes.set_xlabel("exposed (seconds)")
    axes.grid(axis="x")


def _shown(sizes: Sequence[int]) -> list[int]:
    """At most eleven of the sizes, evenly spaced, the first and the last among them if they fall
    into the steps."""
    step = -(-(len(sizes) - 1) // 10) if len(sizes) > 1 else 1
    return list(sizes[::step])


def _size_text(size: float) -> str:
    for unit, factor in (("Mi", 2**20), ("Ki", 2**10)):
        if size >= factor:
            return f"{size / factor:g} {unit}"
    return f"{size:g}"


def _title(metrics: Sequence[str]) -> str:
    return " and ".join(_METRICS[metric][0] for metric in metrics)


def _left_out(folder: Folder) -> str:
    if isinstance(folder, Run):
        return ""
    lost = int(folder.cells["outcome"].map(failed).sum())
    return f"of {lost} of {len(folder.cells)} cells a migration failed" if lost else ""
