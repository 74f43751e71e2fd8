"""The page of a run."""

from __future__ import annotations

import math
from pathlib import Path

import pandas as pd

from ..load import Run, failed, succeeded
from ..metrics import bytes_text, share_text
from ..plot import application, breakdown, downtime_cdf, latency, timeline
from ..plot.picture import origin
from ..quantities import seconds_text
from .figures import Figures
from .html import Html, joined, tag
from .links import links_section
from .moves import failure_groups, move_table, phase_table, slowest, slowest_table, why
from .page import Section, badge, cards, page
from .provenance import (
    command_text, constants_of, constants_section, file_link, run_facts, scenario_facts,
    whole_scenario,
)
from .tables import pairs, seconds, table

_JOBS = 20


def run_page(run: Run, out: Path) -> str:
    """The text of report.html for a run; `out` is the folder that it will be in."""
    moves, figures = move_table(run), Figures()
    sections = [
        *_move_sections(run, moves, figures, out),
        Section("Links", links_section(run, figures, out)),
        Section("Failures", _failures(moves, run, out)),
        Section("What was run", [run_facts(run), scenario_facts(run), whole_scenario(run)]),
        Section("Constants", constants_section(constants_of(run))),
        Section("How to repeat it", _repeat(run, out)),
    ]
    jobs = _jobs(run, figures, out)
    if jobs:
        sections.insert(-4, Section("Jobs", jobs))
    return page(run.name, _lead(run, moves), _cards(run, moves), sections)


def _lead(run: Run, moves: pd.DataFrame) -> Html:
    lost = int(moves["outcome"].map(failed).sum())
    state = (
        badge(f"{lost} of {len(moves)} moves failed", "bad") if lost
        else badge("nothing moved", "open") if moves.empty
        else badge(f"all {len(moves)} moves completed" if len(moves) > 1 else "completed", "good")
    )
    description = run.resolved.get("description")
    return joined([f"{description}. " if description else "", f"A run, {origin(run)}. ", state])


def _cards(run: Run, moves: pd.DataFrame) -> Html:
    done = succeeded(moves)
    values: list[tuple[str, object]] = []
    summary = run.summary.set_index("metric")["value"].to_dict()
    spans = run.spans
    makespan = summary.get("makespan_seconds")
    if makespan is None and len(spans):
        makespan = float(spans["end_seconds"].max() - spans["start_seconds"].min())
    if makespan is not None and makespan == makespan:
        values.append(("makespan", seconds_text(makespan)))
    values.append(("VMs moved", f"{done['vm'].nunique():,}"))
    if len(done):
        values += [
            ("a move, median", seconds_text(done["total_seconds"].median())),
            ("the longest move", seconds_text(done["total_seconds"].max())),
            ("downtime, median", seconds_text(done["downtime_seconds"].median(), 3)),
            ("the longest downtime", seconds_text(done["downtime_seconds"].max(), 3)),
            ("the longest outage", seconds_text(done["outage_seconds"].max())),
            ("sent", bytes_text(float(done["bytes"].sum()))),
        ]
    return cards(values)


def _move_sections(
    run: Run, moves: pd.DataFrame, figures: Figures, out: Path
) -> list[Section]:
    if moves.empty:
        return []
    rows = [(move, why(move, moves, run.links)) for move in slowest(moves).to_dict("records")]
    return [
        Section("Phases", [
            figures.figure(lambda: breakdown.picture(run), "time by phase"), phase_table(moves),
        ]),
        Section("Over time", figures.figure(lambda: timeline.picture(run), "phases of each VM")),
        Section("Downtime", figures.figure(lambda: downtime_cdf.picture(run), "downtime of the VMs")),
        Section("Slowest VMs", [
            slowest_table(rows),
            tag("p", f"The {len(rows)} longest of {len(moves)} moves; all of them are in ",
                file_link(run.path / "migrations.csv", out), ", their rounds in ",
                file_link(run.path / "rounds.csv", out), ". The reasons compare each with the "
                "medians over all moves of this run.", class_="note"),
        ]),
    ]


def _failures(moves: pd.DataFrame, run: Run, out: Path) -> Html:
    lost = moves[moves["outcome"].map(failed).astype(bool)]
    if lost.empty:
        return tag("p", "None: every move completed." if len(moves) else "None: nothing moved.")
    return joined([
        tag("p", f"{len(lost)} of {len(moves)} moves did not complete."),
        failure_groups(lost.rename(columns={"vm": "VMs"}), "VMs"),
        tag("p", "Each with its reason: ", file_link(run.path / "migrations.csv", out), ".",
            class_="note"),
    ])


def _jobs(run: Run, figures: Figures, out: Path) -> Html | None:
    jobs = run.jobs.dropna(subset=["exposed_seconds"])
    parts = []
    if application.fits(run):
        parts.append(figures.figure(lambda: application.picture(run), "what migrations cost jobs"))
    if latency.fits(run):
        parts.append(figures.figure(lambda: latency.picture(run), "measurements by message size"))
    jobs = jobs[jobs["exposed_seconds"] > 0]
    if jobs.empty:
        return joined(parts) if parts else None
    longest = jobs.sort_values("exposed_seconds", ascending=False, kind="stable").head(_JOBS)
    return joined([
        parts,
        tag("p", "Exposed: what a job took longer than without migrations; of timed jobs, how long "
            "any rank was blocked by moves. Hidden: 1 - exposed / the time in which any of its VMs "
            "was on the move; the bound is what its messages leave room for: one computation "
            "between two calls in each suspension, and no pause of a guest."),
        table(
            ["job", "strategy", "workload", "exposed", "hidden", "bound"],
            [(job["job"], job["strategy"], job["workload"], seconds(job["exposed_seconds"]),
              share_text(job["overlap"]), share_text(job.get("overlap_bound", math.nan)))
             for job in longest.to_dict("records")],
            numeric=["exposed", "hidden", "bound"],
        ),
        tag("p", f"{len(longest)} of {len(jobs)} jobs that lost time; all: ",
            file_link(run.path / "jobs.csv", out), ".", class_="note"),
    ])


def _repeat(run: Run, out: Path) -> Html:
    folder = run.path
    same = "The same seed gives the same tables, byte for byte." if run.world == "sim" else ""
    cell = run.info.get("cell")
    return joined([
        tag("p", "As it was run:"), tag("pre", command_text(run.info.get("command"))),
        tag("p", "The same scenario with every default written out, from this folder. ", same),
        tag("pre", f"ferry run {folder}/resolved.yaml"),
        tag("p", f"It is {cell.get('name')} of the study {cell.get('study')}.")
        if isinstance(cell, dict) else None,
        tag("p", "This page and its pictures:"),
        tag("pre", f"ferry plot {folder} --kind report\nferry plot {folder} --kind "
            "breakdown,timeline,downtime_cdf,links --data"),
        pairs([("Files", [[file_link(path, out), " "] for path in sorted(folder.iterdir())
                          if path.is_file()])]),
    ])


