import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.text import Text

import synthetic
from synthetic import HERE, TRANSPORT
from ferry_analysis import plot
from ferry_analysis.load import PHASES, open_folder

ORDER, COUNT, MEMORY = "schedule.order", "vms.vm.count", "vms.vm.memory"


def picture(kind: str, folder: Path):
    return plot.KINDS[kind](open_folder(folder))


def texts(axes) -> list[str]:
    return [text.get_text().strip() for text in axes.texts]


def bar_heights(axes, label: str) -> np.ndarray:
    bars = next(bars for bars in axes.containers if bars.get_label() == label)
    return np.array([patch.get_height() for patch in bars.patches])


def test_a_run_is_drawn_as_breakdown_and_timeline_by_default(run, command):
    command("plot", run)
    assert command.status == 0
    files = [f"{run}/plots/{name}" for name in
             ("breakdown.png", "breakdown.svg", "timeline.png", "timeline.svg")]
    assert command.output.splitlines() == files
    assert all(Path(path).stat().st_size > 1000 for path in files)


def test_a_study_is_drawn_as_its_file_says(multi_vm, tmp_path, command):
    command("plot", multi_vm, "--format", "svg", "--out", tmp_path / "pictures")
    assert command.output.splitlines() == [
        f"{tmp_path}/pictures/breakdown.svg", f"{tmp_path}/pictures/multi_vm.svg"
    ]


def test_a_plot_that_is_not_possible_does_not_stop_the_others(tmp_path, command):
    study = synthetic.write_study(
        tmp_path / "study", {TRANSPORT: ["tcp", "rdma"]}, plots=["pie", "breakdown"]
    )
    command("plot", study, "--format", "png")
    assert command.status == 2
    assert command.output == f"{study}/plots/breakdown.png\n"
    assert command.errors == (
        "--kind pie: no such plot; "
        "the kinds are application, breakdown, compare, curve, downtime_cdf, latency, links, multi_vm, "
        "overlap, report, sensitivity, timeline\n"
    )


@pytest.mark.parametrize("kind", ["breakdown", "timeline", "downtime_cdf"])
def test_the_data_written_are_what_is_drawn(run, command, kind):
    command("plot", run, "--kind", kind, "--data", "--format", "svg")
    assert command.output.splitlines()[-1] == f"{run}/plots/{kind}.csv"
    drawn = picture(kind, run).data
    pd.testing.assert_frame_equal(pd.read_csv(run / "plots" / f"{kind}.csv"), drawn)


@pytest.mark.parametrize("kind", ["breakdown", "timeline", "downtime_cdf"])
def test_the_same_run_gives_the_same_svg_bytes(run, tmp_path, kind):
    path = [str(HERE.parents[1] / "analysis"), str(HERE)]
    for out in ("first", "second"):
        subprocess.run(
            [sys.executable, "-B", "-m", "ferry_analysis", "plot", run, "--kind", kind,
             "--format", "svg", "--out", tmp_path / out],
            check=True, env={"PYTHONPATH": ":".join(path), "HOME": str(tmp_path)},
            stdout=subprocess.DEVNULL,
        )
    first, second = ((tmp_path / out / f"{kind}.svg").read_bytes() for out in ("first", "second"))
    assert first == second
    assert b"<dc:date>" not in first


def test_a_rasterised_timeline_is_the_same_svg_each_time(tmp_path):
    run = synthetic.write_run(tmp_path / "run", [synthetic.move(f"vm{i}") for i in range(60)])
    for out in ("first", "second"):
        picture("timeline", run).save(tmp_path / out, ["svg"], with_data=False)
    first = (tmp_path / "first" / "timeline.svg").read_bytes()
    assert b"<image" in first
    assert first == (tmp_path / "second" / "timeline.svg").read_bytes()


def test_pictures_have_two_hundred_dots_per_inch(run):
    drawn = picture("breakdown", run)
    width, height = drawn.figure.get_size_inches()
    (path,) = drawn.save(run / "plots", ["png"], with_data=False)
    header = path.read_bytes()[16:24]
    pixels = int.from_bytes(header[:4], "big"), int.from_bytes(header[4:], "big")
    assert pixels == (int(width * 200), int(height * 200))


