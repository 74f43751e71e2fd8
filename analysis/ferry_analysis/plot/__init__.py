"""The kinds of plot: each module prepares a table and draws exactly that table. `report` is a page
with several of them."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from pathlib import Path

from ..load import Folder, InputError, Run
from . import (
    application, breakdown, curve, downtime_cdf, latency, links, multi_vm, overlap, sensitivity,
    timeline,
)
from .curve import Choice
from .picture import Picture

KINDS: dict[str, Callable[[Folder], Picture]] = {
    "application": application.picture,
    "breakdown": breakdown.picture,
    "curve": curve.picture,
    "downtime_cdf": downtime_cdf.picture,
    "latency": latency.picture,
    "links": links.picture,
    "multi_vm": multi_vm.picture,
    "overlap": overlap.picture,
    "sensitivity": sensitivity.picture,
    "timeline": timeline.picture,
}
REPORT = "report"  # one HTML page
COMPARE = "compare"  # drawn from two sides, by `compare --plot`


def check_kind(kind: str) -> None:
    """Raises InputError for a kind that `plot` cannot draw; it names those that exist."""
    if kind in KINDS or kind == REPORT:
        return
    if kind == COMPARE:
        raise InputError(
            "--kind compare: needs two sides; ferry compare A --with B --plot would be right"
        )
    every = sorted([*KINDS, REPORT, COMPARE])
    near = difflib.get_close_matches(kind, every, n=1, cutoff=0.6)
    nearest = f"the nearest is {near[0]}; " if near else ""
    raise InputError(
        f"--kind {kind}: no such plot; {nearest}"
        f"the kinds are {', '.join(every)}"
    )


def default_kinds(folder: Folder) -> list[str]:
    """What is drawn when no kind is given: what study.yaml asks for, or what fits the folder."""
    of_jobs = {"latency": latency, "application": application}
    fitting = [kind for kind, module in of_jobs.items() if module.fits(folder)]
    if isinstance(folder, Run):
        return ["breakdown", "timeline", *fitting]
    if folder.plots:
        return list(dict.fromkeys(folder.plots))
    of_studies = {"multi_vm": multi_vm, "overlap": overlap}
    return ["breakdown", *(kind for kind, module in of_studies.items() if module.fits(folder)), *fitting]


def draw(
    folder: Folder, kind: str, out: Path, formats: Sequence[str], with_data: bool,
    choice: Choice = Choice(),
) -> list[Path]:
    """Draws one kind into the folder `out`, and returns the files written; `choice` is for
    `curve`, instead of what the study's file says."""
    check_kind(kind)
    if kind == REPORT:
        from .. import report  # which needs the kinds

        return [report.write(folder, out)]
    if kind != "curve":
        return KINDS[kind](folder).save(out, formats, with_data)
    drawn = curve.every_picture(folder) if choice == Choice() else [curve.picture(folder, choice)]
    return [path for picture in drawn for path in picture.save(out, formats, with_data)]


__all__ = ["COMPARE", "KINDS", "REPORT", "Choice", "Picture", "check_kind", "default_kinds", "draw"]
