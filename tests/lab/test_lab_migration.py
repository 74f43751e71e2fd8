"""Guests of the lab migrate between its hosts: by libvirt alone, Ferry has no part in it."""

import pytest
from ferry_lab import guest
from ferry_lab.lab import in_parallel

libvirt = pytest.importorskip("libvirt")

MIB = 1 << 20


def other(host):
    return "host1" if host == "host0" else "host0"


def test_guests_change_places_and_live_on(bare):
    lab = bare
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


def test_a_shared_memory_device_in_its_usual_role_forbids_migration(lab):
    with pytest.raises(libvirt.libvirtError, match="shmem device|peer mode|ivshmem"):
        lab.migrate("vm0", "host1")
    assert lab.host_of("vm0").name == "host0"


def test_zero_pages_do_not_travel(lab):
    lab.remove_ivshmem("odd")
    statistics = lab.migrate("odd", "host1")
    assert statistics["memory_constant"] * 4096 > 0.5 * 256 * MIB
    assert statistics["memory_normal_bytes"] == pytest.approx(0.4 * 256 * MIB, rel=0.15)
    lab.bring_home("odd")


def test_a_dirtying_guest_takes_more_than_an_idle_one_and_is_brought_home_with_all_its_devices(lab):
    slow = {libvirt.VIR_MIGRATE_PARAM_BANDWIDTH: 64}  # MiB/s
    lab.remove_ivshmem("vm0")
    idle = lab.migrate("vm0", "host1", **slow)
    lab.set_dirty_rate("vm0", 20_000_000)
    busy = lab.bring_home("vm0", **slow)
    assert busy["memory_normal_bytes"] > idle["memory_normal_bytes"] + 8 * MIB
    assert lab.dirty_status("vm0")["rate"] == 20_000_000
    lab.set_dirty_rate("vm0", 0)
    assert lab.host_of("vm0").name == "host0"
    with lab.domain("vm0") as domain:
        assert "<alias name='ua-vf0'/>" in domain.XMLDesc()
        assert "<alias name='ua-shm0'/>" in domain.XMLDesc()