# breakdown

def test_bars_of_a_run_stack_the_mean_of_each_phase(tmp_path):
    transports = {"vm0": "tcp", "vm1": "tcp", "vm2": "rdma"}
    moves = [synthetic.move(vm, transport) for vm, transport in transports.items()]
    moves[0]["migration_seconds"] += 1.0
    moves[0]["total_seconds"] += 1.0
    drawn = picture("breakdown", synthetic.write_run(tmp_path / "run", moves))
    axes = drawn.figure.axes[0]
    assert drawn.data["transport"].tolist() == ["tcp", "rdma"]
    assert bar_heights(axes, "migration") == pytest.approx([2.12, 1.134])
    stacked = sum(bar_heights(axes, phase) for phase in PHASES)
    assert stacked == pytest.approx(drawn.data["total_seconds"].to_numpy())
    assert [text for text in texts(axes) if text.endswith(" s")] == ["2.65 s", "1.67 s"]


def test_bars_of_a_study_are_medians_over_repetitions_with_their_spread(transports):
    cells = pd.read_csv(transports / "cells.csv")
    data = picture("breakdown", transports).data
    rdma = cells[cells[TRANSPORT] == "rdma"]
    row = data[data[TRANSPORT] == "rdma"].iloc[0]
    assert row["count"] == 5
    assert row["migration_seconds"] == pytest.approx(rdma["migration_seconds"].median())
    assert row["total_seconds"] == pytest.approx(rdma["total_seconds"].median())
    assert row["total_min_seconds"] == pytest.approx(rdma["total_seconds"].min())
    assert row["total_max_seconds"] == pytest.approx(rdma["total_seconds"].max())


def test_medians_that_do_not_add_up_are_named(tmp_path):
    study = synthetic.write_study(tmp_path / "study", {TRANSPORT: ["tcp", "rdma"]}, repeat=3)
    note = "bold: the median of the totals, which the medians of the phases need not add up to"

    def subtitle():
        return " ".join(text.get_text().replace("\n", " ") for text in picture("breakdown", study).figure.texts)

    cells = pd.read_csv(study / "cells.csv")
    phases = [f"{phase}_seconds" for phase in PHASES]
    cells[phases] = [0.0, 0.2, 0.0, 1.0, 0.2, 0.0, 0.0]
    cells["total_seconds"] = cells[phases].sum(axis=1)
    cells.to_csv(study / "cells.csv", index=False)
    assert note not in subtitle()
    cells["migration_seconds"], cells["attach_vf_seconds"] = [1.0, 2.0, 3.0] * 2, [3.0, 0.5, 1.0] * 2
    cells["total_seconds"] = cells[phases].sum(axis=1)
    cells.to_csv(study / "cells.csv", index=False)
    assert note in subtitle()


def test_labels_are_the_varying_part_of_the_assignment(tmp_path):
    vary = {TRANSPORT: ["tcp", "ipoib", "rdma"], COUNT: ["2"]}
    drawn = picture("breakdown", synthetic.write_study(tmp_path / "study", vary))
    labels = texts(drawn.figure.axes[1])
    assert labels[:4] == ["transport", "TCP", "IPoIB", "RDMA"]
    assert COUNT not in drawn.data.columns


def test_memory_is_sorted_by_size_and_labelled_in_gib(tmp_path):
    vary = {"vms.vm.virtual_functions": ["0", "1"], MEMORY: ["4GiB", "256MiB", "16GiB", "1GiB"]}
    drawn = picture("breakdown", synthetic.write_study(tmp_path / "study", vary))
    labels = texts(drawn.figure.axes[1])
    assert labels[:9] == ["virtual_functions", *(["0", "1"] * 4)]
    assert labels[9:14] == ["memory (GiB)", "0.25", "1", "4", "16"]


def test_phases_too_short_to_be_seen_are_in_the_table_below(transports):
    labels = texts(picture("breakdown", transports).figure.axes[1])
    assert labels[labels.index("set_post_migration") + 1] == "0.002"


