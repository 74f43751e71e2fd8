"""What metrics are called on axes and in tables, and how their values are written."""

from __future__ import annotations

import math

from .quantities import number_text, seconds_text

_BYTE_UNITS = (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3))


def metric_title(metric: str) -> str:
    """`total_max_seconds` as `total max (seconds)`; other names with spaces."""
    if metric.endswith("_seconds"):
        return f"{metric[: -len('_seconds')].replace('_', ' ')} (seconds)"
    return metric.replace("_", " ")


def metric_text(metric: str, value: float, digits: int = 4) -> str:
    """A metric's value with its unit; a dash if there is none."""
    if math.isnan(value):
        return "–"
    if metric.endswith("_seconds"):
        return seconds_text(value, digits)
    if metric == "bytes" or metric.endswith("_bytes"):
        return bytes_text(value)
    return number_text(value)


def bytes_text(value: float) -> str:
    """Bytes with a decimal unit, as links count them: `12.4 GB`."""
    if math.isnan(value):
        return "–"
    for unit, factor in _BYTE_UNITS:
        if abs(value) >= factor:
            return f"{value / factor:.3g} {unit}" if value < 1e15 else f"{value / factor:.0f} {unit}"
    return f"{value:.0f} B"


def rate_text(bytes_per_second: float) -> str:
    """Bytes a second with a decimal unit: `118 MB/s`."""
    return "–" if math.isnan(bytes_per_second) else f"{bytes_text(bytes_per_second)}/s"


def share_text(share: float) -> str:
    """0.314 as `31 %`; small ones keep a digit."""
    if math.isnan(share):
        return "–"
    percent = 100 * share
    return f"{percent:.1f} %" if 0 < percent < 9.95 else f"{percent:.0f} %"
