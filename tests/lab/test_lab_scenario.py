"""The lab reads hosts and VMs from scenario files, as Ferry does."""

import csv
import os
import subprocess
from pathlib import Path
from xml.etree import ElementTree

import pytest
from ferry_lab.accelerator import Accelerator
from ferry_lab.domain import Vm, domain_xml
from ferry_lab.lab import HostPlan
from ferry_lab.problem import LabProblem
from ferry_lab.scenario import read_scenario

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = sorted((ROOT / "scenarios/lab").glob("*.yaml"))
MIB = 1 << 20

SCENARIO = """
ferry: 1
name: sample
cluster: {hosts: [{name: host, count: 2, virtual_functions: 4}, {name: spare}]}
vms:
  - {name: vm, count: 3, on: "host[0-1]", memory: {value: 160MiB, source: a, kind: assumed}, ivshmem: 4MiB, vcpus: 2,
     pages: {zero: 40%, working_set: 16MiB, dirty_rate: 20MB/s, idle_dirty_rate: 1MB/s}}
  - {name: lone, on: spare, virtual_functions: 0, memory: 1GiB, pages: {zero: 0}}
jobs:
  - {name: job, on: {vms: "vm[0,2]"}, strategy: none}
"""


@pytest.fixture
def scenario(tmp_path):
    def write(text=SCENARIO, name="sample.yaml"):
        (tmp_path / name).write_text(text)
        return tmp_path / name

    return write


def test_hosts_and_vms_are_the_scenarios(scenario):
    hosts, vms = read_scenario(scenario())
    assert hosts == [HostPlan("host0", 4), HostPlan("host1", 4), HostPlan("spare", 0)]
    common = {"memory": 160 * MIB, "vcpus": 2, "ivshmem": 4 * MIB, "zero": 0.4, "working_set": 16 * MIB}
    assert vms == [
        Vm(name="vm0", host="host0", dirty_rate=21_000_000, number=0, **common),
        Vm(name="vm1", host="host1", dirty_rate=1_000_000, number=1, **common),  # no rank runs in it
        Vm(name="vm2", host="host0", dirty_rate=21_000_000, number=2, **common),
        Vm(name="lone", host="spare", memory=1024 * MIB, virtual_function=False, zero=0, number=3),
    ]


def test_what_set_changes_is_changed(scenario):
    _, vms = read_scenario(scenario(), ["vms.vm.count=4", "vms.lone.memory=256MiB", "vms.vm.on=host1"])
    assert [(vm.name, vm.host, vm.memory // MIB) for vm in vms] == [
        ("vm0", "host1", 160), ("vm1", "host1", 160), ("vm2", "host1", 160), ("vm3", "host1", 160), ("lone", "spare", 256),
    ]  # fmt: skip


def test_a_study_has_the_hosts_and_vms_of_its_scenario(scenario):
    scenario()
    study = scenario("ferry: 1\nstudy: sizes\nscenario: sample.yaml\nvary: {vms.vm.count: [2, 3]}\n", "study.yaml")
    assert read_scenario(study) == read_scenario(study.parent / "sample.yaml")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("host[0-1]", "host[0-2]", "'host[0-2]' names host2, which is not there; there are: host0, host1, spare"),
        ("1GiB", "{uniform: [1GiB, 2GiB]}", "is not a size such as 160MiB; the lab needs fixed values"),
        ("1GiB", "1GB/s", "'1GB/s' is not a size such as 160MiB"),
        ("zero: 0}", "zero: 120%}", "'120%' is not between 0% and 100%"),
        ("ivshmem: 4MiB", "ivshmem: 3MiB", "vm0: ivshmem of 3145728 bytes; QEMU takes powers of two from 1MiB"),
        ("name: lone,", "", "not a scenario that the lab understands: KeyError('name'); `ferry check` says more"),
        ("vcpus: 2", "spread: pack", "spread: pack; the lab needs fixed values"),
    ],
)
def test_what_the_lab_cannot_be_is_said(scenario, old, new, message):
    assert old in SCENARIO
    with pytest.raises(LabProblem) as problem:
        read_scenario(scenario(SCENARIO.replace(old, new)))
    assert message in str(problem.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("vms.vm", "'vms.vm' changes nothing; write PATH=VALUE, as in vms.vm.count=4"),
        ("vms.other.count=4", "vms.other.count matches nothing: there is no other"),
    ],
)
def test_a_change_that_matches_nothing_is_refused(scenario, change, message):
    with pytest.raises(LabProblem, match=message.replace(".", r"\.")):
        read_scenario(scenario(), [change])


def test_domains_are_well_formed_whatever_they_are_called():
    vm = Vm(name="a<&>'b", host="host0", memory=160 * MIB, ivshmem=MIB)
    tree = ElementTree.fromstring(domain_xml(vm, Accelerator("tcg", "a test")))
    assert tree.get("type") == "qemu"
    assert tree.findtext("name") == vm.name
    assert {alias.get("name") for alias in tree.iter("alias")} == {"ua-vf0", "ua-shm0"}
    assert tree.find(".//memballoon").get("model") == "none"
    assert ElementTree.fromstring(domain_xml(vm, Accelerator("kvm", "a test"))).get("type") == "kvm"


def ferry() -> Path:
    return Path(os.environ.get("FERRY_BIN", ROOT / "build/both/controller/cli/ferry"))


@pytest.fixture(scope="session")
def built():
    if not ferry().exists():
        pytest.skip(f"{ferry()} is not built")


@pytest.mark.parametrize("file", SHIPPED, ids=lambda file: file.stem)
def test_ferry_accepts_the_shipped_scenarios(built, file):
    done = subprocess.run([ferry(), "check", file], text=True, capture_output=True)
    assert (done.returncode, done.stdout) == (0, f"{file}: ok\n"), done.stdout + done.stderr


@pytest.mark.parametrize("file", [file for file in SHIPPED if "study:" not in file.read_text()], ids=lambda file: file.stem)
def test_ferry_and_the_lab_see_the_same_vms_at_the_same_places(built, tmp_path, file):
    if "sim" not in subprocess.run([ferry(), "--version"], text=True, capture_output=True).stdout.split("worlds:")[1]:
        pytest.skip("this build has no simulated world")
    done = subprocess.run([ferry(), "run", file, "--on", "sim", "--quiet", "--out", tmp_path / "run"], text=True, capture_output=True)
    assert done.returncode == 0, done.stdout + done.stderr
    with open(tmp_path / "run/migrations.csv") as table:
        moved = {}
        for row in csv.DictReader(table):
            moved.setdefault(row["vm"], row["from"])
    _, vms = read_scenario(file)
    assert moved and moved.items() <= {vm.name: vm.host for vm in vms}.items()
