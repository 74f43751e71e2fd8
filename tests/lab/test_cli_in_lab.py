"""The program with --on hw: doctor, the first use, a run, a sweep from its start, Ctrl-C, a comparison."""

import csv
import json
import os
import pty
import signal
import subprocess
import time
from pathlib import Path

import pytest
from ferry_lab.lab import in_parallel

ROOT = Path(__file__).resolve().parents[2]
SCENARIO = ROOT / "scenarios" / "lab" / "two_vms.yaml"
# The 90 MB of a guest then take some seconds.
SLOW = ["--set", "migrations.*.memory.bandwidth_limit=40MB/s"]
LESS_SLOW = ["--set", "migrations.*.memory.bandwidth_limit=80MB/s"]


@pytest.fixture(scope="session")
def program():
    found = Path(os.environ.get("FERRY_BIN", ROOT / "build" / "both" / "controller" / "cli" / "ferry")).resolve()
    if not found.exists():
        pytest.fail(f"{found} is not there; build it, or name another one with FERRY_BIN")
    if "hw (libvirt" not in subprocess.run([found, "--version"], text=True, capture_output=True).stdout:
        pytest.skip("this build has no libvirt backend")
    return found


class Ferry:
    """The program in a folder of its own, with a state of its own: no cluster was used before."""

    def __init__(self, program, folder, cluster):
        self.program, self.folder, self.cluster = program, folder, cluster
        self.environment = {**os.environ, "XDG_STATE_HOME": str(folder / "state")}

    def arguments(self, command, *options):
        world = [] if command == "doctor" else ["--on", "hw"]
        return [self.program, command, SCENARIO, *world, "--cluster", self.cluster, *options]

    def __call__(self, command, *options):
        return subprocess.run(self.arguments(command, *options), cwd=self.folder, text=True, env=self.environment,
                              capture_output=True, stdin=subprocess.DEVNULL, timeout=300)

    def start(self, command, *options):
        return subprocess.Popen(self.arguments(command, *options), cwd=self.folder, text=True, env=self.environment,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL)

    def rows(self, file):
        with (self.folder / file).open() as stream:
            return list(csv.DictReader(stream))

    def at_home(self):
        """Whether every VM is where the scenario starts."""
        return self("doctor").returncode == 0


@pytest.fixture
def ferry(program, lab, tmp_path):
    yield Ferry(program, tmp_path, lab.cluster_file)
    in_parallel(lab.bring_home, list(lab.vms))  # for the next test, whatever became of this one


def test_doctor_finds_the_lab_ready(ferry):
    result = ferry("doctor")
    assert result.returncode == 0, result.stdout
    assert "0 failed" in result.stdout
    assert "vm0: domain" in result.stdout and "vm0 runs on host0" in result.stdout


def test_doctor_and_run_say_what_does_not_fit(ferry):
    more = ["--set", "vms.vm.memory=192MiB", "--set", "vms.vm.vcpus=2"]
    result = ferry("doctor", *more)
    assert result.returncode == 1
    assert "vm0: memory" in result.stdout and "vm1: vCPUs" in result.stdout
    result = ferry("run", "--yes", *more)
    assert result.returncode == 3
    assert "vm0: memory: " in result.stderr and "nothing was touched" in result.stderr
    assert not (ferry.folder / "runs").exists()


def test_the_first_use_is_asked_for_and_refused_where_nobody_answers(ferry):
    result = ferry("run")
    assert result.returncode == 2
    assert result.stdout == ""
    lines = result.stderr.splitlines()
    assert lines[0] == f"ferry: about to migrate 2 VMs on 2 hosts of {ferry.cluster}:"
    assert lines[1:3] == ["  vm0 (domain vm0) from host0 to host1", "  vm1 (domain vm1) from host1 to host0"]
    assert lines[3].endswith("nothing was touched; --yes would be right")
    assert not (ferry.folder / "runs").exists()
    assert ferry.at_home()


