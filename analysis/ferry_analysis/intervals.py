"""Confidence intervals of a mean over repetitions."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

METHOD = "95 % confidence interval of the mean (Student's t)"

# The 0.975 quantile of Student's t by degrees of freedom (any table of the distribution).
_T_975: tuple[float, ...] = (
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228,
    2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086,
    2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042,
)
_NORMAL_975 = 1.959964


def t_975(degrees: int) -> float:
    """The 0.975 quantile of Student's t. Beyond 30 degrees of freedom by the first terms of its
    expansion about the normal quantile (Abramowitz and Stegun, 26.7.5): right to 1e-4."""
    if degrees < 1:
        raise ValueError("an interval needs two values or more")
    if degrees <= len(_T_975):
        return _T_975[degrees - 1]
    x = _NORMAL_975
    first = (x**3 + x) / 4
    second = (5 * x**5 + 16 * x**3 + 3 * x) / 96
    return x + first / degrees + second / degrees**2


def mean_interval(values: Sequence[float]) -> tuple[float, float, float]:
    """The mean of independent repetitions with both ends of its 95 % confidence interval:
    mean +- t(0.975, n - 1) s / sqrt(n). One value has no interval: NaN."""
    table = np.asarray(values, dtype=float)
    mean = float(table.mean())
    if len(table) < 2:
        return mean, math.nan, math.nan
    half = t_975(len(table) - 1) * float(table.std(ddof=1)) / math.sqrt(len(table))
    return mean, mean - half, mean + half
