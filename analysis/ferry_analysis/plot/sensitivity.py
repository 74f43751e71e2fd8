"""What each assumed constant does to the claims at half and at double: a panel a claim."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from ..load import Folder, InputError, Run, Study
from ..metrics import metric_text
from ..palette import FAINT_INK, INK, SERIES_COLOURS
from . import picture as pictures
from .picture import Picture

_PANELS = 12
_ROWS = 8  # constants in one panel
_VISIBLE = 0.0005  # of the value as things are: a smaller change is none
_ROW_HEIGHT = 0.25
_HALVED, _DOUBLED = SERIES_COLOURS[1], SERIES_COLOURS[3]
_REFUSED = "#E4E4E4"


@dataclass(frozen=True)
class Claim:
    """One panel: the rows of sensitivity.csv that belong to a claim, prepared."""

    name: str
    text: str
    quantity: str
    nominal: float  # NaN: the claim has no value as things are, and no panel
    least: float  # what the claim allows; NaN: no such bound
    greatest: float
    holds: str
    rows: pd.DataFrame  # one row a constant: `constant`, `halved`, `doubled`, `turns_*`, `swing`
    silent: int  # constants that change nothing
    untried: int


def picture(folder: Folder) -> Picture:
    """Tornado plots of the claims that some constant moves, those that a constant turns first."""
    if isinstance(folder, Run):
        raise InputError(f"{folder.path}: is a run; sensitivity needs a study with claims")
    table = _table(folder)
    texts = folder.claims.set_index("id")["text"].to_dict()
    claims = [_claim(name, texts.get(name, ""), rows) for name, rows in table.groupby("claim", sort=False)]
    moved = [claim for claim in claims if len(claim.rows) and not math.isnan(claim.nominal)]
    moved.sort(key=lambda claim: not _turned(claim))  # stable: else in the study's order
    with pictures.style():
        return _draw(folder, moved[:_PANELS], claims, _data(claims))


def fits(study: Study) -> bool:
    """Whether the study's claims were examined."""
    return len(study.sensitivity) > 0


def _table(study: Study) -> pd.DataFrame:
    table = study.sensitivity
    if table.empty:
        raise InputError(
            f"{study.path / 'sensitivity.csv'}: has nothing to draw; a study with claims, swept "
            "without --no-sensitivity, would be right"
        )
    return table


def _claim(name: str, text: str, rows: pd.DataFrame) -> Claim:
    as_is = rows[rows["constant"] == ""].iloc[0]
    least, greatest = float(as_is["least"]), float(as_is["greatest"])
    nominal = _decisive(as_is, least, greatest)
    constants, silent, untried = [], 0, 0
    for constant, pair in rows[rows["constant"] != ""].groupby("constant", sort=False):
        found = {"constant": _short(str(constant)), "halved": math.nan, "doubled": math.nan,
                 "turns_halved": False, "turns_doubled": False}
        for row in pair.to_dict("records"):
            side = "halved" if row["factor"] < 1 else "doubled"
            if row["holds"] == "":
                untried += 1
                continue
            found[side] = _decisive(row, least, greatest)
            found[f"turns_{side}"] = (row["holds"] == "yes") != (as_is["holds"] == "yes")
        moves = [found[side] - nominal for side in ("halved", "doubled")]
        found["swing"] = float(np.nanmax(np.abs([*moves, 0.0])))
        turns = found["turns_halved"] or found["turns_doubled"]
        if found["swing"] > _VISIBLE * abs(nominal) or turns:
            constants.append(found)
        else:
            silent += 1
    columns = ["constant", "halved", "doubled", "turns_halved", "turns_doubled", "swing"]
    table = pd.DataFrame(constants, columns=columns)
    table = table.sort_values("swing", ascending=False, kind="stable", ignore_index=True)
    return Claim(name, text, str(as_is["quantity"]), nominal, least, greatest,
                 str(as_is["holds"]), table, silent, untried)


