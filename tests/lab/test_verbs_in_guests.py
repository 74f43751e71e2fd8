"""Ranks over verbs, for real: in guests with an RDMA device in software (rxe), which this machine's kernel need not have. The
contract of fabrics, the semantic tests of the MPI engine, and pairs of ranks whose connections break and whose devices go
and come back under another name."""

import os
import re
from pathlib import Path

import pytest
from ferry_lab.machine import VERBS, joined_by_a_cable, run_machines

ROOT = Path(__file__).resolve().parents[2]
# Not those with hundreds of connections: they pass and take minutes where everything is emulated.
SEMANTICS = ["PointToPoint.*", "Communicators.*", "Endings.*", "CollectivesByHand.*", "Collectives.take_the_lock*"]

ONE = """
export MALLOC_PERTURB_=85  # memory that is used after it was freed is seen
status() { echo "STATUS $1 $2"; }
/lab/contract_test --gtest_brief=1 --gtest_filter='*/verbs'; status contract $?
/lab/mpi_test --gtest_brief=1 --gtest_filter='SEMANTICS:-*ten_thousand*'; status semantics $?
/lab/verbs_pair 1 10.78.0.1:7000 10.78.0.1:7001 & other=$!
/lab/verbs_pair 0 10.78.0.1:7000 10.78.0.1:7001; status pair0 $?
wait $other; status pair1 $?
""".replace("SEMANTICS", ":".join(f"Worlds/{name}/verbs*" for name in SEMANTICS))

# What a hypervisor and a guest do when a virtual function goes and another one comes.
RENEW = "rdma link del rxe0 && ip link set eth0 down && ip link set eth0 up && rdma link add other0 type rxe netdev eth0"
TWO = f"""
export MALLOC_PERTURB_=85  # memory that is used after it was freed is seen
/lab/verbs_pair $1 10.78.0.1:7000 10.78.0.2:7001 --renew '{RENEW}'
echo "STATUS pair$1 $?"
rdma link
"""


@pytest.fixture(scope="module")
def programs():
    found = Path(os.environ.get("FERRY_BIN", ROOT / "build/both/controller/cli/ferry")).resolve().parents[2] / "tests"
    if not (found / "verbs/verbs_pair").exists():
        pytest.skip(f"{found}/verbs/verbs_pair is not built (FERRY_VERBS is OFF, or libibverbs is missing)")
    return [found / "verbs/verbs_pair", found / "contract/contract_test", found / "mpi/mpi_test"]


def run(machines, folder, programs, steps):
    (folder / "steps.sh").write_text(steps)
    return run_machines(machines, folder, [*programs, folder / "steps.sh"], 600)


def statuses(console):
    return dict(re.findall(r"^STATUS (\w+) (\d+)", console, flags=re.M))


def test_contract_and_semantics_hold_in_a_guest(lab_is_possible, programs, tmp_path):
    (console,) = run([VERBS], tmp_path, programs, ONE)
    assert statuses(console) == {"contract": "0", "semantics": "0", "pair0": "0", "pair1": "0"}, console[-6000:]
    passed = [int(count) for count in re.findall(r"PASSED.*?(\d+) tests?", console)]
    assert len(passed) == 2 and min(passed) >= 20, "they were skipped: " + console[-6000:]


def test_two_guests_talk_while_links_break_and_a_device_is_renewed(lab_is_possible, programs, tmp_path):
    consoles = run(joined_by_a_cable(tmp_path), tmp_path, programs[:1], TWO)
    for number, console in enumerate(consoles):
        assert statuses(console) == {f"pair{number}": "0"}, console[-6000:]
        for step in ["packets", "reads", "unregistered memory", "broken links", "device closed and opened", "device renewed", "all well"]:
            assert f"rank {number}: {step}" in console
    assert "link other0/1 state ACTIVE" in consoles[1]
