"""Runs in the machine: a lab whose hosts have an RDMA device. test_rdma_in_lab.py judges what it finds."""

import csv
import signal
import subprocess
import time
from pathlib import Path
from xml.etree import ElementTree

from steps import SCENARIO, introduce, labs, start_ferry, tell

from ferry_lab import guest
from ferry_lab.domain import Vm
from ferry_lab.processes import wait_until

CLUSTER = """\
ferry_cluster: 1
hosts:
  host0: {{libvirt: "{0.uri}", migrate: {{rdma: "rdma://10.78.0.1"}}, virtual_functions: [{{nic: virtio, bridge: br0, count: 8}}]}}
  host1: {{libvirt: "{1.uri}", migrate: {{rdma: "rdma://{2}"}}, virtual_functions: [{{nic: virtio, bridge: br0, count: 8}}]}}
vms: {{vm0: {{domain: vm0, virtual_function: ua-vf0, ivshmem: ua-shm0}}}}
storage: none
"""
OVER_RDMA = [SCENARIO, "--set", "vms.vm.count=1", "--set", "platform=../platforms/chameleon-fdr.yaml",
             "--set", "migrations.leave.transport=rdma"]  # fmt: skip
BACK = ["--set", "vms.vm.on=host1", "--set", "migrations.leave.to=host0"]
# So slow that there is time for something to happen.
SLOW = ["--set", "migrations.leave.memory.bandwidth_limit=2MiB/s"]


def place(step, lab):
    """The VM's host, devices and limit, whether its guest answers, and what that host's QEMUs wrote."""
    host = lab.host_of("vm0")
    with lab.domain("vm0") as domain:
        tree = ElementTree.fromstring(domain.XMLDesc())
        tell(step, host=host.name, nic=tree.find(".//interface") is not None, ivshmem=tree.find(".//shmem") is not None,
             limit=tree.findtext("memtune/hard_limit"), answers=guest.run(domain, "hostname").strip() == "vm0",
             nonzero=lab.nonzero["vm0"], qemu=[line for line in host.qemu_log("vm0").splitlines() if "RDMA" in line])  # fmt: skip


def move(step, lab, *options, cluster="cluster.yaml", meanwhile=lambda ferry: None):
    out = Path("/root", step)
    running = start_ferry("run", *OVER_RDMA, *options, "--on", "hw", "--yes", "--out", out, cluster=cluster)
    meanwhile(running)
    said = "".join(running.communicate())
    tell(step, status=running.returncode, said=said)
    if (out / "migrations.csv").exists():
        with open(out / "migrations.csv") as table:
            tell(f"{step}: figures", moves=list(csv.DictReader(table)))
    place(f"after {step}", lab)


def under_way(lab, ferry):
    def has_sent():
        with lab.domain("vm0", lab.host("host0")) as domain:
            return domain.jobStats().get("memory_processed", 0) > 1 << 20

    wait_until("the migration has sent something", 240, lambda: ferry.poll() is not None or has_sent(), every=0.5)


def interrupt(lab, ferry):
    under_way(lab, ferry)
    ferry.send_signal(signal.SIGINT)
    time.sleep(1)  # one is not lost in the other: the first lets the move end
    ferry.send_signal(signal.SIGINT)


def main():
    tell("device", link=subprocess.check_output(["rdma", "link"], text=True))
    plans = [labs.HostPlan(f"host{i}", memory_limits=True) for i in range(2)]
    with labs.up(Path("/root/lab"), plans, [], devices=["infiniband", "network"]) as lab:
        for host in lab.hosts.values():
            host.start_qemu_in("/dev/network")
        lab.start_vms([Vm(name="vm0", host="host0", memory=160 << 20, ivshmem=4 << 20)])
        introduce(lab)
        for file, address in [("cluster.yaml", "10.78.0.2"), ("elsewhere.yaml", lab.host("host1").address)]:
            Path("/root", file).write_text(CLUSTER.format(lab.host("host0"), lab.host("host1"), address))
        place("before", lab)
        move("there", lab)
        move("back", lab, *BACK, "--set", "migrations.leave.memory.pin_all=false")
        move("elsewhere", lab, cluster="elsewhere.yaml")
        move("interrupted", lab, *SLOW, meanwhile=lambda ferry: interrupt(lab, ferry))


main()