def test_with_many_bars_the_legend_gives_the_range_of_each_phase(tmp_path):
    vary = {MEMORY: [f"{size}GiB" for size in range(1, 31)]}
    drawn = picture("breakdown", synthetic.write_study(tmp_path / "study", vary))
    legend = [text.get_text() for text in drawn.figure.axes[0].get_legend().get_texts()]
    assert legend == [
        "set_post_migration  0.002 s", "add_ivshmem  0.035 s", "attach_vf  0.24 to 3.72 s",
        "migration  1.62 to 22.5 s", "remove_ivshmem  0.030 s", "detach_vf  0.21 s",
        "set_pre_migration  0.018 s",
    ]


def test_failed_moves_are_left_out_and_counted(tmp_path):
    moves = [synthetic.move("vm0"), synthetic.move("vm1") | {"outcome": "rolled_back"}]
    drawn = picture("breakdown", synthetic.write_run(tmp_path / "run", moves))
    assert drawn.data[["count", "failed_moves"]].values.tolist() == [[1, 1]]
    assert "1 failed move" in " ".join(text.get_text() for text in drawn.figure.texts)


def test_failed_moves_are_counted_if_nothing_of_their_migration_has_a_bar(tmp_path):
    moves = [synthetic.move("vm0", "tcp", "a"), synthetic.move("vm1", "ipoib", "b"),
             *(synthetic.move(vm, "rdma", "c") | {"outcome": "rolled_back"} for vm in ("vm2", "vm3"))]  # fmt: skip
    drawn = picture("breakdown", synthetic.write_run(tmp_path / "run", moves))
    assert drawn.data["transport"].tolist() == ["tcp", "ipoib"]
    assert "left out: 2 failed moves" in " ".join(text.get_text() for text in drawn.figure.texts)


def test_cells_without_values_are_counted_if_their_assignment_has_no_bar(tmp_path):
    study = synthetic.write_study(tmp_path / "study", {TRANSPORT: ["tcp", "ipoib", "rdma"]}, repeat=3)
    cells = pd.read_csv(study / "cells.csv")
    cells.loc[cells[TRANSPORT] == "rdma", [name for name in cells if name.endswith("_seconds")]] = np.nan
    cells.to_csv(study / "cells.csv", index=False)
    drawn = picture("breakdown", study)
    assert drawn.data[TRANSPORT].tolist() == ["tcp", "ipoib"]
    assert "without values: 3 cells" in " ".join(text.get_text() for text in drawn.figure.texts)


def test_a_run_without_moves_has_no_breakdown(tmp_path, command):
    run = synthetic.write_run(tmp_path / "run", [])
    command("plot", run, "--kind", "breakdown")
    assert command.status == 2
    assert command.errors == (
        f"{run}/migrations.csv: has no moves; breakdown needs at least one\n"
    )


# multi_vm

def test_savings_stand_over_each_pair(multi_vm):
    drawn = picture("multi_vm", multi_vm)
    assert [label.get_text() for label in drawn.figure.axes[0].get_xticklabels()] == [
        "2", "4", "8", "16"
    ]
    table = drawn.data.pivot(index=COUNT, columns=ORDER, values="makespan_seconds")
    saved = 100 * (1 - table["parallel"] / table["sequential"])
    shown = [f"−{round(saved[count])} %" for count in ("2", "4", "8", "16")]
    assert texts(drawn.figure.axes[0]) == shown


def test_multi_vm_draws_the_makespans_of_its_data(multi_vm):
    drawn = picture("multi_vm", multi_vm)
    for order in ("sequential", "parallel"):
        rows = drawn.data[drawn.data[ORDER] == order]
        assert bar_heights(drawn.figure.axes[0], order) == pytest.approx(
            rows["makespan_seconds"].to_numpy()
        )


def test_hosts_that_grow_with_the_vms_are_no_third_path(tmp_path):
    study = synthetic.write_study(
        tmp_path / "study", {ORDER: ["sequential", "parallel"], COUNT: ["2", "4"]}
    )
    cells = pd.read_csv(study / "cells.csv", dtype=str)
    cells.insert(1, "cluster.hosts.host.count", (cells[COUNT].astype(int) * 2).astype(str))
    cells.to_csv(study / "cells.csv", index=False)
    assert picture("multi_vm", study).data[COUNT].tolist() == ["2", "2", "4", "4"]


