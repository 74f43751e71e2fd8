"""Fits, from numbers that were made for it."""

import math

import numpy as np
import pytest
from ferry_analysis.fits import median_fit, median_interval, spread_fit


def test_a_spread_is_found_again_with_an_interval_around_it():
    random = np.random.default_rng(1)
    groups = [median * np.exp(0.2 * random.standard_normal(400)) for median in (0.3, 1.0)]
    fit = spread_fit("a.b", groups)
    assert fit.value == pytest.approx(0.2, rel=0.1)
    assert fit.low < 0.2 < fit.high
    assert fit.count == 800


def test_what_takes_long_counts_most():
    long, short = [0.95, 1.05] * 20, [0.002, 0.010] * 20
    fit = spread_fit("a.b", [long, short])
    assert fit.value == pytest.approx(math.sqrt(math.log(1 + 0.05**2 * 40 / 39)), rel=1e-2)
    assert spread_fit("a.b", [short]).value > 0.5


def test_one_time_alone_has_no_spread():
    assert spread_fit("a.b", [[1.0], [2.0], []]) is None


def test_the_interval_of_a_median_leaves_out_at_most_a_fortieth_at_each_end():
    # Of 6 values all are above the median in a 64th of cases; of 9, at most one is below it in 10 of 512.
    assert math.isnan(median_interval([1, 2, 3, 4, 5])[0])
    assert median_interval([6, 5, 4, 3, 2, 1]) == (1, 6)
    assert median_interval(list(range(1, 10))) == (2, 8)


def test_thousands_of_observations_have_an_interval_too():
    for count in (1100, 20_000):
        fit = median_fit("a.b", list(range(count)), "s")
        half = 1.96 * math.sqrt(count) / 2  # the binomial distribution is as good as normal
        assert (fit.low, fit.high) == (pytest.approx(count / 2 - half, abs=2), pytest.approx(count / 2 + half, abs=2))
