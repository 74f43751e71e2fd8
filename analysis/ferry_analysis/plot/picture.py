"""A figure with the table it shows, how it is laid out, and how it is written to files."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import TextPath

from ..load import Folder, InputError, world_text
from ..palette import FAINT_INK, INK

FORMATS: tuple[str, ...] = ("png", "svg")
DOTS_PER_INCH = 200
_STYLE = {
    "figure.dpi": 100,
    "savefig.dpi": DOTS_PER_INCH,
    "svg.hashsalt": "ferry",
    "svg.fonttype": "path",
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": FAINT_INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": False,
    "grid.color": "#DDDDDD",
    "grid.linewidth": 0.6,
    "hatch.linewidth": 0.6,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "xtick.color": FAINT_INK,
    "ytick.color": FAINT_INK,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
}


@dataclass(frozen=True)
class Picture:
    """A finished figure; `data` holds what is drawn, one row a mark or a group of marks."""

    kind: str
    figure: Figure
    data: pd.DataFrame

    def save(self, out: Path, formats: Sequence[str], with_data: bool) -> list[Path]:
        """Writes KIND.FORMAT for each format, and KIND.csv; returns the paths."""
        paths = [out / f"{self.kind}.{extension}" for extension in formats]
        try:
            out.mkdir(parents=True, exist_ok=True)
            with style():
                for path in paths:
                    self.figure.savefig(path, metadata=_metadata(path))
            if with_data:
                paths.append(out / f"{self.kind}.csv")
                self.data.to_csv(paths[-1], index=False, lineterminator="\n")
        except OSError as error:
            raise InputError(
                f"{error.filename or out}: cannot be written: {error.strerror}; "
                "--out with a folder that can be written would be right"
            ) from None
        return paths


@dataclass(frozen=True)
class Margins:
    """The space around the axes, in inches."""

    left: float = 0.75
    right: float = 0.3
    bottom: float = 0.65
    top: float = 0.75


def style():
    """A context with matplotlib's own defaults and Ferry's style, whatever the user's settings."""
    return matplotlib.rc_context({**_default_settings(), **_STYLE})


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of width x height inches that no window will show."""
    figure = Figure(figsize=(width, height))
    FigureCanvasAgg(figure)
    return figure


def new_axes(width: float, height: float, margins: Margins) -> tuple[Figure, Axes]:
    """A figure whose axes are width x height inches, with the margins around them."""
    total_width = margins.left + width + margins.right
    total_height = margins.bottom + height + margins.top
    figure = new_figure(total_width, total_height)
    axes = figure.add_axes(
        (
            margins.left / total_width,
            margins.bottom / total_height,
            width / total_width,
            height / total_height,
        )
    )
    return figure, axes


def add_title(figure: Figure, title: str, subtitle: str) -> None:
    """A title, and under it a fainter line, from the left edge of the figure.

    Both shrink, and the second one is broken into lines, so that they stay within the figure.
    """
    width, height = figure.get_size_inches()
    size = min(12.0, 12.0 * (width - 0.3) / max(text_width(title, 12.0, "bold"), 0.1))
    lines = _broken(subtitle, 8.5, width - 0.3)
    figure.text(
        0.15 / width, 1 - 0.12 / height, title, size=size, weight="bold", va="top", ha="left"
    )
    figure.text(
        0.15 / width, 1 - 0.36 / height, "\n".join(lines),
        size=8.5, color=FAINT_INK, va="top", ha="left",
    )


def subtitle_height(subtitle: str, total_width: float) -> float:
    """The inches that a title and this subtitle need above a figure's axes."""
    return 0.55 + 0.145 * len(_broken(subtitle, 8.5, total_width - 0.3))


def text_width(text: str, size: float, weight: str = "normal") -> float:
    """A text's width in inches, at a font size in points."""
    return _point_width(text, weight) * size / 72


def cut(text: str, size: float, width: float) -> str:
    """The text, or as much of it as has room in so many inches, with an ellipsis."""
    if text_width(text, size) <= width:
        return text
    while text and text_width(f"{text}…", size) > width:
        text = text[:-1]
    return f"{text.rstrip()}…"


def joined(*parts: str) -> str:
    """The parts of a subtitle that are not empty, with semicolons between them."""
    return "; ".join(part for part in parts if part)


def origin(folder: Folder) -> str:
    """Where the figures of a folder come from: its world and its seed."""
    seed = folder.info.get("seed")
    return ", ".join(part for part in (world_text(folder), _seed_text(seed)) if part)


@functools.lru_cache(maxsize=4096)
def _point_width(text: str, weight: str) -> float:
    """The width of a text at a size of one point, in points; spaces at its ends do not count."""
    if not text.strip():
        return 0.0
    font = FontProperties(family=_STYLE["font.family"], weight=weight, size=100)
    return float(np.ptp(TextPath((0, 0), text, prop=font).vertices[:, 0])) / 100


def _seed_text(seed: object) -> str:
    return "" if seed is None else f"seed {seed}"


def _broken(text: str, size: float, width: float) -> list[str]:
    lines: list[str] = []
    for word in text.split(" "):  # a no-break space keeps words together
        if lines and text_width(f"{lines[-1]} {word}", size) <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines or [""]


def _metadata(path: Path) -> dict[str, str | None]:
    title = {"Title": path.stem}
    return {**title, "Date": None} if path.suffix == ".svg" else title


def _default_settings() -> dict[str, object]:
    skipped = {"backend", "backend_fallback", "toolbar", "interactive", "timezone"}
    return {
        name: value
        for name, value in matplotlib.rcParamsDefault.items()
        if name not in skipped and not name.startswith(("webagg", "_internal", "date.epoch"))
    }
