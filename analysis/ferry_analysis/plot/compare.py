"""Side A against side B: the phases of both as stacked bars, and below a dot and a spread for each
quantity, on a logarithmic scale."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke

from ..load import PHASES
from ..palette import FAINT_INK, INK, PHASE_COLOURS
from ..quantities import percent_text
from . import picture as pictures
from .picture import Margins, Picture

_PANELS = 12
_PANEL_WIDTH = 3.6  # inches, with 1.1 for the differences at its right
_DIFFERENCE_WIDTH = 0.85
_ROW_HEIGHT = 0.3
_BARS_HEIGHT = 0.6  # two bars
_BARS_GAP = 0.5  # to the panel below: their axis
_OUTLINE = [withStroke(linewidth=2.8, foreground=FAINT_INK)]  # yellow on white needs it


def picture(data: pd.DataFrame, name: str, sides: tuple[str, str], tolerance: float) -> Picture:
    """Draws the table that `ferry_analysis.compare.difference_table` makes: a panel a scenario.

    With more than twelve scenarios, those with the largest difference of the total are drawn.
    """
    drawn, left_out = _largest(data)
    with pictures.style():
        return _draw(drawn, left_out, name, sides, tolerance)


def _largest(data: pd.DataFrame) -> tuple[pd.DataFrame, int]:
    scenarios = list(dict.fromkeys(data["scenario"]))
    if len(scenarios) <= _PANELS:
        return data, 0
    totals = data[data["quantity"] == "total"].set_index("scenario")["difference_percent"].abs()
    kept = set(totals.sort_values(ascending=False, kind="stable").index[:_PANELS])
    return data[data["scenario"].isin(kept)].reset_index(drop=True), len(scenarios) - _PANELS


def _draw(
    data: pd.DataFrame, left_out: int, name: str, sides: tuple[str, str], tolerance: float
) -> Picture:
    scenarios = list(dict.fromkeys(data["scenario"]))
    columns = min(2, len(scenarios))
    lines = -(-len(scenarios) // columns)
    rows = data["quantity"].nunique()
    panel_height = rows * _ROW_HEIGHT
    bars_height = _BARS_HEIGHT + _BARS_GAP
    pitch = bars_height + panel_height + (0.85 if len(scenarios) > 1 else 0.6)
    cell_width = _PANEL_WIDTH + _DIFFERENCE_WIDTH + 0.25
    subtitle = pictures.joined(
        f"A: {sides[0]}", f"B: {sides[1]}",
        "bars: medians of the phases, with the spread of the total",
        f"dots: medians, lines: {_spread_text(data)}",
        f"bold: differs by more than {100 * tolerance:g}\N{NO-BREAK SPACE}%",
        f"{left_out} scenarios with smaller differences left out" if left_out else "",
    )
    margins = Margins(1.65, 0.15, 0.0, 0.0)
    width = columns * cell_width
    head = pictures.subtitle_height(subtitle, margins.left + width) + 0.3
    figure = pictures.new_figure(margins.left + width, head + lines * pitch + 0.1)
    total_width, total_height = figure.get_size_inches()
    pictures.add_title(figure, f"{name}: A against B", subtitle)
    limits = _limits(data)
    longest = _longest(data)
    for index, scenario in enumerate(scenarios):
        line, column = divmod(index, columns)
        top = head + line * pitch + (0.2 if len(scenarios) > 1 else 0.0)
        rows_of_it = data[data["scenario"] == scenario]

        def axes_at(above: float, tall: float) -> Axes:
            return figure.add_axes(
                (
                    (margins.left + column * cell_width) / total_width,
                    1 - (above + tall) / total_height,
                    _PANEL_WIDTH / total_width,
                    tall / total_height,
                )
            )

        bars = axes_at(top, _BARS_HEIGHT)
        _draw_bars(bars, rows_of_it, longest, named=column == 0)
        panel = axes_at(top + bars_height, panel_height)
        _draw_panel(panel, rows_of_it, limits, named=column == 0)
        if len(scenarios) > 1:
            bars.set_title(scenario, size=9, loc="left")
    _draw_legend(figure, head, total_width, total_height, margins.left)
    return Picture("compare", figure, data)


def _spread_text(data: pd.DataFrame) -> str:
    """Of which kind the spreads of these rows are; both sides of a row have the same."""
    kinds = set(data["spread"])
    if len(kinds) > 1:
        return "the quartiles where both sides have 9 values or more, else least to greatest"
    return "the quartiles" if kinds == {"quartiles"} else "least to greatest"


def _limits(data: pd.DataFrame) -> tuple[float, float]:
    """Seconds, around all positive values that are drawn."""
    values = data[[f"{side}_{end}_seconds" for side in "ab" for end in ("low", "high")]].to_numpy()
    positive = values[values > 0]
    if not positive.size:
        return 1e-3, 1.0
    return float(positive.min()) / 1.6, float(positive.max()) * 1.6


def _longest(data: pd.DataFrame) -> float:
    """Seconds that the bars' axis must hold."""
    totals = data[data["quantity"] == "total"]
    stacks = data[data["quantity"].isin(PHASES)].groupby("scenario", sort=False)
    sums = [stacks[f"{side}_median_seconds"].sum().max() for side in "ab"]
    highs = [totals[f"{side}_high_seconds"].max() for side in "ab"]
    longest = max((value for value in (*sums, *highs) if value > 0), default=1.0)
    return 1.05 * float(longest)


