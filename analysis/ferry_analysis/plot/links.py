"""How full the most loaded links were over time: one row a direction of a link."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap, to_rgb

from ..load import Folder, InputError, Run, Study
from ..metrics import share_text
from ..palette import FAINT_INK, PHASE_COLOURS
from . import picture as pictures
from .picture import Margins, Picture

ROWS = 24
_ROW_HEIGHT = 0.2
_COLOUR = PHASE_COLOURS["migration"]  # what fills links is memory on its way
# From nothing to the full colour: the paper shows through, whatever its colour.
_SHADES = ListedColormap([(*to_rgb(_COLOUR), share) for share in np.linspace(0, 1, 101)])


def picture(folder: Folder) -> Picture:
    """The utilisation of the most loaded links of a run."""
    if isinstance(folder, Study):
        cell = folder.cell_path(folder.cells["cell"].iloc[0])
        raise InputError(f"{folder.path}: is a study; links draws one run, such as {cell}")
    if not fits(folder):
        raise InputError(
            f"{folder.path}: {why_not(folder)}; links needs a simulated run in which memory moves"
        )
    data = _prepare(folder)
    with pictures.style():
        return _draw(folder, data)


def fits(run: Run) -> bool:
    """Whether the run knows what its links carried."""
    return not (run.links.empty or run.link_usage.empty)


def why_not(run: Run) -> str:
    """Why a run says nothing of its links."""
    if run.world != "sim":
        return "what links carry is known in simulations only"
    if not (run.path / "links.csv").exists():
        return "links were not recorded (outputs.links is false, or an older version ran)"
    return "nothing was sent over a link"


def _prepare(run: Run) -> pd.DataFrame:
    """One row an interval that is drawn: row (0 is at the top), network, link, start_seconds,
    end_seconds, utilisation, mean_utilisation (of the link over the run)."""
    names = list(dict.fromkeys(zip(run.link_usage["network"], run.link_usage["link"])))[:ROWS]
    rows = {name: row for row, name in enumerate(names)}
    keys = pd.Series(list(zip(run.link_usage["network"], run.link_usage["link"])), dtype=object)
    data = run.link_usage.assign(row=keys.map(rows)).dropna(subset=["row"])
    means = run.links.set_index(["network", "link"])["mean_utilisation"].to_dict()
    data["mean_utilisation"] = [means[name] for name in zip(data["network"], data["link"])]
    data["row"] = data["row"].astype(int)
    columns = ["row", "network", "link", "start_seconds", "end_seconds", "utilisation",
               "mean_utilisation"]
    return data[columns].sort_values(["row", "start_seconds"], ignore_index=True)


def _draw(run: Run, data: pd.DataFrame) -> Picture:
    rows = data.drop_duplicates("row")
    networks = data["network"].nunique()
    names = [
        row["link"] if networks == 1 else f"{row['link']} ({row['network']})"
        for row in rows.to_dict("records")
    ]
    left = 0.3 + max(pictures.text_width(name, 8) for name in names)
    width, right = 6.2, 1.55
    first, last = float(data["start_seconds"].min()), float(data["end_seconds"].max())
    subtitle = pictures.joined(
        pictures.origin(run),
        f"the {len(rows)} most loaded of {len(run.links)}" if len(rows) < len(run.links)
        else f"all {len(rows)} links that carried something" if len(rows) > 1 else "1 link",
        f"intervals of {_interval_text(data)}",
    )
    margins = Margins(left, right, 0.6, pictures.subtitle_height(subtitle, left + width + right) + 0.2)
    figure, axes = pictures.new_axes(width, max(1.0, len(rows) * _ROW_HEIGHT), margins)
    pictures.add_title(figure, f"{run.name}: utilisation of the links", subtitle)
    axes.imshow(
        _matrix(data, first, last), cmap=_SHADES, vmin=0, vmax=1, aspect="auto",
        interpolation="nearest", extent=(first, last, len(rows) - 0.5, -0.5),
    )
    axes.set_yticks(range(len(rows)), names, size=8)
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel("time since the start of the run (seconds)")
    for edge in np.arange(0.5, len(rows) - 1):
        axes.axhline(edge, color="#DDDDDD", linewidth=0.5)
    _draw_means(axes, rows)
    _draw_key(axes)
    return Picture("links", figure, data)


def _interval_text(data: pd.DataFrame) -> str:
    seconds = float((data["end_seconds"] - data["start_seconds"]).iloc[0])
    return f"{seconds:.3g} s" if seconds >= 1 else f"{1000 * seconds:.3g} ms"


def _matrix(data: pd.DataFrame, first: float, last: float) -> np.ndarray:
    """Rows and intervals, shape (links, intervals); nothing was sent in those that are not there."""
    length = float((data["end_seconds"] - data["start_seconds"]).iloc[0])
    columns = int(round((last - first) / length))
    matrix = np.zeros((int(data["row"].max()) + 1, columns))
    places = np.rint((data["start_seconds"] - first) / length).astype(int)
    matrix[data["row"], places] = data["utilisation"].clip(upper=1.0)
    return matrix


def _draw_means(axes: Axes, rows: pd.DataFrame) -> None:
    for row in rows.to_dict("records"):
        axes.text(
            1.075, row["row"], share_text(row["mean_utilisation"]), ha="right", va="center", size=8,
            transform=axes.get_yaxis_transform(),
        )
    axes.text(
        1.075, -0.75, "mean", ha="right", va="bottom", size=8, color=FAINT_INK,
        transform=axes.get_yaxis_transform(),
    )


def _draw_key(axes: Axes) -> None:
    """What the shades mean, at the right."""
    figure = axes.figure
    width, height = figure.get_size_inches()
    box = axes.get_position()
    key = figure.add_axes(
        (box.x1 + 0.75 / width, box.y1 - 0.9 / height, 0.14 / width, 0.9 / height)
    )
    key.imshow(np.linspace(1, 0, 50)[:, None], cmap=_SHADES, vmin=0, vmax=1, aspect="auto",
               extent=(0, 1, 0, 1))
    key.set_xticks([])
    key.yaxis.tick_right()
    key.set_yticks([0, 0.5, 1], ["0", "50 %", "100 %"], size=8)
    for spine in key.spines.values():
        spine.set_visible(True)
