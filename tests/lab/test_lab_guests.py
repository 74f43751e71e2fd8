"""What runs in the guests, and that their memory is as asked."""

import re
import time
from dataclasses import replace

import pytest
from ferry_lab import guest
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


def test_domains_have_the_devices_that_are_unplugged(unlike):
    with unlike.domain("vm0") as domain:
        description = domain.XMLDesc()
        assert "<alias name='ua-vf0'/>" in description
        assert "<alias name='ua-shm0'/>" in description
        assert domain.maxVcpus() == 1
        assert domain.maxMemory() == 160 * 1024
    with unlike.domain("vm1") as domain:
        assert "ua-vf0" not in domain.XMLDesc()
        assert domain.maxVcpus() == 2
        assert domain.maxMemory() == 256 * 1024


def test_two_guests_of_a_host_share_a_region(unlike):
    """The first writes into its IVShmem device; the host's memory has it, which is what the other maps."""
    assert unlike.host("host0").run("stat", "-c", "%s", "/dev/shm/ferry-shm0").strip() == str(4 * MIB)
    for vm in ["vm0", "vm1"]:
        with unlike.domain(vm) as domain:
            devices = guest.run(domain, "grep -l 0x1110 /sys/bus/pci/devices/*/device").split()
            assert len(devices) == 1
            assert guest.run(domain, f"stat -c %s {devices[0].removesuffix('device')}resource2").strip() == str(4 * MIB)


@pytest.mark.parametrize("vm", ["vm0", "vm1"])
def test_as_much_memory_is_not_zero_as_was_asked(unlike, vm):
    asked = unlike.vms[vm].nonzero
    status = unlike.dirty_status(vm)
    assert status["nonzero_asked"] == asked
    assert status["nonzero"] == pytest.approx(asked, rel=0.04)
    assert unlike.off_the_mark() == []


def test_a_guest_that_cannot_have_so_many_zero_pages_is_told(unlike):
    wanted = replace(unlike.vms["vm0"], name="eager", zero=0.9)
    try:
        unlike.vms["eager"] = wanted
        unlike.nonzero["eager"] = unlike.nonzero["vm0"]
        (told,) = unlike.off_the_mark()
        assert re.fullmatch(r"eager: 4[3-6]% of its memory is zero, not 90%: its kernel alone writes more", told)
    finally:
        del unlike.vms["eager"], unlike.nonzero["eager"]


def test_a_guest_dirties_its_working_set_at_the_rate_that_is_set(unlike):
    first = unlike.dirty_status("vm1")
    assert first["working_set"] == 16 * MIB
    assert first["rate"] == 1_000_000
    unlike.set_dirty_rate("vm1", 4_000_000)
    time.sleep(1)
    status = unlike.dirty_status("vm1")
    assert status["rate"] == 4_000_000
    # On a busy machine the guest gets less done, but never more.
    assert 0 < status["dirtied"] <= 4_000_000 * status["seconds"] * 1.01
    unlike.set_dirty_rate("vm1", 0)
    time.sleep(0.2)
    assert unlike.dirty_status("vm1")["dirtied"] == 0
    unlike.set_dirty_rate("vm1", 1_000_000)
