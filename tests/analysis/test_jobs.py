"""The kinds `latency`, `overlap` and `application`: what migrations cost jobs that send messages."""

import pytest

import synthetic
from ferry_analysis import plot
from ferry_analysis.load import InputError, open_folder
from ferry_analysis.palette import STRATEGY_COLOURS, UNMIGRATED_COLOUR
from matplotlib.colors import to_hex
from test_plot import assert_no_overlap, picture

STRATEGY, SHARE, TYPE = "jobs.pair.strategy", "jobs.pair.workload.share", "jobs.pair.workload.type"
STRATEGIES = ["progress_engine", "migration_thread"]


def latencies(job="pair", factor=1.0):
    return [(job, "latency", size, factor * 1e-6 * (1 + size / 1024)) for size in (1, 64, 4096)]


@pytest.fixture
def benchmark(tmp_path):
    """A run whose job measured three sizes and met its migration at the second one."""
    folder = synthetic.write_run(tmp_path / "run")
    synthetic.add_jobs(folder, [synthetic.job("pair", workload="osu_latency", exposed=2.25)])
    synthetic.add_measurements(folder, [*latencies(), ("pair", "latency_exposed", 64, 2.0)])
    return folder


@pytest.fixture
def kernels(tmp_path):
    """A study of two kernels with both strategies."""
    folder = synthetic.write_study(
        tmp_path / "nas", {TYPE: ["nas_lu", "nas_ep"], STRATEGY: STRATEGIES}, runs=True
    )
    for row in open_folder(folder).cells.to_dict("records"):
        hides = row[TYPE] == "nas_ep" and row[STRATEGY] == "migration_thread"
        synthetic.add_jobs(folder / "cells" / row["cell"], [synthetic.job(
            "kernel", row[STRATEGY], row[TYPE], unmigrated=20 if row[TYPE] == "nas_lu" else 8,
            exposed=0.1 if hides else 2.0,
        )])
    return folder


@pytest.fixture
def shares(tmp_path):
    """A study of the share of computation; the thread hides it up to the share."""
    folder = synthetic.write_study(
        tmp_path / "overlap", {STRATEGY: STRATEGIES, SHARE: ["50%", "0%", "90%"]}, repeat=3
    )

    def of(row):
        share = float(row[SHARE][:-1]) / 100
        hidden = share if row[STRATEGY] == "migration_thread" else 0.0
        hidden -= 0.01 * float(row["repetition"])
        return hidden, share, 2 * (1 - hidden)

    synthetic.add_overlap(folder, of)
    return folder


# latency

def test_medians_stand_over_sizes_on_two_logarithmic_axes(benchmark):
    drawn = picture("latency", benchmark)
    assert drawn.data["message_bytes"].tolist() == [1, 64, 4096]
    above, below = drawn.figure.axes
    assert (above.get_xscale(), above.get_yscale()) == ("log", "log")
    assert above.lines[0].get_xdata().tolist() == [1, 64, 4096]
    assert above.lines[0].get_ydata().tolist() == pytest.approx([1e6 * m for m in drawn.data["median"]])
    assert "µs" in above.get_ylabel() and "bytes" in above.get_xlabel()


def test_the_time_lost_to_migrations_stands_apart(benchmark):
    drawn = picture("latency", benchmark)
    assert drawn.data["met_seconds"].dropna().tolist() == [2.0]
    assert set(drawn.data["exposed_seconds"]) == {2.25}  # benchmarks do not time all that jobs do
    [bar] = drawn.figure.axes[1].patches
    assert bar.get_width() == 2.25
    assert drawn.figure.axes[1].get_xlabel() == "exposed (seconds)"


def test_each_assignment_of_a_study_is_a_curve(tmp_path):
    folder = synthetic.write_study(tmp_path / "s", {STRATEGY: STRATEGIES}, repeat=3, runs=True)
    for row in open_folder(folder).cells.to_dict("records"):
        run = folder / "cells" / row["cell"]
        synthetic.add_jobs(run, [synthetic.job("pair", row[STRATEGY], "osu_latency")])
        synthetic.add_measurements(run, latencies(factor=1 + row["repetition"]))
    data = picture("latency", folder).data
    assert list(dict.fromkeys(data["curve"])) == ["progress engine", "migration thread"]
    assert (data["runs"] == 3).all()
    assert data["median"].tolist()[:3] == pytest.approx([2 * value for *_, value in latencies()])


