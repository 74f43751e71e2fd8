"""Text with a unit in, numbers out; and numbers in, short text out."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

_UNITS: dict[str, tuple[str, float]] = {
    "": ("number", 1.0),
    "%": ("ratio", 0.01),
    "ns": ("seconds", 1e-9), "us": ("seconds", 1e-6), "ms": ("seconds", 1e-3),
    "s": ("seconds", 1.0), "min": ("seconds", 60.0), "h": ("seconds", 3600.0),
    "B": ("bytes", 1.0),
    "kB": ("bytes", 1e3), "KB": ("bytes", 1e3), "MB": ("bytes", 1e6),
    "GB": ("bytes", 1e9), "TB": ("bytes", 1e12),
    "KiB": ("bytes", 2.0**10), "MiB": ("bytes", 2.0**20),
    "GiB": ("bytes", 2.0**30), "TiB": ("bytes", 2.0**40),
    "bps": ("bits/s", 1.0), "kbps": ("bits/s", 1e3), "Mbps": ("bits/s", 1e6),
    "Gbps": ("bits/s", 1e9), "Tbps": ("bits/s", 1e12),
    "B/s": ("bits/s", 8.0), "kB/s": ("bits/s", 8e3), "KB/s": ("bits/s", 8e3),
    "MB/s": ("bits/s", 8e6), "GB/s": ("bits/s", 8e9),
    "KiB/s": ("bits/s", 8 * 2.0**10), "MiB/s": ("bits/s", 8 * 2.0**20),
    "GiB/s": ("bits/s", 8 * 2.0**30),
}
_QUANTITY = re.compile(r"([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*([A-Za-z%]*(?:/s)?)")


@dataclass(frozen=True)
class Quantity:
    """A number in the base unit of its dimension: bytes, seconds, bits/s, ratio or number."""

    dimension: str
    value: float


def parse_quantity(text: str) -> Quantity | None:
    """`4GiB`, `300ms`, `20%` or `16` as a Quantity; None if the text is none of these."""
    match = _QUANTITY.fullmatch(text.strip())
    if match is None or match[2] not in _UNITS:
        return None
    dimension, factor = _UNITS[match[2]]
    return Quantity(dimension, float(match[1]) * factor)


def number_text(value: float) -> str:
    """A number with at most four significant digits, never in exponent form above 1e-4."""
    if value == round(value) and abs(value) < 1e15:
        return str(int(value))
    return f"{value:.4g}"


def gibibytes_text(size_bytes: float) -> str:
    """Bytes as a bare number of GiB."""
    return number_text(size_bytes / 2**30)


def seconds_text(seconds: float, digits: int = 4) -> str:
    """A duration with its unit, in s, ms or us, with so many digits: `2.412 s`, `15.20 ms`."""
    if math.isnan(seconds):
        return "-"
    for unit, factor in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if abs(seconds) >= factor:
            return f"{_digits(seconds / factor, digits)} {unit}"
    return "0 s" if seconds == 0 else f"{seconds / 1e-6:.2g} us"


def plain_seconds_text(seconds: float) -> str:
    """A duration in seconds without its unit, for table cells: `2.41`, `0.012`, `<0.001`."""
    if math.isnan(seconds):
        return "–"
    if seconds == 0:
        return "0"
    if abs(seconds) < 0.0005:
        return "<0.001"
    if abs(seconds) < 0.0995:
        return f"{seconds:.3f}"
    if abs(seconds) < 9.995:
        return f"{seconds:.2f}"
    return f"{seconds:.1f}" if abs(seconds) < 99.95 else f"{seconds:.0f}"


def percent_text(percent: float) -> str:
    """A signed percentage: `+3.1 %`."""
    if math.isnan(percent):
        return "-"
    if round(percent, 1) == 0:
        return "0.0 %"
    return f"{percent:+.1f} %"


def _digits(value: float, digits: int) -> str:
    before_point = max(1, math.floor(math.log10(abs(value))) + 1)
    return f"{value:.{max(0, digits - before_point)}f}"
