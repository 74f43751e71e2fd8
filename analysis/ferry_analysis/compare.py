"""Runs A against runs B, phase by phase: medians, spreads, difference, within tolerance or not.

Runs of one scenario are pooled on each side; scenarios are matched by their resolved.yaml, leaf by
leaf, without what may differ between two worlds. Moves are matched by migration and VM name. Where
a VM's two devices are unplugged, or plugged, side by side, the time is counted to the one that was
ready last, which is either; their sums (unplug, plug) are steadier and compared as well.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from .assignments import short_names
from .load import PHASES, Folder, InputError, Run, failed, open_folder, world_text
from .quantities import parse_quantity, percent_text, seconds_text

SUMS: dict[str, tuple[str, str]] = {
    "unplug": ("detach_vf", "remove_ivshmem"),
    "plug": ("attach_vf", "add_ivshmem"),
}
# The first is of runs, all others are of moves.
QUANTITIES: tuple[str, ...] = ("makespan", "total", "downtime", "outage", *PHASES, *SUMS)
IGNORED = frozenset({"platform", "name", "description", "seed", "outputs"})
# Of jobs and of the ranks that moves met, where there are any; seconds.
OF_RANKS: dict[str, str] = {
    "job_elapsed": "a job, from its start to its end",
    "rank_answer": "a rank, from the request to its channels being closed",
    "rank_blocked": "a rank, while it could not go on because of a move",
}
_NAMED = 4  # folders of a side; the rest are counted
QUARTILES_FROM = 9  # so many values on both sides have quartiles as their spread, fewer their extremes
QUARTILES, RANGE = "quartiles", "range"

Leaves = dict[str, str]


@dataclass(frozen=True)
class Scenario:
    """The runs of one side that share a scenario."""

    leaves: Leaves
    runs: list[Run]

    def moves(self) -> pd.DataFrame:
        """The rows of migrations.csv of all its runs, with the columns of `SUMS`."""
        moves = pd.concat([run.migrations for run in self.runs], ignore_index=True)
        for name, parts in SUMS.items():
            moves[f"{name}_seconds"] = sum(moves[f"{part}_seconds"] for part in parts)
        return moves

    def of_ranks(self) -> dict[str, pd.Series]:
        """The values of `OF_RANKS`."""
        jobs = pd.concat([run.jobs for run in self.runs], ignore_index=True)
        ranks = pd.concat([run.ranks for run in self.runs], ignore_index=True)
        return {
            "job_elapsed": jobs["elapsed_seconds"].dropna(),
            "rank_answer": (ranks["ready"] - ranks["requested"]).dropna(),
            "rank_blocked": (ranks["blocked_to"] - ranks["blocked_from"]).dropna(),
        }

    def makespans(self) -> pd.Series:
        """Of each run in which something moved: from its first span to its last, in seconds."""
        spans = [run.spans for run in self.runs if not run.spans.empty]
        return pd.Series(
            [table["end_seconds"].max() - table["start_seconds"].min() for table in spans],
            dtype=float,
        )


@dataclass(frozen=True)
class Side:
    """What the user gave as A or as B."""

    paths: tuple[str, ...]
    folders: tuple[Folder, ...]
    scenarios: list[Scenario]

    @property
    def text(self) -> str:
        """The folders and their worlds, in one line; of many the first."""
        worlds = sorted({world_text(folder) for folder in self.folders} - {""})
        more = len(self.paths) - _NAMED
        named = self.paths if more <= 1 else (*self.paths[:_NAMED], f"and {more} more")
        return " ".join(named) + (f" ({', '.join(worlds)})" if worlds else "")


@dataclass(frozen=True)
class Comparison:
    """The result: `differences` is the table that `difference_table` describes."""

    a: Side
    b: Side
    tolerance: float
    differences: pd.DataFrame
    apart: list[str]  # what differs and may: `path: A | B`
    remarks: dict[str, list[str]]  # scenario -> moves that are on one side only, or ended otherwise

    @property
    def agree(self) -> bool:
        """Whether everything is within tolerance, and the same moves succeeded."""
        return not (self.differences["within"] == "no").any() and not any(self.remarks.values())


def parse_tolerance(text: str) -> float:
    """`5%` as 0.05."""
    quantity = parse_quantity(text)
    if quantity is None or quantity.dimension != "ratio" or quantity.value < 0:
        raise InputError(
            f"--tolerance {text}: is not a percentage that is zero or more; 5% would be right"
        )
    return quantity.value


def compare(a_paths: Sequence[str], b_paths: Sequence[str], tolerance: float) -> Comparison:
    """Compares two sides; raises InputError if their scenarios differ, and says where."""
    a, b = _side(a_paths), _side(b_paths)
    pairs = _matched(a, b)
    titles = _titles([left for left, _ in pairs], a.folders[0].name)
    tables, remarks = [], {}
    for title, (left, right) in zip(titles, pairs):
        a_moves, b_moves = left.moves(), right.moves()
        if a_moves.empty and b_moves.empty:
            continue
        remarks[title] = _remarks(a_moves, b_moves)
        tables.append(difference_table(title, left, right, tolerance))
    if not tables:
        raise InputError(
            f"{a.paths[0]}: neither A nor B has a move; compare needs runs that migrate"
        )
    differences = pd.concat(tables, ignore_index=True)
    return Comparison(a, b, tolerance, differences, _apart(a, b), remarks)


def difference_table(
    title: str, left: Scenario, right: Scenario, tolerance: float
) -> pd.DataFrame:
    """One row a quantity; those of `OF_RANKS` only if a side has ranks. Columns: scenario, quantity, and for each side {a,b}_n,
    {a,b}_median_seconds, {a,b}_low_seconds, {a,b}_high_seconds (the spread); then spread (of which
    kind both are: quartiles or range), difference_percent (of the medians, B against A), within (yes, no, or empty if neither side
    has values), spreads_meet (yes, no, or empty), worst_percent and worst_vm (the VM whose own
    medians differ most)."""
    a_moves, b_moves = left.moves(), right.moves()
    matched = _keys(a_moves) & _keys(b_moves)
    a_rows, b_rows = _matched_successes(a_moves, matched), _matched_successes(b_moves, matched)
    rows = []
    for quantity in QUANTITIES:
        column = f"{quantity}_seconds"
        if quantity == "makespan":
            values = left.makespans(), right.makespans()
            worst_vm, worst = "", np.nan
        else:
            values = a_rows[column].dropna(), b_rows[column].dropna()
            worst_vm, worst = _worst(a_rows, b_rows, column)
        rows.append(_row(title, quantity, *values, tolerance, worst, worst_vm))
    a_values, b_values = left.of_ranks(), right.of_ranks()
    for quantity in OF_RANKS:
        if len(a_values[quantity]) or len(b_values[quantity]):
            rows.append(_row(title, quantity, a_values[quantity], b_values[quantity], tolerance))
    return pd.DataFrame(rows)


def _row(title: str, quantity: str, a_values: pd.Series, b_values: pd.Series, tolerance: float,
         worst: float = np.nan, worst_vm: str = "") -> dict[str, Any]:
    difference = _difference_percent(_median(a_values), _median(b_values))
    kind = _spread_kind(a_values, b_values)
    return {
        "scenario": title,
        "quantity": quantity,
        **_statistics("a", a_values, kind),
        **_statistics("b", b_values, kind),
        "spread": kind,
        "difference_percent": difference,
        "within": _within(len(a_values), len(b_values), difference, tolerance),
        "spreads_meet": _meet(_spread(a_values, kind), _spread(b_values, kind)),
        "worst_percent": worst,
        "worst_vm": worst_vm,
    }


def report(comparison: Comparison) -> str:
    """The comparison as aligned text."""
    lines = [f"A: {comparison.a.text}", f"B: {comparison.b.text}"]
    if comparison.apart:
        lines += ["differs, and may (path: A | B):", *(f"  {line}" for line in comparison.apart)]
    for scenario, rows in comparison.differences.groupby("scenario", sort=False):
        lines += ["", str(scenario), *_table_lines(rows)]
        lines += [f"  {remark}" for remark in comparison.remarks[str(scenario)]]
    return "\n".join([*lines, "", *_closing(comparison)])


def leaves(node: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Every leaf of a resolved scenario as (path, text); list items go by their name."""
    if isinstance(node, dict) and node:
        for key, value in node.items():
            yield from leaves(value, f"{path}.{key}" if path else str(key))
    elif isinstance(node, list) and node:
        for index, value in enumerate(node):
            name = value.get("name") if isinstance(value, dict) else None
            yield from leaves(value, f"{path}[{index}]" if name is None else f"{path}.{name}")
    else:
        yield path, _leaf_text(node)


