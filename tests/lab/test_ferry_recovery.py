"""The controller is killed in the midst of a real move; `ferry resume` brings the VM to rest, whole, on one host."""

import re
import subprocess

import pytest
from ferry_lab.processes import wait_until
from ferry_program import Ferry, check_whole

# The journal's record after which the controller is killed, as soon as that is seen; and where vm0 may be in the end.
MOMENTS = {
    "remove_ivshmem vm0": ["host0", "host1"],
    "done detach_vf vm0": ["host0", "host1"],
    "migration vm0 host0 host1": ["host0", "host1"],
    "done migration vm0": ["host1"],
    "attach_vf vm0 host1": ["host1"],
    # The function may be back without its end in the journal, and the mark in the domain still say that it was taken away.
    "done add_ivshmem vm0": ["host1"],
    "rest vm0": ["host1"],
}


@pytest.fixture
def ferry(program, four, tmp_path):
    """Afterwards every VM is brought home."""
    yield Ferry(program, four, tmp_path)
    for vm in four.vms:
        four.bring_home(vm)


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_move_whose_controller_was_killed_is_finished_or_taken_back(ferry, four, moment):
    running = ferry.start("sequential_four.yaml", "--set", "migrations.leave.vms=vm[0-1]",
                          "--set", "migrations.leave.memory.bandwidth_limit=64MiB/s")  # fmt: skip
    journal = ferry.out / "journal"
    record = re.compile(rf"^\d+ [0-9a-f]+ {re.escape(moment)}\b", re.MULTILINE)

    def is_recorded():
        return running.poll() is not None or journal.exists() and record.search(journal.read_text())

    wait_until(f"the journal has {moment!r}", 120, is_recorded, every=0.002)
    running.kill()
    said = "".join(running.communicate(timeout=60))
    assert journal.exists() and record.search(journal.read_text()), said

    resumed = subprocess.run([ferry.program, "resume", ferry.out, "--quiet"], text=True, capture_output=True, timeout=300)
    told = resumed.stdout + resumed.stderr
    assert resumed.returncode in (0, 1), told
    check_whole(four, "vm0", four.host_of("vm0").name)
    assert four.host_of("vm0").name in MOMENTS[moment], told
    # What had not begun is done afterwards.
    check_whole(four, "vm1", "host1")
