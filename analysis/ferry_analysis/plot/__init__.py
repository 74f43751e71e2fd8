"""The kinds of plot: each module prepares a table and draws exactly that table."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from pathlib import Path

from ..load import Folder, InputError, Run
from . import breakdown, downtime_cdf, multi_vm, timeline
from .picture import Picture

KINDS: dict[str, Callable[[Folder], Picture]] = {
    "breakdown": breakdown.picture,
    "downtime_cdf": downtime_cdf.picture,
    "multi_vm": multi_vm.picture,
    "timeline": timeline.picture,
}
COMPARE = "compare"  # drawn from two sides, by `compare --plot`


def check_kind(kind: str) -> None:
    """Raises InputError for a kind that `plot` cannot draw; it names those that exist."""
    if kind in KINDS:
        return
    if kind == COMPARE:
        raise InputError(
            "--kind compare: needs two sides; ferry compare A --with B --plot would be right"
        )
    near = difflib.get_close_matches(kind, [*KINDS, COMPARE], n=1, cutoff=0.6)
    nearest = f"the nearest is {near[0]}; " if near else ""
    raise InputError(
        f"--kind {kind}: no such plot; {nearest}"
        f"the kinds are {', '.join(sorted([*KINDS, COMPARE]))}"
    )


def default_kinds(folder: Folder) -> list[str]:
    """What is drawn when no kind is given: what study.yaml asks for, or what fits the folder."""
    if isinstance(folder, Run):
        return ["breakdown", "timeline"]
    if folder.plots:
        return list(dict.fromkeys(folder.plots))
    return ["breakdown", "multi_vm"] if multi_vm.fits(folder) else ["breakdown"]


def draw(
    folder: Folder, kind: str, out: Path, formats: Sequence[str], with_data: bool
) -> list[Path]:
    """Draws one kind into the folder `out`, and returns the files written."""
    check_kind(kind)
    return KINDS[kind](folder).save(out, formats, with_data)


__all__ = ["COMPARE", "KINDS", "Picture", "check_kind", "default_kinds", "draw"]