def _draw_bars(axes: Axes, rows: pd.DataFrame, longest: float, named: bool) -> None:
    """A stack of the phases' medians for each side, and across its end the spread of the total."""
    axes.set_xlim(0, longest)
    axes.set_ylim(1.5, -0.5)
    axes.set_yticks([0, 1], ["A", "B"] if named else ["", ""], size=8.5)
    axes.tick_params(axis="y", length=0)
    axes.tick_params(axis="x", labelsize=8)
    axes.grid(axis="x")
    by_quantity = rows.set_index("quantity")
    for y, side in enumerate("ab"):
        left = 0.0
        for phase in PHASES:
            seconds = float(by_quantity.loc[phase, f"{side}_median_seconds"])
            if np.isnan(seconds):
                continue
            axes.barh(
                y, seconds, left=left, height=0.72, color=PHASE_COLOURS[phase],
                edgecolor="white", linewidth=0.4,
            )
            left += seconds
        low, high = (float(by_quantity.loc["total", f"{side}_{end}_seconds"])
                     for end in ("low", "high"))
        if not np.isnan(low):
            axes.plot([low, high], [y, y], color=INK, linewidth=1.2)
            axes.plot([low, high], [y, y], "|", color=INK, markersize=7, markeredgewidth=1.2)
    axes.annotate(
        "seconds", (1.03, 0), (0, -9), xycoords="axes fraction", textcoords="offset points",
        va="center", size=8.5,
    )


def _draw_panel(
    axes: Axes, rows: pd.DataFrame, limits: tuple[float, float], named: bool
) -> None:
    axes.set_xscale("log")
    axes.set_xlim(*limits)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.grid(axis="x")
    axes.set_xlabel("seconds, logarithmic scale")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.xaxis.set_minor_formatter(lambda value, _: "")
    names = rows["quantity"].tolist()
    axes.set_yticks(range(len(rows)), names if named else [""] * len(rows), size=8.5)
    axes.tick_params(axis="y", length=0)
    for y, row in enumerate(rows.to_dict("records")):
        colour = PHASE_COLOURS.get(row["quantity"], INK)
        for side, offset in (("a", -0.16), ("b", 0.16)):
            _draw_side(axes, row, side, y + offset, colour, limits[0])
        beyond = row["within"] == "no"
        axes.text(
            1.03, y, percent_text(row["difference_percent"]), ha="left", va="center", size=8.5,
            transform=axes.get_yaxis_transform(), weight="bold" if beyond else "normal",
            color=INK if beyond else FAINT_INK,
        )


def _draw_side(
    axes: Axes, row: dict[str, object], side: str, y: float, colour: str, least: float
) -> None:
    """A filled dot for A, an open square for B; zero stands at the left edge, marked so."""
    median = float(row[f"{side}_median_seconds"])
    if np.isnan(median):
        return
    low, high = float(row[f"{side}_low_seconds"]), float(row[f"{side}_high_seconds"])
    axes.plot(
        [max(low, least), max(high, least)], [y, y], color=colour, linewidth=1.6,
        path_effects=_OUTLINE,
    )
    axes.plot(
        [max(median, least)], [y], "o" if side == "a" else "s", markersize=5,
        markerfacecolor=colour if side == "a" else "white", markeredgecolor=colour,
        markeredgewidth=1.4, clip_on=False, zorder=3, path_effects=_OUTLINE,
    )
    if median == 0:
        axes.annotate(
            "0", (least, y), (7, 0), textcoords="offset points", va="center", size=6,
            color=FAINT_INK,
        )


def _draw_legend(figure, head: float, width: float, height: float, left: float) -> None:
    handles = [
        Line2D([], [], color=INK, marker=marker, markerfacecolor=face, markeredgecolor=INK,
               markersize=6, linewidth=1.6, label=label)
        for marker, face, label in (("o", INK, "A"), ("s", "white", "B"))
    ]
    figure.legend(
        handles=handles, loc="lower left", ncol=2, borderaxespad=0,
        bbox_to_anchor=(left / width, 1 - (head - 0.08) / height),
    )
