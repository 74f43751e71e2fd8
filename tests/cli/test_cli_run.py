"""`ferry run`: the run folder, repeatability, failures and Ctrl-C."""

import csv
import json
import signal
import time
from decimal import Decimal

import pytest

PHASES = ["set_pre_migration", "detach_vf", "remove_ivshmem", "migration", "attach_vf",
          "add_ivshmem", "set_post_migration"]
COLUMNS = {
    "spans.csv": ["vm", "phase", "host", "start_seconds", "end_seconds", "outcome"],
    "rounds.csv": ["vm", "round", "bytes", "seconds", "dirty_bytes"],
    "migrations.csv": ["migration", "vm", "from", "to", "job", "strategy", "transport", "device",
                       "total_seconds", "downtime_seconds", "outage_seconds", "bytes", "rounds",
                       "outcome", "reason"] + [f"{phase}_seconds" for phase in PHASES] + ["lost_traffic_seconds"],
    "jobs.csv": ["job", "strategy", "workload", "elapsed_seconds", "unmigrated_seconds",
                 "exposed_seconds", "overlap", "messages", "bytes", "reason", "slice_seconds",
                 "overlap_bound"],
    "ranks.csv": ["job", "rank", "requested", "drained", "ready", "blocked_from", "blocked_to"],
    "measurements.csv": ["job", "metric", "message_bytes", "repetition", "value", "unit"],
    "summary.csv": ["metric", "value", "unit", "reason"],
    "links.csv": ["network", "link", "bandwidth_bytes_per_second", "bytes", "mean_utilisation",
                  "peak_utilisation", "full_seconds"],
    "link_usage.csv": ["network", "link", "start_seconds", "end_seconds", "utilisation"],
}
LINKS = {"links.csv", "link_usage.csv"}  # of simulations
OTHERS = {"trace.json", "run.json", "resolved.yaml", "journal"}


