"""What a study varied: which paths, in which order their values come, and how they are labelled."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import pandas as pd

from .quantities import Quantity, gibibytes_text, number_text, parse_quantity

_TRANSPORTS = ("tcp", "ipoib", "rdma")
_DISPLAY_NAMES = {
    "tcp": "TCP", "ipoib": "IPoIB", "rdma": "RDMA",
    "progress_engine": "progress engine", "migration_thread": "migration thread",
}


@dataclass(frozen=True)
class Axis:
    """A path that takes at least two values.

    `values` are the texts of cells.csv: sorted by size if all are quantities of one dimension,
    else in the order in which the study lists them.
    """

    path: str
    name: str
    values: tuple[str, ...]
    dimension: str

    @property
    def is_numeric(self) -> bool:
        """Whether all values are quantities of one dimension."""
        return self.dimension != ""

    @property
    def title(self) -> str:
        """The name with its unit."""
        return f"{self.name} (GiB)" if self.dimension == "bytes" else self.name

    def label(self, value: str) -> str:
        """A value as it is shown on an axis; the unit is in the title."""
        quantity = quantity_of(self.path, value)
        if self.dimension == "bytes" and quantity is not None:
            return gibibytes_text(quantity.value)
        if self.dimension == "number" and quantity is not None:
            return number_text(quantity.value)
        return display_name(value)

    def text(self, value: str) -> str:
        """A value that stands alone, as in a legend."""
        if self.dimension == "bytes":
            return f"{self.label(value)} GiB"
        if self.is_numeric or value in ("true", "false"):
            return f"{self.name} {self.label(value)}"
        return self.label(value)


def display_name(value: str) -> str:
    """`rdma` as RDMA and so on; YAML's quotes and outer braces are left out."""
    if len(value) >= 2 and value[0] + value[-1] in ('""', "''", "{}"):
        value = value[1:-1]
    return _DISPLAY_NAMES.get(value, value)


def transport_rank(transport: str) -> int:
    """Where a transport stands among those of one run: tcp, ipoib, rdma, then any other."""
    return _TRANSPORTS.index(transport) if transport in _TRANSPORTS else len(_TRANSPORTS)


def quantity_of(path: str, value: str) -> Quantity | None:
    """The quantity that a value stands for; bare numbers of a `memory` path are bytes."""
    quantity = parse_quantity(value)
    if quantity is not None and quantity.dimension == "number" and path.endswith(".memory"):
        return Quantity("bytes", quantity.value)
    return quantity


def short_names(paths: Sequence[str]) -> dict[str, str]:
    """Each path's shortest ending that is no other path's ending."""
    names = {}
    for path in paths:
        parts = path.split(".")
        others = [other.split(".") for other in paths if other != path]
        names[path] = path
        for length in range(1, len(parts)):
            if all(other[-length:] != parts[-length:] for other in others):
                names[path] = ".".join(parts[-length:])
                break
    return names


def axes_of(table: pd.DataFrame, paths: Sequence[str]) -> list[Axis]:
    """The axes of a table with one column a path, outermost first; constant paths are left out.

    Numbers come before words, and the axis with more values before the one with fewer.
    """
    varying = [path for path in paths if table[path].nunique() > 1]
    names = short_names(varying)
    axes = [_axis(path, names[path], table[path]) for path in varying]
    return sorted(axes, key=lambda axis: (not axis.is_numeric, -len(axis.values)))


def independent(axes: Iterable[Axis], table: pd.DataFrame) -> list[Axis]:
    """The axes that do not move in lock-step with an earlier one; those of VMs come first."""
    kept: list[Axis] = []
    for axis in sorted(axes, key=lambda axis: not axis.path.startswith("vms.")):
        if not any(_in_lock_step(table[axis.path], table[other.path]) for other in kept):
            kept.append(axis)
    return kept


def without_lock_step(axes: Sequence[Axis], table: pd.DataFrame) -> list[Axis]:
    """The axes of `independent`, in their order here."""
    kept = {axis.path for axis in independent(axes, table)}
    return [axis for axis in axes if axis.path in kept]


def sort_key(axes: Sequence[Axis], row: dict[str, str]) -> tuple[int, ...]:
    """Where a row of values stands, outermost axis first."""
    return tuple(axis.values.index(row[axis.path]) for axis in axes)


def assignment_text(axes: Sequence[Axis], row: dict[str, str]) -> str:
    """The varying part of an assignment in one line: `RDMA, 4 GiB`."""
    return ", ".join(axis.text(row[axis.path]) for axis in axes)


def _axis(path: str, name: str, column: pd.Series) -> Axis:
    values = list(dict.fromkeys(column))
    if path == "transport":  # the column of a run's moves, which are in no order of their own
        values.sort(key=transport_rank)
    quantities = {value: quantity_of(path, value) for value in values}
    dimensions = {quantity.dimension if quantity else "" for quantity in quantities.values()}
    if len(dimensions) != 1 or dimensions == {""}:
        return Axis(path, name, tuple(values), "")
    values.sort(key=lambda value: quantities[value].value)
    return Axis(path, name, tuple(values), dimensions.pop())


def _in_lock_step(left: pd.Series, right: pd.Series) -> bool:
    pairs = set(zip(left, right))
    return len(pairs) == left.nunique() == right.nunique()
