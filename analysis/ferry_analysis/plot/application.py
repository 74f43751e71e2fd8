"""Each application's run time without migrations, and what migrations add to it, by strategy."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from ..assignments import Axis, axes_of, display_name, without_lock_step
from ..load import Folder, InputError, Run
from ..palette import FAINT_INK, INK, STRATEGY_COLOURS, UNMIGRATED_COLOUR, series_colour
from . import picture as pictures
from .picture import Picture

_APPLICATIONS = 24
_SERIES = 8
_HATCHES = ("", "////", "xxxx", "....")
_NUMBERS = ("unmigrated_seconds", "exposed_seconds")
_NEEDS = (
    "application needs jobs that send messages and their times without migrations "
    "(outputs: {twin: true}) in jobs.csv"
)


def picture(folder: Folder) -> Picture:
    """Above, run times with the exposed time on top; below, the exposed time alone. Of several jobs
    of an application and of repetitions, means."""
    data = _prepare(folder)
    if data.empty:
        raise InputError(f"{folder.path}: has no run time without migrations; {_NEEDS}")
    applications = list(dict.fromkeys(data["application"]))
    series = list(dict.fromkeys(data["series"]))
    for what, found, most in (("applications", applications, _APPLICATIONS),
                              ("combinations of what else it varies", series, _SERIES)):
        if len(found) > most:
            raise InputError(
                f"{folder.path}: has {len(found)} {what}; application draws at most {most}"
            )
    with pictures.style():
        return _draw(folder, data, applications, series)


def fits(folder: Folder) -> bool:
    """Whether there is anything to draw, and no more than can be told apart."""
    try:
        data = _prepare(folder)
    except InputError:
        return False
    return (
        not data.empty and data["application"].nunique() <= _APPLICATIONS
        and data["series"].nunique() <= _SERIES
    )


def _prepare(folder: Folder) -> pd.DataFrame:
    """One row a bar: `application`, `strategy`, `series` (the strategy and what else is varied),
    `jobs` (how many are averaged), `unmigrated_seconds`, `exposed_seconds` with
    `exposed_min_seconds` and `exposed_max_seconds`, `bound_seconds` (the least that a migration
    thread could expose; NaN where not known)."""
    columns = ["application", "strategy", "series", "jobs", *_NUMBERS, "exposed_min_seconds",
               "exposed_max_seconds", "bound_seconds"]
    table = _jobs(folder)
    if table.empty:
        return pd.DataFrame(columns=columns)
    rows = []
    for (application, strategy, series), group in table.groupby(
        ["application", "strategy", "series"], sort=False
    ):
        exposed = group["exposed_seconds"]
        rows.append((application, strategy, series, len(group), group["unmigrated_seconds"].mean(),
                     exposed.mean(), exposed.min(), exposed.max(), group["bound_seconds"].mean()))
    data = pd.DataFrame(rows, columns=columns)
    places = {value: index for index, value in enumerate(dict.fromkeys(table["application"]))}
    ranks = {strategy: index for index, strategy in enumerate(STRATEGY_COLOURS)}
    data["_"] = [
        (places[row.application], ranks.get(row.strategy, len(ranks))) for row in data.itertuples()
    ]
    return data.sort_values("_", kind="stable").drop(columns="_").reset_index(drop=True)


def _jobs(folder: Folder) -> pd.DataFrame:
    """One row a job of a run, or of all cells of a study, named as the picture names them."""
    found = list(_rows(folder))
    if not found:
        return pd.DataFrame()
    table = pd.concat(found, ignore_index=True)
    table = table.dropna(subset=list(_NUMBERS)).reset_index(drop=True)
    groups = table["job"].str.replace(r"[-_]?\d+$", "", regex=True)
    names = table["workload"]
    if groups.nunique() > 1:
        names = groups if names.nunique() == 1 else groups + " (" + names + ")"
    table["application"] = [
        ", ".join(filter(None, parts)) for parts in zip(names, table["application"])
    ]
    table["series"] = [
        ", ".join(filter(None, parts))
        for parts in zip(table["strategy"].map(display_name), table["series"])
    ]
    table["bound_seconds"] = np.nan
    if {"overlap_bound", "overlap"} <= set(table):
        # exposed = (1 - overlap) x total, so that the total follows from any two of them.
        rest = 1 - table["overlap"]
        total = table["exposed_seconds"] / rest.where(rest != 0)
        table["bound_seconds"] = (1 - table["overlap_bound"]) * total
    return table


def _rows(folder: Folder) -> Iterator[pd.DataFrame]:
    if isinstance(folder, Run):
        yield folder.jobs.assign(application="", series="")
        return
    axes = without_lock_step(axes_of(folder.cells, folder.paths), folder.cells)
    shown = [axis for axis in axes if not _is_in_table(axis)]
    for assignment, run in folder.runs():
        parts = [[axis.text(assignment[axis.path]) for axis in shown if axis.is_numeric == numeric]
                 for numeric in (True, False)]
        yield run.jobs.assign(application=", ".join(parts[0]), series=", ".join(parts[1]))


def _is_in_table(axis: Axis) -> bool:
    """Whether columns of jobs.csv say what the path says."""
    return bool(re.search(r"^jobs\..*\.(strategy|workload|workload\.type|count)$", axis.path))


# --- Drawing ---


def _draw(
    folder: Folder, data: pd.DataFrame, applications: Sequence[str], series: Sequence[str]
) -> Picture:
    labels = [_broken(text) for text in applications]
    slot = max(0.2 * len(series) + 0.3, 0.7,
               *(pictures.text_width(line, 8.5) + 0.45 for label in labels for line in label.split("\n")))
    width = max(3.4, slot * len(applications))
    styles = _styles(data, series)
    texts = ["without migrations", *series, "least by message granularity"]
    left, legend = 0.85, 0.8 + max(pictures.text_width(text, 8.5) for text in texts)
    upper, lower, gap = 2.2, 1.9, 0.2
    bottom = 0.3 + 0.16 * max(label.count("\n") + 1 for label in labels)
    total_width = left + width + legend
    several = bool((data["jobs"] > 1).any())
    bounded = bool(data["bound_seconds"].notna().any())
    subtitle = pictures.joined(
        pictures.origin(folder),
        "exposed: job time lost against the same job without migrations",
        "means; error bars: least to greatest" if several else "",
    )
    top = pictures.subtitle_height(subtitle, total_width)
    total_height = bottom + lower + gap + upper + top
    figure = pictures.new_figure(total_width, total_height)
    pictures.add_title(figure, f"{folder.name}: applications and what migrations cost them", subtitle)
    above = figure.add_axes(
        (left / total_width, (bottom + lower + gap) / total_height, width / total_width,
         upper / total_height)
    )
    below = figure.add_axes(
        (left / total_width, bottom / total_height, width / total_width, lower / total_height)
    )
    _draw_bars(above, data, applications, series, styles, stacked=True)
    _draw_bars(below, data, applications, series, styles, stacked=False)
    above.set_ylabel("run time (seconds)")
    below.set_ylabel("exposed (seconds)")
    above.tick_params(labelbottom=False)
    below.set_xticks(range(len(applications)), labels)
    handles = [Patch(color=UNMIGRATED_COLOUR, label="without migrations")]
    handles += [
        Patch(facecolor=styles[text][0], hatch=styles[text][1], edgecolor="white", linewidth=0,
              label=text)
        for text in series
    ]
    if bounded:
        handles.append(Line2D([], [], color=INK, linewidth=1.6, label=texts[-1]))
    figure.legend(
        handles=handles, loc="upper left", borderaxespad=0,
        bbox_to_anchor=(1 - (legend - 0.15) / total_width, 1 - top / total_height),
    )
    return Picture("application", figure, data)


def _draw_bars(
    axes: Axes, data: pd.DataFrame, applications: Sequence[str], series: Sequence[str],
    styles: dict[str, tuple[str, str]], stacked: bool,
) -> None:
    width = 0.78 / len(series)
    for row in data.itertuples():
        x = applications.index(row.application) + (
            series.index(row.series) - (len(series) - 1) / 2
        ) * width
        colour, hatch = styles[row.series]
        base = 0.0
        if stacked:
            axes.bar(x, row.unmigrated_seconds, width * 0.92, color=UNMIGRATED_COLOUR)
            base = row.unmigrated_seconds
        axes.bar(x, row.exposed_seconds, width * 0.92, bottom=base, color=colour, hatch=hatch,
                 edgecolor="white", linewidth=0)
        if stacked:
            continue
        if row.jobs > 1:
            axes.errorbar(
                x, row.exposed_seconds,
                yerr=[[max(0.0, row.exposed_seconds - row.exposed_min_seconds)],
                      [max(0.0, row.exposed_max_seconds - row.exposed_seconds)]],
                fmt="none", ecolor=FAINT_INK, elinewidth=1.0, capsize=2.0,
            )
        if row.bound_seconds == row.bound_seconds and row.strategy == "migration_thread":
            axes.plot([x - width / 2, x + width / 2], [row.bound_seconds] * 2, color=INK,
                      linewidth=1.6, solid_capstyle="butt")
    axes.set_xlim(-0.6, len(applications) - 0.4)
    axes.set_xticks(range(len(applications)))
    axes.tick_params(axis="x", length=0)
    axes.set_ylim(bottom=min(0.0, 1.1 * float(data["exposed_min_seconds"].min()) if not stacked else 0))
    axes.grid(axis="y")


def _styles(data: pd.DataFrame, series: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Of each series the strategy's colour; several of one strategy differ in their hatches."""
    seen: dict[str, int] = {}
    styles = {}
    for text in series:
        strategy = data.loc[data["series"] == text, "strategy"].iloc[0]
        count = seen[strategy] = seen.get(strategy, -1) + 1
        colour = STRATEGY_COLOURS.get(strategy, series_colour(0))
        styles[text] = (colour, _HATCHES[count % len(_HATCHES)])
    return styles


def _broken(text: str) -> str:
    return display_name(text).replace(", ", "\n")