def rows(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def tables(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*.csv"))}


@pytest.fixture
def run_folder(ferry, simulation):
    result = ferry("run", "four.yaml", "--out", "out", "--quiet")
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    return ferry.folder / "out"


def test_a_run_writes_its_folder_with_the_documented_columns(run_folder):
    assert {path.name for path in run_folder.iterdir()} == set(COLUMNS) | OTHERS
    for name, columns in COLUMNS.items():
        assert (run_folder / name).read_text().splitlines()[0].split(",") == columns, name


def test_links_carried_what_the_moves_sent(run_folder):
    sent = sum(int(move["bytes"]) for move in rows(run_folder / "migrations.csv"))
    links = {link["link"]: link for link in rows(run_folder / "links.csv")}
    assert set(links) == {"host0 out", "host1 in"}  # a star: out of the source, into the destination
    for link in links.values():
        assert link["network"] == "infiniband" and int(link["bytes"]) == sent
    carried = 0.0
    for row in rows(run_folder / "link_usage.csv"):
        assert 0 < float(row["utilisation"]) <= 1
        if row["link"] == "host0 out":
            seconds = float(row["end_seconds"]) - float(row["start_seconds"])
            carried += seconds * float(row["utilisation"])
    bandwidth = float(links["host0 out"]["bandwidth_bytes_per_second"])
    assert carried * bandwidth == pytest.approx(sent, rel=1e-3)  # shares have four decimals


def test_links_are_left_out_where_the_scenario_says_so_and_where_the_world_does_not_know(ferry, simulation):
    quiet = ["--quiet", "--set", "outputs.links=false"]
    assert ferry("run", "four.yaml", "--out", "without", *quiet).returncode == 0
    assert ferry("run", "four.yaml", "--out", "with", "--quiet").returncode == 0
    threads = ["--on", "threads", "--speed", "100"]
    assert ferry("run", "four.yaml", "--out", "threads", "--quiet", *threads).returncode == 0
    assert set(tables(ferry.folder / "with")) - set(tables(ferry.folder / "without")) == LINKS
    assert not LINKS & set(tables(ferry.folder / "threads"))
    # Meters change nothing else.
    without = tables(ferry.folder / "without")
    assert {name: text for name, text in tables(ferry.folder / "with").items() if name in without} == without


def test_the_phases_add_up_to_the_total(run_folder):
    moves = rows(run_folder / "migrations.csv")
    assert len(moves) == 4
    for move in moves:
        assert move["outcome"] == "completed" and move["reason"] == ""
        parts = [Decimal(move[f"{phase}_seconds"]) for phase in PHASES]
        assert sum(parts) == Decimal(move["total_seconds"])
        assert all(part >= 0 for part in parts)
        # Both devices go and come together, so the shorter operation counts to the longer one.
        assert [phase for phase, part in zip(PHASES, parts) if part == 0] == [
            "remove_ivshmem", "add_ivshmem"
        ]


def test_spans_lie_within_their_moves(run_folder):
    spans = rows(run_folder / "spans.csv")
    assert len(spans) == 4 * 7
    for span in spans:
        assert Decimal(span["start_seconds"]) <= Decimal(span["end_seconds"])
    starts = [Decimal(span["start_seconds"]) for span in spans]
    assert starts == sorted(starts)


def test_rounds_add_up_to_what_was_sent(run_folder):
    for move in rows(run_folder / "migrations.csv"):
        sent = [int(r["bytes"]) for r in rows(run_folder / "rounds.csv") if r["vm"] == move["vm"]]
        assert sum(sent) == int(move["bytes"])
        assert len(sent) == int(move["rounds"])


def test_the_summary_agrees_with_the_moves(run_folder):
    moves = rows(run_folder / "migrations.csv")
    summary = {row["metric"]: row["value"] for row in rows(run_folder / "summary.csv")}
    totals = [Decimal(move["total_seconds"]) for move in moves]
    assert abs(Decimal(summary["total_seconds"]) - sum(totals) / 4) <= Decimal("1e-9")
    assert Decimal(summary["total_max_seconds"]) == max(totals)
    assert int(summary["bytes"]) == sum(int(move["bytes"]) for move in moves)
    assert summary["migrations"] == "4" and summary["failed"] == "0"


def test_no_csv_holds_a_nan(run_folder):
    for path in run_folder.glob("*.csv"):
        fields = {field.lower() for line in csv.reader(path.open(newline="")) for field in line}
        assert not fields & {"nan", "-nan", "inf", "-inf"}, path.name


def test_run_json_says_what_was_run(run_folder):
    info = json.loads((run_folder / "run.json").read_text())
    assert info["kind"] == "run" and info["name"] == "four-vms" and info["world"] == "sim"
    assert info["seed"] == 7
    assert info["command"][1:] == ["run", "four.yaml", "--out", "out", "--quiet"]
    assert 0 < info["simulate_seconds"] <= info["wall_seconds"]
    assert info["peak_memory_bytes"] > 1e6
    assert info["interrupted"] is False
    assert set(info["versions"]) == {"ferry", "compiler", "simgrid"}


def test_the_trace_has_an_event_for_each_span(run_folder):
    events = json.loads((run_folder / "trace.json").read_text())["traceEvents"]
    assert len([event for event in events if event["ph"] == "X"]) == 4 * 7


def test_the_journal_has_numbered_records(run_folder):
    records = (run_folder / "journal").read_text().splitlines()
    assert [record.split()[0] for record in records] == [str(i + 1) for i in range(len(records))]
    assert records


def test_the_resolved_scenario_gives_the_same_run(ferry, run_folder):
    assert ferry.read_yaml("out/resolved.yaml")["name"] == "four-vms"
    result = ferry("run", "out/resolved.yaml", "--out", "again", "--quiet")
    assert result.returncode == 0, result.stderr
    assert tables(ferry.folder / "again") == tables(run_folder)


def test_the_same_seed_gives_identical_tables_and_another_one_does_not(ferry, run_folder):
    assert ferry("run", "four.yaml", "--out", "again").returncode == 0
    assert tables(ferry.folder / "again") == tables(run_folder)
    assert ferry("run", "four.yaml", "--out", "other", "--seed", "8").returncode == 0
    assert tables(ferry.folder / "other") != tables(run_folder)


def test_the_order_of_independent_things_in_the_file_changes_nothing(ferry, simulation):
    scenario = ferry.read_yaml("four.yaml")
    group = scenario["vms"][0]
    del group["count"]
    scenario["vms"] = [
        {**group, "name": f"vm{i}", "memory": f"{256 * (i + 1)}MiB"} for i in range(3)
    ]
    scenario["jobs"] = [
        {**scenario["jobs"][0], "name": f"job{i}", "on": {"vms": f"vm{i}"}} for i in range(3)
    ]
    scenario["migrations"] = [
        {**scenario["migrations"][0], "name": f"leave{i}", "vms": f"vm{i}"} for i in range(3)
    ]
    ferry.write_yaml("a.yaml", scenario)
    for key in ("vms", "jobs", "migrations"):
        scenario[key].reverse()
    ferry.write_yaml("b.yaml", scenario)
    for name in "ab":
        result = ferry("run", f"{name}.yaml", "--out", name)
        assert result.returncode == 0, result.stderr
    assert tables(ferry.folder / "a") == tables(ferry.folder / "b")


def test_an_existing_folder_is_never_overwritten(ferry, run_folder):
    before = tables(run_folder)
    result = ferry("run", "four.yaml", "--out", "out")
    assert result.returncode == 2
    assert result.stderr == ("ferry: out: exists already, and nothing is ever overwritten; "
                             "name another folder with --out\n")
    assert tables(run_folder) == before
    assert ferry.names() == ["out"]


def test_folders_are_numbered_by_default(ferry, simulation):
    for number in ("001", "002"):
        result = ferry("run", "four.yaml", "--quiet")
        assert f"folder: runs/four-vms-{number}\n" in result.stdout
        assert (ferry.folder / "runs" / f"four-vms-{number}" / "run.json").exists()


def test_the_report_shows_phases_and_outcomes(ferry, simulation):
    text = ferry("run", "four.yaml").stdout
    assert text.startswith("four-vms: 4 migrations on sim, seed 7\n")
    for name in [*PHASES, "total", "downtime", "outage"]:
        line = next(line for line in text.splitlines() if line.startswith(f"{name} "))
        mean, smallest, largest = map(float, line.split()[1:])
        assert smallest <= mean <= largest
    assert "outcomes: 4 completed" in text


def test_progress_is_lines_where_there_is_no_terminal(ferry, simulation):
    lines = ferry("run", "four.yaml").stderr.splitlines()
    assert lines[-1].startswith("4/4 migrations")
    assert "\r" not in "".join(lines)


def test_a_migration_that_fails_ends_with_1_and_its_reason(ferry, simulation):
    scenario = ferry.read_yaml("four.yaml")
    scenario["faults"] = [{"phase": "detach_vf", "vm": "vm2", "fail": "always"}]
    ferry.write_yaml("faulty.yaml", scenario)
    result = ferry("run", "faulty.yaml", "--out", "out", "--quiet")
    assert result.returncode == 1
    assert "outcomes: 3 completed, 1 rolled_back\n  vm2: rolled_back: " in result.stdout
    move = next(m for m in rows(ferry.folder / "out" / "migrations.csv") if m["vm"] == "vm2")
    assert move["outcome"] == "rolled_back" and move["reason"] != ""
    assert move["from"] == move["to"] == "host0"
    summary = {r["metric"]: r["value"] for r in rows(ferry.folder / "out" / "summary.csv")}
    assert summary["failed"] == "1"


def test_a_run_without_moves_has_empty_values_with_reasons(ferry, simulation):
    result = ferry("run", "four.yaml", "--out", "out", "--set", "migrations.leave.at=never")
    assert result.returncode == 0, result.stderr
    summary = {r["metric"]: r for r in rows(ferry.folder / "out" / "summary.csv")}
    assert summary["makespan_seconds"]["value"] == ""
    assert summary["makespan_seconds"]["reason"] == "no move was started"


def test_the_threads_world_runs_the_same_scenario(ferry):
    result = ferry("run", "four.yaml", "--on", "threads", "--speed", "20", "--out", "out")
    assert result.returncode == 0, result.stderr
    folder = ferry.folder / "out"
    assert {path.name for path in folder.iterdir()} == set(COLUMNS) - LINKS | OTHERS
    moves = rows(folder / "migrations.csv")
    assert [move["outcome"] for move in moves] == ["completed"] * 4
    for move in moves:
        parts = [Decimal(move[f"{phase}_seconds"]) for phase in PHASES]
        assert sum(parts) == Decimal(move["total_seconds"])
    assert json.loads((folder / "run.json").read_text())["world"] == "threads"


def wait_for(condition, what):
    for _ in range(1000):
        if condition():
            return
        time.sleep(0.02)
    pytest.fail(f"waited in vain for {what}")


def started_on_threads(ferry):
    """A rehearsal that takes a few seconds, with a move under way."""
    process = ferry.start("run", "four.yaml", "--on", "threads", "--out", "out", "--set",
                          "schedule.order=sequential", "--set", "migrations.leave.at=100ms",
                          "--set", "platform.hypervisor.attach_vf.fixed=1s")
    journal = ferry.folder / "out" / "journal"
    wait_for(lambda: journal.exists() and b" opens " in journal.read_bytes(), "the first wave")
    return process


def test_after_the_first_interrupt_what_runs_finishes_and_nothing_starts(ferry):
    process = started_on_threads(ferry)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    outcomes = [move["outcome"] for move in rows(ferry.folder / "out" / "migrations.csv")]
    assert sorted(outcomes) == ["completed", "not_started", "not_started", "not_started"]
    assert json.loads((ferry.folder / "out" / "run.json").read_text())["interrupted"] is True


def test_after_the_second_interrupt_what_runs_is_rolled_back(ferry):
    process = started_on_threads(ferry)
    process.send_signal(signal.SIGINT)
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    moves = {move["vm"]: move for move in rows(ferry.folder / "out" / "migrations.csv")}
    assert moves["vm0"]["outcome"] == "cancelled"
    assert moves["vm0"]["from"] == moves["vm0"]["to"] == "host0"
    assert [moves[f"vm{i}"]["outcome"] for i in (1, 2, 3)] == ["not_started"] * 3


def test_a_killed_run_leaves_a_folder_that_says_so(ferry):
    process = started_on_threads(ferry)
    process.kill()
    process.communicate()
    assert ferry.names() == ["out"]
    assert {path.name for path in (ferry.folder / "out").iterdir()} == {"journal", "resolved.yaml", "run.json"}
    information = json.loads((ferry.folder / "out" / "run.json").read_text())
    assert information["unfinished"] is True
    assert information["controller_pid"] == process.pid
    result = ferry("run", "four.yaml", "--on", "threads", "--out", "out")
    assert result.returncode == 2
    assert "out: exists already" in result.stderr
    result = ferry("compare", "out", "--with", "out")
    assert result.returncode == 2
    assert "out: is not finished" in result.stderr


def test_a_simulated_run_is_interrupted_as_well(ferry, simulation):
    scenario = ferry.read_yaml("four.yaml")
    scenario["cluster"]["hosts"][0].update(count=1000, cores=32, virtual_functions=16)
    scenario["vms"][0].update(count=8000, on="host[0-499]")
    scenario["jobs"][0].update(count=8000, on={"vms": "vm", "split": "even"})
    scenario["migrations"][0]["to"] = "host[500-999]"
    ferry.write_yaml("many.yaml", scenario)
    process = ferry.start("run", "many.yaml", "--out", "out")
    assert process.stderr.readline().startswith("800/8000 migrations")
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    outcomes = [move["outcome"] for move in rows(ferry.folder / "out" / "migrations.csv")]
    assert len(outcomes) == 8000
    assert set(outcomes) == {"completed", "not_started"}
    assert 800 <= outcomes.count("completed") < 8000
