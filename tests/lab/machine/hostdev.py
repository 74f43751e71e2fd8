"""Runs in the machine: a lab with a VM whose device is an assigned PCI function. test_hostdev_in_lab.py judges what it
finds."""

import json
import subprocess
from pathlib import Path
from xml.etree import ElementTree

from steps import SCENARIO, SHARED, ferry, introduce, labs, tell

from ferry_lab import guest
from ferry_lab.domain import Vm

CLUSTER = """\
ferry_cluster: 1
hosts:
  host0: {{libvirt: "{0.uri}", migrate: {{tcp: "tcp://{0.address}"}}, virtual_functions: [{{pci: "{2[0]}", parent: port0}}]}}
  host1: {{libvirt: "{1.uri}", migrate: {{tcp: "tcp://{1.address}"}}, virtual_functions: [{{pci: "{2[1]}", parent: port0}}]}}
vms: {{vm0: {{domain: vm0, {3}ivshmem: ua-shm0}}}}
storage: none
"""
ASSIGNED = """\
<hostdev mode='subsystem' type='pci' managed='yes'>
  <source><address domain='0x{0}' bus='0x{1}' slot='0x{2}' function='0x{3}'/></source>
  <alias name='ua-vf0'/>
</hostdev>"""


def place(step, lab):
    """The VM's host, the function that it holds there, where its guest sees it, and the classes of the guest's devices."""
    with lab.domain("vm0") as domain:
        tree = ElementTree.fromstring(domain.XMLDesc())
        held = tree.find(".//hostdev")
        classes = guest.run(domain, "cat /sys/bus/pci/devices/*/class").split()
        tell(step, host=lab.host_of("vm0").name, holds=held is not None and held.find("source/address").attrib,
             at=held is not None and held.find("address").attrib, classes=classes,
             ivshmem=tree.find(".//shmem") is not None)  # fmt: skip


def report(step):
    """What the machine, which both hosts are parts of, says of itself."""
    program = SHARED / "ferry-host"
    if program.exists():
        done = subprocess.run([program, "report", "--json"], text=True, capture_output=True)
        tell(step, status=done.returncode, said=done.stderr, report=json.loads(done.stdout or "{}"))


def main():
    functions = Path("/functions").read_text().split()
    vm = Vm(name="vm0", host="host0", memory=160 << 20, virtual_function=False, ivshmem=4 << 20)
    with labs.up(Path("/root/lab"), [labs.HostPlan("host0"), labs.HostPlan("host1")], [vm], devices=["vfio"]) as lab:
        import libvirt

        for file, alias in [("cluster.yaml", "virtual_function: ua-vf0, "), ("nameless.yaml", "")]:
            Path("/root", file).write_text(CLUSTER.format(lab.host("host0"), lab.host("host1"), functions, alias))
        with lab.domain("vm0") as domain:
            bus, slot, function = functions[0].split(":")[1], *functions[0].split(":")[2].split(".")
            domain.attachDevice(ASSIGNED.format("0000", bus, slot, function))
        introduce(lab)
        place("assigned", lab)
        report("report")
        try:
            lab.migrate("vm0", "host1")
            tell("libvirt", refuses="")
        except libvirt.libvirtError as refusal:
            tell("libvirt", refuses=str(refusal))
        one = [SCENARIO, "--set", "vms.vm.count=1", "--set", "cluster.hosts.host.virtual_functions=1"]
        ferry("unnamed", "run", *one, "--set", "vms.vm.virtual_functions=0", "--on", "hw", "--yes", "--out", "/root/unnamed",
              cluster="nameless.yaml")  # fmt: skip
        place("after unnamed", lab)
        ferry("doctor", "doctor", *one)
        ferry("there", "run", *one, "--on", "hw", "--yes", "--out", "/root/there")
        place("after there", lab)
        ferry("back", "run", *one, "--set", "vms.vm.on=host1", "--set", "migrations.leave.to=host0", "--on", "hw", "--yes",
              "--out", "/root/back")  # fmt: skip
        place("after back", lab)


main()
