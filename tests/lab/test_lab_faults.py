"""Faults that the lab can make, for tests of what Ferry does about them."""

import contextlib
import threading
import time

import pytest
from ferry_lab import guest
from ferry_lab.domain import network_xml
from ferry_lab.processes import wait_until

libvirt = pytest.importorskip("libvirt")


def has(host, vm) -> bool:
    return any(guest.runs(process, vm) for process in host.guests())


def test_a_libvirtd_that_is_killed_leaves_its_guests_running_and_finds_them_again(lab):
    host = lab.host("host0")
    before = host.guests()
    old = host.libvirtd()
    host.kill_libvirtd()
    assert host.libvirtd() is None
    assert not host.reachable()
    assert lab.host("host1").libvirtd()
    assert host.guests() == before
    host.start_libvirtd()
    assert host.libvirtd() not in (None, old)
    assert lab.host_of("vm0") is host
    with lab.domain("vm0") as domain:
        assert domain.isActive()
        guest.wait_for_agent(domain, 60)  # libvirtd opens the channel again somewhat later


def test_a_frozen_libvirtd_answers_again_when_it_is_thawed(lab):
    host = lab.host("host1")
    answered = threading.Event()

    def ask():
        with contextlib.closing(host.connect()) as connection:
            connection.getHostname()
            answered.set()

    host.freeze_libvirtd()
    try:
        asking = threading.Thread(target=ask, daemon=True)
        asking.start()
        assert not answered.wait(1)
        assert host.reachable()  # the kernel still takes connections
    finally:
        host.thaw_libvirtd()
    asking.join(60)
    assert answered.is_set()


def test_a_host_that_refuses_qemu_takes_no_guest_until_it_accepts_again(bare):
    lab = bare
    lab.host("host1").refuse_qemu("no room at the inn")
    try:
        with pytest.raises(libvirt.libvirtError, match="no room at the inn"):
            lab.migrate("vm0", "host1")
        assert lab.host_of("vm0").name == "host0"
        with lab.domain("vm0") as domain:
            assert guest.run(domain, "hostname") == "vm0\n"
    finally:
        lab.host("host1").accept_qemu()
    lab.migrate("vm0", "host1")
    assert lab.host_of("vm0").name == "host1"
    lab.migrate("vm0", "host0")


def test_a_host_that_refuses_nics_takes_one_when_it_accepts_again(lab):
    host, vm = lab.host("host0"), lab.vms["vm0"]

    def has_nic(domain):
        return "ua-vf0" in domain.XMLDesc()

    with lab.domain("vm0", host) as domain:
        domain.detachDeviceAlias("ua-vf0")
        wait_until("vm0 has no ua-vf0", 60, lambda: not has_nic(domain))
        host.refuse_nics()
        try:
            with pytest.raises(libvirt.libvirtError, match="br0"):
                domain.attachDevice(network_xml(vm))
            assert not has_nic(domain)
        finally:
            host.accept_nics()
        domain.attachDevice(network_xml(vm))
        assert has_nic(domain)
        guest.run(domain, "until [ -e /sys/class/net/eth0 ]; do usleep 20000; done")


def test_a_host_off_the_network_is_not_reached_until_it_is_back(lab):
    host = lab.host("host1")
    assert host.reachable()
    host.link_down()
    try:
        assert not host.reachable()
        assert lab.host("host0").reachable()
        assert host.libvirtd()
    finally:
        host.link_up()
    wait_until("host1 is reached", 60, lambda: host.reachable())


def test_killing_the_destinations_libvirtd_in_mid_migration_leaves_the_guest_at_the_source(bare):
    lab = bare
    started = threading.Event()

    def kill_when_under_way():
        with lab.domain("vm0", lab.host("host0")) as domain:
            while domain.jobInfo()[0] == libvirt.VIR_DOMAIN_JOB_NONE:
                time.sleep(0.02)
            started.set()
        time.sleep(1)
        lab.host("host1").kill_libvirtd()

    watching = threading.Thread(target=kill_when_under_way, daemon=True)
    watching.start()
    with pytest.raises(libvirt.libvirtError):
        lab.migrate("vm0", "host1", **{libvirt.VIR_MIGRATE_PARAM_BANDWIDTH: 8})  # MiB/s: it takes long enough
    watching.join(60)
    assert started.is_set()
    lab.host("host1").start_libvirtd()
    wait_until("what had begun to take the guest is gone", 60, lambda: not has(lab.host("host1"), "vm0"))
    assert lab.host_of("vm0").name == "host0"
    with lab.domain("vm0") as domain:
        assert guest.run(domain, "hostname") == "vm0\n"
    lab.migrate("vm0", "host1")
    lab.migrate("vm0", "host0")
