"""A real controller is killed before, within and after a record of its journal; `ferry resume` brings the VM to rest.

The exact moment is `kill_at_record.c`'s. A few records, drawn by FERRY_LAB_SEED (1), or with FERRY_LAB_EVERY_RECORD=1 all
of them, with a table of what became of each.
"""

import os
import random
import re
import subprocess
from pathlib import Path

import pytest
from ferry_lab import guest
from ferry_lab.lab import in_parallel
from ferry_program import Ferry, check_whole

EVERY = "FERRY_LAB_EVERY_RECORD" in os.environ
SEED = int(os.environ.get("FERRY_LAB_SEED", "1"))

MOVED, STAYED, EITHER = {"moved"}, {"stayed"}, {"moved", "stayed"}
# The records of one move (those of the two devices may change places), by phase; and where the VM must end if the controller
# does before the record is there, and after. What had not begun is begun; what has not arrived goes back.
RECORDS = {
    "begin": {"controller 1": (MOVED, MOVED), "wave 1 opens": (MOVED, STAYED)},
    "set_pre_migration": {"wave 1 suspended": (STAYED, STAYED)},
    "devices go": {
        "detach_vf vm0": (STAYED, STAYED),
        "remove_ivshmem vm0": (STAYED, STAYED),
        "done detach_vf vm0": (STAYED, STAYED),
        "done remove_ivshmem vm0": (STAYED, STAYED),
    },
    "migration": {
        "migration vm0": (STAYED, STAYED),
        "round vm0 1": (EITHER, EITHER),
        "round vm0 2": (EITHER, EITHER),
        "done migration vm0": (MOVED, MOVED),
    },
    "devices come": {
        "attach_vf vm0": (MOVED, MOVED),
        "add_ivshmem vm0": (MOVED, MOVED),
        "done attach_vf vm0": (MOVED, MOVED),
        "done add_ivshmem vm0": (MOVED, MOVED),
    },
    "set_post_migration": {
        "rest vm0": (MOVED, MOVED),
        "wave 1 reactivates": (MOVED, MOVED),
        "wave 1 closed": (MOVED, MOVED),
        "controller ends": (MOVED, MOVED),
    },
}
WHEN = ["before", "torn", "after"]
# The controller that resumes is killed as well; another one resumes.
TWICE = {
    ("before done remove_ivshmem vm0", "after add_ivshmem vm0"): STAYED,
    ("after detach_vf vm0", "before done attach_vf vm0"): STAYED,
    ("after migration vm0", "torn rest vm0"): STAYED,
    ("before round vm0 2", "after controller 2"): EITHER,
    ("after done migration vm0", "after attach_vf vm0"): MOVED,
    ("torn rest vm0", "before wave 1 reactivates"): MOVED,
}


def moments():
    """(when and record) -> allowed ends; of all records, or of one in each phase, each way equally often."""
    drawn = random.Random(SEED)
    ways = drawn.sample(WHEN, len(WHEN)) * 2
    chosen = {}
    for records in RECORDS.values():
        of_sample = drawn.choice(list(records)), ways.pop()
        for record, (before, after) in records.items():
            for when in WHEN:
                if EVERY or (record, when) == of_sample:
                    chosen[f"{when} {record}"] = after if when == "after" else before
    return chosen


def pairs():
    return list(TWICE.items()) if EVERY else [random.Random(SEED).choice(list(TWICE.items()))]


@pytest.fixture(scope="module")
def killer(tmp_path_factory):
    library = tmp_path_factory.mktemp("killer") / "kill_at_record.so"
    source = Path(__file__).with_name("kill_at_record.c")
    subprocess.run(["cc", "-O2", "-shared", "-fPIC", "-Wall", "-Wextra", "-Werror", "-o", library, source], check=True)
    return library


@pytest.fixture
def boot(four):
    """Of vm0's guest."""
    with four.domain("vm0") as domain:
        return boot_of(domain)


def boot_of(domain):
    return guest.run(domain, "cat /proc/sys/kernel/random/boot_id")


def kill_at(killer, moment):
    return {**os.environ, "LD_PRELOAD": str(killer), "FERRY_LAB_KILL": moment}


def records_of(journal):
    return [line.split(" ", 2)[2] for line in journal.read_text().splitlines() if re.match(r"\d+ [0-9a-f]{8} \S", line)]


def check_record(journal, moment):
    """The journal ends before the record, within it, or with it, as asked."""
    when, record = moment.split(" ", 1)
    text = journal.read_text()
    *whole, last = text.splitlines() or [""]
    assert text.endswith("\n") != (when == "torn") or not text
    if when == "after":
        assert last.split(" ", 2)[2].startswith(f"{record} "), text
    known = [f"{name} " for records in RECORDS.values() for name in records] + ["round vm0 "]
    of_first = [line.split(" ", 2)[2] for line in whole]
    of_first = of_first[: next((i for i, line in enumerate(of_first) if line.startswith("controller 2 ")), None)]
    for line in of_first:
        assert line.startswith(tuple(known)), f"a record that this test does not know: {line}"


