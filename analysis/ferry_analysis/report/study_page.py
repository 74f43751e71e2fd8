"""The page of a study."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from ..assignments import Axis, assignment_text, axes_of, without_lock_step
from ..intervals import METHOD, mean_interval
from ..load import InputError, Run, Study, failed, open_run, read_yaml_file, world_text
from ..metrics import metric_text, metric_title, share_text
from ..plot import (
    application, breakdown, curve, downtime_cdf, latency, links as links_plot, multi_vm, overlap,
    sensitivity,
)
from ..quantities import seconds_text
from .figures import Figures
from .html import Html, joined, tag
from .links import bottleneck_text, link_sparkline
from .moves import failure_groups, move_table, outcome_badge, slowest, slowest_table, why
from .page import Section, badge, cards, page
from .provenance import (
    command_text, constants_of, constants_section, file_link, relative, run_facts, scenario_facts,
    whole_scenario,
)
from .tables import Cell, bar, pairs, table

_CELLS = 200
_CDF_CURVES = 12
_METRICS = ("makespan_seconds", "total_seconds", "total_max_seconds", "downtime_seconds",
            "downtime_max_seconds", "exposed_seconds", "lost_rank_seconds", "overlap", "overlap_bound",
            "bytes", "failed")
_BASES = (
    ("fitted", "a constant was chosen so that it holds"),
    ("predicted", "no constant was"),
    ("by construction", "it cannot fail"),
)


def study_page(study: Study, out: Path) -> str:
    """The text of report.html for a study; `out` is the folder that it will be in."""
    figures = Figures()
    axes = without_lock_step(axes_of(study.cells, study.paths), study.cells)
    runs = _runs(study)
    first = next(iter(runs.values()), None)
    sections = [
        *([Section("Claims", _claims(study, out))] if len(study.claims) else []),
        Section("Cells", _cells(study, axes, runs, out)),
        Section("Plots", _plots(study, figures)),
        Section("Slowest VMs", _slowest(study, axes, runs, out)),
        Section("Links", _links(study, axes, runs, figures, out)),
        Section("Failures", _failures(study, axes, out)),
        Section("What was run", _what(study, first)),
        *([Section("Constants", _constants(study, first))] if first else []),
        Section("How to repeat it", _repeat(study, out)),
    ]
    return page(study.name, _lead(study), _cards(study, axes), sections)


def _runs(study: Study) -> dict[str, Run]:
    """The run folders of the cells that have one, by cell."""
    runs = {}
    for cell in dict.fromkeys(study.cells["cell"]):
        folder = study.cell_path(cell)
        if (folder / "run.json").exists():
            try:
                runs[cell] = open_run(folder)
            except InputError:  # a cell that was killed; its row says so
                continue
    return runs


def _lead(study: Study) -> Html:
    lost = int(study.cells["outcome"].map(failed).sum())
    missed = int((study.claims["holds"] != "yes").sum())
    description = _file(study).get("description")
    states = [
        badge(f"{lost} of {len(study.cells)} cells with failures", "bad") if lost
        else badge(f"all {len(study.cells)} cells completed", "good"),
        None if study.claims.empty
        else badge(f"{len(study.claims) - missed} of {len(study.claims)} claims hold",
                   "bad" if missed else "good"),
    ]
    return joined([f"{description}. " if description else "", f"A study, {world_text(study)}. ",
                   [[state, " "] for state in states if state]])


def _file(study: Study) -> dict[str, object]:
    path = study.path / "study.yaml"
    return read_yaml_file(path, "the study file") if path.exists() else {}


def _cards(study: Study, axes: Sequence[Axis]) -> Html:
    done = study.cells[~study.cells["outcome"].map(failed).astype(bool)]
    values: list[tuple[str, object]] = [("cells", f"{len(study.cells):,}")]
    if "makespan_seconds" in done and done["makespan_seconds"].notna().any():
        medians = done.groupby([axis.path for axis in axes], sort=False)["makespan_seconds"].median() \
            if axes else pd.Series([done["makespan_seconds"].median()])
        for name, at in (("shortest makespan", medians.idxmin()), ("longest makespan", medians.idxmax())):
            value = medians[at]
            values.append((f"{name}{_at_text(axes, at)}", seconds_text(value)))
    return cards(values)


def _at_text(axes: Sequence[Axis], key: object) -> str:
    if not axes:
        return ""
    row = dict(zip([axis.path for axis in axes], key if isinstance(key, tuple) else (key,)))
    return f": {assignment_text(axes, row)}"


def _what(study: Study, first: Run | None) -> Html:
    content = _file(study)
    varied = [
        (tag("code", path), ", ".join(dict.fromkeys(study.cells[path]))) for path in study.paths
    ]
    repetitions = study.cells["repetition"].nunique()
    together = content.get("together")
    return joined([
        run_facts(study),
        pairs([("Repetitions", f"{repetitions} of each cell" if repetitions > 1 else None),
               ("In lock-step", "; ".join(" with ".join(map(str, paths)) for paths in together)
                if isinstance(together, list) else None)]),
        tag("h3", "What it varies"),
        table(["path", "values"], varied),
        [tag("h3", "The scenario, as its first cell has it"), scenario_facts(first),
         whole_scenario(first)] if first else None,
    ])


def _claims(study: Study, out: Path) -> Html:
    kinds = {"yes": "good", "no": "bad"}
    rows = []
    for row in study.claims.to_dict("records"):
        rows.append((
            row["id"], row["text"], row["expected"], row["got"],
            badge("holds" if row["holds"] == "yes" else row["holds"] if row["holds"] != "no"
                  else "does not hold", kinds.get(row["holds"], "open")),
            row["basis"], _robust_text(row["robust"]), row["reason"], row["source"],
        ))
    return joined([
        table(["id", "claim", "expected", "got", "verdict", "basis", "robust", "reason", "source"],
              rows),
        tag("p", "Basis: ", "; ".join(f"{name}: {text}" for name, text in _BASES), ". Robust: no "
            "assumed constant at half or at double turns the verdict. ", "All: ",
            file_link(study.path / "claims.csv", out), ".", class_="note"),
    ])


def _robust_text(text: str) -> str:
    return text.replace("platform.", "") if text else "not examined"


def _cells(study: Study, axes: Sequence[Axis], runs: dict[str, Run], out: Path) -> Html:
    cells = study.cells
    metrics = [metric for metric in _METRICS if metric in cells and cells[metric].notna().any()]
    for metric, mean in (("total_max_seconds", "total_seconds"),
                         ("downtime_max_seconds", "downtime_seconds")):
        if metric in metrics and cells[metric].equals(cells.get(mean)):  # one move in each cell
            metrics.remove(metric)
    if "failed" in metrics and not cells["failed"].any():
        metrics.remove("failed")
    groups = _repetitions(cells, axes)
    repeated = any(len(group) > 1 for group in groups)
    largest = max((float(cells[metric].max()) for metric in metrics[:1]), default=0.0)
    with_links = any(len(run.links) for run in runs.values())
    columns = ["cell", *(axis.title.replace("_", " ") for axis in axes),
               *(["repetitions"] if repeated else []),
               *(_short_title(metric) for metric in metrics),
               *(["busiest link, over time"] if with_links else []), "end"]
    rows = []
    for group in groups[:_CELLS]:
        row = group.iloc[0].to_dict()
        run = runs.get(row["cell"])
        outcomes = dict.fromkeys(group["outcome"])
        rows.append((
            tag("a", row["cell"], href=relative(study.cell_path(row["cell"]), out) + "/")
            if run else row["cell"],
            *(Cell(axis.label(row[axis.path]), float(axis.values.index(row[axis.path])))
              for axis in axes),
            *([len(group)] if repeated else []),
            *(_metric_cell(metric, group[metric], largest if index == 0 else None)
              for index, metric in enumerate(metrics)),
            *([_busiest(run)] if with_links else []),
            [[outcome_badge(outcome), " "] for outcome in outcomes],
        ))
    more = f"The first {_CELLS} of {len(groups)} rows. " if len(groups) > _CELLS else ""
    means = (f"Of repetitions: the first cell with its links, and means; after ± half of the "
             f"{METHOD}. ") if repeated else ""
    return joined([
        table(columns, rows, numeric=["repetitions", *map(_short_title, metrics)]),
        tag("p", more, means, "Every metric of every cell: ",
            file_link(study.path / "cells.csv", out),
            ". Means and maxima are over the moves of a cell.", class_="note"),
    ])


def _repetitions(cells: pd.DataFrame, axes: Sequence[Axis]) -> list[pd.DataFrame]:
    """The cells that share an assignment, in the order of the study."""
    if not axes:
        return [cells]
    keys = list(zip(*(cells[axis.path] for axis in axes)))
    return [cells[[other == key for other in keys]] for key in dict.fromkeys(keys)]


def _short_title(metric: str) -> str:
    names = {"total_seconds": "a move, mean", "total_max_seconds": "longest move",
             "downtime_seconds": "downtime, mean", "downtime_max_seconds": "longest downtime",
             "bytes": "sent", "failed": "failed moves"}
    return names.get(metric, metric_title(metric).split(" (")[0])


def _metric_cell(metric: str, values: pd.Series, largest: float | None) -> Cell:
    """The mean; with `largest` also its interval, where there are several, and a bar."""
    known = values.dropna()
    if known.empty:
        return Cell("–", math.nan)
    mean, low, _ = mean_interval(known)
    text = metric_text(metric, mean)
    if not largest:
        return Cell(text, mean)
    if not math.isnan(low) and mean - low > 5e-4 * abs(mean):
        text += f" ± {metric_text(metric, mean - low, 2)}"
    return bar(text, mean, largest)


def _busiest(run: Run | None) -> object:
    if run is None or run.links.empty:
        return ""
    link = run.links.iloc[0]
    mean = float(link["mean_utilisation"])
    return Cell([link_sparkline(run, link["network"], link["link"]),
                 tag("small", f"{link['link']}, {share_text(mean)}")], mean)


def _plots(study: Study, figures: Figures) -> Html:
    parts = []
    if multi_vm.fits(study):
        parts.append(figures.figure(lambda: multi_vm.picture(study), "makespan by number of VMs"))
    if curve.fits(study):
        for choice in curve.choices(study):
            parts.append(figures.figure(
                lambda choice=choice: curve.picture(study, choice), f"{choice.y or 'makespan'} over an axis"
            ))
    if overlap.fits(study):
        parts.append(figures.figure(lambda: overlap.picture(study), "how much of a migration is hidden"))
    if application.fits(study):
        parts.append(figures.figure(lambda: application.picture(study), "what migrations cost jobs"))
    if latency.fits(study):
        parts.append(figures.figure(lambda: latency.picture(study), "measurements by message size"))
    parts.append(figures.figure(lambda: breakdown.picture(study), "time by phase"))
    assignments = len(study.cells[list(study.paths)].drop_duplicates()) if study.paths else 1
    if assignments <= _CDF_CURVES and len(_runs(study)):
        parts.append(figures.figure(lambda: downtime_cdf.picture(study), "downtime of the VMs"))
    if sensitivity.fits(study):
        parts.append(figures.figure(lambda: sensitivity.picture(study), "sensitivity of the claims"))
    return joined(parts)


def _slowest(study: Study, axes: Sequence[Axis], runs: dict[str, Run], out: Path) -> Html:
    found = []
    for cell, run in runs.items():
        moves = move_table(run)
        for move in slowest(moves, 5).to_dict("records"):
            found.append((cell, move, moves, run))
    if not found:
        return tag("p", "No cell has a move.", class_="note")
    found.sort(key=lambda item: -item[1]["total_seconds"])
    found = found[:20]
    of_cell = {row["cell"]: row for row in study.cells.to_dict("records")}
    places = [
        [tag("a", cell, href=relative(study.cell_path(cell), out) + "/"), " ",
         tag("small", assignment_text(axes, of_cell[cell]))]
        for cell, _, _, _ in found
    ]
    rows = [(move, why(move, moves, run.links)) for _, move, moves, run in found]
    return joined([
        slowest_table(rows, "cell", places),
        tag("p", "The longest moves of all cells, five of a cell at most; the rest is in each "
            "cell's migrations.csv. The reasons compare each with the medians over the moves of "
            "its cell.", class_="note"),
    ])


def _links(
    study: Study, axes: Sequence[Axis], runs: dict[str, Run], figures: Figures, out: Path
) -> Html:
    known = {cell: run for cell, run in runs.items() if links_plot.fits(run)}
    if not known:
        reason = links_plot.why_not(next(iter(runs.values()))) if runs else "no cell has a run"
        return tag("p", f"Not known: {reason}.", class_="note")
    cells = study.cells[study.cells["cell"].isin(known)]
    done = cells[~cells["outcome"].map(failed).astype(bool)]
    if "makespan_seconds" in done and done["makespan_seconds"].notna().any():
        order = done.sort_values("makespan_seconds", kind="stable")
    else:
        order = cells
    chosen = dict.fromkeys([order["cell"].iloc[0], order["cell"].iloc[-1]])
    names = {order["cell"].iloc[0]: "shortest makespan"} if len(chosen) == 1 else {
        order["cell"].iloc[0]: "shortest makespan", order["cell"].iloc[-1]: "longest makespan"
    }
    rows = {row["cell"]: row for row in cells.to_dict("records")}
    parts = []
    for cell in chosen:
        run = known[cell]
        where = assignment_text(axes, rows[cell])
        parts += [
            tag("h3", f"{cell}{f' ({where})' if where else ''}: the {names[cell]}"),
            tag("p", bottleneck_text(run.links)),
            figures.figure(lambda run=run: links_plot.picture(run), f"utilisation of links of {cell}"),
        ]
    return joined([
        tag("p", "The busiest link of every cell stands in the table of cells; here are the cells "
            "that took the shortest and the longest."),
        parts,
        tag("p", "Another cell: ", tag("code", f"ferry plot {study.path}/cells/CELL --kind links"),
            "; its table is links.csv.", class_="note"),
    ])


def _failures(study: Study, axes: Sequence[Axis], out: Path) -> Html:
    lost = study.cells[study.cells["outcome"].map(failed).astype(bool)]
    if lost.empty:
        return tag("p", "None: every move of every cell completed.")
    places = [
        f"{row['cell']} ({assignment_text(axes, row)})" if axes else row["cell"]
        for row in lost.to_dict("records")
    ]
    return joined([
        tag("p", f"{len(lost)} of {len(study.cells)} cells have a move that did not complete."),
        failure_groups(lost.assign(cells=places), "cells"),
        tag("p", "The first failure of each cell: ", file_link(study.path / "cells.csv", out),
            "; every one: each cell's migrations.csv.", class_="note"),
    ])


def _constants(study: Study, first: Run) -> Html:
    varied = [path for path in study.paths if path.startswith("platform.") or ".memory" in path]
    note = f" The study varies {', '.join(varied)}." if varied else ""
    return joined([tag("p", f"Of the first cell.{note}"), constants_section(constants_of(first))])


def _repeat(study: Study, out: Path) -> Html:
    folder = study.path
    first = study.cells["cell"].iloc[0]
    return joined([
        tag("p", "As it was run:"), tag("pre", command_text(study.info.get("command"))),
        tag("p", "One cell alone, from its folder, with every default written out:"),
        tag("pre", f"ferry run {folder}/cells/{first}/resolved.yaml"),
        tag("p", "The study against a later one, or against real hosts, and this page:"),
        tag("pre", f"ferry compare {folder} --with OTHER\nferry plot {folder} --kind report"),
        pairs([("Files", [[file_link(path, out), " "] for path in sorted(folder.iterdir())
                          if path.is_file()])]),
    ])


