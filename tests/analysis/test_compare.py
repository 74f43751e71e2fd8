import json
import signal
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

import synthetic
from ferry_analysis.compare import compare
from ferry_analysis.plot import compare as compare_plot
from test_plot import assert_no_overlap


def moved(seconds: float = 0.0, vms: int = 2) -> list[dict[str, object]]:
    """Moves whose migration phase takes so many seconds more than usual."""
    moves = [synthetic.move(f"vm{index}") for index in range(vms)]
    for row in moves:
        row["migration_seconds"] += seconds
        row["total_seconds"] += seconds
    return moves


def test_a_run_agrees_with_itself(run, command):
    command("compare", run, "--with", run)
    assert command.status == 0
    assert command.errors == ""
    assert command.output == f"""\
A: {run} (simulated)
B: {run} (simulated)

two-vms
                      A median              A spread  n  B median              B spread  n  B against A
  makespan             2.155 s    2.155 s .. 2.155 s  1   2.155 s    2.155 s .. 2.155 s  1        0.0 %  within
  total                2.155 s    2.155 s .. 2.155 s  2   2.155 s    2.155 s .. 2.155 s  2        0.0 %  within
  downtime            60.00 ms  60.00 ms .. 60.00 ms  2  60.00 ms  60.00 ms .. 60.00 ms  2        0.0 %  within
  outage               2.135 s    2.135 s .. 2.135 s  2   2.135 s    2.135 s .. 2.135 s  2        0.0 %  within
  set_pre_migration   18.00 ms  18.00 ms .. 18.00 ms  2  18.00 ms  18.00 ms .. 18.00 ms  2        0.0 %  within
  detach_vf           210.0 ms  210.0 ms .. 210.0 ms  2  210.0 ms  210.0 ms .. 210.0 ms  2        0.0 %  within
  remove_ivshmem      30.00 ms  30.00 ms .. 30.00 ms  2  30.00 ms  30.00 ms .. 30.00 ms  2        0.0 %  within
  migration            1.620 s    1.620 s .. 1.620 s  2   1.620 s    1.620 s .. 1.620 s  2        0.0 %  within
  attach_vf           240.0 ms  240.0 ms .. 240.0 ms  2  240.0 ms  240.0 ms .. 240.0 ms  2        0.0 %  within
  add_ivshmem         35.00 ms  35.00 ms .. 35.00 ms  2  35.00 ms  35.00 ms .. 35.00 ms  2        0.0 %  within
  set_post_migration  2.000 ms  2.000 ms .. 2.000 ms  2  2.000 ms  2.000 ms .. 2.000 ms  2        0.0 %  within
  unplug              240.0 ms  240.0 ms .. 240.0 ms  2  240.0 ms  240.0 ms .. 240.0 ms  2        0.0 %  within
  plug                275.0 ms  275.0 ms .. 275.0 ms  2  275.0 ms  275.0 ms .. 275.0 ms  2        0.0 %  within

n: moves, of makespan runs; spread: least .. greatest
unplug: detach_vf + remove_ivshmem
plug: attach_vf + add_ivshmem
the total that differs most: vm0, 0.0 %
13 of 13 medians are within 5 %
"""
    assert not (run / "plots").exists()


def test_of_many_runs_the_first_are_named(run, tmp_path, command):
    runs = [synthetic.write_run(tmp_path / f"run-{i}", moved()) for i in range(6)]
    command("compare", *runs[:5], "--with", *runs)
    first, second = command.output.splitlines()[:2]
    assert first == f"A: {' '.join(map(str, runs[:5]))} (simulated)"
    assert second == f"B: {' '.join(map(str, runs[:4]))} and 2 more (simulated)"