@pytest.mark.parametrize("answer", ["n", ""])
def test_a_no_on_the_terminal_touches_nothing(ferry, answer):
    terminal, inside = pty.openpty()
    process = subprocess.Popen(ferry.arguments("run"), cwd=ferry.folder, env=ferry.environment, text=True,
                               stdin=inside, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    os.close(inside)
    os.write(terminal, f"{answer}\n".encode())
    _, errors = process.communicate(timeout=60)
    os.close(terminal)
    assert process.returncode == 2
    assert "Go on? [y/N] " in errors and errors.endswith("ferry: nothing was touched\n")
    assert not (ferry.folder / "state").exists()
    assert ferry.at_home()


def test_a_yes_on_the_terminal_runs_and_is_remembered(ferry):
    terminal, inside = pty.openpty()
    process = subprocess.Popen(ferry.arguments("run", "--out", "first"), cwd=ferry.folder, env=ferry.environment,
                               text=True, stdin=inside, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    os.close(inside)
    os.write(terminal, b"y\n")
    output, errors = process.communicate(timeout=200)
    os.close(terminal)
    assert process.returncode == 0, errors
    assert "outcomes: 2 completed" in output and "the controller's own time: " in output
    assert len((ferry.folder / "state/ferry/confirmed").read_text().splitlines()) == 1

    info = json.loads((ferry.folder / "first/run.json").read_text())
    assert info["world"] == "hw" and info["cluster"] == str(ferry.cluster)
    assert info["versions"]["libvirt"] and info["versions"]["qemu"]
    assert (ferry.folder / "first/cluster.yaml").read_text().startswith("ferry_cluster: 1\n")
    for row in ferry.rows("first/controller.csv"):
        assert float(row["own_share"]) < 0.05, row

    again = ferry("run")  # nobody is asked, and the VMs are elsewhere now
    assert again.returncode == 3
    assert "vm0 runs on host1" in again.stderr and "nothing was touched" in again.stderr


def test_every_repetition_of_a_sweep_begins_where_the_scenario_starts(ferry):
    result = ferry("sweep", "--yes", "--repeat", "2", "--out", "study")
    assert result.returncode == 0, result.stderr
    for row in ferry.rows("study/cells.csv"):
        moves = ferry.rows(f"study/cells/{row['cell']}/migrations.csv")
        assert sorted((move["vm"], move["from"], move["to"]) for move in moves) == [
            ("vm0", "host0", "host1"), ("vm1", "host1", "host0")]
    assert sorted(folder.name for folder in (ferry.folder / "study/back").iterdir()) == ["001", "002"]
    assert ferry.at_home()

    simulated = subprocess.run([ferry.program, "run", SCENARIO, "--out", "simulated", "--quiet"], cwd=ferry.folder,
                               text=True, capture_output=True)
    if simulated.returncode == 3:
        return  # this build has no simulated world to compare with
    compared = subprocess.run([ferry.program, "compare", "study", "--with", "simulated", "--tolerance", "1000%",
                               "--plot"], cwd=ferry.folder, text=True, capture_output=True)
    assert compared.returncode in (0, 1), compared.stderr
    assert "A: study (measured on " in compared.stdout and "B: simulated (simulated)" in compared.stdout
    assert (ferry.folder / "study/plots/compare.png").stat().st_size > 10_000


def test_vms_that_stay_end_the_sweep_cell_by_cell(ferry):
    stay = ferry.folder / "stay.yaml"
    stay.write_text(Path(ferry.cluster).read_text().replace("restore: back", "restore: stay"))
    lasting, ferry.cluster = ferry.cluster, stay
    result = ferry("sweep", "--yes", "--repeat", "2", "--out", "study", "--no-plots")
    ferry.cluster = lasting
    assert result.returncode == 1
    rows = ferry.rows("study/cells.csv")
    assert [row["outcome"] for row in rows] == ["completed", "failed"]
    assert "vm0 runs on host1" in rows[1]["reason"]
    assert not (ferry.folder / "study/back").exists()


def wait_until(holds, what):
    end = time.monotonic() + 120
    while not holds():
        assert time.monotonic() < end, what
        time.sleep(0.02)


def test_ctrl_c_twice_rolls_back(ferry):
    process = ferry.start("run", "--yes", "--out", "run", *SLOW)
    journal = ferry.folder / "run/journal"
    wait_until(lambda: journal.exists() and "migration" in journal.read_text(), "a migration begins")
    process.send_signal(signal.SIGINT)
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 130, errors
    assert {row["outcome"] for row in ferry.rows("run/migrations.csv")} <= {"cancelled", "rolled_back"}
    assert json.loads((ferry.folder / "run/run.json").read_text())["interrupted"] is True
    assert ferry.at_home(), output


def test_an_interrupted_sweep_finishes_its_cell_and_goes_on_later(ferry):
    process = ferry.start("sweep", "--yes", "--repeat", "2", "--out", "study", "--no-plots")
    journal = ferry.folder / "study/cells/cell-0000/journal"
    wait_until(lambda: journal.exists() and "migration" in journal.read_text(), "a migration begins")
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 130, errors
    assert [row["outcome"] for row in ferry.rows("study/cells.csv")] == ["completed", "not_started"]
    hint = output.splitlines()[-1]
    assert hint.startswith("interrupted; go on with: ferry sweep ") and "--cluster" in hint and "--resume" in hint

    result = ferry("sweep", "--repeat", "2", "--out", "study", "--no-plots", "--resume")
    assert result.returncode == 0, result.stderr
    assert "1 kept from before" in result.stdout
    assert [row["outcome"] for row in ferry.rows("study/cells.csv")] == ["completed", "completed"]
    assert ferry.at_home()


def test_a_cell_that_takes_too_long_is_rolled_back_and_its_run_is_kept(ferry):
    sweep = ["sweep", "--repeat", "1", "--out", "study", "--no-plots"]
    late = ferry(*sweep, "--yes", "--cell-timeout", "1s", *SLOW)
    assert late.returncode == 1, late.stderr
    (row,) = ferry.rows("study/cells.csv")
    assert row["outcome"] == "failed"
    assert row["reason"] == "took longer than a cell may, and was rolled back; its run is kept as cut_short/001"
    assert not (ferry.folder / "study/cells/cell-0000").exists()
    run = "study/cut_short/001"
    assert {row["outcome"] for row in ferry.rows(f"{run}/migrations.csv")} <= {"cancelled", "rolled_back"}
    assert json.loads((ferry.folder / run / "run.json").read_text())["interrupted"] is True
    assert ferry.at_home()

    again = ferry(*sweep, "--resume", *SLOW)
    assert again.returncode == 0, again.stderr
    assert [row["outcome"] for row in ferry.rows("study/cells.csv")] == ["completed"]
    assert (ferry.folder / run / "journal").exists()


def test_a_sweep_whose_controller_was_killed_goes_on_when_the_cell_is_at_rest(ferry):
    process = ferry.start("sweep", "--yes", "--repeat", "1", "--out", "study", "--no-plots", *LESS_SLOW)
    journal = ferry.folder / "study/cells/cell-0000/journal"
    wait_until(lambda: journal.exists() and "migration" in journal.read_text(), "a migration begins")
    process.kill()
    process.communicate()
    sweep = ["sweep", "--repeat", "1", "--out", "study", "--no-plots", "--resume", *LESS_SLOW]
    refused = ferry(*sweep)
    assert refused.returncode == 2
    assert refused.stderr.endswith("ferry resume study/cells/cell-0000 would be right, and then the sweep can go on\n")

    resumed = subprocess.run([ferry.program, "resume", "study/cells/cell-0000", "--quiet"], cwd=ferry.folder, text=True,
                             capture_output=True, env=ferry.environment, timeout=300)
    assert resumed.returncode in (0, 1), resumed.stderr
    result = ferry(*sweep)
    assert result.returncode == 0, result.stderr
    assert [row["outcome"] for row in ferry.rows("study/cells.csv")] == ["completed"]
    assert [folder.name for folder in (ferry.folder / "study/resumed").iterdir()] == ["001"]
    assert ferry.at_home()