def _leaf_text(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def _side(paths: Sequence[str]) -> Side:
    folders = tuple(open_folder(path) for path in paths)
    scenarios: dict[tuple[tuple[str, str], ...], Scenario] = {}
    for folder in folders:
        for own, run in _runs(folder):
            key = tuple(sorted(own.items()))
            scenarios.setdefault(key, Scenario(own, [])).runs.append(run)
    return Side(tuple(str(path) for path in paths), folders, list(scenarios.values()))


def _runs(folder: Folder) -> Iterator[tuple[Leaves, Run]]:
    """The runs of a folder with what makes their scenario: the leaves that count, and in a study
    also the constants of the platform that it varies."""
    if isinstance(folder, Run):
        yield _compared_leaves(folder), folder
        return
    found = False
    for assignment, run in folder.runs():
        found = True
        platform = {key: value for key, value in assignment.items() if _top(key) == "platform"}
        yield {**_compared_leaves(run), **platform}, run
    if not found:
        raise InputError(f"{folder.path}: has no run; a study with a finished cell would be right")


def _compared_leaves(run: Run) -> Leaves:
    kept = {key: value for key, value in run.resolved.items() if key not in IGNORED}
    return dict(leaves(kept))


def _top(path: str) -> str:
    return path.split(".")[0].split("[")[0]


def _matched(a: Side, b: Side) -> list[tuple[Scenario, Scenario]]:
    pairs = []
    for left in a.scenarios:
        right = next((other for other in b.scenarios if other.leaves == left.leaves), None)
        if right is None:
            raise _unequal(left, b.scenarios, "A", "B")
        pairs.append((left, right))
    for right in b.scenarios:
        if all(right.leaves != left.leaves for left in a.scenarios):
            raise _unequal(right, a.scenarios, "B", "A")
    return pairs


def _unequal(scenario: Scenario, others: list[Scenario], own: str, other: str) -> InputError:
    """The error for a scenario without a partner; it is held against the nearest one."""
    listings = [_unequal_leaves(scenario.leaves, candidate.leaves) for candidate in others]
    index = min(range(len(others)), key=lambda position: len(listings[position]))
    lines = [
        f"{scenario.runs[0].path}: no run of {other} has the same scenario; the nearest is "
        f"{others[index].runs[0].path}, which differs in (path: {own} | {other}):"
    ]
    return InputError("\n".join([*lines, *(f"  {line}" for line in listings[index])]))


def _unequal_leaves(own: Leaves, other: Leaves) -> list[str]:
    absent = "(not there)"
    return [
        f"{path}: {own.get(path, absent)} | {other.get(path, absent)}"
        for path in dict.fromkeys((*own, *other))
        if own.get(path) != other.get(path)
    ]


def _titles(scenarios: Sequence[Scenario], name: str) -> list[str]:
    """What tells the scenarios apart, or the name if there is only one."""
    if len(scenarios) == 1:
        return [name]
    paths = dict.fromkeys(path for scenario in scenarios for path in scenario.leaves)
    varied = [
        path for path in paths if len({scenario.leaves.get(path) for scenario in scenarios}) > 1
    ]
    names = short_names(varied)
    return [
        ", ".join(
            f"{names[path]} {scenario.leaves[path]}" for path in varied if path in scenario.leaves
        )
        for scenario in scenarios
    ]


def _key_column(moves: pd.DataFrame) -> pd.Series:
    return pd.Series(list(zip(moves["migration"], moves["vm"])), index=moves.index, dtype=object)


def _keys(moves: pd.DataFrame) -> set[tuple[str, str]]:
    return set(_key_column(moves))


def _matched_successes(moves: pd.DataFrame, matched: set[tuple[str, str]]) -> pd.DataFrame:
    return moves[_key_column(moves).isin(matched) & ~moves["outcome"].map(failed).astype(bool)]


def _apart(a: Side, b: Side) -> list[str]:
    """What is not part of the comparison and differs: cluster, platform; ten lines at most."""
    own, other = _may_differ(a), _may_differ(b)
    absent = "(not there)"
    lines = [
        f"{path}: {own.get(path, absent)} | {other.get(path, absent)}"
        for path in dict.fromkeys((*own, *other))
        if own.get(path) != other.get(path)
    ]
    return lines if len(lines) <= 10 else [*lines[:10], f"and {len(lines) - 10} more"]


def _may_differ(side: Side) -> Leaves:
    """The cluster files and the constants of the platforms, each with all its values."""
    values: dict[str, set[str]] = {}
    for scenario in side.scenarios:
        for run in scenario.runs:
            if cluster := run.info.get("cluster"):
                values.setdefault("cluster file", set()).add(str(cluster))
            for path, text in leaves(run.resolved.get("platform"), "platform"):
                values.setdefault(path, set()).add(text)
    return {path: ", ".join(sorted(texts)) for path, texts in values.items()}


def _remarks(a_moves: pd.DataFrame, b_moves: pd.DataFrame) -> list[str]:
    """Moves that only one side has, and moves that failed more often on one side."""
    a_ends, b_ends = _ends(a_moves), _ends(b_moves)
    remarks = []
    for key in dict.fromkeys((*a_ends, *b_ends)):
        move = f"{key[1]} ({key[0]})"
        if key not in b_ends or key not in a_ends:
            remarks.append(f"{move}: only in {'A' if key in a_ends else 'B'}")
        elif a_ends[key] != b_ends[key]:
            remarks.append(f"{move}: {_end_text(a_ends[key])} in A, {_end_text(b_ends[key])} in B")
    return remarks if len(remarks) <= 10 else [*remarks[:10], f"and {len(remarks) - 10} more"]


def _ends(moves: pd.DataFrame) -> dict[tuple[str, str], tuple[str, ...]]:
    """For each move the failures that it met, without repeats; none means it always succeeded."""
    ends: dict[tuple[str, str], set[str]] = {}
    for key, outcome in zip(_key_column(moves), moves["outcome"]):
        ends.setdefault(key, set()).update({outcome} if failed(outcome) else set())
    return {key: tuple(sorted(outcomes)) for key, outcomes in ends.items()}


def _end_text(failures: tuple[str, ...]) -> str:
    return ", ".join(failures) if failures else "succeeded"


def _median(values: pd.Series) -> float:
    return float(values.median()) if len(values) else np.nan


def _statistics(side: str, values: pd.Series, kind: str) -> dict[str, float]:
    low, high = _spread(values, kind)
    return {
        f"{side}_n": len(values),
        f"{side}_median_seconds": _median(values),
        f"{side}_low_seconds": low,
        f"{side}_high_seconds": high,
    }


def _spread_kind(a_values: pd.Series, b_values: pd.Series) -> str:
    """The same for both sides, so that they can be held against each other; a side without values
    has no say."""
    counts = [len(values) for values in (a_values, b_values) if len(values)]
    return QUARTILES if counts and min(counts) >= QUARTILES_FROM else RANGE


def _spread(values: pd.Series, kind: str) -> tuple[float, float]:
    if not len(values):
        return np.nan, np.nan
    if kind == RANGE:
        return float(values.min()), float(values.max())
    return float(values.quantile(0.25)), float(values.quantile(0.75))


def _difference_percent(a: float, b: float) -> float:
    """B against A; NaN if a side has no value, or if A is zero and B is not."""
    if a == b:
        return 0.0
    if np.isnan(a) or np.isnan(b) or a == 0:
        return np.nan
    return 100 * (b - a) / a


def _within(a_count: int, b_count: int, difference_percent: float, tolerance: float) -> str:
    if a_count == 0 and b_count == 0:
        return ""
    return "yes" if abs(difference_percent) <= 100 * tolerance + 1e-9 else "no"


def _meet(a: tuple[float, float], b: tuple[float, float]) -> str:
    """Whether two spreads have a value in common; empty if there are none."""
    if np.isnan(a[0]) or np.isnan(b[0]):
        return ""
    return "yes" if a[0] <= b[1] and b[0] <= a[1] else "no"


def _worst(a_rows: pd.DataFrame, b_rows: pd.DataFrame, column: str) -> tuple[str, float]:
    """The VM whose medians differ most, and by how many per cent."""
    keys = ["migration", "vm"]
    both = pd.concat(
        [a_rows.groupby(keys, sort=False)[column].median(),
         b_rows.groupby(keys, sort=False)[column].median()],
        axis=1, keys=["a", "b"], join="inner",
    )
    percents = [_difference_percent(a, b) for a, b in zip(both["a"], both["b"])]
    known = [index for index, percent in enumerate(percents) if not np.isnan(percent)]
    if not known:
        return "", np.nan
    worst = max(known, key=lambda index: abs(percents[index]))
    return str(both.index[worst][1]), percents[worst]


def _table_lines(rows: pd.DataFrame) -> list[str]:
    table = [("", "A median", "A spread", "n", "B median", "B spread", "n", "B against A", "")]
    for row in rows.to_dict("records"):
        sides = [
            text
            for side in ("a", "b")
            for text in (
                seconds_text(row[f"{side}_median_seconds"]),
                _spread_text(row[f"{side}_low_seconds"], row[f"{side}_high_seconds"]),
                str(row[f"{side}_n"]),
            )
        ]
        table.append(
            (row["quantity"], *sides, percent_text(row["difference_percent"]), _verdict(row))
        )
    widths = [max(len(line[column]) for line in table) for column in range(len(table[0]))]
    return [_aligned(line, widths) for line in table]


def _aligned(line: Sequence[str], widths: Sequence[int]) -> str:
    cells = [
        text.ljust(width) if column in (0, len(line) - 1) else text.rjust(width)
        for column, (text, width) in enumerate(zip(line, widths))
    ]
    return ("  " + "  ".join(cells)).rstrip()


def _spread_text(low: float, high: float) -> str:
    return "-" if np.isnan(low) else f"{seconds_text(low)} .. {seconds_text(high)}"


def _verdict(row: dict[str, Any]) -> str:
    if row["within"] == "":
        return "no values"
    if row["a_n"] == 0 or row["b_n"] == 0:
        return f"only in {'B' if row['a_n'] == 0 else 'A'}"
    if row["within"] == "yes":
        return "within"
    beyond = "beyond (A is zero)" if np.isnan(row["difference_percent"]) else "beyond"
    return f"{beyond}, spreads meet" if row["spreads_meet"] == "yes" else beyond


def _closing(comparison: Comparison) -> list[str]:
    rows = comparison.differences
    judged = rows[rows["within"] != ""]
    beyond = judged[judged["within"] == "no"]
    tolerance = f"{100 * comparison.tolerance:g} %"
    lines = [
        f"n: moves, of makespan runs; spread: {_spread_legend(rows)}",
        *(f"{name}: {' + '.join(parts)}" for name, parts in SUMS.items()),
        *(f"{name}: {what}" for name, what in OF_RANKS.items() if name in set(rows["quantity"])),
        *_worst_line(rows),
        f"{len(judged) - len(beyond)} of {len(judged)} medians are within {tolerance}"
        + (f"; beyond: {_beyond_text(beyond)}" if len(beyond) else ""),
    ]
    if any(comparison.remarks.values()):
        lines.append("the moves of A and B did not end alike")
    return lines


def _spread_legend(rows: pd.DataFrame) -> str:
    """Of which kind the spreads of these rows are."""
    texts = {RANGE: "least .. greatest", QUARTILES: "the quartiles"}
    kinds = [kind for kind in (QUARTILES, RANGE) if kind in set(rows["spread"])]
    if len(kinds) == 1:
        return texts[kinds[0]]
    return f"{texts[QUARTILES]} where both n are {QUARTILES_FROM} or more, else {texts[RANGE]}"


def _beyond_text(beyond: pd.DataFrame) -> str:
    """The quantities beyond tolerance, each once, in the order of the table."""
    counts = beyond["quantity"].value_counts()
    several = beyond["scenario"].nunique() > 1
    return ", ".join(
        f"{quantity} ({counts[quantity]}x)" if several else quantity
        for quantity in (*QUANTITIES, *OF_RANKS) if quantity in counts
    )


def _worst_line(rows: pd.DataFrame) -> list[str]:
    totals = rows[(rows["quantity"] == "total") & rows["worst_percent"].notna()]
    if totals.empty:
        return []
    worst = totals.loc[totals["worst_percent"].abs().idxmax()]
    return [
        f"the total that differs most: {worst['worst_vm']}, {percent_text(worst['worst_percent'])}"
    ]


def default_plot_folder(comparison: Comparison) -> Path:
    """Where `--plot` writes if `--out` is not given: the plots folder of the first A."""
    return comparison.a.folders[0].path / "plots"
