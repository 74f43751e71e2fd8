"""Colours. A phase has one colour in every plot; what is not a phase never has a phase's colour.

The phases take the seven chromatic colours of Okabe and Ito (Color Universal Design, 2008), in an
order in which phases that touch in a stack contrast most, also for the colour-blind. Series
(transports, orders, cells) take dark or greyish colours of Paul Tol's muted scheme and, where they
are lines, a dash pattern as well.
"""

from __future__ import annotations

PHASE_COLOURS: dict[str, str] = {
    "set_pre_migration": "#CC79A7",
    "detach_vf": "#F0E442",
    "remove_ivshmem": "#009E73",
    "migration": "#0072B2",
    "attach_vf": "#E69F00",
    "add_ivshmem": "#56B4E9",
    "set_post_migration": "#D55E00",
}
OTHER_COLOUR = "#BBBBBB"  # spans that are none of the seven phases
FAILED_COLOUR = "#000000"
INK = "#222222"
FAINT_INK = "#666666"

SERIES_COLOURS: tuple[str, ...] = ("#8C8C8C", "#332288", "#882255", "#999933", "#44AA99", "#CC6677")
# What a job's ranks do when a migration is asked for; a job without one is grey.
STRATEGY_COLOURS: dict[str, str] = {
    "progress_engine": "#332288", "migration_thread": "#44AA99", "none": "#CC6677",
}
UNMIGRATED_COLOUR = "#8C8C8C"
DASHES: tuple[str | tuple[int, tuple[int, ...]], ...] = (
    "solid",
    (0, (6, 2)),
    (0, (1, 1)),
    (0, (6, 2, 1, 2)),
)


def phase_colour(phase: str) -> str:
    """The colour of a phase, or grey for what is no phase."""
    return PHASE_COLOURS.get(phase, OTHER_COLOUR)


def series_colour(index: int) -> str:
    """The colour of the index-th series; they repeat after six."""
    return SERIES_COLOURS[index % len(SERIES_COLOURS)]


def line_style(index: int) -> dict[str, object]:
    """Colour and dashes of the index-th line; 24 lines differ from each other."""
    dashes = DASHES[(index + index // len(SERIES_COLOURS)) % len(DASHES)]
    return {"color": series_colour(index), "linestyle": dashes}
