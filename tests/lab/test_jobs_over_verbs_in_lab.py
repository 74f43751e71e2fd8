"""Jobs over verbs and IVShmem in guests whose VM moves: `ferry run --on hw` starts a rank in each of two VMs on two hosts by
ferry-agent; vm0 moves to vm1's host, where the ranks talk by IVShmem, and back, while they run. Devices are plugged for real;
the RDMA device is one in software on the stand-in for a virtual function."""

import csv
import os
import subprocess
from collections import Counter

import pytest
from conftest import SCENARIOS
from ferry_lab import guest
from ferry_lab import lab as labs
from ferry_lab.processes import wait_until
from ferry_lab.scenario import read_scenario
from ferry_program import check_whole

SCENARIO = SCENARIOS / "pair_over_verbs.yaml"
ALL = os.environ.get("FERRY_LAB_JOBS") == "1"
STRATEGIES = ["progress_engine", "migration_thread"]
# The first lasts until the second move on any machine; the others, which do not compute for a given time, where guests run
# under TCG, and there the second move follows upon the first.
WORKLOADS = {
    "iterate": "{type: iterate, compute: 20ms, collective: allreduce, message: 4KiB, iterations: 600}",
    "osu_latency": "{type: osu_latency, iterations: 100, rounds: 6, warm_up: 10, sizes: [1B, 16KiB]}",
    "osu_allreduce": "{type: osu_allreduce, iterations: 100, rounds: 6, warm_up: 10, sizes: [8B, 16KiB]}",
    "overlap": "{type: overlap, message: 4KiB, exchanges: 10, share: 80%, iterations: 100}",
}
# Of both ranks, with the benchmarks' warm-up, and their barriers before each size (and, in osu_allreduce, each call).
MESSAGES = {"iterate": 2 * 600, "osu_latency": 2 * 6 * 2 * 111, "osu_allreduce": 2 * 6 * 2 * 221, "overlap": 2 * (10 * 102 + 2)}


@pytest.fixture(scope="session")
def programs(program):
    """ferry-agent and ferry-rank, with verbs."""
    build = program.parents[2]
    found = [build / "hw_backend/ferry-agent", build / "hw_backend/ferry-rank"]
    for each in found:
        if not each.exists():
            pytest.skip(f"{each} is not built")
    if "libibverbs" not in subprocess.run(["ldd", found[1]], text=True, capture_output=True).stdout:
        pytest.skip(f"{found[1]} was built without verbs (FERRY_VERBS is OFF, or libibverbs is missing)")
    return found


@pytest.fixture(scope="module")
def guests(lab_is_possible, programs, tmp_path_factory):
    hosts, vms = read_scenario(SCENARIO)
    with labs.up(tmp_path_factory.mktemp("pair") / "lab", hosts, vms, programs=programs, rdma=True) as lab:
        yield lab


@pytest.fixture
def pair(guests):
    """The hosts and VMs of the scenario, as at its start."""
    yield guests
    for vm in guests.vms:
        guests.bring_home(vm)
        guests.give_back_devices(vm)


def in_guest(lab, vm, script):
    with lab.domain(vm) as domain:
        return guest.run(domain, script)


def table(folder, name):
    with open(folder / name) as rows:
        return list(csv.DictReader(rows))


def start(program, world, out, *options):
    return subprocess.Popen([program, "run", SCENARIO, "--on", world, "--out", out, "--quiet", *options],
                            text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)  # fmt: skip


def run(program, world, out, *options):
    running = start(program, world, out, *options)
    said, _ = running.communicate(timeout=600)
    assert running.returncode == 0, said


def channels_after_moves(out):
    """Of each number of moves the channel that carried packets since."""
    found = {}
    for row in table(out, "measurements.csv"):
        if row["metric"].startswith("packets_"):
            assert (row["unit"], row["message_bytes"]) == ("packets", "")
            found.setdefault(int(row["repetition"]), []).append(row["metric"].removeprefix("packets_"))
    return [found[moves] for moves in sorted(found)]


