"""Guests of the lab migrate between its hosts: by libvirt alone, Ferry has no part in it."""

from dataclasses import replace

import pytest
from conftest import plan
from ferry_lab import guest
from ferry_lab import lab as labs
from ferry_lab.lab import in_parallel
from ferry_lab.processes import wait_until

libvirt = pytest.importorskip("libvirt")

MIB = 1 << 20


def other(host):
    return "host1" if host == "host0" else "host0"


def test_guests_change_places_and_live_on(lab):
    uptimes = {}
    for vm in lab.vms:
        with lab.domain(vm) as domain:
            uptimes[vm] = float(guest.run(domain, "echo $$ >/run/here; cut -d' ' -f1 /proc/uptime"))
    done = {}

    def move(vm):
        done[vm] = lab.migrate(vm, other(lab.vms[vm].host))

    for _ in range(2):  # there and back
        in_parallel(move, list(lab.vms))
        for vm, start in lab.vms.items():
            uptimes_before = uptimes[vm]
            with lab.domain(vm) as domain:
                uptimes[vm] = float(guest.run(domain, "cat /run/here >/dev/null; cut -d' ' -f1 /proc/uptime"))
            assert uptimes[vm] > uptimes_before, f"{vm} was started anew"
            statistics = done[vm]
            assert statistics["memory_normal_bytes"] > 0.9 * start.nonzero, "the memory went over the network"
            assert statistics["memory_normal_bytes"] < 2 * start.memory
            assert statistics["memory_iteration"] >= 1
        lab.vms = {name: vm.__class__(**{**vm.__dict__, "host": other(vm.host)}) for name, vm in lab.vms.items()}
        for name, vm in lab.vms.items():
            assert lab.host_of(name).name == vm.host


@pytest.fixture(scope="module")
def unlike(lab_is_possible, tmp_path_factory):
    """Two hosts; vm0 is large and mostly zero, vm1 dirties memory, vm2 has IVShmem."""
    hosts, vms = plan(vms=3)
    vms[0] = replace(vms[0], host="host0", memory=256 * MIB, zero=0.6)
    vms[1] = replace(vms[1], host="host0", working_set=32 * MIB, zero=0.3)
    vms[2] = replace(vms[2], host="host0", ivshmem=4 * MIB)
    with labs.up(tmp_path_factory.mktemp("lab") / "unlike", hosts, vms) as lab:
        yield lab


def test_zero_pages_do_not_travel(unlike):
    statistics = unlike.migrate("vm0", "host1")
    assert statistics["memory_constant"] * 4096 > 0.5 * 256 * MIB
    assert statistics["memory_normal_bytes"] == pytest.approx(0.4 * 256 * MIB, rel=0.15)


def test_a_dirtying_guest_takes_more_than_an_idle_one(unlike):
    slow = {libvirt.VIR_MIGRATE_PARAM_BANDWIDTH: 64}  # MiB/s
    idle = unlike.migrate("vm1", "host1", **slow)
    unlike.set_dirty_rate("vm1", 20_000_000)
    busy = unlike.migrate("vm1", "host0", **slow)
    assert busy["memory_normal_bytes"] > idle["memory_normal_bytes"] + 8 * MIB
    assert unlike.dirty_status("vm1")["rate"] == 20_000_000


def test_a_shared_memory_device_in_its_usual_role_forbids_migration(unlike):
    with pytest.raises(libvirt.libvirtError, match="shmem device|peer mode|ivshmem"):
        unlike.migrate("vm2", "host1")
    assert unlike.host_of("vm2").name == "host0"


def test_a_guest_is_brought_home_with_all_its_devices(unlike):
    with unlike.domain("vm2") as domain:
        domain.detachDeviceAlias("ua-shm0")
        wait_until("vm2 has no ua-shm0", 60, lambda: "ua-shm0" not in domain.XMLDesc())
    unlike.migrate("vm2", "host1")
    unlike.bring_home("vm2")
    assert unlike.host_of("vm2").name == "host0"
    with unlike.domain("vm2") as domain:
        assert "<alias name='ua-vf0'/>" in domain.XMLDesc()
        assert "<alias name='ua-shm0'/>" in domain.XMLDesc()
