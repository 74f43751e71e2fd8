"""Ferry moves real guests: the scenarios of scenarios/lab, and faults in the midst of them."""

import signal
import time

import pytest
from ferry_lab import guest
from ferry_lab.lab import in_parallel
from ferry_lab.processes import wait_until
from ferry_program import Ferry, check_whole, under_way

PHASES = ["set_pre_migration", "detach_vf", "remove_ivshmem", "migration", "attach_vf", "add_ivshmem", "set_post_migration"]


@pytest.fixture
def ferry(program, four, tmp_path):
    """Every VM is at home."""
    in_parallel(four.bring_home, list(four.vms))
    return Ferry(program, four, tmp_path)


@pytest.mark.parametrize("scenario", ["sequential_four.yaml", "parallel_four.yaml"])
def test_four_vms_leave_a_host(ferry, four, scenario):
    status, said = ferry.run(scenario)
    assert status == 0, said
    moves = ferry.moves()
    assert list(moves) == ["vm0", "vm1", "vm2", "vm3"]
    for vm, move in moves.items():
        assert (move["from"], move["to"], move["outcome"]) == ("host0", "host1", "completed")
        assert sum(float(move[f"{phase}_seconds"]) for phase in PHASES) == pytest.approx(float(move["total_seconds"]), abs=1e-6)
        assert float(move["migration_seconds"]) > 0
        assert 0 < float(move["downtime_seconds"]) < float(move["migration_seconds"])
        assert float(move["bytes"]) > 0.9 * four.vms[vm].nonzero
        check_whole(four, vm, "host1")
    spans = ferry.spans()
    assert {(span["vm"], span["phase"]) for span in spans} == {(vm, phase) for vm in moves for phase in PHASES}
    if scenario == "sequential_four.yaml":
        ends = [max(float(span["end_seconds"]) for span in spans if span["vm"] == vm) for vm in moves]
        starts = [min(float(span["start_seconds"]) for span in spans if span["vm"] == vm) for vm in moves]
        assert all(end <= start for end, start in zip(ends, starts[1:], strict=False)), "one at a time"


ONE = ["--set", "migrations.leave.vms=vm0"]
SLOW = ["--set", "migrations.leave.memory.bandwidth_limit=8MiB/s"]


def test_a_destination_that_cannot_start_qemu_leaves_the_vm_whole_at_its_source(ferry, four):
    four.host("host1").refuse_qemu("no room at the inn")
    try:
        status, said = ferry.run("sequential_four.yaml", *ONE)
    finally:
        four.host("host1").accept_qemu()
    assert status == 1, said
    move = ferry.moves()["vm0"]
    assert move["outcome"] == "rolled_back"
    assert "no room at the inn" in move["reason"]
    check_whole(four, "vm0", "host0")


def test_a_destination_that_can_attach_no_function_gives_the_vm_back_whole(ferry, four):
    four.host("host1").refuse_nics()
    try:
        status, said = ferry.run("sequential_four.yaml", *ONE)
    finally:
        four.host("host1").accept_nics()
    assert status == 1, said
    move = ferry.moves()["vm0"]
    assert move["outcome"] == "rolled_back"
    assert "br0" in move["reason"]
    check_whole(four, "vm0", "host0")


def test_a_destination_that_attaches_at_the_second_attempt_keeps_the_vm(ferry, four):
    four.host("host1").refuse_nics()
    try:
        running = ferry.start("sequential_four.yaml", *ONE, "--set", "migrations.leave.retry.attempts=20", "--set", "migrations.leave.retry.wait=1s")
        wait_until("vm0 is on host1", 120, lambda: any(guest.runs(process, "vm0") for process in four.host("host1").guests()))
        wait_until("vm0 has left host0", 120, lambda: not any(guest.runs(process, "vm0") for process in four.host("host0").guests()))
        time.sleep(1)
    finally:
        four.host("host1").accept_nics()
    said = "".join(running.communicate(timeout=300))
    assert running.returncode == 0, said
    assert ferry.moves()["vm0"]["outcome"] == "completed"
    attached = [span["outcome"] for span in ferry.spans() if span["phase"] == "attach_vf"]
    assert attached[0] != "completed"
    assert attached[-1] == "completed"
    check_whole(four, "vm0", "host1")


