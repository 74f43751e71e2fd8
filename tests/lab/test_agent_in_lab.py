"""ferry-agent in real guests: `ferry run --on hw` starts a job's ranks through it and moves their VM while they run."""

import csv
import subprocess
from pathlib import Path

import pytest
from ferry_lab import guest
from ferry_lab.processes import wait_until

ROOT = Path(__file__).resolve().parents[2]

SCENARIO = f"""\
ferry: 1
name: ranks-in-a-guest
platform: {ROOT}/scenarios/platforms/nowlab-fdr.yaml
cluster:
  hosts: [{{name: host, count: 2, cores: 8, memory: 4GiB, virtual_functions: 8}}]
vms:
  - {{name: vm, count: 1, on: "host0", vcpus: 2, memory: 256MiB, virtual_functions: 1, ivshmem: 4MiB, pages: {{zero: 40%}}}}
jobs:
  - {{name: pair, on: {{vms: vm0}}, ranks: 2, strategy: progress_engine,
     workload: {{type: iterate, compute: 20ms, collective: allreduce, message: 8B, iterations: 400}}}}
migrations:
  - {{name: there, vms: vm0, to: host1, at: 2s, transport: tcp}}
"""


@pytest.fixture
def programs(program):
    """ferry-agent, and the ranks' program of tests/agent."""
    build = program.parents[2]
    found = [build / "hw_backend/ferry-agent", build / "tests/agent/agent_rank"]
    for each in found:
        if not each.exists():
            pytest.skip(f"{each} is not built")
    return found


@pytest.fixture
def setting(program, programs, make_lab, tmp_path):
    scenario = tmp_path / "ranks.yaml"
    scenario.write_text(SCENARIO)
    return make_lab(scenario=scenario, programs=programs), scenario, tmp_path / "run"


def start(program, setting, *options):
    lab, scenario, out = setting
    return subprocess.Popen([program, "run", scenario, "--on", "hw", "--cluster", lab.cluster_file, "--yes", "--out", out, "--quiet",
                             *options], text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)  # fmt: skip


def table(folder, name):
    with open(folder / name) as rows:
        return list(csv.DictReader(rows))


def in_guest(lab, script):
    with lab.domain("vm0") as domain:
        return guest.run(domain, script)


def test_ranks_in_a_guest_go_on_while_their_vm_moves_and_their_agent_dies(program, setting):
    lab, _, out = setting
    running = start(program, setting)
    wait_until("the ranks run", 120, lambda: len(in_guest(lab, "pidof agent_rank || true").split()) == 2)
    ranks = in_guest(lab, "pidof agent_rank")
    # Its keepers are the same program by another name.
    in_guest(lab, "for p in $(pidof ferry-agent); do [ $(cat /proc/$p/comm) = ferry-agent ] && kill -9 $p; done; true")
    said, _ = running.communicate(timeout=600)
    assert running.returncode == 0, said
    [move] = table(out, "migrations.csv")
    assert (move["vm"], move["from"], move["to"], move["outcome"]) == ("vm0", "host0", "host1", "completed")
    assert lab.host_of("vm0").name == "host1"
    [job] = table(out, "jobs.csv")
    assert (job["job"], int(job["messages"])) == ("pair", 2 * 400)
    assert float(job["elapsed_seconds"]) > 400 * 0.020
    suspensions = table(out, "ranks.csv")
    assert [row["rank"] for row in suspensions] == ["0", "1"]
    for row in suspensions:
        assert float(row["requested"]) <= float(row["drained"]) <= float(row["ready"]) <= float(row["blocked_to"])
    assert any(row["metric"] == "iteration_time" for row in table(out, "measurements.csv"))
    assert in_guest(lab, "pidof agent_rank || echo none").strip() == "none", ranks
    assert in_guest(lab, "ls /run/ferry/jobs").strip() == ""


def test_a_rank_that_is_killed_ends_its_job_and_not_the_move(program, setting):
    lab, _, out = setting
    running = start(program, setting)
    wait_until("the ranks run", 120, lambda: len(in_guest(lab, "pidof agent_rank || true").split()) == 2)
    in_guest(lab, "kill -9 $(pidof agent_rank | cut -d' ' -f1)")
    said, _ = running.communicate(timeout=600)
    [move] = table(out, "migrations.csv")
    assert move["outcome"] == "completed", said
    assert "was killed by signal 9" in said + (out / "jobs.csv").read_text()


def test_a_controller_that_is_killed_leaves_ranks_to_the_next(program, setting):
    lab, _, out = setting
    running = start(program, setting)
    journal = out / "journal"
    wait_until("the wave is suspended", 300, lambda: journal.exists() and "suspended" in journal.read_text())
    running.kill()
    running.communicate()
    ranks = in_guest(lab, "pidof agent_rank")
    resumed = subprocess.run([program, "resume", out, "--quiet"], text=True, capture_output=True, stdin=subprocess.DEVNULL, timeout=600)
    assert resumed.returncode in (0, 1), resumed.stdout + resumed.stderr
    [job] = table(out, "jobs.csv")
    assert int(job["messages"]) == 2 * 400, (resumed.stdout + resumed.stderr, ranks)
