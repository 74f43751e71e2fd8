"""What is said of single moves: which were slow, why, and which failed."""

from __future__ import annotations

import math
import re

import numpy as np
import pandas as pd

from ..load import PHASES, Run, failed, succeeded
from ..metrics import bytes_text, rate_text
from ..quantities import seconds_text
from .html import Html, joined, tag
from .page import badge
from .tables import Cell, bar, phase_bar, phase_key, seconds, table

SLOWEST = 20
_NOTABLE = 1.15  # times the median: less is nothing to speak of
_FULL_SHARE = 0.1  # of a migration: so long a full link is worth a word


def move_table(run: Run) -> pd.DataFrame:
    """migrations.csv with what rounds.csv adds: `sending_seconds` and `first_bytes` (of the first
    round) of each VM that moved once; NaN where nothing is known."""
    moves = run.migrations.copy()
    for column in ("bytes", "rounds"):
        moves[column] = pd.to_numeric(moves[column], errors="coerce") if column in moves else math.nan
    for column in ("from", "to", "reason"):
        moves[column] = moves[column] if column in moves else ""
    once = moves["vm"].map(moves["vm"].value_counts()) == 1
    rounds = run.rounds.groupby("vm", sort=False)
    moves["sending_seconds"] = moves["vm"].map(rounds["seconds"].sum()).where(once).astype(float)
    moves["first_bytes"] = moves["vm"].map(rounds["bytes"].first()).where(once).astype(float)
    return moves


def slowest(moves: pd.DataFrame, count: int = SLOWEST) -> pd.DataFrame:
    """The moves that took longest, whatever their end, the longest first."""
    timed = moves.dropna(subset=["total_seconds"])
    return timed.sort_values("total_seconds", ascending=False, kind="stable").head(count)


def why(move: dict[str, object], moves: pd.DataFrame, links: pd.DataFrame) -> str:
    """A sentence on what made a move slow, from figures alone: the phase that took most over its
    median, and for a migration how much was sent and how fast, against the medians."""
    if failed(str(move["outcome"])):
        return str(move["reason"]) or str(move["outcome"])
    done = succeeded(moves)
    if len(done) < 3:  # no median to speak of
        return "; ".join([_longest_phase(move), *_transfer(move, done.head(0), links)])
    excess = {
        phase: move[f"{phase}_seconds"] - done[f"{phase}_seconds"].median() for phase in PHASES
    }
    phase = max(PHASES, key=lambda name: _number(excess[name]))
    median = float(done[f"{phase}_seconds"].median())
    if move["total_seconds"] < _NOTABLE * done["total_seconds"].median():
        return f"hardly longer than the others (median {seconds_text(done['total_seconds'].median())})"
    parts = [f"{phase} took {seconds_text(move[f'{phase}_seconds'])}{_times(move[f'{phase}_seconds'], median)}"]
    if phase == "migration":
        parts += _transfer(move, done, links)
    return "; ".join(parts)


def _transfer(move: dict[str, object], done: pd.DataFrame, links: pd.DataFrame) -> list[str]:
    parts = []
    sent = _number(move["bytes"])
    if sent > 0:
        parts.append(f"{bytes_text(sent)} sent{_times(sent, float(done['bytes'].median()))}")
    rates = done["bytes"] / done["sending_seconds"]
    if _number(move["sending_seconds"]) > 0:
        rate = sent / move["sending_seconds"]
        parts.append(f"at {rate_text(rate)}{_times(rate, float(rates.median()), slow=True)}")
    first = _number(move["first_bytes"])
    if first > 0 and sent > _NOTABLE * first:
        parts.append(f"of which {bytes_text(sent - first)} again, dirtied meanwhile")
    for end, direction in (("from", "out"), ("to", "in")):
        rows = links[links["link"] == f"{move[end]} {direction}"]
        full = float(rows["full_seconds"].max()) if len(rows) else 0.0
        if full > _FULL_SHARE * _number(move["migration_seconds"]):
            parts.append(f"{move[end]} {direction} was full for {seconds_text(full, 3)} of the run")
    return parts