def check_moves(out):
    moves = table(out, "migrations.csv")
    assert [(row["vm"], row["from"], row["to"], row["outcome"]) for row in moves] == [
        ("vm0", "host0", "host1", "completed"), ("vm0", "host1", "host0", "completed")]  # fmt: skip
    spans = table(out, "spans.csv")
    assert Counter(row["phase"] for row in spans if row["outcome"] == "completed") == Counter(row["phase"] for row in spans)


def check_suspensions(out, strategy):
    """Each rank was suspended in each move, in this order, and went on when the device was back."""
    rows = table(out, "ranks.csv")
    assert [row["rank"] for row in rows] == ["0", "1", "0", "1"]
    attached = [float(row["end_seconds"]) for row in table(out, "spans.csv") if row["phase"] == "attach_vf"]
    for number, row in enumerate(rows):
        times = [float(row[name]) for name in ["requested", "drained", "ready", "blocked_to"]]
        assert times == sorted(times), row
        assert float(row["blocked_from"]) <= float(row["blocked_to"])
        if strategy == "progress_engine":
            assert float(row["blocked_to"]) >= attached[number // 2], (row, attached)


def check_job(out, strategy, workload):
    (job,) = table(out, "jobs.csv")
    assert (job["job"], job["strategy"], job["workload"]) == ("pair", strategy, workload)
    assert int(job["messages"]) == MESSAGES[workload]
    assert not job["reason"] or "twin" in job["reason"], job  # every message arrived once, with its bytes
    assert channels_after_moves(out) == [["sriov"], ["ivshmem"], ["sriov"]]
    check_moves(out)
    check_suspensions(out, strategy)


def check_pair(lab, device_before):
    """As at the start, with another device; nobody held the old one when it was unplugged."""
    check_whole(lab, "vm0", "host0")
    check_whole(lab, "vm1", "host1")
    assert in_guest(lab, "vm0", "ls /sys/class/infiniband") != device_before
    assert "waiting for" not in in_guest(lab, "vm0", "dmesg")  # "unregister_netdevice: waiting for eth0 to become free"
    for vm in ["vm0", "vm1"]:
        assert in_guest(lab, vm, "pidof ferry-rank || echo none").strip() == "none"
        assert in_guest(lab, vm, "ls /run/ferry/jobs").strip() == ""


def check_run(program, lab, out, strategy, workload):
    settings = ["--set", f"jobs.pair.strategy={strategy}", "--set", f"jobs.pair.workload={WORKLOADS[workload]}"]
    if workload != "iterate":
        settings += ["--set", "migrations.part.at=4.1s"]
    device = in_guest(lab, "vm0", "ls /sys/class/infiniband")
    run(program, "hw", out / "real", "--cluster", lab.cluster_file, "--yes", *settings)
    check_job(out / "real", strategy, workload)
    check_pair(lab, device)
    if "sim" in subprocess.run([program, "--version"], text=True, capture_output=True).stdout.split("worlds:")[1]:
        check_simulation(program, out, settings)


def check_simulation(program, out, settings):
    """The same file there: the same moves, and as much is sent."""
    run(program, "sim", out / "simulated", *settings)
    check_moves(out / "simulated")
    real, simulated = table(out / "real", "jobs.csv"), table(out / "simulated", "jobs.csv")
    for name in ["job", "strategy", "workload", "messages", "bytes"]:
        assert real[0][name] == simulated[0][name], name
    compared = subprocess.run([program, "compare", out / "real", "--with", out / "simulated"], text=True, capture_output=True)
    assert compared.returncode in (0, 1), compared.stdout + compared.stderr  # 1: they differ by more than it tolerates
    for phase in ["set_pre_migration", "detach_vf", "migration", "attach_vf", "set_post_migration"]:
        assert phase in compared.stdout


def test_a_pair_of_ranks_goes_from_verbs_to_memory_and_back(program, pair, tmp_path):
    check_run(program, pair, tmp_path, "progress_engine", "iterate")


@pytest.mark.skipif(not ALL, reason="FERRY_LAB_JOBS=1 runs these too: three workloads by two strategies, three minutes")
def test_every_workload_goes_through_two_moves_by_either_strategy(program, pair, tmp_path):
    for strategy in STRATEGIES:
        for workload in ["osu_latency", "osu_allreduce", "overlap"]:
            out = tmp_path / f"{strategy}-{workload}"
            out.mkdir()
            check_run(program, pair, out, strategy, workload)


def trace_of_a_pair(file, iterations):
    """As `smpirun -trace-ti` writes it: both compute 20 ms, send each other 4 KiB, and add up a word."""
    lines = [f"{rank} init" for rank in range(2)]
    for i in range(iterations):
        for rank in range(2):
            lines.append(f"{rank} compute 20e6")  # of a million operations in a millisecond
            lines.append(f"{rank} isend {1 - rank} {i % 100} 4096 6")
            lines.append(f"{rank} recv {1 - rank} {i % 100} 4096 6")
            lines.append(f"{rank} waitall")
            lines.append(f"{rank} allreduce 1 0 0")
    lines += [f"{rank} finalize" for rank in range(2)]
    file.write_text("\n".join(lines) + "\n")


@pytest.mark.skipif(not ALL, reason="FERRY_LAB_JOBS=1 runs it too: an application's trace by two strategies, a minute")
def test_a_trace_of_this_machine_is_replayed_in_guests_that_do_not_have_it(program, pair, tmp_path):
    iterations = 500
    trace_of_a_pair(tmp_path / "app.ti", iterations)
    settings = ["--set", f"jobs.pair.workload={{type: trace, file: {tmp_path / 'app.ti'}}}",
                "--set", "platform.compute.trace_million=1ms"]  # fmt: skip
    for strategy in STRATEGIES:
        out = tmp_path / strategy
        run(program, "hw", out, "--cluster", pair.cluster_file, "--yes", "--set", f"jobs.pair.strategy={strategy}", *settings)
        (job,) = table(out, "jobs.csv")
        assert (job["strategy"], job["workload"]) == (strategy, "trace")
        # Of each rank in each iteration: its message, and one of the allreduce.
        assert int(job["messages"]) == 2 * 2 * iterations, job
        assert not job["reason"] or "twin" in job["reason"], job
        assert channels_after_moves(out) == [["sriov"], ["ivshmem"], ["sriov"]]
        check_moves(out)
        check_suspensions(out, strategy)


# Faults: one move, and what goes wrong in it.


def start_one_move(program, lab, out, *options):
    return start(program, "hw", out, "--cluster", lab.cluster_file, "--yes", "--set", "migrations.part.at=never", *options)


def end(running, status):
    said, _ = running.communicate(timeout=600)
    assert running.returncode == status, said
    return said


def the_move(out):
    return next(row for row in table(out, "migrations.csv") if row["migration"] == "meet")


def check_all_arrived(out):
    (job,) = table(out, "jobs.csv")
    assert int(job["messages"]) == MESSAGES["iterate"], job
    assert not job["reason"] or "twin" in job["reason"], job


def journal_says(out, what):
    return lambda: (out / "journal").exists() and what in (out / "journal").read_text(errors="replace")


@pytest.mark.skipif(not ALL, reason="FERRY_LAB_JOBS=1 runs it too")
def test_a_process_that_holds_the_device_is_named_and_the_job_goes_on(program, pair, tmp_path):
    # Longer than the deadline: the detach completes late.
    in_guest(pair, "vm0", "sleep 25 </dev/infiniband/uverbs0 >/dev/null 2>&1 & true")
    running = start_one_move(program, pair, tmp_path / "run", "--set", "migrations.meet.timeouts.detach=4s")
    said = end(running, 1)
    move = the_move(tmp_path / "run")
    assert "sleep (process " in move["reason"] and "has /dev/infiniband/uverbs0 open" in move["reason"], (move, said)
    check_all_arrived(tmp_path / "run")
    assert {channel for part in channels_after_moves(tmp_path / "run") for channel in part} == {"sriov"}
    check_whole(pair, "vm0", "host0")


@pytest.mark.skipif(not ALL, reason="FERRY_LAB_JOBS=1 runs it too")
def test_a_destination_that_takes_no_nic_is_left_again_and_the_job_goes_on(program, pair, tmp_path):
    destination = pair.host("host1")
    running = start_one_move(program, pair, tmp_path / "run")
    wait_until("the wave is suspended", 300, journal_says(tmp_path / "run", "suspended"))
    destination.refuse_nics()  # it would be too late when the VM is seen to move
    try:
        wait_until("its devices are attached", 300, lambda: (tmp_path / "run/journal").read_text().count("attach_vf") > 1)
    finally:
        destination.accept_nics()
    end(running, 1)
    move = the_move(tmp_path / "run")
    assert move["outcome"] == "rolled_back" and "attach of ua-vf0" in move["reason"], move
    check_all_arrived(tmp_path / "run")
    check_whole(pair, "vm0", "host0")


@pytest.mark.skipif(not ALL, reason="FERRY_LAB_JOBS=1 runs it too")
def test_agents_that_die_in_the_midst_of_a_move_hold_nothing_up(program, pair, tmp_path):
    running = start_one_move(program, pair, tmp_path / "run")
    wait_until("the wave is suspended", 300, journal_says(tmp_path / "run", "suspended"))
    in_guest(pair, "vm1", "for p in $(pidof ferry-agent); do [ $(cat /proc/$p/comm) = ferry-agent ] && kill -9 $p; done; true")
    end(running, 0)
    check_all_arrived(tmp_path / "run")
    assert channels_after_moves(tmp_path / "run") == [["sriov"], ["ivshmem"]]
    check_whole(pair, "vm0", "host1")


@pytest.mark.skipif(not ALL, reason="FERRY_LAB_JOBS=1 runs it too")
def test_a_rank_that_dies_in_the_midst_of_a_move_ends_the_job_and_not_the_move(program, pair, tmp_path):
    running = start_one_move(program, pair, tmp_path / "run")
    wait_until("the wave is suspended", 300, journal_says(tmp_path / "run", "suspended"))
    in_guest(pair, "vm1", "kill -9 $(pidof ferry-rank)")
    said, _ = running.communicate(timeout=600)
    assert the_move(tmp_path / "run")["outcome"] == "completed", said
    assert "rank 1 of pair in vm1 was killed by signal 9" in (tmp_path / "run/jobs.csv").read_text() + said
    check_whole(pair, "vm0", "host1")


@pytest.mark.skipif(not ALL, reason="FERRY_LAB_JOBS=1 runs it too")
def test_an_adapter_that_never_comes_back_ends_the_job_once_nothing_else_leads_to_its_peer(program, pair, tmp_path):
    # From now on nobody makes an RDMA device of a NIC that comes to vm0.
    in_guest(pair, "vm0", "chmod a-x /bin/nics")
    try:
        running = start(program, "hw", tmp_path / "run", "--cluster", pair.cluster_file, "--yes",
                        "--set", "migrations.*.timeouts.attach=15s")  # fmt: skip
        said, _ = running.communicate(timeout=600)
    finally:
        in_guest(pair, "vm0", "chmod a+x /bin/nics && ACTION=add /bin/nics")
    (job,) = table(tmp_path / "run", "jobs.csv")
    assert job["reason"].startswith("rank 0 in vm0 on host0: a device has not come back: after 15s: "), (job, said)
    assert "there is none at all; it was rxe" in job["reason"], job
    # While the two were on one host they needed none; the moves themselves went well.
    assert [row["outcome"] for row in table(tmp_path / "run", "migrations.csv")] == ["completed", "completed"]
    for vm in ["vm0", "vm1"]:
        assert in_guest(pair, vm, "pidof ferry-rank || echo none").strip() == "none"
