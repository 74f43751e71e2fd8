"""What runs in the guests, and that their memory is as asked."""

import re
import time
from dataclasses import replace

import pytest
from ferry_lab import guest
from ferry_lab.image import READY_MARKER

MIB = 1 << 20


def test_every_guest_boots_and_answers(lab, vms_wanted):
    assert len(lab.vms) == vms_wanted + 1
    for vm in lab.vms.values():
        assert lab.host_of(vm.name).name == vm.host
        assert READY_MARKER in lab.host(vm.host).console(vm.name)
        with lab.domain(vm.name) as domain:
            assert guest.run(domain, "hostname").strip() == vm.name
            addresses = guest.run(domain, "cat /sys/class/net/e*/address || true").split()
            assert addresses == ([vm.mac] if vm.virtual_function else [])


def test_domains_have_the_devices_that_are_unplugged(lab):
    with lab.domain("vm0") as domain:
        description = domain.XMLDesc()
        assert "<alias name='ua-vf0'/>" in description
        assert "<alias name='ua-shm0'/>" in description
        assert domain.maxVcpus() == 1
        assert domain.maxMemory() == 160 * 1024
    with lab.domain("odd") as domain:
        assert "ua-vf0" not in domain.XMLDesc()
        assert domain.maxVcpus() == 2
        assert domain.maxMemory() == 256 * 1024


def test_two_guests_of_a_host_share_a_region(lab):
    """The first writes into its IVShmem device; the host's memory has it, which is what the other maps."""
    assert lab.host("host0").run("stat", "-c", "%s", "/dev/shm/ferry-shm0").strip() == str(4 * MIB)
    for vm in ["vm0", "odd"]:
        with lab.domain(vm) as domain:
            devices = guest.run(domain, "grep -l 0x1110 /sys/bus/pci/devices/*/device").split()
            assert len(devices) == 1
            assert guest.run(domain, f"stat -c %s {devices[0].removesuffix('device')}resource2").strip() == str(4 * MIB)


@pytest.mark.parametrize("vm", ["vm0", "odd"])
def test_as_much_memory_is_not_zero_as_was_asked(lab, vm):
    asked = lab.vms[vm].nonzero
    status = lab.dirty_status(vm)
    assert status["nonzero_asked"] == asked
    assert status["nonzero"] == pytest.approx(asked, rel=0.04)
    assert lab.off_the_mark() == []


def test_a_guest_that_cannot_have_so_many_zero_pages_is_told(lab):
    wanted = replace(lab.vms["vm0"], name="eager", zero=0.9)
    try:
        lab.vms["eager"] = wanted
        lab.nonzero["eager"] = lab.nonzero["vm0"]
        (told,) = lab.off_the_mark()
        assert re.fullmatch(r"eager: 4[3-6]% of its memory is zero, not 90%: its kernel alone writes more", told)
    finally:
        del lab.vms["eager"], lab.nonzero["eager"]


def test_a_guest_dirties_its_working_set_at_the_rate_that_is_set(lab):
    first = lab.dirty_status("odd")
    assert first["working_set"] == 16 * MIB
    assert first["rate"] == 1_000_000
    lab.set_dirty_rate("odd", 4_000_000)
    time.sleep(1)
    status = lab.dirty_status("odd")
    assert status["rate"] == 4_000_000
    # On a busy machine the guest gets less done, but never more.
    assert 0 < status["dirtied"] <= 4_000_000 * status["seconds"] * 1.01
    lab.set_dirty_rate("odd", 0)
    time.sleep(0.2)
    assert lab.dirty_status("odd")["dirtied"] == 0
    lab.set_dirty_rate("odd", 1_000_000)
