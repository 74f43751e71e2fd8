"""Sizes, rates and shares as scenarios write them: 160MiB, 20MB/s, 40%."""

import argparse
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[3] / "analysis"))

from ferry_analysis.quantities import parse_quantity  # noqa: E402


class NoQuantity(argparse.ArgumentTypeError):
    """Not a quantity of the kind that was asked for; argparse prints the text."""


def read_bytes(text) -> int:
    return round(_read(text, "bytes", "a size such as 160MiB"))


def read_bandwidth(text) -> int:
    """In bytes a second."""
    return round(_read(text, "bits/s", "a bandwidth such as 20MB/s") / 8)


def read_share(text) -> float:
    share = _read(text, "ratio", "a share such as 40%")
    if not 0 <= share <= 1:
        raise NoQuantity(f"{text!r} is not between 0% and 100%")
    return share


def _read(text, dimension: str, wanted: str) -> float:
    quantity = parse_quantity(str(text))
    if quantity and (quantity.dimension == dimension or (quantity.dimension == "number" and (dimension == "ratio" or quantity.value == 0))):
        return quantity.value
    raise NoQuantity(f"{text!r} is not {wanted}")
