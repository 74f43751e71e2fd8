"""Tables that a reader can sort, and small pictures inside their cells."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from ..load import PHASES
from ..palette import phase_colour
from ..quantities import seconds_text
from .html import Html, joined, tag


_SENTENCE = 24  # characters: a longer text is broken into lines, but not into single words


@dataclass(frozen=True)
class Cell:
    """What a cell shows, and by what it is sorted if that is not its text."""

    content: object
    key: float | str | None = None


def table(
    columns: Sequence[str], rows: Iterable[Sequence[object]], numeric: Iterable[str] = (),
    caption: str = "",
) -> Html:
    """A table whose columns can be sorted by a click on their heads. Columns of `numeric` stand at
    the right; those with long texts get some room."""
    columns, rows = _without_empty(columns, [list(row) for row in rows])
    right = set(numeric)
    classes = [
        "number" if name in right
        else "sentence" if any(_length(row[index]) > _SENTENCE for row in rows) else None
        for index, name in enumerate(columns)
    ]
    heads = [
        tag("th", tag("button", name, type="button"), scope="col", class_=kind)
        for name, kind in zip(columns, classes)
    ]
    body = [tag("tr", [_cell(value, kind) for value, kind in zip(row, classes)]) for row in rows]
    return tag(
        "div",
        tag("table", tag("caption", caption) if caption else None,
            tag("thead", tag("tr", heads)), tag("tbody", body), class_="sortable"),
        class_="scroll",
    )


def _length(value: object) -> int:
    """How many characters a cell shows."""
    content = joined(value.content if isinstance(value, Cell) else value)
    return len(re.sub("<[^>]*>", "", content))


def _without_empty(
    columns: Sequence[str], rows: list[list[object]]
) -> tuple[list[str], list[list[object]]]:
    """The columns in which some row has something."""
    kept = [
        index for index in range(len(columns))
        if not rows or any(row[index] not in (None, "") for row in rows)
    ]
    return [columns[index] for index in kept], [[row[index] for index in kept] for row in rows]


def pairs(rows: Iterable[tuple[str, object]]) -> Html:
    """A list of names with what they stand for; those without anything are left out."""
    shown = [(name, value) for name, value in rows if value not in (None, "", [])]
    return tag("dl", [tag("div", tag("dt", name), tag("dd", value)) for name, value in shown])


def _cell(value: object, kind: str | None) -> Html:
    if not isinstance(value, Cell):
        return tag("td", value, class_=kind)
    key = value.key
    if isinstance(key, float) and math.isnan(key):
        key = ""
    return tag("td", value.content, class_=kind, data_v=key)


def seconds(value: float) -> Cell:
    """A duration, sorted by its length."""
    return Cell("–" if math.isnan(value) else seconds_text(value), float(value))


def bar(text: str, value: float, largest: float) -> Cell:
    """A value with a bar behind it that is as long as its part of the largest."""
    if math.isnan(value) or largest <= 0:
        return Cell(text, value)
    return Cell(
        tag("span", text, class_="bar", style=f"--part:{100 * value / largest:.1f}%"), float(value)
    )


def phase_bar(times: dict[str, float]) -> Html:
    """The phases of a move as parts of one bar; its text names the longest ones."""
    total = sum(time for time in times.values() if time > 0)
    if total <= 0:
        return joined("–")
    parts = [
        tag("i", title=f"{phase}: {seconds_text(times[phase])}",
            style=f"width:{100 * times[phase] / total:.2f}%;background:{phase_colour(phase)}")
        for phase in PHASES if times.get(phase, 0) > 0
    ]
    longest = sorted(PHASES, key=lambda phase: -times.get(phase, 0))[:2]
    text = ", ".join(
        f"{phase} {100 * times[phase] / total:.0f}\u00a0%" for phase in longest if times[phase] > 0
    )
    return joined([tag("span", parts, class_="phases", role="img", aria_label=text),
                   tag("small", text)])


def phase_key() -> Html:
    """Which colour is which phase."""
    return tag(
        "p",
        [tag("span", tag("i", style=f"background:{phase_colour(phase)}"), phase) for phase in PHASES],
        class_="key",
    )


def sparkline(values: Sequence[float], label: str) -> Html:
    """Shares from 0 to 1 over time as an area, in a picture without axes."""
    width, height = 120.0, 18.0
    table = np.clip(np.nan_to_num(np.asarray(values, dtype=float)), 0, 1)
    if len(table) == 0:
        return joined("")
    step = width / len(table)
    points = [f"0,{height:g}"]
    for index, value in enumerate(table):
        y = height * (1 - value)
        points += [f"{index * step:.1f},{y:.1f}", f"{(index + 1) * step:.1f},{y:.1f}"]
    points.append(f"{width:g},{height:g}")
    return tag(
        "svg", tag("polygon", points=" ".join(points)), class_="spark", role="img",
        aria_label=label, viewBox=f"0 0 {width:g} {height:g}", preserveAspectRatio="none",
    )
