"""`when` of a migration: what a move costs its job, held against the spans of the move."""

import csv
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SLICE = 3.0
SCENARIO = f"""\
ferry: 1
name: slices
platform: {{base: {ROOT}/scenarios/platforms/nowlab-fdr.yaml, mpi: {{notice: 1ms}}}}
cluster:
  hosts: [{{name: host, count: 3, cores: 16, memory: 32GiB, virtual_functions: 4}}]
vms:
  - {{name: vm, count: 2, on: "host[0-1]", vcpus: 2, memory: 1GiB, ivshmem: 64MiB,
     pages: {{zero: 0%, working_set: 64MiB, dirty_rate: 20MB/s, idle_dirty_rate: 1MB/s}}}}
jobs:
  - {{name: job, on: {{vms: vm}}, ranks: 2, strategy: progress_engine,
     workload: {{type: iterate, compute: {SLICE}s, iterations: 4, collective: allreduce, message: 8B}}}}
migrations:
  - {{name: leave, vms: vm0, to: host2, at: 2.9985s, when: computing, transport: rdma}}
"""


@pytest.fixture
def moved(ferry, simulation):
    """Runs it; returns the job's row, and start and end of the move by its spans."""
    (ferry.folder / "slices.yaml").write_text(SCENARIO)

    def run(strategy, when, *more):
        settings = [f"jobs.job.strategy={strategy}", f"migrations.leave.when={when}", *more]
        options = [part for setting in settings for part in ("--set", setting)]
        result = ferry("run", "slices.yaml", "--out", "out", "--quiet", *options)
        assert result.returncode == 0, result.stderr
        spans = rows(ferry.folder / "out/spans.csv")
        [job] = rows(ferry.folder / "out/jobs.csv")
        return job, min(float(span["start_seconds"]) for span in spans), max(float(span["end_seconds"]) for span in spans)

    return run


def rows(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def test_a_migration_thread_hides_a_request_that_comes_as_ranks_begin_to_compute(moved):
    job, start, end = moved("migration_thread", "computing")
    assert start == pytest.approx(SLICE, rel=0.001)  # what is left of the first computation is too short
    assert float(job["exposed_seconds"]) < 0.1 * (end - start)
    assert float(job["overlap"]) == pytest.approx(float(job["overlap_bound"]), rel=0.01)


@pytest.mark.parametrize("strategy", ["progress_engine", "migration_thread"])
def test_ranks_that_enter_mpi_as_the_request_comes_lose_the_whole_move(moved, strategy):
    job, start, end = moved(strategy, "communicating")
    # so long before the end of the second computation as a request takes
    assert start == pytest.approx(2 * SLICE, abs=0.004) and start < 2 * SLICE
    assert float(job["exposed_seconds"]) == pytest.approx(end - start, rel=0.05)


def test_the_progress_engine_loses_the_move_from_the_next_call_on(moved):
    job, start, end = moved("progress_engine", "computing")
    next_call = 2 * SLICE
    assert start == pytest.approx(SLICE, rel=0.001) and end > next_call
    assert float(job["exposed_seconds"]) == pytest.approx(end - next_call, rel=0.05)
    assert float(job["slice_seconds"]) == SLICE


def test_the_slice_bounds_what_is_hidden(moved):
    job, start, end = moved("migration_thread", "computing", "jobs.job.workload.compute=500ms", "jobs.job.workload.iterations=12")
    assert float(job["slice_seconds"]) == 0.5
    on_its_way = 0.003  # the request: platform.hypervisor.set_status and mpi.notice
    assert float(job["overlap_bound"]) == pytest.approx((0.5 + on_its_way) / (end - start), abs=1e-5)
    assert float(job["overlap"]) == pytest.approx(float(job["overlap_bound"]), rel=0.02)


def test_a_computation_that_goes_on_long_enough_is_one_to_strike(moved):
    job, start, end = moved("migration_thread", "computing", "migrations.leave.at=2s")
    assert start == 2
    assert float(job["exposed_seconds"]) == pytest.approx(end - SLICE, rel=0.05)  # but for what is left of it


def test_a_job_that_has_ended_keeps_nobody_waiting(moved):
    job, start, _ = moved("migration_thread", "computing", "migrations.leave.at=11.999s")
    assert start == pytest.approx(float(job["unmigrated_seconds"]), rel=0.001)
    assert float(job["exposed_seconds"]) == 0