def _decisive(row: dict[str, object] | pd.Series, least: float, greatest: float) -> float:
    """Of what a claim looked at the end that is nearest to, or farthest beyond, what it allows."""
    low, high = float(row["low"]), float(row["high"])
    if math.isnan(least):
        return high
    if math.isnan(greatest):
        return low
    return low if low - least < greatest - high else high


def _turned(claim: Claim) -> bool:
    return bool((claim.rows["turns_halved"] | claim.rows["turns_doubled"]).any())


def _short(path: str) -> str:
    return path.removeprefix("platform.")


def _data(claims: list[Claim]) -> pd.DataFrame:
    """One row a claim and constant: what is drawn, in every panel and beyond."""
    tables = [
        claim.rows.assign(claim=claim.name, quantity=claim.quantity, nominal=claim.nominal,
                          least=claim.least, greatest=claim.greatest)
        for claim in claims
    ]
    columns = ["claim", "quantity", "constant", "nominal", "halved", "doubled", "turns_halved",
               "turns_doubled", "least", "greatest"]
    return pd.concat(tables, ignore_index=True)[columns]


# --- Drawing ---

_LEFT_GAP, _RIGHT, _PANEL_WIDTH, _TITLE, _AXIS, _GAP = 0.25, 0.35, 3.3, 0.47, 0.5, 0.16


def _draw(study: Study, drawn: list[Claim], claims: list[Claim], data: pd.DataFrame) -> Picture:
    columns = 1 if len(drawn) <= 2 else 2
    names = [row for claim in drawn for row in claim.rows["constant"][:_ROWS]]
    left = _LEFT_GAP + max((pictures.text_width(name, 8) for name in names), default=2.0)
    cell = left + _PANEL_WIDTH + _RIGHT
    lines = [drawn[start : start + columns] for start in range(0, len(drawn), columns)]
    heights = [
        _TITLE + _AXIS + _ROW_HEIGHT * max(min(len(claim.rows), _ROWS) for claim in line)
        for line in lines
    ]
    width = max(columns * cell, 6.5)
    subtitle = _subtitle(study, drawn, claims)
    top = pictures.subtitle_height(subtitle, width) + 0.28
    height = top + sum(heights) + _GAP * max(len(lines) - 1, 0) + 0.1
    figure = pictures.new_figure(width, height)
    pictures.add_title(figure, f"{study.name}: claims with assumed constants halved and doubled", subtitle)
    _draw_legend(figure, drawn, width, height, top)
    at = height - top
    for line, line_height in zip(lines, heights):
        for column, claim in enumerate(line):
            rows = min(len(claim.rows), _ROWS) * _ROW_HEIGHT
            x = column * cell + left
            axes = figure.add_axes(
                (x / width, (at - _TITLE - rows) / height, _PANEL_WIDTH / width, rows / height)
            )
            _draw_panel(axes, claim)
            _draw_heading(figure, claim, (column * cell + 0.15) / width, at / height, cell, height)
        at -= line_height + _GAP
    return Picture("sensitivity", figure, data)


def _draw_heading(
    figure: Figure, claim: Claim, x: float, y: float, cell: float, height: float
) -> None:
    text = pictures.cut(claim.text, 8.5, cell - 0.35 - pictures.text_width(f"{claim.name}  ", 9, "bold"))
    figure.text(x, y - 0.05 / height, claim.name, size=9, weight="bold", va="top")
    figure.text(
        x + (pictures.text_width(claim.name, 9, "bold") + 0.08) / figure.get_size_inches()[0],
        y - 0.055 / height, text, size=8.5, va="top",
    )
    state = {"yes": "holds", "no": "does not hold"}.get(claim.holds, claim.holds)
    more = len(claim.rows) - _ROWS
    rest = [
        f"{more} more move it less" if more > 0 else "",
        f"{claim.silent} {_constants(claim.silent)} not move it" if claim.silent else "",
        f"{claim.untried} not tried" if claim.untried else "",
    ]
    value = metric_text(_unit_of(claim.quantity), claim.nominal)
    figure.text(
        x, y - 0.23 / height,
        pictures.cut(f"{state} at {value}; {pictures.joined(*rest)}".rstrip("; "), 8, cell - 0.3),
        size=8, color=FAINT_INK, va="top",
    )