def test_a_metric_has_a_panel(tmp_path):
    folder = synthetic.write_run(tmp_path / "run")
    synthetic.add_jobs(folder, [synthetic.job("a", workload="osu_latency"), synthetic.job("b", workload="osu_bw")])
    synthetic.add_measurements(folder, [*latencies("a"), ("b", "bandwidth", 1024, 5e9)])
    figure = picture("latency", folder).figure
    assert [axes.get_ylabel().split(",")[0] for axes in figure.axes] == [
        "median latency (µs)", "median bandwidth (MB/s)", ""
    ]


def test_without_benchmarks_latency_says_what_it_needs(run, command):
    command("plot", run, "--kind", "latency")
    assert command.status == 2
    assert command.errors == (
        f"{run}: has no sizes in measurements.csv; latency needs a job whose workload is "
        "osu_latency, osu_bw, osu_bcast or osu_allreduce\n"
    )


# overlap

def test_what_is_hidden_stands_over_the_share_of_computation(shares):
    drawn = picture("overlap", shares)
    data = drawn.data[drawn.data[STRATEGY] == "migration_thread"]
    assert data[SHARE].tolist() == ["0%", "50%", "90%"]
    assert data["hidden"].tolist() == pytest.approx([-0.01, 0.49, 0.89])
    assert data["exposed_seconds"].tolist() == pytest.approx([2.02, 1.02, 0.22])
    assert (data["repetitions"] == 3).all() and (data["hidden_low"] < data["hidden"]).all()
    above, below = drawn.figure.axes
    assert below.get_ylabel() == "exposed (seconds)"
    assert "exposed / total" in above.get_ylabel()


def test_the_bound_of_the_messages_is_a_line_of_its_own(shares):
    above = picture("overlap", shares).figure.axes[0]
    assert above.lines[-1].get_ydata().tolist() == pytest.approx([0, 0.5, 0.9])
    assert "bound" in picture("overlap", shares).figure.legends[0].get_texts()[-1].get_text()


def test_overlap_of_a_run_or_of_timed_jobs_says_what_it_needs(run, transports, command):
    command("plot", run, "--kind", "overlap")
    assert command.errors.startswith(f"{run}: is a run; overlap needs a study that varies numbers")
    command("plot", transports, "--kind", "overlap")
    assert command.errors.startswith(f"{transports}/cells.csv: overlap has no values; overlap needs")
    assert command.status == 2


# application

def test_bars_are_run_times_with_the_exposed_time_on_top_and_alone_below(kernels):
    drawn = picture("application", kernels)
    assert list(zip(drawn.data["application"], drawn.data["series"])) == [
        ("nas_lu", "progress engine"), ("nas_lu", "migration thread"),
        ("nas_ep", "progress engine"), ("nas_ep", "migration thread"),
    ]
    above, below = drawn.figure.axes
    grey = [bar for bar in above.patches if to_hex(bar.get_facecolor()).upper() == UNMIGRATED_COLOUR]
    assert [bar.get_height() for bar in grey] == [20, 20, 8, 8]
    on_top = [bar for bar in above.patches if bar not in grey]
    assert [bar.get_y() for bar in on_top] == [20, 20, 8, 8]
    assert [bar.get_height() for bar in on_top] == pytest.approx([2, 2, 2, 0.1])
    assert [bar.get_height() for bar in below.patches] == [2, 2, 2, 0.1]
    colours = [to_hex(bar.get_facecolor()).upper() for bar in below.patches]
    assert colours == [STRATEGY_COLOURS[strategy] for strategy in STRATEGIES] * 2
    assert above.get_ylabel() == "run time (seconds)"


def test_the_least_that_messages_leave_exposed_is_marked_at_the_thread(kernels):
    drawn = picture("application", kernels)
    # 2.5 s on the move, of which a quarter could be hidden at best
    assert drawn.data["bound_seconds"].tolist() == pytest.approx([1.875] * 4)
    assert [line.get_ydata()[0] for line in drawn.figure.axes[1].lines] == pytest.approx([1.875] * 2)


def test_jobs_of_one_group_are_one_application(tmp_path):
    folder = synthetic.write_run(tmp_path / "run")
    jobs = [synthetic.job(f"{name}{i}", workload="iterate", exposed=2.0 + i) for name in ("big", "small") for i in range(3)]
    synthetic.add_jobs(folder, jobs)
    data = picture("application", folder).data
    assert data["application"].tolist() == ["big", "small"]
    assert data["jobs"].tolist() == [3, 3]
    assert data[["exposed_min_seconds", "exposed_seconds", "exposed_max_seconds"]].values.tolist() == [[2, 3, 4]] * 2


