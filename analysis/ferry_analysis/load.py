"""Run folders and study folders as typed objects and tables.

Every number in a table is a float64 in the unit that its column name ends in; an empty field is
NaN. Text columns hold str, and an empty field is "". Bad input raises `InputError`, whose message
is one line that says where, what is wrong, and what would be right.
"""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

PHASES: tuple[str, ...] = (
    "set_pre_migration",
    "detach_vf",
    "remove_ivshmem",
    "migration",
    "attach_vf",
    "add_ivshmem",
    "set_post_migration",
)
PHASE_COLUMNS: tuple[str, ...] = tuple(f"{phase}_seconds" for phase in PHASES)

# Every other outcome (rolled_back, degraded, cancelled, not_started, lost, failed) is a failure.
SUCCESSES = frozenset({"completed", ""})

_TABLES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    # file: (text columns, number columns); more columns than these are welcome
    "spans.csv": (("vm", "phase", "host", "outcome"), ("start_seconds", "end_seconds")),
    "migrations.csv": (
        ("migration", "vm", "transport", "outcome"),
        ("total_seconds", "downtime_seconds", "outage_seconds", *PHASE_COLUMNS),
    ),
    "rounds.csv": (("vm",), ("round", "bytes", "seconds", "dirty_bytes")),
    "jobs.csv": (
        ("job", "strategy", "workload", "reason"),
        ("elapsed_seconds", "unmigrated_seconds", "exposed_seconds", "overlap"),
    ),
    "ranks.csv": (
        ("job",), ("rank", "requested", "drained", "ready", "blocked_from", "blocked_to"),
    ),
    "measurements.csv": (("job", "metric", "unit"), ("message_bytes", "repetition", "value")),
    "summary.csv": (("metric", "unit", "reason"), ("value",)),
    "links.csv": (
        ("network", "link"),
        ("bandwidth_bytes_per_second", "bytes", "mean_utilisation", "peak_utilisation",
         "full_seconds"),
    ),
    "link_usage.csv": (
        ("network", "link"), ("start_seconds", "end_seconds", "utilisation"),
    ),
    "claims.csv": (
        ("id", "text", "source", "expected", "got", "holds", "basis", "robust", "reason"), (),
    ),
    "sensitivity.csv": (
        ("claim", "quantity", "constant", "holds", "reason"),
        ("factor", "low", "high", "least", "greatest"),
    ),
}

# Number columns that folders of older versions do not have.
_NEWER_NUMBERS: dict[str, tuple[str, ...]] = {"jobs.csv": ("slice_seconds", "overlap_bound")}


class InputError(Exception):
    """What a user can put right; the message is printed as it is, with exit status 2."""


