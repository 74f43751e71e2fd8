"""The way of an assigned PCI function (`<hostdev managed='yes'>`), for real: in an emulated machine with an IOMMU and SR-IOV,
whose two hosts have a virtual function each. FERRY_LAB_HOSTDEV=1 runs it: some minutes."""

import os

import pytest
from ferry_lab.image import image
from ferry_lab.machine import HOSTDEV, run_machine, steps_told

pytestmark = pytest.mark.skipif("FERRY_LAB_HOSTDEV" not in os.environ, reason="takes minutes: FERRY_LAB_HOSTDEV=1 runs it")
NVME = "0x010802"


@pytest.fixture(scope="module")
def steps(lab_is_possible, program, tmp_path_factory):
    console = run_machine(HOSTDEV, tmp_path_factory.mktemp("machine"), image(), program, 1200)
    found = steps_told(console)
    assert "after back" in found, console[-6000:]
    return found


def test_libvirt_moves_no_guest_with_an_assigned_function(steps):
    assert NVME in steps["assigned"]["classes"]
    assert "VFIO device doesn't support migration" in steps["libvirt"]["refuses"]


def test_ferry_moves_no_guest_with_a_function_that_the_cluster_file_does_not_name(steps):
    assert steps["unnamed"]["status"] != 0
    assert "which is not the virtual function that the cluster file names" in steps["unnamed"]["said"]
    assert steps["after unnamed"]["host"] == "host0"
    assert steps["after unnamed"]["holds"] == steps["assigned"]["holds"]
    assert steps["after unnamed"]["ivshmem"]


def test_doctor_finds_the_functions(steps):
    assert steps["doctor"]["status"] == 0, steps["doctor"]["said"]
    assert "0000:01:00.1 are there" in steps["doctor"]["said"]


def test_ferry_host_knows_functions_groups_and_who_has_one(steps):
    if "report" not in steps:
        pytest.skip("ferry-host is not built")
    report = steps["report"]["report"]
    assert report["iommu"]["on"] and "intel_iommu=on" in report["iommu"]["options"]
    (adapter,) = report["adapters"]
    assert (adapter["name"], adapter["driver"], adapter["functions_possible"]) == ("", "nvme", 2)
    first, second = adapter["functions"]
    assert (first["pci"], second["pci"]) == ("0000:01:00.1", "0000:01:00.2")
    assert first["driver"] == second["driver"] == "vfio-pci"
    assert first["group"] != second["group"] and first["group_peers"] == second["group_peers"] == []
    assert (first["user"]["guest"], second["user"]) == ("vm0", None)
    assert adapter["bridges"][0]["acs"] in ("on", "off", "absent")


@pytest.mark.parametrize(("move", "host", "function"), [("there", "host1", "0x2"), ("back", "host0", "0x1")])
def test_a_vm_gets_the_function_of_the_host_where_it_goes(steps, move, host, function):
    assert steps[move]["status"] == 0, steps[move]["said"]
    after = steps[f"after {move}"]
    assert (after["host"], after["holds"]["function"], after["ivshmem"]) == (host, function, True)
    assert after["at"] == steps["assigned"]["at"], "its guest sees it where it was"
    assert NVME in after["classes"]
