"""A real controller is killed at every record of its journal in turn; `ferry resume` brings the VM to rest each time."""

import os
import re
import subprocess

import pytest
from ferry_lab.processes import wait_until
from ferry_program import Ferry, check_whole

RECORD = re.compile(r"^\d+ [0-9a-f]{8} .*\n", re.MULTILINE)
MOVE = ("sequential_four.yaml", "--set", "migrations.leave.vms=vm0")


@pytest.mark.skipif("FERRY_LAB_EVERY_RECORD" not in os.environ, reason="takes minutes: FERRY_LAB_EVERY_RECORD=1 runs it")
def test_a_controller_may_be_killed_at_any_record(program, four, tmp_path):
    whole = Ferry(program, four, tmp_path / "whole")
    (tmp_path / "whole").mkdir()
    status, told = whole.run(*MOVE)
    assert status == 0, told
    records = len(RECORD.findall((whole.out / "journal").read_text()))
    assert records > 10
    four.bring_home("vm0")

    ends = {}
    for number in range(1, records + 1):
        folder = tmp_path / f"record{number}"
        folder.mkdir()
        ferry = Ferry(program, four, folder)
        running = ferry.start(*MOVE)
        journal = ferry.out / "journal"

        def is_recorded():
            return running.poll() is not None or journal.exists() and len(RECORD.findall(journal.read_text())) >= number

        wait_until(f"record {number}", 120, is_recorded, every=0.001)
        running.kill()
        running.communicate(timeout=60)
        seen = len(RECORD.findall(journal.read_text()))
        assert seen >= number
        if seen < records:
            resumed = subprocess.run([program, "resume", ferry.out, "--quiet"], text=True, capture_output=True, timeout=300)
            assert resumed.returncode in (0, 1), f"record {number}: {resumed.stdout}{resumed.stderr}"
        host = four.host_of("vm0").name
        check_whole(four, "vm0", host)
        ends[number] = (seen, host)
        four.bring_home("vm0")
    print(f"killed at {records} records; (records there, host in the end): {ends}")
    assert {host for _, host in ends.values()} <= {"host0", "host1"}