def test_a_reader_that_has_gone_ends_it_without_a_traceback(run):
    process = subprocess.Popen(
        [sys.executable, "-m", "ferry_analysis", "compare", run, "--with", run],
        cwd=Path(__file__).resolve().parents[2] / "analysis", stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    process.stdout.close()
    errors = process.stderr.read()
    assert (process.wait(), errors) == (-signal.SIGPIPE, b"")


def test_a_difference_beyond_the_tolerance_is_found(run, tmp_path, command):
    slower = synthetic.write_run(tmp_path / "slower", moved(0.162), world="hw")
    command("compare", run, "--with", slower)
    assert command.status == 1
    assert command.output.splitlines()[-1] == (
        "10 of 13 medians are within 5 %; beyond: makespan, total, migration"
    )
    line = next(line for line in command.output.splitlines() if line.startswith("  migration"))
    assert line.endswith("+10.0 %  beyond")
    assert f"B: {slower} (measured on node01)" in command.output


def test_a_wider_tolerance_accepts_it(run, tmp_path, command):
    slower = synthetic.write_run(tmp_path / "slower", moved(0.162))
    assert command("compare", run, "--with", slower, "--tolerance", "10%").status == 0


@pytest.mark.parametrize("text", ["5", "five", "-1%", "5s"])
def test_a_tolerance_is_a_percentage(run, command, text):
    command("compare", run, "--with", run, f"--tolerance={text}")
    assert command.status == 2
    assert command.errors == (
        f"--tolerance {text}: is not a percentage that is zero or more; 5% would be right\n"
    )


def test_unequal_scenarios_are_refused_leaf_by_leaf(run, tmp_path, command):
    resolved = synthetic.scenario(transport="rdma", count=4) | {"faults": [{"at": "3s"}]}
    other = synthetic.write_run(tmp_path / "other", resolved=resolved)
    command("compare", run, "--with", other)
    assert command.status == 2
    assert command.output == ""
    assert command.errors == (
        f"{run}: no run of B has the same scenario; the nearest is {other}, "
        "which differs in (path: A | B):\n"
        "  migrations.leave.transport: tcp | rdma\n"
        "  vms.vm.count: 2 | 4\n"
        "  faults[0].at: (not there) | 3s\n"
    )


def test_platform_name_description_seed_and_outputs_may_differ(run, tmp_path, command):
    resolved = synthetic.scenario() | {
        "name": "other", "description": "x", "seed": 2, "outputs": {"trace": True},
        "platform": {"hypervisor": {"prepare": "9s"}},
    }
    other = synthetic.write_run(tmp_path / "other", resolved=resolved)
    assert command("compare", run, "--with", other).status == 0


def test_what_may_differ_is_listed(run, tmp_path, command):
    resolved = synthetic.scenario() | {"platform": {"hypervisor": {"prepare": "9s"}, "name": "lab"}}
    other = synthetic.write_run(tmp_path / "other", resolved=resolved, world="hw")
    info = json.loads((other / "run.json").read_text())
    (other / "run.json").write_text(json.dumps(info | {"cluster": "lab/cluster.yaml"}))
    command("compare", run, "--with", other)
    assert command.output.splitlines()[2:6] == [
        "differs, and may (path: A | B):",
        "  platform.hypervisor.prepare: 1.8s | 9s",
        "  cluster file: (not there) | lab/cluster.yaml",
        "  platform.name: (not there) | lab",
    ]


def test_a_difference_within_the_spreads_is_marked_so(tmp_path, command):
    sides = {
        side: [synthetic.write_run(tmp_path / f"{side}{index}", moved(seconds))
               for index, seconds in enumerate(times)]
        for side, times in (("a", (0.0, 0.1, 0.9)), ("b", (0.0, 0.5, 0.9)))
    }
    command("compare", *sides["a"], "--with", *sides["b"])
    assert command.status == 1
    line = next(line for line in command.output.splitlines() if line.startswith("  migration"))
    assert line.endswith("beyond, spreads meet")


def test_the_two_devices_are_compared_together_as_well(tmp_path, command):
    def swapped(first, second):
        moves = moved()
        for row in moves:
            row["detach_vf_seconds"], row["remove_ivshmem_seconds"] = first, second
        return moves

    a = synthetic.write_run(tmp_path / "a", swapped(0.24, 0.0))
    b = synthetic.write_run(tmp_path / "b", swapped(0.01, 0.23))
    command("compare", a, "--with", b)
    lines = {line.split()[0]: line for line in command.output.splitlines() if line.startswith("  ")}
    assert lines["detach_vf"].endswith("beyond")
    assert lines["unplug"].endswith("0.0 %  within")


def test_moves_are_matched_by_vm_whatever_their_order(tmp_path, command):
    a = synthetic.write_run(tmp_path / "a", [*moved(0.0, 1), synthetic.move("vm1")])
    b = synthetic.write_run(tmp_path / "b", [synthetic.move("vm1"), *moved(1.0, 1)])
    command("compare", a, "--with", b)
    assert "the total that differs most: vm0, +46.4 %" in command.output.splitlines()


def test_a_move_on_one_side_only_is_named(run, tmp_path, command):
    other = synthetic.write_run(tmp_path / "other", moved(vms=1))
    command("compare", run, "--with", other)
    assert command.status == 1
    assert "  vm1 (leave): only in A" in command.output.splitlines()
    assert command.output.splitlines()[-1] == "the moves of A and B did not end alike"


def test_a_move_that_failed_on_one_side_is_named(run, tmp_path, command):
    moves = moved()
    moves[1]["outcome"] = "rolled_back"
    other = synthetic.write_run(tmp_path / "other", moves)
    command("compare", run, "--with", other)
    assert command.status == 1
    assert "  vm1 (leave): succeeded in A, rolled_back in B" in command.output.splitlines()


def test_several_runs_of_a_side_are_pooled(run, tmp_path, command):
    again = synthetic.write_run(tmp_path / "again", moved(0.01))
    command("compare", run, again, "--with", run)
    total = next(line for line in command.output.splitlines() if line.startswith("  total"))
    assert total.split()[1:9] == ["2.160", "s", "2.155", "s", "..", "2.165", "s", "4"]


def test_the_cells_of_two_studies_are_matched_by_scenario(transports, command):
    command("compare", transports, "--with", transports)
    assert command.status == 0
    assert [line for line in command.output.splitlines() if line.startswith("transport ")] == [
        "transport tcp", "transport ipoib", "transport rdma"
    ]
    assert command.output.splitlines()[-1] == "39 of 39 medians are within 5 %"


def test_a_study_and_a_run_of_one_of_its_cells_are_not_the_same(transports, run, command):
    command("compare", transports, "--with", run)
    assert command.status == 2
    assert command.errors == (
        f"{transports}/cells/001-0: no run of B has the same scenario; the nearest is {run}, "
        "which differs in (path: A | B):\n"
        "  migrations.leave.transport: ipoib | tcp\n"
    )


def test_a_value_on_one_side_only_is_beyond_tolerance(run, tmp_path, command):
    moves = moved()
    for row in moves:
        row["downtime_seconds"] = ""
    other = synthetic.write_run(tmp_path / "other", moves)
    command("compare", run, "--with", other)
    assert command.status == 1
    downtime = next(line for line in command.output.splitlines() if "  downtime" in line)
    assert downtime.endswith("only in A")


def test_runs_without_moves_are_refused(tmp_path, command):
    still = synthetic.write_run(tmp_path / "still", [])
    command("compare", still, "--with", still)
    assert command.status == 2
    assert command.errors == (
        f"{still}: neither A nor B has a move; compare needs runs that migrate\n"
    )


def test_the_comparison_is_drawn_when_asked(run, tmp_path, command):
    slower = synthetic.write_run(tmp_path / "slower", moved(0.162))
    command("compare", run, "--with", slower, "--plot", "--data")
    assert command.status == 1
    files = [f"{run}/plots/compare.{extension}" for extension in ("png", "svg", "csv")]
    assert command.output.splitlines()[-3:] == files
    data = pd.read_csv(files[-1]).set_index("quantity")
    assert data.loc["migration", "difference_percent"] == pytest.approx(10.0)
    assert data["within"].tolist().count("no") == 3


def test_a_phase_that_takes_no_time_is_drawn_at_the_left_edge(tmp_path):
    moves = [synthetic.move("vm0", device=False)]
    run = synthetic.write_run(tmp_path / "run", moves)
    drawn = compare_plot.picture(compare([run], [run], 0.05).differences, "a", ("A", "B"), 0.05)
    panel = drawn.figure.axes[1]
    assert [text.get_text() for text in panel.texts].count("0") == 4
    assert_no_overlap(drawn.figure)


def test_no_texts_of_a_comparison_overlap(run, transports, tmp_path):
    other = synthetic.write_run(tmp_path / "other", moved(0.5))
    for a, b in ((run, other), (transports, transports)):
        differences = compare([a], [b], 0.05).differences
        drawn = compare_plot.picture(differences, "a-name", ("A" * 40, "B" * 40), 0.05)
        assert_no_overlap(drawn.figure)


def with_ranks(folder, answer, blocked, elapsed):
    """A run whose two ranks answered, and were blocked, for so long; and their job's length."""
    synthetic.write_run(folder)
    synthetic.add_jobs(folder, [synthetic.job("pair", unmigrated=elapsed, exposed=0.0)])
    columns = ("job", "rank", "requested", "drained", "ready", "blocked_from", "blocked_to")
    rows = [("pair", rank, 1.0, 1.0 + answer / 2, 1.0 + answer, 1.0, 1.0 + blocked)
            for rank in range(2)]
    synthetic.write_csv(folder / "ranks.csv", columns, [dict(zip(columns, row)) for row in rows])
    return folder


def test_what_ranks_and_jobs_took_is_compared_too(tmp_path, command):
    a = with_ranks(tmp_path / "a", 0.1, 2.0, 10.0)
    b = with_ranks(tmp_path / "b", 0.1, 2.5, 10.0)
    command("compare", a, "--with", b)
    assert command.status == 1
    lines = {line.split()[0]: line.split() for line in command.output.splitlines() if line}
    assert lines["job_elapsed"][-3:] == ["0.0", "%", "within"]
    assert lines["rank_answer"][1:3] == ["100.0", "ms"] and lines["rank_answer"][-1] == "within"
    assert lines["rank_blocked"][-3:] == ["+25.0", "%", "beyond"]
    assert command.output.splitlines()[-1] == "15 of 16 medians are within 5 %; beyond: rank_blocked"
    assert "rank_blocked: a rank, while it could not go on because of a move" in command.output


def test_both_sides_of_a_row_have_the_same_kind_of_spread(tmp_path, command):
    lengths = [0.0, 0.1, 0.2, 0.3, 0.4, 0.5]

    def written(name, more=0.0):
        moves = [moved(seconds + more, vms=index + 1)[index] for index, seconds in enumerate(lengths)]
        return synthetic.write_run(tmp_path / name, moves)

    a, b = [written("a0"), written("a1", 0.01)], written("b")
    rows = compare(a, [b], 0.05).differences.set_index("quantity")
    assert rows.loc["total", "spread"] == "range"  # twelve moves have quartiles, six have not
    assert rows.loc["total", "a_n"] == 12
    assert rows.loc["total", "a_low_seconds"] == pytest.approx(2.155)
    assert rows.loc["total", "a_high_seconds"] == pytest.approx(2.665)
    both = compare(a, a, 0.05).differences.set_index("quantity")
    assert both.loc["total", "spread"] == "quartiles"
    assert both.loc["makespan", "spread"] == "range"
    assert both.loc["total", "a_high_seconds"] == both.loc["total", "b_high_seconds"] < 2.665
    command("compare", *a, "--with", b)
    assert "n: moves, of makespan runs; spread: least .. greatest" in command.output.splitlines()
    command("compare", *a, "--with", *a, "--plot", "--data", "--format", "svg")
    assert (
        "n: moves, of makespan runs; spread: the quartiles where both n are 9 or more, else least .. greatest"
        in command.output.splitlines()
    )
    drawn = compare_plot.picture(both.reset_index(), "a", ("A", "B"), 0.05)
    subtitle = " ".join(text.get_text().replace("\n", " ") for text in drawn.figure.texts)
    assert "lines: the quartiles where both sides have 9 values or more, else least to greatest" in subtitle