def _constants(count: int) -> str:
    return "constant does" if count == 1 else "constants do"


def _draw_panel(axes: Axes, claim: Claim) -> None:
    rows = claim.rows.head(_ROWS)
    ends = pd.concat([rows["halved"], rows["doubled"]]).dropna().tolist()
    bounds = [bound for bound in (claim.least, claim.greatest) if not math.isnan(bound)]
    low, high = min([claim.nominal, *ends, *bounds]), max([claim.nominal, *ends, *bounds])
    margin = 0.07 * (high - low) or 1.0
    axes.set_xlim(low - margin, high + margin)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    if not math.isnan(claim.least):
        axes.axvspan(low - margin, claim.least, color=_REFUSED, linewidth=0, zorder=0)
    if not math.isnan(claim.greatest):
        axes.axvspan(claim.greatest, high + margin, color=_REFUSED, linewidth=0, zorder=0)
    for place, row in enumerate(rows.to_dict("records")):
        for side, colour, offset in (("halved", _HALVED, -0.2), ("doubled", _DOUBLED, 0.2)):
            end = row[side]
            if math.isnan(end):
                continue
            axes.barh(place + offset, end - claim.nominal, 0.36, claim.nominal, color=colour)
            if row[f"turns_{side}"]:
                axes.plot([end], [place + offset], "D", color=INK, markersize=4, clip_on=False)
    axes.axvline(claim.nominal, color=INK, linewidth=1.0)
    axes.set_yticks(range(len(rows)), rows["constant"], size=8)
    axes.tick_params(axis="y", length=0)
    axes.tick_params(axis="x", labelsize=8)
    axes.locator_params(axis="x", nbins=5)
    axes.set_xlabel(_quantity_title(claim.quantity), size=8.5)
    axes.spines["left"].set_visible(False)
    axes.grid(axis="x")


def _draw_legend(
    figure: Figure, drawn: list[Claim], width: float, height: float, top: float
) -> None:
    if not drawn:
        return
    handles = [
        Patch(facecolor=_HALVED, label="halved"), Patch(facecolor=_DOUBLED, label="doubled"),
        Patch(facecolor=_REFUSED, label="not what is claimed"),
        Line2D([], [], color=INK, linewidth=1.0, label="as it is"),
        Line2D([], [], color=INK, marker="D", linestyle="none", markersize=4,
               label="turns the claim"),
    ]
    figure.legend(
        handles=handles, loc="lower left", bbox_to_anchor=(0.1 / width, 1 - top / height + 0.01),
        ncols=5, borderaxespad=0, columnspacing=1.4, handlelength=1.3, handletextpad=0.5,
    )


def _subtitle(study: Study, drawn: list[Claim], claims: list[Claim]) -> str:
    unknown = [claim.name for claim in claims if math.isnan(claim.nominal)]
    still = [claim.name for claim in claims if claim.rows.empty and claim.name not in unknown]
    turned = sum(_turned(claim) for claim in claims)
    left_out = len(claims) - len(unknown) - len(still) - len(drawn)
    return pictures.joined(
        pictures.origin(study),
        f"{turned} of {len(claims)} claims would turn",
        f"without a value: {', '.join(unknown)}" if unknown else "",
        f"no constant moves {', '.join(still)}" if still else "",
        f"{left_out} more are in sensitivity.csv" if left_out else "",
    )


def _unit_of(quantity: str) -> str:
    """The metric whose unit a quantity has; nothing for quotients."""
    return "" if "/" in quantity else quantity


def _quantity_title(quantity: str) -> str:
    if quantity.endswith("_seconds") and "/" not in quantity:
        return f"{quantity.removesuffix('_seconds').replace('_', ' ')} (seconds)"
    return quantity.replace("_seconds", "").replace("_", " ")
