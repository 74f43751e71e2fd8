"""Memory over a UNIX socket, as between hosts that share a path (`unix:///SOCKET` in the cluster file)."""

import shutil
import tempfile
from pathlib import Path

import pytest
import yaml
from conftest import SCENARIOS
from ferry_lab import lab as labs
from ferry_lab.scenario import read_scenario
from ferry_program import Ferry, check_whole


@pytest.fixture
def sharing(shared_labs, tmp_path):
    """The lab of two_vms.yaml, whose hosts share a folder."""
    shared_labs.down()  # one lab at a time
    shared = Path(tempfile.mkdtemp(prefix="ferry-lab-", dir="/dev/shm"))
    shared.chmod(0o1777)
    lab = labs.up(tmp_path / "lab", *read_scenario(SCENARIOS / "two_vms.yaml", []), devices=[f"shm/{shared.name}"])
    try:
        cluster = yaml.safe_load(lab.cluster_file.read_text())
        for name, host in cluster["hosts"].items():
            host["migrate"]["tcp"] = f"unix://{shared}/{name}"
        lab.cluster_file.write_text(yaml.safe_dump(cluster))
        yield lab
    finally:
        lab.down()
        shutil.rmtree(shared)


def test_two_vms_move_crosswise(program, sharing, tmp_path):
    ferry = Ferry(program, sharing, tmp_path)
    status, said = ferry.run("two_vms.yaml")
    assert status == 0, said
    for vm, move in ferry.moves().items():
        assert move["outcome"] == "completed"
        assert float(move["bytes"]) > 0.9 * sharing.vms[vm].nonzero
        check_whole(sharing, vm, move["to"])
