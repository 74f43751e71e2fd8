"""A constant that runs determine, with its interval: medians, and lines that outliers do not bend;
and how a platform file writes it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Fit:
    """One constant: `path` in the platform file, the new value, and what it rests on."""

    path: str
    value: float
    unit: str  # s, s/GiB, B/s or ratio
    count: int
    low: float  # 95 % interval
    high: float
    spread: tuple[float, float]  # middle half of the observations, or of the residuals of a line
    kind: str = "measured"
    how: str = "median"
    to: tuple[str, ...] = ()  # of a fitted one: what it was fitted to


def median_fit(path: str, values: Sequence[float], unit: str, **more: Any) -> Fit:
    """The median of observations, none of them NaN; a cost that came out below zero is zero."""
    half = tuple(np.quantile(values, [0.25, 0.75]))
    return Fit(path, max(0.0, float(np.median(values))), unit, len(values),
               *median_interval(values), half, **more)


def median_interval(values: Sequence[float]) -> tuple[float, float]:
    """95 % interval of the median from the order of the values, whatever their distribution; NaN
    for fewer than six, which have none."""
    count, ordered = len(values), sorted(values)
    # Of the 2**count ways in which so many values fall below or above the median: those with exactly, and at
    # most, `below` of them below it. Whole numbers, as floats end at some 1,030 values.
    below, exactly, at_most = 0, 1, 1
    while below < count // 2 and 40 * at_most <= 2**count:  # 2.5 %
        below += 1
        exactly = exactly * (count - below + 1) // below
        at_most += exactly
    return (ordered[below - 1], ordered[count - below]) if below else (math.nan, math.nan)


def spread_fit(path: str, groups: Sequence[Sequence[float]], **more: Any) -> Fit | None:
    """Standard deviation of the logarithms of times within their groups, as that of all that they
    take together has it; None if no group tells. So groups count by their squared means: short
    times spread by ticks of clocks more than by what makes long ones longer. The interval takes the
    logarithms as normal (Satterthwaite 1946 for the degrees of freedom of a weighted sum; Wilson and
    Hilferty 1931 for the chi-squared distribution)."""
    told = [np.array([time for time in group if time > 0]) for group in groups]
    told = [group for group in told if len(group) > 1]
    if not told:
        return None
    weights = [(len(group) - 1) * float(group.mean())**2 for group in told]
    squares = sum(float(np.sum((group - group.mean())**2)) for group in told) / sum(weights)
    freedom = sum(weights)**2 / sum(weight**2 / (len(group) - 1)
                                    for weight, group in zip(weights, told))
    value = min(1.0, math.sqrt(math.log(1 + squares)))  # more is not a spread of one operation
    half = 1.96 * math.sqrt(2 / (9 * freedom))
    low, high = (value / (1 - 2 / (9 * freedom) + sign * half)**1.5 if freedom > 2 else math.nan
                 for sign in (1, -1))
    return Fit(path, value, "ratio", sum(map(len, told)), low, high,
               (math.nan, math.nan), **more)


def theil_sen(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Slope and intercept of a line that a few outliers do not bend: medians of pairwise slopes
    (Theil 1950, Sen 1968) and of what the slope leaves."""
    i, j = np.triu_indices(len(x), 1)
    apart = x[i] != x[j]
    slope = float(np.median((y[j] - y[i])[apart] / (x[j] - x[i])[apart]))
    return slope, float(np.median(y - slope * x))


def line_interval(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """95 % interval of the slope, by resampling the points (fixed seed)."""
    random = np.random.default_rng(1)
    slopes = []
    for _ in range(500):
        chosen = random.integers(0, len(x), len(x))
        if len(np.unique(x[chosen])) > 1:
            slopes.append(theil_sen(x[chosen], y[chosen])[0])
    return tuple(np.quantile(slopes, [0.025, 0.975])) if slopes else (math.nan, math.nan)


def constant_text(value: float, unit: str) -> str:
    """As a platform file has it: no digits are lost that could matter."""
    if math.isnan(value):
        return "-"
    if unit == "ratio":
        return f"{100 * value:.4g}%"
    if unit == "B/s":
        return f"{value / 1e6:.6g}MB/s"
    return f"{format(round(value * 1e3, 6) + 0.0, '.6g')}ms"  # to the nanosecond; no -0