def test_what_else_a_study_varies_is_in_the_names(tmp_path):
    vary = {STRATEGY: STRATEGIES, "schedule.batch": ["vm", "job"], "jobs.pair.workload.scale": ["10", "12"]}
    folder = synthetic.write_study(tmp_path / "s", vary, runs=True)
    for row in open_folder(folder).cells.to_dict("records"):
        synthetic.add_jobs(folder / "cells" / row["cell"], [synthetic.job("pair", row[STRATEGY], "graph500")])
    drawn = picture("application", folder)
    assert list(dict.fromkeys(drawn.data["application"])) == ["graph500, scale 10", "graph500, scale 12"]
    assert list(dict.fromkeys(drawn.data["series"])) == [
        "progress engine, vm", "progress engine, job", "migration thread, vm", "migration thread, job"
    ]
    styles = {(bar.get_facecolor(), bar.get_hatch()) for bar in drawn.figure.axes[1].patches}
    assert len(styles) == 4
    assert_no_overlap(drawn.figure)


def test_folders_without_a_bound_are_drawn_without_it(kernels):
    for cell in (kernels / "cells").iterdir():
        jobs = open_folder(cell).jobs.to_dict("records")
        synthetic.add_jobs(cell, jobs, synthetic.JOB_COLUMNS[:-2])
    assert picture("application", kernels).data["bound_seconds"].isna().all()


def test_without_jobs_application_says_what_it_needs(run, command):
    command("plot", run, "--kind", "application")
    assert command.status == 2
    assert command.errors.startswith(f"{run}: has no run time without migrations; application needs jobs")


def test_too_many_applications_are_refused(tmp_path):
    folder = synthetic.write_run(tmp_path / "run")
    names = "abcdefghijklmnopqrstuvwxyz"
    synthetic.add_jobs(folder, [synthetic.job(name, workload="iterate") for name in names])
    with pytest.raises(InputError, match="has 26 applications; application draws at most 24"):
        picture("application", folder)


# all three

def test_a_run_is_drawn_with_what_its_jobs_have(benchmark):
    assert plot.default_kinds(open_folder(benchmark)) == ["breakdown", "timeline", "latency", "application"]


def test_a_study_is_drawn_with_what_it_has(kernels, shares):
    assert plot.default_kinds(open_folder(kernels)) == ["breakdown", "application"]
    assert plot.default_kinds(open_folder(shares)) == ["breakdown", "overlap"]


@pytest.mark.parametrize("kind, fixture", [("latency", "benchmark"), ("overlap", "shares"), ("application", "kernels")])
def test_the_csv_has_what_is_drawn_and_texts_do_not_overlap(kind, fixture, request, tmp_path, command):
    folder = request.getfixturevalue(fixture)
    out = tmp_path / "out"
    command("plot", folder, "--kind", kind, "--data", "--out", out)
    assert command.output.split() == [str(out / f"{kind}.{end}") for end in ("png", "svg", "csv")]
    drawn = picture(kind, folder)
    assert (out / f"{kind}.csv").read_text().splitlines()[0].split(",") == list(drawn.data)
    assert_no_overlap(drawn.figure)


@pytest.mark.parametrize("fixture, words", [
    ("benchmark", ["measurements by message size", "what migrations cost jobs"]),
    ("kernels", ["what migrations cost jobs"]), ("shares", ["how much of a migration is hidden"]),
])
def test_the_page_has_the_pictures_that_fit(fixture, words, request, tmp_path, command):
    folder = request.getfixturevalue(fixture)
    command("plot", folder, "--kind", "report", "--out", tmp_path / "out")
    assert command.status == 0
    text = (tmp_path / "out/report.html").read_text()
    for word in words:
        assert f'aria-label="{word}"' in text
    assert "not drawn" not in text


def test_long_names_of_applications_keep_a_distance(tmp_path):
    folder = synthetic.write_run(tmp_path / "run")
    names = [f"an_application_with_a_long_name_{letter}" for letter in "abcdefghi"]
    synthetic.add_jobs(folder, [synthetic.job(name) for name in names])
    figure = picture("application", folder).figure
    figure.canvas.draw()
    boxes = [label.get_window_extent() for label in figure.axes[1].get_xticklabels()]
    gaps = [right.x0 - left.x1 for left, right in zip(boxes, boxes[1:])]
    assert min(gaps) > 0.2 * figure.dpi  # inches: wider than a space between two words