@dataclass(frozen=True)
class Run:
    """One scenario, executed once."""

    path: Path
    name: str
    world: str
    info: dict[str, Any] = field(repr=False)

    @cached_property
    def spans(self) -> pd.DataFrame:
        """spans.csv: one row a phase of a VM."""
        return _known_table(self.path / "spans.csv")

    @cached_property
    def migrations(self) -> pd.DataFrame:
        """migrations.csv: one row a move, as many as summary.csv counts; it may have no rows."""
        moves = _known_table(self.path / "migrations.csv")
        counted = self.summary.loc[self.summary["metric"] == "migrations", "value"].dropna()
        if len(counted) and counted.iloc[0] != len(moves):
            raise InputError(
                f"{self.path / 'migrations.csv'}: has {len(moves)} {'row' if len(moves) == 1 else 'rows'}, "
                f"and summary.csv counts {counted.iloc[0]:g} migrations; one row a migration would be right"
            )
        return moves

    @cached_property
    def rounds(self) -> pd.DataFrame:
        """rounds.csv: one row a round of a VM; without rows if there is no such file."""
        return _known_table_or_none(self.path / "rounds.csv")

    @cached_property
    def jobs(self) -> pd.DataFrame:
        """jobs.csv: one row a job; without rows if there is no such file."""
        return _known_table_or_none(self.path / "jobs.csv")

    @cached_property
    def ranks(self) -> pd.DataFrame:
        """ranks.csv: one row a rank and suspension; without rows if there is no such file."""
        return _known_table_or_none(self.path / "ranks.csv")

    @cached_property
    def measurements(self) -> pd.DataFrame:
        """measurements.csv: what benchmarks measured; without rows if there is no such file."""
        return _known_table_or_none(self.path / "measurements.csv")

    @cached_property
    def summary(self) -> pd.DataFrame:
        """summary.csv: one row a metric; without rows if there is no such file."""
        return _known_table_or_none(self.path / "summary.csv")

    @cached_property
    def links(self) -> pd.DataFrame:
        """links.csv, the most loaded link first; without rows where links are not recorded. Every
        link of link_usage.csv is in it."""
        links = _known_table_or_none(self.path / "links.csv")
        known = set(zip(links["network"], links["link"]))
        for network, link in dict.fromkeys(zip(self.link_usage["network"], self.link_usage["link"])):
            if (network, link) not in known:
                raise InputError(
                    f"{self.path / 'links.csv'}: has no link {json.dumps(link)} of the network "
                    f"{json.dumps(network)}, which link_usage.csv has; "
                    "both files as ferry wrote them would be right"
                )
        return links

    @cached_property
    def link_usage(self) -> pd.DataFrame:
        """link_usage.csv: the most loaded links over time; without rows as `links`."""
        path = self.path / "link_usage.csv"
        usage = _known_table_or_none(path)
        whole = usage["utilisation"].notna() & (usage["end_seconds"] > usage["start_seconds"])
        whole &= usage["start_seconds"] >= 0
        if not whole.all():
            raise InputError(
                f"{path}: row {int(whole.to_numpy().argmin()) + 1} below the header is no interval with "
                "a utilisation; a file as ferry wrote it would be right"
            )
        return usage

    @cached_property
    def resolved(self) -> dict[str, Any]:
        """resolved.yaml: the scenario with every default filled in."""
        return read_yaml_file(self.path / "resolved.yaml", "the resolved scenario that ferry wrote")


@dataclass(frozen=True)
class Study:
    """A scenario varied over a grid, with repetitions."""

    path: Path
    name: str
    world: str
    info: dict[str, Any] = field(repr=False)

    @cached_property
    def cells(self) -> pd.DataFrame:
        """cells.csv: one row a cell and repetition.

        Text: `cell`, the varied paths, `outcome`, `reason`. Numbers: everything else.
        """
        path = self.path / "cells.csv"
        raw = read_text_table(path, required=("cell", "repetition"))
        header = list(raw.columns)
        if header.index("repetition") < header.index("cell"):
            raise InputError(
                f"{path}: column repetition comes before cell; "
                "cell, the varied paths, repetition, the metrics would be right"
            )
        if raw.empty:
            raise InputError(f"{path}: has no rows; at least one finished cell would be right")
        text = {"cell", "outcome", "reason", *self._varied(header)}
        numbers = [column for column in header if column not in text]
        table = convert_numbers(path, raw, numbers)
        for column in ("outcome", "reason"):
            if column not in table:
                table[column] = ""
        return table

    @cached_property
    def claims(self) -> pd.DataFrame:
        """claims.csv: one row a claim; without rows if nothing was judged."""
        return _known_table_or_none(self.path / "claims.csv")

    @cached_property
    def sensitivity(self) -> pd.DataFrame:
        """sensitivity.csv: the claims under each change of a constant; without rows if that was
        not examined."""
        path = self.path / "sensitivity.csv"
        table = _known_table_or_none(path)
        known = set(table.loc[table["constant"] == "", "claim"])
        for claim in dict.fromkeys(table["claim"]):
            if claim not in known:
                raise InputError(
                    f"{path}: claim {json.dumps(claim)} has no row without a constant, which says how "
                    "it is with nothing changed; a file as ferry wrote it would be right"
                )
        return table

    @cached_property
    def paths(self) -> tuple[str, ...]:
        """The varied paths, in the order of cells.csv."""
        return self._varied(list(self.cells.columns))

    @cached_property
    def plots(self) -> tuple[str, ...]:
        """The kinds that study.yaml asks for; empty if it says nothing."""
        path = self.path / "study.yaml"
        plots = self._asked_for("plots")
        if not isinstance(plots, list) or not all(isinstance(kind, str) for kind in plots):
            raise InputError(
                f"{path}: plots: not a list of names; [breakdown, multi_vm] would be right"
            )
        return tuple(plots)

    @cached_property
    def curves(self) -> tuple[dict[str, str], ...]:
        """What study.yaml says of each picture of the kind `curve`: its y, and perhaps x and by;
        empty if it says nothing."""
        curves = self._asked_for("curves")
        if not isinstance(curves, list) or not all(
            isinstance(curve, dict) and "y" in curve and set(curve) <= {"x", "y", "by"}
            for curve in curves
        ):
            raise InputError(
                f"{self.path / 'study.yaml'}: curves: not a list of mappings with y, x and by; "
                "[{y: outage_seconds}] would be right"
            )
        return tuple(curves)

    def _asked_for(self, key: str) -> object:
        path = self.path / "study.yaml"
        return read_yaml_file(path, "the study file").get(key) or [] if path.exists() else []

    def cell_path(self, cell: str) -> Path:
        """The run folder of a cell."""
        return self.path / "cells" / cell

    def runs(self) -> Iterator[tuple[dict[str, str], Run]]:
        """Each row's assignment {path: value} with its run.

        A cell that failed before it wrote a run folder is left out; any other must have one.
        """
        for row in self.cells.to_dict("records"):
            folder = self.cell_path(row["cell"])
            if not (folder / "run.json").exists() and failed(row["outcome"]):
                continue
            yield {path: row[path] for path in self.paths}, open_run(folder)

    @staticmethod
    def _varied(header: Sequence[str]) -> tuple[str, ...]:
        return tuple(header[header.index("cell") + 1 : header.index("repetition")])


