"""Runs in the machine: a lab whose hosts have an RDMA device. test_rdma_in_lab.py judges what it finds."""

import csv
import signal
import subprocess
from pathlib import Path
from xml.etree import ElementTree

from steps import SCENARIO, ferry, introduce, labs, tell

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


def place(step, lab):
    """The VM's host, its devices and limit, whether its guest answers, and what QEMU said of RDMA."""
    host = lab.host_of("vm0")
    with lab.domain("vm0") as domain:
        tree = ElementTree.fromstring(domain.XMLDesc())
        tell(step, host=host.name, nic=tree.find(".//interface") is not None, ivshmem=tree.find(".//shmem") is not None,
             limit=tree.findtext("memtune/hard_limit"), log=[line for line in host.qemu_log("vm0").splitlines() if not line.startswith(("-", "LC_ALL", "XDG", "PATH", "HOME"))])  # fmt: skip


def move(step, lab, *options, cluster="cluster.yaml"):
    out = Path("/root", step)
    ferry(step, "run", *OVER_RDMA, *options, "--on", "hw", "--yes", "--out", out, cluster=cluster)
    told(step, lab)


def start(step, *options):
    return subprocess.Popen(["/lab/ferry", "run", *options, "--on", "hw", "--yes", "--out", Path("/root", step), "--cluster", "/root/cluster.yaml"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def told(step, lab):
    with open(Path("/root", step) / "migrations.csv") as table:
        tell(f"{step}: figures", moves=list(csv.DictReader(table)))
    place(f"after {step}", lab)


def interrupted(step, lab, strike):
    """A move that takes a minute, and what `strike` does in its midst."""
    limit = ["--set", "migrations.leave.memory.bandwidth_limit=4MiB/s"]
    running = start(step, *OVER_RDMA, *limit)
    with lab.domain("vm0") as domain:
        wait_until("the migration has sent something", 240, lambda: domain.jobStats().get("memory_processed", 0) > 1 << 20)
    strike(running)
    said = running.communicate()
    tell(step, status=running.returncode, said="".join(said))
    told(step, lab)


def main():
    tell("device", link=subprocess.check_output(["rdma", "link"], text=True))
    plans = [labs.HostPlan(f"host{i}", memory_limits=True) for i in range(2)]
    with labs.up(Path("/root/lab"), plans, [], devices=["infiniband", "network"]) as lab:
        for host in lab.hosts.values():
            host.start_qemu_in("/dev/network")
        lab.start_vms([Vm(name="vm0", host="host0", memory=160 << 20, ivshmem=4 << 20)])
        for file, address in [("cluster.yaml", "10.78.0.2"), ("elsewhere.yaml", lab.host("host1").address)]:
            Path("/root", file).write_text(CLUSTER.format(lab.host("host0"), lab.host("host1"), address))
        introduce(lab)
        place("before", lab)
        for what in [
          lambda: move("there", lab),
          lambda: move("back", lab, *BACK, "--set", "migrations.leave.memory.pin_all=false"),
          lambda: move("elsewhere", lab, cluster="elsewhere.yaml"),
          lambda: interrupted("destination killed", lab, lambda _: lab.host("host1").guests()[0].kill()),
          lambda: interrupted("cancelled", lab, lambda running: running.send_signal(signal.SIGINT)),
          lambda: move("again", lab)]:
            try:
                what()
            except Exception:
                import traceback
                tell("EXC", what=traceback.format_exc())
        for h in lab.hosts.values():
            tell("LOG", h=h.libvirtd_log())
        tell("dmesg", k=subprocess.check_output("dmesg | tail -30", shell=True, text=True))


main()
