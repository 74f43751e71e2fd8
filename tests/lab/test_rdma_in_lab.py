"""Memory over RDMA (`transport: rdma`), for real: in an emulated machine with an RDMA device in software (rxe), whose two
hosts' QEMUs use it. FERRY_LAB_RDMA=1 runs it: some minutes. What Ferry says where there is no RDMA is tried in every lab."""

import os

import pytest
import yaml
from conftest import SCENARIOS
from ferry_lab.image import image
from ferry_lab.machine import RDMA, run_machine, steps_told
from ferry_program import Ferry, check_whole

MIB = 1 << 20
in_machine = pytest.mark.skipif("FERRY_LAB_RDMA" not in os.environ, reason="takes minutes: FERRY_LAB_RDMA=1 runs it")


@pytest.fixture(scope="module")
def steps(lab_is_possible, program, tmp_path_factory):
    console = run_machine(RDMA, tmp_path_factory.mktemp("machine"), image(), program, 1500)
    found = steps_told(console)
    assert "after interrupted" in found, console[-6000:]
    return found


def check_moved(steps, step, host):
    """The VM went to the host with all its devices, and QEMU used the RDMA device there. Returns its row of figures."""
    assert steps[step]["status"] == 0, steps[step]["said"]
    after = steps[f"after {step}"]
    assert (after["host"], after["nic"], after["ivshmem"], after["answers"]) == (host, True, True, True)
    assert any("RDMA Device opened: kernel name rxe0" in line for line in after["qemu"]), after["qemu"]
    (row,) = steps[f"{step}: figures"]["moves"]
    assert (row["outcome"], row["transport"], row["to"]) == ("completed", "rdma", host)
    return row


def check_stayed(steps, step):
    """The VM runs on host0 with all its devices."""
    assert steps[step]["status"] != 0, steps[step]["said"]
    after = steps[f"after {step}"]
    assert (after["host"], after["nic"], after["ivshmem"], after["answers"]) == ("host0", True, True, True)


@in_machine
def test_all_memory_is_sent_when_it_is_pinned(steps):
    row = check_moved(steps, "there", "host1")
    assert float(row["bytes"]) >= 160 * MIB, "zero pages are sent too"
    assert steps["before"]["limit"] is None
    assert steps["after there"]["limit"] == str(1184 << 10), "Ferry gave the domain the hard_limit that libvirt wants"


@in_machine
def test_zero_pages_stay_behind_when_memory_is_not_pinned(steps):
    row = check_moved(steps, "back", "host0")
    assert 0.5 * steps["before"]["nonzero"] < float(row["bytes"]) < 150 * MIB


@in_machine
def test_an_address_without_an_rdma_device_is_explained(steps):
    check_stayed(steps, "elsewhere")
    assert "is of no RDMA device of the destination" in steps["elsewhere"]["said"]


@in_machine
def test_a_vm_stays_when_its_move_is_interrupted(steps):
    check_stayed(steps, "interrupted")
    assert steps["interrupted"]["status"] == 130


@pytest.fixture
def reached_by_rdma(lab):
    """The shared lab, as if its hosts had addresses in an InfiniBand network."""
    before = lab.cluster_file.read_text()
    cluster = yaml.safe_load(before)
    for name, host in cluster["hosts"].items():
        host["migrate"]["rdma"] = f"rdma://{lab.host(name).address}"
    lab.cluster_file.write_text(yaml.safe_dump(cluster))
    yield lab
    lab.cluster_file.write_text(before)


def test_a_limit_that_libvirt_cannot_set_is_told_before_anything_is_touched(program, reached_by_rdma, tmp_path):
    ferry = Ferry(program, reached_by_rdma, tmp_path)
    changes = ["platform=../platforms/chameleon-fdr.yaml", "migrations.there.transport=rdma", "migrations.back.transport=rdma"]
    status, said = ferry.run("two_vms.yaml", *[word for change in changes for word in ["--set", change]])
    assert status == 3, said
    assert "vm0 has no <memtune><hard_limit>, which libvirt wants for RDMA" in said
    assert "libvirt cannot set it for a running domain there" in said
    for vm, host in [("vm0", "host0"), ("vm1", "host1")]:
        check_whole(reached_by_rdma, vm, host)
