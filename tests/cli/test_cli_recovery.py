"""ferry status, cancel and resume, on rehearsals in real time."""

import json
import resource
import signal
import subprocess
import time

import pytest

from journals import kill_at_record, records, wait_for_record

SLOW = ["--on", "threads", "--out", "out", "--set", "schedule.order=sequential",
        "--set", "migrations.leave.at=0s", "--set", "platform.hypervisor.attach_vf.fixed=1s"]


def start(ferry, *more):
    """vm0 is about to move when this returns; vm1, vm2 and vm3 follow."""
    process = ferry.start("run", "four.yaml", *SLOW, *more)
    assert wait_for_record(process, ferry.folder / "out" / "journal", 4)
    return process


def status(ferry):
    result = ferry("status", "out", "--json")
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


def test_status_shows_a_run_at_work_with_its_process(ferry):
    process = start(ferry)
    try:
        shown = status(ferry)
        text = ferry("status", "out").stdout
    finally:
        process.kill()
        process.wait()
    assert shown["at_work"] is True
    assert shown["controller_pid"] == process.pid
    assert shown["moves"][0]["stage"] == "under_way"
    assert [move["stage"] for move in shown["moves"][1:]] == ["waiting"] * 3
    assert f"controller 1 (process {process.pid}) is at work" in text
    assert "4 migrations, 1 under way, 3 waiting" in text


def test_status_shows_what_a_crash_left(ferry):
    process = ferry.start("run", "four.yaml", *SLOW)
    journal = ferry.folder / "out" / "journal"
    assert kill_at_record(process, journal, 4)
    shown = status(ferry)
    assert shown["at_work"] is False
    assert shown["unfinished"] is True
    assert shown["moves"][0]["stage"] == "left"
    assert "controller 1 went down" in ferry("status", "out").stdout
    with journal.open("a") as file:  # what a crash in the middle of a write leaves
        file.write("99 12")
    assert status(ferry)["moves"] == shown["moves"]


def test_status_of_a_finished_run_shows_the_outcomes(ferry):
    assert ferry("run", "four.yaml", "--on", "threads", "--speed", "10", "--out", "out").returncode == 0
    shown = status(ferry)
    assert [move["outcome"] for move in shown["moves"]] == ["completed"] * 4
    assert shown["unfinished"] is False
    text = ferry("status", "out").stdout
    assert "controller 1 ended at" in text
    assert "4 migrations, 4 completed" in text


def test_status_of_a_simulated_run_works_as_well(ferry, simulation):
    assert ferry("run", "four.yaml", "--out", "out").returncode == 0
    assert [move["outcome"] for move in status(ferry)["moves"]] == ["completed"] * 4


def test_a_run_folder_has_its_own_name_whatever_it_is_called(ferry):
    assert ferry("run", "four.yaml", "--on", "threads", "--speed", "10", "--out", "out").returncode == 0
    (ferry.folder / "out" / "deeper").mkdir()
    for name in ("out/.", "out/deeper/.."):
        assert ferry("status", name).stdout.startswith(f"{ferry.folder / 'out'}: ")


def test_status_refuses_what_is_no_run_folder(ferry):
    result = ferry("status", "nowhere")
    assert result.returncode == 2
    assert result.stderr == ("ferry: nowhere: no such folder; a run folder, as ferry run makes it, "
                             "would be right\n")
    (ferry.folder / "empty").mkdir()
    result = ferry("status", "empty")
    assert result.returncode == 2
    assert result.stderr == "ferry: empty: is no run folder: it has no run.json\n"


@pytest.mark.parametrize("command", ["status", "resume", "cancel"])
def test_a_study_is_no_run(ferry, simulation, command):
    (ferry.folder / "out").mkdir()
    (ferry.folder / "out" / "run.json").write_text('{"kind": "study"}')
    result = ferry(command, "out")
    assert result.returncode == 2
    assert result.stderr == "ferry: out: is the folder of a study; one in its cells/ would be right\n"
    result = ferry(command, "nowhere")
    assert result.returncode == 2
    assert result.stderr.startswith("ferry: nowhere: no such folder; ")


def test_a_damaged_journal_is_refused_with_its_line(ferry):
    assert ferry("run", "four.yaml", "--on", "threads", "--speed", "10", "--out", "out").returncode == 0
    journal = ferry.folder / "out" / "journal"
    lines = journal.read_text().splitlines(keepends=True)
    lines[2] = lines[2].replace("0", "1", 1)
    journal.write_text("".join(lines))
    result = ferry("status", "out")
    assert result.returncode == 2
    assert result.stderr == ("ferry: out/journal: line 3: record 3 is damaged or missing, but later "
                             "ones are there\n")


def test_a_full_disk_ends_a_run_with_the_reason_and_leaves_a_readable_journal(ferry):
    journal = ferry.folder / "out" / "journal"
    # With the signal of files that are too large ignored, as Python has it: their writers get an error.
    process = subprocess.Popen([ferry.program, "run", "four.yaml", *SLOW], cwd=ferry.folder, text=True,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, restore_signals=False)
    assert wait_for_record(process, journal, 4)
    full = journal.stat().st_size + 30
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (full, full))
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 3
    assert f"ferry: stopped: {journal}: the journal cannot be written: File too large" in errors
    shown = status(ferry)
    assert shown["at_work"] is False
    assert shown["moves"][0]["stage"] == "left"


