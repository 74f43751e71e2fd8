"""The contract of the ports (tests/contract) holds for real hypervisors: each of its tests, on the lab's VMs."""

import os
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MINE = "Worlds/VmContract.*/libvirt"


@pytest.fixture(scope="session")
def contract():
    program = Path(os.environ.get("FERRY_BIN", ROOT / "build/both/controller/cli/ferry")).resolve()
    found = program.parents[2] / "tests/contract/contract_test"
    if not found.exists():
        pytest.skip(f"{found} is not built")
    return found


def test_real_vms_keep_the_contract(contract, four):
    done = subprocess.run(
        [contract, f"--gtest_filter={MINE}"], text=True, capture_output=True, timeout=600,
        env={**os.environ, "FERRY_LAB_CLUSTER": str(four.cluster_file)},
    )  # fmt: skip
    if "not compiled in" in done.stdout:
        pytest.skip("this build has no real world (it was built without libvirt)")
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"\[  PASSED  \] [1-9]\d* test", done.stdout), done.stdout
    assert "SKIPPED" not in done.stdout, done.stdout