def test_a_destination_whose_libvirtd_dies_in_mid_migration_leaves_the_vm_whole_at_its_source(ferry, four):
    running = ferry.start("sequential_four.yaml", *ONE, *SLOW)
    under_way(four, "vm0", "host0")
    four.host("host1").kill_libvirtd()
    said = "".join(running.communicate(timeout=300))
    four.host("host1").start_libvirtd()
    assert running.returncode == 1, said
    move = ferry.moves()["vm0"]
    assert move["outcome"] == "rolled_back"
    assert move["reason"]
    wait_until("what had begun to take vm0 is gone", 60, lambda: not any(guest.runs(p, "vm0") for p in four.host("host1").guests()))
    check_whole(four, "vm0", "host0")


def test_the_first_ctrl_c_lets_the_move_finish_and_starts_no_other(ferry, four):
    running = ferry.start("sequential_four.yaml", "--set", "migrations.leave.memory.bandwidth_limit=32MiB/s")
    under_way(four, "vm0", "host0")
    running.send_signal(signal.SIGINT)
    said = "".join(running.communicate(timeout=300))
    assert running.returncode == 130, said
    assert ferry.moves()["vm0"]["outcome"] == "completed"
    check_whole(four, "vm0", "host1")
    for vm in ["vm1", "vm2", "vm3"]:
        check_whole(four, vm, "host0")


def test_the_second_ctrl_c_takes_the_move_back(ferry, four):
    running = ferry.start("sequential_four.yaml", *ONE, *SLOW)
    under_way(four, "vm0", "host0")
    running.send_signal(signal.SIGINT)
    time.sleep(0.5)
    running.send_signal(signal.SIGINT)
    said = "".join(running.communicate(timeout=300))
    assert running.returncode == 130, said
    assert ferry.moves()["vm0"]["outcome"] == "cancelled"
    check_whole(four, "vm0", "host0")


def test_a_run_on_a_cluster_that_does_not_fit_the_scenario_touches_nothing(ferry, four):
    before = {}
    for vm in four.vms:
        with four.domain(vm) as domain:
            before[vm] = domain.XMLDesc()
    status, said = ferry.run("sequential_four.yaml", "--set", "vms.vm.memory=192MiB")
    assert status in (2, 3), said
    assert "160MiB" in said and "192MiB" in said
    for vm, description in before.items():
        with four.domain(vm) as domain:
            assert domain.XMLDesc() == description


# Faster than the migration may send: it would never end by itself.
RESTLESS = 60_000_000


@pytest.mark.parametrize(
    ("on_stall", "outcomes", "reason"),
    [
        ("[abort]", ["rolled_back"], "did not converge in 2 rounds"),
        ("[postcopy, abort]", ["completed"], "did not converge in 2 rounds: post-copy"),
        # The throttled guest may be slow enough in time, or not.
        ("[auto_converge, abort]", ["completed", "rolled_back"], "did not converge in 2 rounds: throttled (auto_converge)"),
    ],
)
def test_a_migration_that_does_not_converge_ends_as_on_stall_says(program, lab, tmp_path, on_stall, outcomes, reason):
    ferry = Ferry(program, lab, tmp_path)
    changes = ["migrations.leave.memory.bandwidth_limit=64MiB/s", "migrations.leave.memory.downtime_limit=10ms",
               "migrations.leave.memory.max_rounds=2", f"migrations.leave.memory.on_stall={on_stall}"]  # fmt: skip
    lab.set_dirty_rate("vm0", RESTLESS)
    try:
        status, said = ferry.run("dirtying.yaml", *(word for change in changes for word in ["--set", change]))
        move = ferry.moves()["vm0"]
        assert move["outcome"] in outcomes, said
        assert status == (0 if move["outcome"] == "completed" else 1)
        assert reason in move["reason"]
        check_whole(lab, "vm0", "host1" if move["outcome"] == "completed" else "host0")
    finally:
        lab.set_dirty_rate("vm0", 0)
        lab.bring_home("vm0")