def _times(value: float, median: float, slow: bool = False) -> str:
    """` (3.2 x the median)` if it is far from it, on the side that makes a move slow."""
    if not median > 0:
        return ""
    ratio = value / median
    if (ratio > 1 / _NOTABLE) if slow else (ratio < _NOTABLE):
        return ""
    return f" ({ratio:.2g} × the median)"


def _longest_phase(move: dict[str, object]) -> str:
    phase = max(PHASES, key=lambda name: _number(move[f"{name}_seconds"]))
    return f"{phase} took {seconds_text(move[f'{phase}_seconds'])}"


def _number(value: object) -> float:
    number = float(value) if isinstance(value, (int, float, np.floating)) else math.nan
    return 0.0 if math.isnan(number) else number


def slowest_table(
    rows: list[tuple[dict[str, object], str]], extra: str = "", extra_values: list[object] = ()
) -> Html:
    """A table of moves with their reasons; `extra` is a first column of its own."""
    longest = max((float(move["total_seconds"]) for move, _ in rows), default=0.0)
    columns = [*([extra] if extra else []), "VM", "from", "to", "total", "phases", "downtime",
               "rounds", "sent", "why", "end"]
    body = []
    for index, (move, reason) in enumerate(rows):
        total = float(move["total_seconds"])
        body.append((
            *([extra_values[index]] if extra else []),
            move["vm"], move["from"], move["to"],
            bar(seconds_text(total), total, longest),
            Cell(phase_bar({phase: _number(move[f"{phase}_seconds"]) for phase in PHASES}),
                 _number(move["migration_seconds"]) / total if total > 0 else 0.0),
            seconds(move["downtime_seconds"]),
            _count_cell(move["rounds"]),
            Cell(bytes_text(move["bytes"]), float(move["bytes"])),
            reason, outcome_badge(str(move["outcome"])),
        ))
    return joined([
        phase_key(), table(columns, body, numeric=["total", "downtime", "rounds", "sent"]),
    ])


def _count_cell(value: float) -> Cell:
    return Cell("–" if math.isnan(value) else f"{int(value)}", float(value))


def outcome_badge(outcome: str) -> Html:
    """How a move or a cell ended."""
    return badge(outcome or "completed", "bad" if failed(outcome) else "good")


def phase_table(moves: pd.DataFrame) -> Html:
    """Each phase over the moves that succeeded: mean, median, 95th percentile, longest, share."""
    done = succeeded(moves)
    total = float(done["total_seconds"].sum())
    rows = []
    for name in (*PHASES, "total", "downtime", "outage"):
        values = done[f"{name}_seconds"].dropna()
        if values.empty:
            continue
        share = values.sum() / total if name in PHASES and total > 0 else math.nan
        rows.append((
            name, seconds(values.mean()), seconds(values.median()), seconds(values.quantile(0.95)),
            seconds(values.max()), Cell("" if math.isnan(share) else f"{100 * share:.1f} %", share),
        ))
    columns = ["", "mean", "median", "95th percentile", "longest", "share of the time"]
    return table(columns, rows, numeric=columns[1:])


def failure_groups(failures: pd.DataFrame, where: str) -> Html:
    """Failures that differ in names and numbers alone are one row. `failures` has the columns
    `outcome`, `reason` and the one that `where` names: where each happened."""
    keys = list(zip(failures["outcome"], failures["reason"].map(_pattern)))
    rows = []
    for key in dict.fromkeys(keys):
        group = failures[[other == key for other in keys]]
        places = list(dict.fromkeys(group[where].astype(str)))
        shown = ", ".join(places[:8]) + (f" and {len(places) - 8} more" if len(places) > 8 else "")
        rows.append((len(group), outcome_badge(key[0]), group["reason"].iloc[0] or "–", shown))
    rows.sort(key=lambda row: -row[0])
    example = "reason (of the first)"
    return table(["how many", "end", example, where], rows, numeric=["how many"])


def _pattern(reason: str) -> str:
    return re.sub(r"\d+(\.\d+)?", "#", reason)
