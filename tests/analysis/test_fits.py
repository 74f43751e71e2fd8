"""Fits, from numbers that were made for it."""

import math

import numpy as np
import pytest
from ferry_analysis.fits import spread_fit


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
