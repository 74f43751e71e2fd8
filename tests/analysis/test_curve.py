"""The kind `curve`, and the intervals that it draws."""

import math
import statistics

import numpy as np
import pandas as pd
import pytest
import yaml

import synthetic
from synthetic import TRANSPORT
from ferry_analysis import plot
from ferry_analysis.intervals import mean_interval, t_975
from ferry_analysis.load import InputError, open_folder
from ferry_analysis.plot import curve

COUNT, MEMORY = "vms.vm.count", "vms.vm.memory"


def drawn(folder, **choice):
    return curve.picture(open_folder(folder), curve.Choice(**choice))


def rewrite(folder, change):
    """Changes the rows of cells.csv in place."""
    path = folder / "cells.csv"
    lines = path.read_text().splitlines()
    header = lines[0].split(",")
    rows = [dict(zip(header, line.split(","))) for line in lines[1:]]
    for row in rows:
        change(row)
    synthetic.write_csv(path, header, rows)


@pytest.mark.parametrize(
    "degrees, expected", [(1, 12.706), (4, 2.776), (30, 2.042), (40, 2.0211), (60, 2.0003), (120, 1.9799)]
)
def test_quantiles_of_student_are_those_of_the_tables(degrees, expected):
    assert t_975(degrees) == pytest.approx(expected, abs=6e-4)


def test_the_interval_of_a_mean_is_that_of_a_worked_example():
    # n = 5, mean 3, s = sqrt(2.5): 3 +- 2.776 * 1.5811 / 2.2361
    mean, low, high = mean_interval([1, 2, 3, 4, 5])
    assert (mean, low, high) == pytest.approx((3, 3 - 1.963, 3 + 1.963), abs=1e-3)
    assert mean_interval([7.0])[0] == 7
    assert all(math.isnan(end) for end in mean_interval([7.0])[1:])


def test_the_interval_holds_the_true_mean_nineteen_times_of_twenty():
    random = np.random.default_rng(1)
    held = 0
    for _ in range(2000):
        _, low, high = mean_interval(random.normal(10, 3, size=5))
        held += low <= 10 <= high
    assert 0.935 < held / 2000 < 0.965


def test_points_are_means_over_repetitions_with_their_intervals(tmp_path):
    folder = synthetic.write_study(
        tmp_path / "s", {TRANSPORT: ["tcp", "rdma"], MEMORY: ["1GiB", "4GiB", "2GiB"]}, repeat=5
    )
    picture = drawn(folder)
    data = picture.data
    assert list(data[MEMORY]) == ["1GiB", "2GiB", "4GiB"] * 2  # by size, a line after the other
    assert (data["repetitions"] == 5).all()
    cells = open_folder(folder).cells
    chosen = cells[(cells[TRANSPORT] == "rdma") & (cells[MEMORY] == "2GiB")]["makespan_seconds"]
    row = data[(data[TRANSPORT] == "rdma") & (data[MEMORY] == "2GiB")].iloc[0]
    assert row["mean"] == pytest.approx(statistics.mean(chosen))
    half = 2.776 * statistics.stdev(chosen) / math.sqrt(5)
    assert (row["low"], row["high"]) == pytest.approx((row["mean"] - half, row["mean"] + half), rel=1e-3)
    lines = [line for line in picture.figure.axes[0].lines
             if len(line.get_xdata()) == 3 and line.get_linestyle() != "None"]
    assert list(lines[1].get_ydata()) == pytest.approx(list(data["mean"][3:]))


def test_the_subtitle_says_which_interval(tmp_path):
    folder = synthetic.write_study(tmp_path / "s", {MEMORY: ["1GiB", "2GiB"]}, repeat=3)
    text = " ".join(text.get_text() for text in drawn(folder).figure.texts).replace("\n", " ")
    assert "points: means over 3 repetitions" in text
    assert "bars: 95 % confidence interval of the mean (Student's t)" in text


def test_one_repetition_has_no_interval(tmp_path):
    folder = synthetic.write_study(tmp_path / "s", {MEMORY: ["1GiB", "2GiB"]})
    picture = drawn(folder)
    assert picture.data["low"].isna().all()
    assert not any("interval" in text.get_text() for text in picture.figure.texts)


def test_x_y_and_by_choose_what_is_drawn(tmp_path):
    folder = synthetic.write_study(
        tmp_path / "s",
        {TRANSPORT: ["tcp", "rdma"], MEMORY: ["1GiB", "2GiB", "4GiB"], COUNT: ["2", "4"]},
    )
    picture = drawn(folder, x=COUNT, y="total_max_seconds", by="memory")  # a name's end will do
    assert picture.data["x"].unique().tolist() == [2, 4]
    axes = picture.figure.axes
    assert len(axes) == 2  # a panel a transport
    assert [panel.get_title(loc="left") for panel in axes] == ["transport TCP", "transport RDMA"]
    assert axes[0].get_ylabel() == "total max (seconds)"
    assert [text.get_text() for text in picture.figure.legends[0].texts] == ["1 GiB", "2 GiB", "4 GiB"]


def test_failed_cells_are_hollow_marks_and_in_no_mean(tmp_path):
    folder = synthetic.write_study(tmp_path / "s", {TRANSPORT: ["tcp", "rdma"], COUNT: ["2", "4", "8"]})

    def fail(row):
        if row[TRANSPORT] == "tcp" and row[COUNT] == "8":
            row.update(outcome="rolled_back", reason="no", makespan_seconds="1e9")

    rewrite(folder, fail)
    picture = drawn(folder)
    row = picture.data[(picture.data[TRANSPORT] == "tcp") & (picture.data["x"] == 8)].iloc[0]
    assert (row["failed"], row["repetitions"]) == (1, 0) and math.isnan(row["mean"])
    hollow = [line for line in picture.figure.axes[0].lines if line.get_markerfacecolor() == "none"]
    assert [list(line.get_xdata()) for line in hollow] == [[8]]
    assert picture.figure.axes[0].get_ylim()[1] < 1e6