def test_multi_vm_says_what_it_needs(transports, command):
    command("plot", transports, "--kind", "multi_vm")
    assert command.status == 2
    assert command.errors == (
        f"{transports}/cells.csv: this study varies {TRANSPORT}; "
        "multi_vm needs a study that varies exactly two paths: one that ends in .count (the x axis) and one more (the series, such as "
        "schedule.order)\n"
    )


# timeline

def test_vms_are_sorted_by_start(tmp_path):
    moves = [synthetic.move(f"vm{i}") for i in range(3)]
    run = synthetic.write_run(tmp_path / "run", moves, starts=[5.0, 2.0, 3.0])
    drawn = picture("timeline", run)
    assert [label.get_text() for label in drawn.figure.axes[0].get_yticklabels()] == [
        "vm1", "vm2", "vm0"
    ]


def test_a_thousand_vms_are_counted_and_rasterised(tmp_path):
    run = synthetic.write_run(tmp_path / "run", [synthetic.move(f"vm{i}") for i in range(1000)])
    drawn = picture("timeline", run)
    axes = drawn.figure.axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()][-1] == "1,000"
    assert all(spans.get_rasterized() for spans in axes.collections)
    assert sum(len(spans.get_paths()) for spans in axes.collections) == len(drawn.data) == 7000


def test_failed_spans_are_marked(tmp_path):
    moves = [synthetic.move("vm0"), synthetic.move("vm1") | {"outcome": "failed"}]
    drawn = picture("timeline", synthetic.write_run(tmp_path / "run", moves))
    axes = drawn.figure.axes[0]
    assert [spans.get_hatch() for spans in axes.collections].count("//////") == 1
    lost = drawn.data[drawn.data["outcome"] == "failed"].iloc[0]
    assert axes.lines[0].get_xydata().tolist() == [[lost["end_seconds"], lost["row"]]]
    assert axes.get_legend().get_texts()[-1].get_text() == "failed"


def test_short_phases_have_their_length_in_the_legend(run):
    legend = picture("timeline", run).figure.axes[0].get_legend()
    assert [text.get_text() for text in legend.get_texts()][-1] == "set_post_migration  2.00 ms"


def test_timeline_of_a_study_names_a_cell(transports, command):
    command("plot", transports, "--kind", "timeline")
    assert command.errors == (
        f"{transports}: is a study; timeline draws one run, such as {transports}/cells/000-0\n"
    )


# downtime_cdf

def test_downtimes_are_shares_of_moves_in_milliseconds(tmp_path):
    moves = [synthetic.move(f"vm{i}") | {"downtime_seconds": value}
             for i, value in enumerate((0.04, 0.01, 0.03, 0.02))]
    drawn = picture("downtime_cdf", synthetic.write_run(tmp_path / "run", moves))
    assert drawn.data["downtime_ms"].tolist() == [10, 20, 30, 40]
    assert drawn.data["share"].tolist() == [0.25, 0.5, 0.75, 1.0]
    line = drawn.figure.axes[0].lines[0]
    assert line.get_xdata()[1:-1].tolist() == [10, 20, 30, 40]
    assert line.get_drawstyle() == "steps-post"
    assert line.get_label() == "TCP\nmedian 20 ms, 99 %: 40 ms, n = 4"


def test_many_assignments_are_thin_curves_in_the_colour_of_a_group(tmp_path):
    vary = {TRANSPORT: ["tcp", "ipoib", "rdma"], MEMORY: ["1GiB", "2GiB", "4GiB", "8GiB"]}
    study = synthetic.write_study(tmp_path / "study", vary, repeat=9, runs=True)
    drawn = picture("downtime_cdf", study)
    axes = drawn.figure.axes[0]
    thick = [line for line in axes.lines if not line.get_label().startswith("_")]
    thin = [line for line in axes.lines if line.get_label().startswith("_")]
    assert [line.get_label().split("\n")[0] for line in thick] == ["TCP", "IPoIB", "RDMA"]
    assert len(thin) == 12
    assert {line.get_color() for line in thin} == {line.get_color() for line in thick}
    assert len({line.get_color() for line in thick}) == 3
    assert (drawn.data["curve"] == "TCP").sum() == 4 * 9 * 2
    assert (drawn.data["group"] == "TCP").sum() == 2 * 4 * 9 * 2
    subtitle = " ".join(text.get_text().replace("\n", " ") for text in drawn.figure.texts)
    assert "216 moves; thin: the 12 assignments; thick: all moves of each transport together" in subtitle
    assert_no_overlap(drawn.figure)