def there_and_back(four):
    """The move of vm0 to the host where it is not, and the two hosts."""
    here = four.host_of("vm0").name
    there = {"host0": "host1", "host1": "host0"}[here]
    return here, there, ["--set", "vms.vm.count=1", "--set", f"vms.vm.on={here}", "--set", f"migrations.leave.to={there}"]


def check_end(four, ferry, boot, ends, here, there, resumed):
    """DESIGN's invariant: exactly one host, all devices, the guest lives on, and nothing is held or left to do."""
    host = four.host_of("vm0").name
    said = resumed.stdout + resumed.stderr
    assert ("moved" if host == there else "stayed") in ends, said
    assert resumed.returncode == (0 if host == there else 1), said
    (move,) = ferry.table("migrations.csv")
    assert (move["from"], move["to"], move["outcome"]) == (here, host, "completed" if host == there else "rolled_back")
    check_whole(four, "vm0", host)
    with four.domain("vm0") as domain:
        assert boot_of(domain) == boot, "the guest was started anew"
        assert "ferry:move" not in domain.XMLDesc(), "its metadata say that it still moves"
    again = subprocess.run([ferry.program, "resume", ferry.out], text=True, capture_output=True, timeout=300)
    assert again.returncode == 0
    assert "nothing is left to do" in again.stdout + again.stderr
    return host


@pytest.fixture
def tell(capsys):
    def line(*words):
        if EVERY:
            with capsys.disabled():
                print(" | ".join(map(str, words)))

    return line


@pytest.mark.parametrize(("moment", "ends"), moments().items(), ids=list(moments()))
def test_a_controller_may_be_killed_at_any_record(program, four, boot, killer, tmp_path, tell, moment, ends):
    ferry = Ferry(program, four, tmp_path)
    here, there, move = there_and_back(four)
    running = ferry.start("sequential_four.yaml", *move, environment=kill_at(killer, moment))
    said = running.communicate(timeout=300)
    assert running.returncode == -9, said
    if moment not in ("before controller 1", "torn controller 1"):
        check_record(ferry.out / "journal", moment)
    resumed = subprocess.run([program, "resume", ferry.out, "--quiet"], text=True, capture_output=True, timeout=300)
    host = check_end(four, ferry, boot, ends, here, there, resumed)
    tell(f"\n{moment}", f"resume: exit status {resumed.returncode}", ferry.table("migrations.csv")[0]["outcome"], f"whole on {host}")


@pytest.mark.parametrize(("moments", "ends"), pairs(), ids=[" and ".join(moments) for moments, _ in pairs()])
def test_the_controller_that_resumes_may_be_killed_too(program, four, boot, killer, tmp_path, tell, moments, ends):
    ferry = Ferry(program, four, tmp_path)
    here, there, move = there_and_back(four)
    first = ferry.start("sequential_four.yaml", *move, environment=kill_at(killer, moments[0]))
    first.communicate(timeout=300)
    second = subprocess.run([program, "resume", ferry.out, "--quiet"], text=True, capture_output=True, timeout=300,
                            env=kill_at(killer, moments[1]))  # fmt: skip
    assert (first.returncode, second.returncode) == (-9, -9), second.stdout + second.stderr
    check_record(ferry.out / "journal", moments[1])
    third = subprocess.run([program, "resume", ferry.out, "--quiet"], text=True, capture_output=True, timeout=300)
    host = check_end(four, ferry, boot, ends, here, there, third)
    tell(f"\n{moments[0]}; {moments[1]}", f"resume: exit status {third.returncode}", ferry.table("migrations.csv")[0]["outcome"],
         f"whole on {host}")  # fmt: skip


def test_what_had_not_begun_when_the_controller_was_killed_is_done_by_the_next(program, four, killer, tmp_path):
    in_parallel(four.bring_home, list(four.vms))
    ferry = Ferry(program, four, tmp_path)
    running = ferry.start("sequential_four.yaml", "--set", "migrations.leave.vms=vm[0-1]",
                          environment=kill_at(killer, "after migration vm0"))  # fmt: skip
    running.communicate(timeout=300)
    assert running.returncode == -9
    resumed = subprocess.run([program, "resume", ferry.out, "--quiet"], text=True, capture_output=True, timeout=300)
    assert resumed.returncode == 1, resumed.stdout + resumed.stderr
    assert {vm: move["outcome"] for vm, move in ferry.moves().items()} == {"vm0": "rolled_back", "vm1": "completed"}
    check_whole(four, "vm0", "host0")
    check_whole(four, "vm1", "host1")