Folder = Run | Study


def failed(outcome: str) -> bool:
    """Whether an outcome field stands for a failure."""
    return outcome not in SUCCESSES


def succeeded(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of a table whose `outcome` is a success."""
    return table[table["outcome"].isin(SUCCESSES)]


def world_text(folder: Folder) -> str:
    """How the figures came about, for the line under a title; empty if unknown."""
    host = folder.info.get("host")
    measured = f"measured on {host}" if isinstance(host, str) and host else "measured"
    return {"sim": "simulated", "threads": "run on threads", "hw": measured}.get(folder.world, "")


def open_folder(path: str | Path) -> Folder:
    """The run or study in a folder; which one it is, run.json says."""
    folder = Path(path)
    info = _read_info(folder)
    kind = info.get("kind")
    if kind not in ("run", "study"):
        raise InputError(
            f'{folder / "run.json"}: kind: {json.dumps(kind)} is not known; '
            '"run" or "study" would be right'
        )
    name = info.get("name") or folder.resolve().name
    made = Run if kind == "run" else Study
    return made(folder, str(name), str(info.get("world") or ""), info)


def open_run(path: str | Path) -> Run:
    """The run in a folder; a study is refused."""
    folder = open_folder(path)
    if isinstance(folder, Study):
        raise InputError(f"{path}: is a study; a run folder would be right")
    return folder


def read_text_table(path: Path, required: Sequence[str]) -> pd.DataFrame:
    """A CSV file with every field as text, indexed by line number.

    It has the required columns, and maybe no rows.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise InputError(
            f"{path}: no such file; a folder that ferry wrote has one"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read: {error}; CSV in UTF-8 would be right") from None
    if text and not text.endswith("\n"):
        raise InputError(
            f"{path}:{text.count(chr(10)) + 1}: ends in the middle of a line; "
            "a whole file as ferry wrote it would be right"
        )
    reader = csv.reader(io.StringIO(text), strict=True)
    try:
        header = next((row for row in reader if row), [])
        _check_header(path, header, required)
        rows, lines = [], []
        for row in reader:
            if not row:
                continue
            if len(row) != len(header):
                raise InputError(
                    f"{path}:{reader.line_num}: has {len(row)} fields; "
                    f"{len(header)}, as in the header, would be right"
                )
            rows.append(row)
            lines.append(reader.line_num)
    except csv.Error as error:
        raise InputError(
            f"{path}:{reader.line_num}: is not valid CSV ({error}); "
            "a file as ferry wrote it would be right"
        ) from None
    return pd.DataFrame(rows, index=lines, columns=header, dtype=str)


def convert_numbers(path: Path, table: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    """A table of `read_text_table` with these columns as float64, indexed from zero.

    An empty field becomes NaN.
    """
    converted = {}
    for column in columns:
        numbers = np.empty(len(table))
        for row, text in enumerate(table[column]):
            numbers[row] = _number(text)
            if not math.isfinite(numbers[row]) and text.strip():
                raise InputError(
                    f"{path}:{table.index[row]}: {column}: {json.dumps(text.strip())} "
                    "is not a number; a number or an empty field would be right"
                )
        converted[column] = numbers
    return table.assign(**converted).reset_index(drop=True)


def _number(text: str) -> float:
    try:
        return math.nan if "_" in text else float(text)
    except ValueError:
        return math.nan


def _known_table(path: Path) -> pd.DataFrame:
    text, numbers = _TABLES[path.name]
    table = read_text_table(path, required=(*text, *numbers))
    newer = [column for column in _NEWER_NUMBERS.get(path.name, ()) if column in table]
    return convert_numbers(path, table, [*numbers, *newer])


def _known_table_or_none(path: Path) -> pd.DataFrame:
    """The table, or one without rows if there is no such file: older folders, other worlds."""
    if path.exists():
        return _known_table(path)
    text, numbers = _TABLES[path.name]
    types = {**dict.fromkeys(text, str), **dict.fromkeys(numbers, float)}
    return pd.DataFrame({column: pd.Series(dtype=kind) for column, kind in types.items()})


def _check_header(path: Path, header: Sequence[str], required: Sequence[str]) -> None:
    if not header:
        raise InputError(
            f"{path}: is empty; a header with the columns {', '.join(required)} would be right"
        )
    missing = [column for column in required if column not in header]
    if missing:
        what = "column {} is" if len(missing) == 1 else "columns {} are"
        raise InputError(
            f"{path}:1: {what.format(', '.join(missing))} missing; "
            f"the file has {', '.join(header)}"
        )
    twice = sorted({column for column in header if header.count(column) > 1})
    if twice:
        raise InputError(f"{path}:1: column {twice[0]} is there twice; once would be right")


def _read_info(folder: Path) -> dict[str, Any]:
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; a run folder or a study folder would be right")
    path = folder / "run.json"
    try:
        info = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(
            f"{folder}: has no run.json; a run folder or a study folder would be right"
        ) from None
    except json.JSONDecodeError as error:
        raise InputError(
            f"{path}:{error.lineno}:{error.colno}: is not valid JSON; "
            "a file as ferry wrote it would be right"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read: {error}; JSON in UTF-8 would be right") from None
    if not isinstance(info, dict):
        raise InputError(f"{path}: is not a JSON object; a file as ferry wrote it would be right")
    if info.get("unfinished"):
        raise InputError(
            f"{folder}: is not finished: ferry status {folder} shows where it stands; "
            "a finished run would be right"
        )
    return info


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """YAML 1.2's booleans, as ferry reads and writes them: `on` is a key and `no` a word."""


_BOOLEAN = "tag:yaml.org,2002:bool"
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in rules if tag != _BOOLEAN]
    for first, rules in _Loader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(_BOOLEAN, re.compile("^(true|false)$"), ["t", "f"])


def read_yaml_file(path: Path, expected: str) -> dict[str, Any]:
    """A YAML file that holds a mapping; `expected` says what it should be, for errors."""
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; {expected} would be right") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f":{mark.line + 1}:{mark.column + 1}" if mark is not None else ""
        raise InputError(f"{path}{where}: is not valid YAML; {expected} would be right") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read: {error}; YAML in UTF-8 would be right") from None
    if not isinstance(content, dict):
        raise InputError(f"{path}: is not a mapping; {expected} would be right")
    return content