def test_cancel_stops_the_run_and_waits_for_its_end(ferry):
    process = start(ferry, "--set", "platform.hypervisor.detach_vf=5s")  # long before memory moves
    result = ferry("cancel", "out")
    assert result.returncode == 0, result.stderr
    assert process.poll() is not None or process.wait(5) is not None
    assert process.returncode == 130
    assert "ended at" in result.stdout and "interrupted" in result.stdout
    assert "waiting" in result.stdout
    shown = status(ferry)
    assert shown["moves"][0]["outcome"] == "cancelled"
    assert shown["moves"][3]["stage"] == "waiting"


def test_cancel_after_current_lets_moves_finish(ferry):
    process = start(ferry)
    result = ferry("cancel", "out", "--after-current")
    assert result.returncode == 0, result.stderr
    process.communicate()
    assert process.returncode == 130
    assert status(ferry)["moves"][0]["outcome"] == "completed"
    assert status(ferry)["moves"][1]["stage"] == "waiting"


def test_cancel_has_nothing_to_do_where_nobody_is_at_work(ferry):
    assert ferry("run", "four.yaml", "--on", "threads", "--speed", "10", "--out", "out").returncode == 0
    result = ferry("cancel", "out")
    assert result.returncode == 2
    assert result.stderr == "ferry: out: no controller is at work on it\n"


def test_interrupting_cancel_leaves_the_run_alone(ferry):
    process = start(ferry)
    cancelling = ferry.start("cancel", "out", "--after-current")
    time.sleep(0.3)
    cancelling.send_signal(signal.SIGINT)
    _, errors = cancelling.communicate(timeout=30)
    process.communicate(timeout=60)
    if cancelling.returncode != 0:  # else the run had ended before
        assert cancelling.returncode == 130
        assert "no longer waiting" in errors
    assert status(ferry)["moves"][0]["outcome"] == "completed"


def test_resume_is_refused_while_the_controller_lives(ferry):
    process = start(ferry)
    try:
        result = ferry("resume", "out")
    finally:
        process.kill()
        process.wait()
    assert result.returncode == 2
    assert result.stderr == (f"ferry: out: a controller (process {process.pid}) is at work on it; ferry status "
                             "out shows where it stands, ferry cancel out stops it\n")


def test_resume_says_that_a_rehearsal_s_world_ended_with_its_process(ferry):
    process = ferry.start("run", "four.yaml", *SLOW)
    assert kill_at_record(process, ferry.folder / "out" / "journal", 6)
    result = ferry("resume", "out")
    assert result.returncode == 3
    assert result.stderr == ("ferry: out: its world was a rehearsal on threads and ended with the process that "
                             "ran it, so there is nothing to resume; ferry run would be right\n")


def test_resume_of_a_simulated_run_says_the_same(ferry, simulation):
    assert ferry("run", "four.yaml", "--out", "out").returncode == 0
    result = ferry("resume", "out")
    assert result.returncode == 3
    assert "its world was simulated" in result.stderr


def test_the_journal_tells_every_step_before_it_is_taken(ferry):
    assert ferry("run", "four.yaml", "--on", "threads", "--speed", "10", "--out", "out").returncode == 0
    texts = records(ferry.folder / "out" / "journal")
    assert texts[0].startswith("controller 1 ")
    assert texts[-1].startswith("controller ends ")
    assert sum(text.startswith("migration ") for text in texts) == 4


def with_controller_down(ferry, record, away):
    scenario = ferry.read_yaml("four.yaml")
    scenario["faults"] = [{"journal": record, "controller_down": away}]
    ferry.write_yaml("down.yaml", scenario)


def test_in_a_simulation_the_controller_goes_down_where_the_scenario_says(ferry, simulation):
    with_controller_down(ferry, 20, "5s")
    result = ferry("run", "down.yaml", "--out", "out")
    texts = records(ferry.folder / "out" / "journal")
    begins = [number for number, text in enumerate(texts, 1) if text.startswith("controller ")]
    assert begins == [1, 20, len(texts)], result.stderr
    crash, back = (int(texts[number - 1].split()[2]) for number in (19, 20))
    assert back - crash >= 0
    shown = status(ferry)
    assert shown["controllers"] == 2
    assert {move["stage"] for move in shown["moves"]} == {"ended"}
    again = ferry("run", "down.yaml", "--out", "again")
    assert again.returncode == result.returncode
    for name in ("migrations.csv", "spans.csv", "rounds.csv", "ranks.csv", "journal"):
        assert (ferry.folder / "out" / name).read_bytes() == (ferry.folder / "again" / name).read_bytes()


def test_in_a_rehearsal_as_well(ferry):
    with_controller_down(ferry, 20, "2s")
    result = ferry("run", "down.yaml", "--on", "threads", "--speed", "10", "--out", "out")
    assert result.returncode in (0, 1), result.stderr
    assert status(ferry)["controllers"] == 2
    assert {move["stage"] for move in status(ferry)["moves"]} == {"ended"}
