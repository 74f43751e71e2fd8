"""`ferry run` with jobs whose ranks send messages: what a migration costs them, deadlocks, repeatability."""

import csv
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

SCENARIO = f"""\
ferry: 1
name: pair
platform: {ROOT}/scenarios/platforms/nowlab-fdr.yaml
cluster:
  hosts: [{{name: host, count: 3, cores: 16, memory: 32GiB, virtual_functions: 4}}]
vms:
  - {{name: vm, count: 2, on: "host[0-1]", vcpus: 2, memory: 1GiB, ivshmem: 64MiB,
     pages: {{zero: 0%, working_set: 64MiB, dirty_rate: 20MB/s, idle_dirty_rate: 1MB/s}}}}
jobs:
  - {{name: pair, on: {{vms: vm}}, ranks: 1, strategy: progress_engine, workload: {{type: osu_latency, sizes: [8B, 64KiB], iterations: 2000}}}}
migrations:
  - {{name: leave, vms: vm0, to: host2, at: 2ms, transport: rdma}}
"""


@pytest.fixture
def pair(ferry, simulation):
    (ferry.folder / "pair.yaml").write_text(SCENARIO)

    def run(out, *options):
        result = ferry("run", "pair.yaml", "--out", out, "--quiet", *options)
        return result, ferry.folder / out

    return run


def rows(folder, name):
    with open(folder / name, newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("strategy", ["progress_engine", "migration_thread"])
def test_a_job_that_only_sends_messages_loses_the_whole_suspension(pair, strategy):
    result, folder = pair("out", "--set", f"jobs.pair.strategy={strategy}")
    assert result.returncode == 0, result.stderr
    [job] = rows(folder, "jobs.csv")
    blocked = max(float(rank["blocked_to"]) - float(rank["blocked_from"]) for rank in rows(folder, "ranks.csv"))
    assert float(job["exposed_seconds"]) == pytest.approx(blocked, rel=0.01)
    assert float(job["elapsed_seconds"]) == pytest.approx(
        float(job["unmigrated_seconds"]) + float(job["exposed_seconds"]), abs=1e-8)
    metrics = {row["metric"]: row["value"] for row in rows(folder, "summary.csv")}
    assert metrics["exposed_seconds"] == job["exposed_seconds"]
    assert int(metrics["messages"]) == int(job["messages"]) > 2 * 2 * 2000
    measured = {(row["metric"], row["message_bytes"]) for row in rows(folder, "measurements.csv")}
    assert {("latency", "8"), ("latency", "65536")} < measured
    assert any(metric == "latency_exposed" for metric, _ in measured)


def test_the_same_seed_gives_the_same_bytes(pair):
    folders = [pair(out)[1] for out in ("one", "two")]
    for file in sorted(folders[0].glob("*.csv")):
        assert file.read_bytes() == (folders[1] / file.name).read_bytes(), file.name


def test_without_a_twin_nothing_is_said_about_what_was_lost(pair):
    result, folder = pair("out", "--set", "outputs.twin=false")
    assert result.returncode == 0, result.stderr
    [job] = rows(folder, "jobs.csv")
    assert job["elapsed_seconds"] and not job["unmigrated_seconds"] and not job["exposed_seconds"]
    assert "outputs.twin" in job["reason"]


def test_a_deadlocked_job_says_who_waits_for_whom(pair, ferry):
    (ferry.folder / "stuck.ti").write_text("0 init\n1 init\n0 recv 1 7 8\n1 recv 0 3 8\n0 finalize\n1 finalize\n")
    scenario = SCENARIO.replace("{type: osu_latency, sizes: [8B, 64KiB], iterations: 2000}", "{type: trace, file: stuck.ti}")
    assert scenario != SCENARIO
    (ferry.folder / "pair.yaml").write_text(scenario)
    result, folder = pair("out")
    assert result.returncode == 1, result.stderr
    [job] = rows(folder, "jobs.csv")
    assert "rank 0 waits for" in job["reason"] and "rank 1 waits for" in job["reason"]
    assert rows(folder, "migrations.csv")[0]["outcome"] == "completed"


def test_large_messages_go_over_the_network_that_carries_them(pair, ferry):
    """Between hosts: what the links of each network carried, but for the move."""
    loads = {}
    for network, other in [("ethernet", "infiniband"), ("infiniband", "ethernet")]:
        (ferry.folder / "pair.yaml").write_text(SCENARIO.replace("vms:\n", f"""\
  networks:
    - {{name: {network}, topology: star, link: {{bandwidth: 56Gbps, latency: 1us}}, carries: [mpi]}}
    - {{name: {other}, topology: star, link: {{bandwidth: 56Gbps, latency: 1us}}, carries: [tcp, ipoib, rdma]}}
vms:
""", 1))
        result, folder = pair(network, "--set", "migrations.leave.at=never")
        assert result.returncode == 0, result.stderr
        loads[network] = {row["network"] for row in rows(folder, "links.csv") if int(row["bytes"]) > 0}
    assert loads == {"ethernet": {"ethernet"}, "infiniband": {"infiniband"}}


def test_a_vm_with_jobs_of_both_kinds_is_idle_while_all_of_them_are_suspended(ferry, simulation):
    text = SCENARIO.replace("dirty_rate: 20MB/s, idle", "dirty_rate: 2GB/s, idle").replace("working_set: 64MiB", "working_set: 512MiB")
    text = text.replace("jobs:\n", "jobs:\n  - {name: stands-in, on: {vms: vm}, ranks: 1, strategy: progress_engine,"
                        " workload: {type: timed, next_call: 5ms}}\n")  # fmt: skip
    (ferry.folder / "mixed.yaml").write_text(text)
    result = ferry("run", "mixed.yaml", "--out", "out")
    assert result.returncode == 0, result.stdout + result.stderr
    rounds = rows(ferry.folder / "out", "rounds.csv")
    took = sum(float(row["seconds"]) for row in rounds)
    assert 0 < sum(int(row["dirty_bytes"]) for row in rounds) < 1.5e6 * took  # at the idle rate of 1 MB/s