def test_each_assignment_of_a_study_has_a_curve_over_all_repetitions(transports):
    data = picture("downtime_cdf", transports).data
    assert data["curve"].value_counts(sort=False).to_dict() == {"TCP": 10, "IPoIB": 10, "RDMA": 10}


# command line

def test_a_misspelt_kind_names_the_nearest(run, command):
    command("plot", run, "--kind", "brakdown")
    assert command.status == 2
    assert command.errors == (
        "--kind brakdown: no such plot; the nearest is breakdown; "
        "the kinds are application, breakdown, compare, curve, downtime_cdf, latency, links, multi_vm, "
        "overlap, report, sensitivity, timeline\n"
    )
    assert not (run / "plots").exists()


def test_the_compare_plot_needs_two_sides(run, command):
    command("plot", run, "--kind", "compare")
    assert command.errors == (
        "--kind compare: needs two sides; ferry compare A --with B --plot would be right\n"
    )


def test_an_unknown_format_is_refused(run, command):
    command("plot", run, "--format", "png,pdf")
    assert command.status == 2
    assert command.errors == (
        "--format png,pdf: pdf is not known; png, svg or png,svg would be right\n"
    )


def test_a_folder_that_cannot_be_made_is_an_error(run, command):
    (run / "file").write_text("", encoding="utf-8")
    command("plot", run, "--out", run / "file")
    assert command.status == 2
    assert command.errors.splitlines()[0] == (
        f"{run}/file: cannot be written: File exists; "
        "--out with a folder that can be written would be right"
    )


def test_a_missing_argument_is_one_line(command):
    command("plot")
    assert command.status == 2
    assert command.errors == (
        "ferry_analysis plot: the following arguments are required: PATH; "
        "ferry_analysis plot --help shows what is right\n"
    )


@pytest.mark.parametrize("kind", ["breakdown", "multi_vm", "downtime_cdf"])
def test_no_texts_of_a_study_overlap(tmp_path, kind):
    vary = {ORDER: ["sequential", "parallel"], COUNT: ["2", "4", "8", "16"]}
    study = synthetic.write_study(tmp_path / "study", vary, repeat=2, runs=True)
    assert_no_overlap(picture(kind, study).figure)


def test_savings_of_three_series_do_not_overlap(tmp_path):
    vary = {ORDER: ["sequential", "parallel", "planned"], COUNT: ["2", "4", "8"]}
    drawn = picture("multi_vm", synthetic.write_study(tmp_path / "study", vary))
    assert_no_overlap(drawn.figure)
    assert len(texts(drawn.figure.axes[0])) == 6


@pytest.mark.parametrize("vms", [1, 16, 100])
@pytest.mark.parametrize("kind", ["breakdown", "timeline", "downtime_cdf"])
def test_no_texts_of_a_run_overlap(tmp_path, kind, vms):
    moves = [synthetic.move(f"vm{index}") for index in range(vms)]
    name = "a-rather-long-name-of-a-scenario-with-many-words"
    assert_no_overlap(picture(kind, synthetic.write_run(tmp_path / "run", moves, name=name)).figure)


def assert_no_overlap(figure) -> None:
    """No two texts that are drawn touch, and none leaves the figure."""
    drawn, draw = [], Text.draw
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Text, "draw", lambda self, *rest: (drawn.append(self), draw(self, *rest)))
        figure.canvas.draw()
    renderer, seen = figure.canvas.get_renderer(), []
    for text in dict.fromkeys(drawn):
        if text.get_visible() and text.get_text().strip():
            box = text.get_window_extent(renderer)
            assert figure.bbox.x0 <= box.x0 and box.x1 <= figure.bbox.x1, text.get_text()
            assert figure.bbox.y0 <= box.y0 and box.y1 <= figure.bbox.y1, text.get_text()
            for other, other_box in seen:
                assert not box.overlaps(other_box), (text.get_text(), other)
            seen.append((text.get_text(), box))
