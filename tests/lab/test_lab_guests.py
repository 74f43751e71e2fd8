"""What runs in the guests, and that their memory is as asked."""

import re
import time
from dataclasses import replace

import pytest
from conftest import plan
from ferry_lab import guest
from ferry_lab import lab as labs
from ferry_lab.image import READY_MARKER

MIB = 1 << 20


def test_every_guest_boots_and_answers(lab, vms_wanted):
    assert len(lab.vms) == vms_wanted
    for vm in lab.vms.values():
        assert lab.host_of(vm.name).name == vm.host
        assert READY_MARKER in lab.host(vm.host).console(vm.name)
        with lab.domain(vm.name) as domain:
            assert guest.run(domain, "hostname").strip() == vm.name
            assert guest.run(domain, "cat /sys/class/net/eth0/address").strip() == vm.mac


@pytest.fixture(scope="module")
def host_of_two(lab_is_possible, tmp_path_factory):
    """One host with two guests that are unlike."""
    hosts, vms = plan(hosts=1, vms=2, ivshmem=4 * MIB)
    vms[0] = replace(vms[0], zero=0.45, vcpus=2, working_set=16 * MIB, dirty_rate=4_000_000)
    vms[1] = replace(vms[1], zero=0.3, virtual_function=False)
    with labs.up(tmp_path_factory.mktemp("lab") / "two", hosts, vms) as lab:
        yield lab


def test_domains_have_the_devices_that_are_unplugged(host_of_two):
    with host_of_two.domain("vm0") as domain:
        description = domain.XMLDesc()
        assert "<alias name='ua-vf0'/>" in description
        assert "<alias name='ua-shm0'/>" in description
        assert domain.maxVcpus() == 2
        assert domain.maxMemory() == 160 * 1024
    with host_of_two.domain("vm1") as domain:
        assert "ua-vf0" not in domain.XMLDesc()


def test_two_guests_of_a_host_share_a_region(host_of_two):
    """The first writes into its IVShmem device; the host's memory has it, which is what the other maps."""
    assert host_of_two.host("host0").run("stat", "-c", "%s", "/dev/shm/ferry-shm0").strip() == str(4 * MIB)
    for vm in ["vm0", "vm1"]:
        with host_of_two.domain(vm) as domain:
            devices = guest.run(domain, "grep -l 0x1110 /sys/bus/pci/devices/*/device").split()
            assert len(devices) == 1
            assert guest.run(domain, f"stat -c %s {devices[0].removesuffix('device')}resource2").strip() == str(4 * MIB)


@pytest.mark.parametrize("vm", ["vm0", "vm1"])
def test_as_much_memory_is_not_zero_as_was_asked(host_of_two, vm):
    asked = host_of_two.vms[vm].nonzero
    status = host_of_two.dirty_status(vm)
    assert status["nonzero_asked"] == asked
    assert status["nonzero"] == pytest.approx(asked, rel=0.04)
    assert host_of_two.off_the_mark() == []


def test_a_guest_that_cannot_have_so_many_zero_pages_is_told(host_of_two):
    wanted = replace(host_of_two.vms["vm0"], name="eager", zero=0.9)
    try:
        host_of_two.vms["eager"] = wanted
        host_of_two.nonzero["eager"] = host_of_two.nonzero["vm0"]
        (told,) = host_of_two.off_the_mark()
        assert re.fullmatch(r"eager: 4[3-6]% of its memory is zero, not 90%: its kernel alone writes more", told)
    finally:
        del host_of_two.vms["eager"], host_of_two.nonzero["eager"]


def test_a_guest_dirties_its_working_set_at_the_rate_that_is_set(host_of_two):
    first = host_of_two.dirty_status("vm0")
    assert first["working_set"] == 16 * MIB
    assert first["rate"] == 4_000_000
    host_of_two.set_dirty_rate("vm0", 1_000_000)
    time.sleep(2)
    status = host_of_two.dirty_status("vm0")
    assert status["rate"] == 1_000_000
    # On a busy machine the guest gets less done, but never more.
    assert 0 < status["dirtied"] <= 1_000_000 * status["seconds"] * 1.01
    host_of_two.set_dirty_rate("vm0", 0)
    time.sleep(0.2)
    assert host_of_two.dirty_status("vm0")["dirtied"] == 0
