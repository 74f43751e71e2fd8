"""What is said of links: which were full, and for how long."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from ..load import Run
from ..metrics import bytes_text, rate_text, share_text
from ..plot import links as links_plot
from ..quantities import seconds_text
from .figures import Figures
from .html import Html, joined, tag
from .provenance import file_link
from .tables import Cell, bar, seconds, sparkline, table

_ROWS = 20


def links_section(run: Run, figures: Figures, out: Path) -> Html:
    """The most loaded links: a sentence, over time, and as a table."""
    if not links_plot.fits(run):
        return tag("p", f"Not known: {links_plot.why_not(run)}.", class_="note")
    links = run.links
    return joined([
        tag("p", bottleneck_text(links)),
        figures.figure(lambda: links_plot.picture(run), "utilisation of links over time"),
        _table(run),
        tag("p", f"{min(_ROWS, len(links))} of {len(links)} links that carried something; all of "
            "them are in ", file_link(run.path / "links.csv", out), ", the 64 most loaded over "
            "time in ", file_link(run.path / "link_usage.csv", out), ".", class_="note"),
    ])


def bottleneck_text(links: pd.DataFrame) -> str:
    """Which links bound the run, in a sentence."""
    first = links.iloc[0]
    mean = float(first["mean_utilisation"])
    name = f"{first['link']} ({first['network']})"
    alone = float(first["bytes"] / first["bandwidth_bytes_per_second"])
    near = int((links["mean_utilisation"] >= 0.9 * mean).sum()) - 1
    others = f" ({near} more carried nearly as much)" if near > 0 else ""
    if mean >= 0.8:
        return (f"{name} was {share_text(mean)} full from the first transfer to the last{others}: "
                f"in whatever order, what passed over it takes {seconds_text(alone, 4)} at least.")
    if float(first["full_seconds"]) > 0:
        return (f"The most loaded link, {name}, was {share_text(mean)} full on average and full "
                f"for {seconds_text(first['full_seconds'], 3)}{others}: it bounds parts of the run.")
    return (f"The most loaded link, {name}, was {share_text(mean)} full on average and "
            f"{share_text(float(first['peak_utilisation']))} at most{others}: no link bounds the run.")


def link_sparkline(run: Run, network: str, link: str) -> Html:
    """One link over the time of the run."""
    rows = run.link_usage[
        (run.link_usage["network"] == network) & (run.link_usage["link"] == link)
    ]
    if rows.empty:
        return joined("")
    length = float((rows["end_seconds"] - rows["start_seconds"]).iloc[0])
    last = float(run.link_usage["end_seconds"].max())
    values = np.zeros(int(round(last / length)))
    values[np.rint(rows["start_seconds"] / length).astype(int)] = rows["utilisation"]
    return sparkline(values, f"utilisation of {link} over time")


def _table(run: Run) -> Html:
    rows = []
    for row in run.links.head(_ROWS).to_dict("records"):
        mean = float(row["mean_utilisation"])
        rows.append((
            row["link"], row["network"],
            Cell(rate_text(row["bandwidth_bytes_per_second"]), row["bandwidth_bytes_per_second"]),
            Cell(bytes_text(row["bytes"]), row["bytes"]),
            bar(share_text(mean), mean, 1.0),
            Cell(share_text(row["peak_utilisation"]), row["peak_utilisation"]),
            seconds(row["full_seconds"]), link_sparkline(run, row["network"], row["link"]),
        ))
    return table(
        ["link", "network", "bandwidth", "carried", "mean", "peak", "full for", "over time"], rows,
        numeric=["bandwidth", "carried", "mean", "peak", "full for"],
    )