def test_evenly_spaced_values_stay_on_a_linear_axis(tmp_path):
    linear = synthetic.write_study(tmp_path / "linear", {COUNT: ["2", "4", "6", "8"]})
    factors = synthetic.write_study(tmp_path / "factors", {COUNT: ["2", "4", "8", "16"]})
    assert drawn(linear).figure.axes[0].get_xscale() == "linear"
    assert drawn(factors).figure.axes[0].get_xscale() == "log"


@pytest.mark.parametrize(
    "choice, message",
    [
        ({"x": "no.such"}, "--x no.such: this study does not vary it; it varies "
                           "vms.vm.count, migrations.leave.transport"),
        ({"x": TRANSPORT}, f"--x {TRANSPORT}: its values are no numbers of one unit; "
                           "vms.vm.count would be right"),
        ({"by": "x"}, f"--by x: this study does not vary it; it varies {TRANSPORT}"),
    ],
)
def test_what_cannot_be_drawn_is_explained(tmp_path, choice, message):
    folder = synthetic.write_study(tmp_path / "s", {TRANSPORT: ["tcp", "rdma"], COUNT: ["2", "4"]})
    with pytest.raises(InputError) as error:
        drawn(folder, **choice)
    assert str(error.value) == message


def test_an_unknown_metric_names_those_that_exist(tmp_path):
    folder = synthetic.write_study(tmp_path / "s", {COUNT: ["2", "4"]})
    with pytest.raises(InputError) as error:
        drawn(folder, y="speed")
    assert str(error.value).startswith("--y speed: no such metric; one of makespan_seconds, ")


def test_a_study_without_numbers_has_no_curve(transports, run):
    with pytest.raises(InputError) as error:
        drawn(transports)
    assert str(error.value) == (
        f"{transports}/cells.csv: this study varies {TRANSPORT}; "
        "curve needs a study that varies at least one path over numbers"
    )
    with pytest.raises(InputError):
        drawn(run)


def test_a_study_says_which_curves_it_wants(tmp_path, command):
    wanted = [{"y": "downtime_seconds", "x": COUNT, "by": TRANSPORT}, {"y": "total_seconds"}, {"y": "downtime_seconds", "x": MEMORY}]
    folder = synthetic.write_study(
        tmp_path / "s", {TRANSPORT: ["tcp", "rdma"], COUNT: ["2", "4", "8"], MEMORY: ["1GiB", "2GiB"]}, plots=["curve"],
        curves=wanted,
    )
    command("plot", folder, "--format", "svg")
    assert command.status == 0, command.errors
    names = ["curve-1-downtime_seconds", "curve-total_seconds", "curve-3-downtime_seconds"]
    assert command.output.splitlines() == [f"{folder}/plots/{name}.svg" for name in names]
    over_count, _, over_memory = curve.every_picture(open_folder(folder))
    pd.testing.assert_frame_equal(over_count.data, drawn(folder, x=COUNT, y="downtime_seconds", by=TRANSPORT).data)
    assert over_memory.data["x"].nunique() == 2
    # What is asked for on the command line is drawn instead.
    command("plot", folder, "--kind", "curve", "--y", "total_seconds", "--format", "svg")
    assert command.output == f"{folder}/plots/curve.svg\n"


def test_a_single_curve_of_a_study_is_called_as_without(tmp_path):
    folder = synthetic.write_study(tmp_path / "s", {COUNT: ["2", "4"]}, curves=[{"y": "downtime_seconds"}])
    (only,) = curve.every_picture(open_folder(folder))
    assert only.kind == "curve"
    pd.testing.assert_frame_equal(only.data, drawn(folder, y="downtime_seconds").data)


@pytest.mark.parametrize("curves", ["downtime_seconds", [{"x": COUNT}], [{"y": "total_seconds", "z": COUNT}]])
def test_curves_that_are_none_are_explained(tmp_path, curves):
    folder = synthetic.write_study(tmp_path / "s", {COUNT: ["2", "4"]})
    (folder / "study.yaml").write_text(yaml.safe_dump({"study": "s", "curves": curves}))
    with pytest.raises(InputError) as error:
        curve.choices(open_folder(folder))
    assert str(error.value) == (
        f"{folder}/study.yaml: curves: not a list of mappings with y, x and by; [{{y: outage_seconds}}] would be right"
    )


def test_the_options_of_curve_are_of_no_other_kind(multi_vm, command):
    command("plot", multi_vm, "--kind", "breakdown", "--x", COUNT)
    assert command.status == 2
    assert command.errors == "--x, --y, --by: are of curve alone; --kind curve would be right\n"
    command("plot", multi_vm, "--kind", "curve", "--x", COUNT, "--data", "--format", "svg")
    assert command.status == 0
    assert command.output.splitlines() == [f"{multi_vm}/plots/curve.svg", f"{multi_vm}/plots/curve.csv"]


def test_paths_in_lock_step_are_one_axis(tmp_path):
    folder = synthetic.write_study(tmp_path / "s", {COUNT: ["2", "4", "8"], "cluster.hosts.host.count": ["1"]})

    def follow(row):
        row["cluster.hosts.host.count"] = str(2 * int(row[COUNT]))

    rewrite(folder, follow)
    assert drawn(folder).data["x"].tolist() == [2, 4, 8]
    assert drawn(folder, x="cluster.hosts.host.count").data["x"].tolist() == [4, 8, 16]


def test_the_kinds_are_known_to_the_command(command, run):
    assert {"curve", "sensitivity", "links"} < set(plot.KINDS)
