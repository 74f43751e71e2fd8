"""The kind `sensitivity`."""

import math

import pytest
from matplotlib.colors import to_rgba

import synthetic
from synthetic import TRANSPORT
from test_plot import assert_no_overlap
from ferry_analysis.load import InputError, open_folder
from ferry_analysis.plot import sensitivity

ROWS = [
    ("C1", "total_seconds", "", 1, 2.0, 2.5, "", 3, "yes", ""),
    ("C1", "total_seconds", "platform.streams.tcp.bandwidth", 0.5, 2.4, 3.5, "", 3, "no", "too long"),
    ("C1", "total_seconds", "platform.streams.tcp.bandwidth", 2, 1.9, 2.2, "", 3, "yes", ""),
    ("C1", "total_seconds", "platform.hypervisor.finish", 0.5, 1.95, 2.4, "", 3, "yes", ""),
    ("C1", "total_seconds", "platform.hypervisor.finish", 2, 2.1, 2.6, "", 3, "yes", ""),
    ("C1", "total_seconds", "platform.mpi.notice", 0.5, 2.0, 2.5, "", 3, "yes", ""),
    ("C1", "", "platform.hypervisor.serial", 2, "", "", "", "", "", "'130%' is out of range"),
    ("C2", "total_seconds at rdma / at tcp", "", 1, 0.8, 0.8, 0.78, 0.82, "yes", ""),
    ("C2", "total_seconds at rdma / at tcp", "platform.mpi.notice", 0.5, 0.8, 0.8, 0.78, 0.82, "yes", ""),
]


@pytest.fixture
def study(tmp_path):
    folder = synthetic.write_study(tmp_path / "study", {TRANSPORT: ["tcp", "rdma"]})
    synthetic.add_claims(folder, [{"id": "C1", "text": "under 3 s"}, {"id": "C2"}])
    synthetic.add_sensitivity(folder, ROWS)
    return folder


def drawn(folder):
    return sensitivity.picture(open_folder(folder))


def test_bars_go_from_the_value_as_it_is_to_those_at_half_and_at_double(study):
    picture = drawn(study)
    data = picture.data
    assert list(data["constant"]) == ["streams.tcp.bandwidth", "hypervisor.finish"]  # most first
    # The claim is that nothing takes 3 s: the longest cell decides.
    assert list(data["nominal"]) == [2.5, 2.5]
    assert list(data["halved"]) == [3.5, 2.4] and list(data["doubled"]) == [2.2, 2.6]
    axes = picture.figure.axes[0]
    bars = [bar for container in axes.containers for bar in container]
    assert {round(bar.get_x(), 6) for bar in bars} == {2.5}
    assert sorted(round(bar.get_width(), 6) for bar in bars) == [-0.3, -0.1, 0.1, 1.0]


def test_a_turned_claim_is_marked_and_what_is_not_claimed_is_shaded(study):
    axes = drawn(study).figure.axes[0]
    marks = [list(line.get_xdata()) for line in axes.lines if line.get_marker() == "D"]
    assert marks == [[3.5]]
    shaded = [patch for patch in axes.patches if patch.get_facecolor() == to_rgba("#E4E4E4")]
    assert [patch.get_xy()[0][0] for patch in shaded] == [3]


def test_what_was_not_tried_and_what_changes_nothing_is_counted(study):
    texts = [text.get_text() for text in drawn(study).figure.texts]
    assert "holds at 2.500 s; 2 constants do not move it; 1 not tried" in texts
    assert any("1 of 2 claims would turn; no constant moves C2" in text.replace("\n", " ") for text in texts)


def test_between_two_bounds_the_end_that_is_nearer_to_one_decides(tmp_path):
    folder = synthetic.write_study(tmp_path / "s", {TRANSPORT: ["tcp", "rdma"]})
    synthetic.add_sensitivity(folder, [
        ("C", "ratio", "", 1, 0.5, 0.8, 0.4, 0.82, "yes", ""),
        ("C", "ratio", "a", 0.5, 0.41, 0.7, 0.4, 0.82, "yes", ""),
        ("C", "ratio", "a", 2, 0.39, 0.81, 0.4, 0.82, "no", ""),
    ])
    row = drawn(folder).data.iloc[0]
    assert (row["nominal"], row["halved"], row["doubled"]) == (0.8, 0.41, 0.39)


def test_a_claim_that_gives_no_value_under_a_change_is_still_turned_by_it(tmp_path):
    folder = synthetic.write_study(tmp_path / "s", {TRANSPORT: ["tcp", "rdma"]})
    synthetic.add_sensitivity(folder, [
        ("C", "total_seconds", "", 1, 2, 2, "", 3, "yes", ""),
        ("C", "", "a", 2, "", "", "", "", "no", "cell-0000 has no total_seconds"),
    ])
    row = drawn(folder).data.iloc[0]
    assert math.isnan(row["doubled"]) and row["turns_doubled"]


def test_a_claim_without_a_value_has_no_panel_and_is_named(tmp_path):
    folder = synthetic.write_study(tmp_path / "s", {TRANSPORT: ["tcp", "rdma"]})
    synthetic.add_sensitivity(folder, [
        ("C1", "total_seconds", "", 1, 2.0, 2.5, "", 3, "yes", ""),
        ("C1", "total_seconds", "a", 0.5, 2.4, 3.5, "", 3, "no", "too long"),
        ("C2", "total_seconds", "", 1, "", "", "", 3, "no", "cell-0000 has no total_seconds"),
        ("C2", "total_seconds", "a", 2, 2, 2, "", 3, "yes", ""),
        ("C3", "total_seconds", "", 1, "", "", "", 3, "no", "cell-0000 has no total_seconds"),
        ("C3", "total_seconds", "a", 2, "", "", "", 3, "no", "cell-0000 has no total_seconds"),
    ])
    picture = drawn(folder)
    assert len(picture.figure.axes) == 1
    subtitle = " ".join(text.get_text() for text in picture.figure.texts).replace("\n", " ")
    assert "2 of 3 claims would turn; without a value: C2, C3" in subtitle
    assert "no constant moves" not in subtitle and "more are in" not in subtitle


def test_many_claims_and_long_texts_do_not_overlap(tmp_path):
    folder = synthetic.write_study(tmp_path / "s", {TRANSPORT: ["tcp", "rdma"]})
    names = [f"C{index}" for index in range(15)]
    synthetic.add_claims(folder, [{"id": name, "text": "a long sentence " * 12} for name in names])
    synthetic.add_sensitivity(folder, [
        (name, "total_seconds", constant, factor, 2, 2 + bend * factor, "", 3, "yes", "")
        for name in names
        for constant, factor, bend in [("", 1, 0.5)] + [
            (f"platform.networks.infiniband.link.constant{index}", factor, 0.5 + 0.05 * index)
            for index in range(11) for factor in (0.5, 2)
        ]
    ])
    figure = drawn(folder).figure
    assert len(figure.axes) == 12
    assert_no_overlap(figure)


def test_a_study_that_was_not_examined_says_how_it_would_be(transports, run):
    with pytest.raises(InputError) as error:
        drawn(transports)
    assert str(error.value) == (
        f"{transports}/sensitivity.csv: has nothing to draw; a study with claims, swept "
        "without --no-sensitivity, would be right"
    )
    with pytest.raises(InputError) as error:
        drawn(run)
    assert str(error.value) == f"{run}: is a run; sensitivity needs a study with claims"
