import math

import pytest

from ferry_analysis.assignments import Axis, short_names
from ferry_analysis.quantities import (
    Quantity, parse_quantity, percent_text, plain_seconds_text, seconds_text,
)


@pytest.mark.parametrize(
    ("text", "quantity"),
    [
        ("256MiB", Quantity("bytes", 2.0**28)),
        ("4 GiB", Quantity("bytes", 2.0**32)),
        ("300ms", Quantity("seconds", 0.3)),
        ("56Gbps", Quantity("bits/s", 56e9)),
        ("20MB/s", Quantity("bits/s", 160e6)),
        ("16", Quantity("number", 16.0)),
        ("5%", Quantity("ratio", 0.05)),
        ("rdma", None),
        ("4 parsecs", None),
        ("", None),
    ],
)
def test_text_with_a_unit_becomes_a_quantity(text, quantity):
    parsed = parse_quantity(text)
    if quantity is None:
        assert parsed is None
    else:
        assert parsed.dimension == quantity.dimension
        assert parsed.value == pytest.approx(quantity.value)


def test_durations_are_shown_in_the_unit_that_suits_them():
    shown = [seconds_text(value) for value in (2.4124, 0.0152, 0.000003, 0, math.nan, 123.45)]
    assert shown == ["2.412 s", "15.20 ms", "3.000 us", "0 s", "-", "123.5 s"]


def test_small_values_of_a_table_are_never_shown_as_zero():
    shown = [plain_seconds_text(value) for value in (12.34, 2.405, 0.0124, 0.0001, 0, math.nan)]
    assert shown == ["12.3", "2.40", "0.012", "<0.001", "0", "–"]


def test_percentages_have_a_sign():
    assert [percent_text(value) for value in (3.14, -2.0, 0.01)] == ["+3.1 %", "-2.0 %", "0.0 %"]


def test_a_path_is_shortened_as_far_as_it_stays_unique():
    paths = ["vms.vm.count", "hosts.host.count", "schedule.order"]
    assert list(short_names(paths).values()) == ["vm.count", "host.count", "order"]


def test_memory_is_labelled_in_gib():
    axis = Axis("vms.vm.memory", "memory", ("256MiB", "4GiB"), "bytes")
    assert axis.title == "memory (GiB)"
    assert [axis.label(value) for value in axis.values] == ["0.25", "4"]
    assert axis.text("4GiB") == "4 GiB"
