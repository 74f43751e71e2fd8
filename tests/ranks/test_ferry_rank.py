"""A job of real processes: results, refusals, ends."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from rank_runs import rows, run


def job_row(folder, name):
    return next(row for row in rows(folder, "jobs.csv") if row["job"] == name)


@pytest.mark.parametrize("job, ranks, metrics", [
    ("pair", 2, {("latency", "1"), ("latency", "4096"), ("latency", "1048576")}),
    ("sum", 4, {("allreduce_latency", "8"), ("allreduce_latency", "65536")}),
    ("lap", 2, {("iteration_time", "65536")}),
    ("replay", 2, set()),
    ("search", 4, {("search_time", ""), ("search_time_mean", "")}),
    ("sorting", 4, set()),
])
def test_a_job_started_by_hydra_writes_a_run_folder(hydra, rank_program, scenario, tmp_path, memory_names, job, ranks, metrics):
    out = tmp_path / "out"
    done = run([*hydra, "-n", ranks, rank_program, "--scenario", scenario, "--job", job, "--out", out], tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    measured = rows(out, "measurements.csv")
    assert {(row["metric"], row["message_bytes"]) for row in measured} == metrics
    assert all(row["job"] == job and float(row["value"]) > 0 for row in measured)
    row = job_row(out, job)
    assert float(row["elapsed_seconds"]) > 0
    assert int(row["messages"]) > 0
    facts = json.loads((out / "run.json").read_text())
    assert facts["world"] == "hw" and facts["command"][0].endswith("ferry-rank") and not facts["interrupted"]
    for name in ("summary.csv", "ranks.csv", "migrations.csv", "spans.csv", "resolved.yaml"):
        assert (out / name).exists()


def test_a_computation_takes_the_processor_time_that_the_scenario_says(hydra, rank_program, scenario, tmp_path):
    out = tmp_path / "out"
    settings = ["--set", "jobs.endless.workload.iterations=20", "--set", "jobs.endless.workload.compute=5ms"]
    done = run([*hydra, "-n", 2, rank_program, "--scenario", scenario, "--job", "endless", *settings, "--out", out], tmp_path)
    assert done.returncode == 0, done.stderr
    # Never less than it says; how much more is the machine's affair.
    assert float(job_row(out, "endless")["elapsed_seconds"]) > 0.1


def test_a_job_started_by_srun_writes_a_run_folder(slurm, rank_program, scenario, tmp_path, memory_names):
    out = tmp_path / "out"
    done = run(["srun", "--mpi=pmi2", "-n", 4, rank_program, "--scenario", scenario, "--job", "sum", "--out", out],
               tmp_path, slurm.environment)
    assert done.returncode == 0, done.stdout + done.stderr + slurm.logs()
    assert float(job_row(out, "sum")["elapsed_seconds"]) > 0


def test_srun_ends_with_the_status_of_a_rank_that_was_killed(slurm, rank_program, scenario, tmp_path, memory_names):
    with started(["srun", "--mpi=pmi2", "--kill-on-bad-exit=1", "-n", 2], rank_program, scenario, tmp_path, slurm.environment) as job:
        os.kill(job.rank_processes(2)[0], signal.SIGKILL)
        assert job.wait() != 0


@pytest.mark.parametrize("arguments, ranks, words", [
    (["--job", "pair"], 3, "ferry-rank: job pair has 2 ranks, and PMI started 3; mpiexec -n 2 or another number of "
                           "ranks (--set) would be right\n"),
    (["--job", "pairs"], 2, "--job pairs: the scenario has no such job; pair, sum, lap, replay, search, sorting, endless "
                            "would be right\n"),
    (["--job", "pair", "--set", "jobs.pair"], 2, "ferry-rank: --set jobs.pair: is not PATH=VALUE; jobs.lu.ranks=2 would be right\n"),
])
def test_what_cannot_run_is_refused_by_one_rank_in_one_sentence(hydra, rank_program, scenario, tmp_path, memory_names, arguments, ranks, words):
    done = run([*hydra, "-n", ranks, rank_program, "--scenario", scenario, *arguments], tmp_path)
    assert (done.returncode, done.stderr) == (2, words)


def test_errors_of_the_scenario_are_said_once_with_their_places(hydra, rank_program, scenario, tmp_path):
    scenario.write_text(scenario.read_text().replace("memory: 1GiB", "memory: 1GiBs"))
    done = run([*hydra, "-n", 2, rank_program, "--scenario", scenario, "--job", "pair"], tmp_path)
    assert done.returncode == 2
    assert done.stderr.count("vms.vm.memory") == 1


def test_a_folder_that_exists_is_never_overwritten(hydra, rank_program, scenario, tmp_path):
    (tmp_path / "out").mkdir()
    done = run([*hydra, "-n", 2, rank_program, "--scenario", scenario, "--job", "pair", "--out", tmp_path / "out"], tmp_path)
    assert done.returncode == 2
    assert "nothing is ever overwritten" in done.stderr


def test_a_rank_alone_needs_no_launcher(rank_program, scenario, tmp_path, memory_names):
    done = run([rank_program, "--scenario", scenario, "--job", "pair"], tmp_path)
    assert done.returncode == 2
    assert "no launcher started 1" in done.stderr
    settings = ["--set", "jobs.endless.ranks=1", "--set", "jobs.endless.workload.iterations=3"]
    done = run([rank_program, "--scenario", scenario, "--job", "endless", *settings], tmp_path)
    assert done.returncode == 0, done.stderr


class started:
    """The job `endless`, under a launcher; ended at the latest when the test leaves."""

    def __init__(self, launcher, rank_program, scenario, folder, environment=None):
        self.out = folder / "out"
        self.process = subprocess.Popen(
            [*map(str, launcher), rank_program, "--scenario", scenario, "--job", "endless", "--out", self.out],
            cwd=folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL,
            env=environment, start_new_session=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.communicate()
        for process in self.rank_processes():
            os.kill(process, signal.SIGKILL)

    def rank_processes(self, wanted=0, patience=120):
        """Of this job, once as many as wanted have all their threads: they are about to run."""
        end = time.monotonic() + patience
        while True:
            found = []
            for entry in Path("/proc").iterdir():
                try:
                    if not entry.name.isdigit() or (entry / "exe").readlink().name != "ferry-rank":
                        continue
                    if str(self.out) not in (entry / "cmdline").read_bytes().decode().split("\0"):
                        continue
                    if not wanted or len(list((entry / "task").iterdir())) >= 4:
                        found.append(int(entry.name))
                except OSError:
                    continue
            if len(found) >= wanted:
                return found
            assert time.monotonic() < end and self.process.poll() is None, "the ranks do not come"
            time.sleep(0.05)

    def wait(self):
        self.output = self.process.communicate(timeout=120)
        return self.process.returncode


def test_ctrl_c_ends_all_ranks_and_keeps_what_ran(hydra, rank_program, scenario, tmp_path, memory_names):
    with started([*hydra, "-n", 2], rank_program, scenario, tmp_path) as job:
        job.rank_processes(2)
        time.sleep(0.5)
        job.process.send_signal(signal.SIGINT)
        assert job.wait() == 130
        assert "ferry-rank: interrupted\n" in job.output[1]
        assert job_row(job.out, "endless")["reason"] == "interrupted"
        assert json.loads((job.out / "run.json").read_text())["interrupted"]
        assert job.rank_processes() == []


def test_a_signal_to_one_rank_ends_all(hydra, rank_program, scenario, tmp_path, memory_names):
    with started([*hydra, "-n", 2], rank_program, scenario, tmp_path) as job:
        os.kill(job.rank_processes(2)[1], signal.SIGTERM)
        assert job.wait() == 130
        assert job.rank_processes() == []


def test_a_rank_that_is_killed_ends_the_job_and_leaves_no_memory(hydra, rank_program, scenario, tmp_path, memory_names):
    with started([*hydra, "-n", 2], rank_program, scenario, tmp_path) as job:
        os.kill(job.rank_processes(2)[1], signal.SIGKILL)
        assert job.wait() != 0
        assert job.rank_processes() == []


def test_memory_that_a_dead_job_left_is_removed_by_the_next_one(hydra, rank_program, scenario, tmp_path, memory_names):
    stale = Path(f"/dev/shm/ferry-{os.geteuid()}-job-of-a-test-{os.getpid()}")
    stale.write_bytes(b"nobody holds it")
    done = run([*hydra, "-n", 2, rank_program, "--scenario", scenario, "--job", "pair"], tmp_path)
    assert done.returncode == 0, done.stderr
    assert not stale.exists()


def test_a_job_in_two_pieces_of_memory_says_why_it_cannot_talk(hydra, rank_program, scenario, tmp_path, memory_names):
    """Ranks with a /dev/shm each are as on two machines; without adapters nothing joins them."""
    if os.geteuid() != 0:
        pytest.skip("a /dev/shm of one's own needs root")
    wrapper = tmp_path / "alone.sh"
    wrapper.write_text('#!/bin/sh\nexec unshare -m sh -c \'mount -t tmpfs none /dev/shm && exec "$@"\' sh "$@"\n')
    wrapper.chmod(0o755)
    done = run([*hydra, "-n", 2, wrapper, rank_program, "--scenario", scenario, "--job", "pair"], tmp_path)
    assert done.returncode != 0
    assert "ferry-rank: " in done.stderr
    assert "rank 0" in done.stderr or "rank 1" in done.stderr
