"""`ferry-host` over systems made in folders (names as in Linux's Documentation/ABI), and `ferry doctor` with its reports."""

import json
import os
import re
import subprocess
from pathlib import Path

import jsonschema
import pytest

ROOT = Path(__file__).resolve().parents[2]
GUID = "00:11:22:33:44:55:66:{:02x}"


class System:
    """A host with one adapter of InfiniBand and two functions, each alone in its IOMMU group."""

    def __init__(self, program, root):
        self.program, self.root = program, root
        devices = root / "sys/devices/pci0000:00/0000:00:02.0"
        self.adapter = devices / "0000:03:00.0"
        self.write("proc/sys/kernel/hostname", root.name)
        self.write("proc/cmdline", "intel_iommu=on")
        self.device("0000:03:00.0", 30, "mlx5_core")
        self.write(self.adapter / "sriov_totalvfs", "8")
        self.write(self.adapter / "sriov_numvfs", "2")
        (self.adapter / "net/ib0").mkdir(parents=True)
        for index in range(2):
            folder = self.device(f"0000:03:00.{index + 1}", 40 + index, "vfio-pci")
            (self.adapter / f"virtfn{index}").symlink_to(f"../{folder.name}")
            (folder / "physfn").symlink_to("../0000:03:00.0")
            self.write(self.adapter / f"sriov/{index}/node", GUID.format(index))
            self.write(self.adapter / f"sriov/{index}/port", GUID.format(0x80 + index))
            self.write(self.adapter / f"sriov/{index}/policy", "Follow")
        rdma = root / "sys/class/infiniband/mlx5_0"
        self.write(rdma / "node_guid", "0002:c903:0010:0000")
        for name, value in {"state": "4: ACTIVE", "phys_state": "5: LinkUp", "link_layer": "InfiniBand", "rate": "100 Gb/sec",
                            "lid": "0x4", "sm_lid": "0x1"}.items():  # fmt: skip
            self.write(rdma / "ports/1" / name, value)
        (rdma / "device").symlink_to("../../../bus/pci/devices/0000:03:00.0")

    def write(self, path, text):
        path = self.root / path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")

    def device(self, pci, group, driver):
        folder = self.adapter.parent / pci
        self.write(folder / "class", "0x020700")
        self.write(folder / "numa_node", "0")
        for place in (self.root / "sys/bus/pci/devices", self.root / f"sys/kernel/iommu_groups/{group}/devices"):
            place.mkdir(parents=True, exist_ok=True)
            (place / pci).symlink_to(os.path.relpath(folder, place))
        of_driver = self.root / "sys/bus/pci/drivers" / driver
        of_driver.mkdir(parents=True, exist_ok=True)
        (folder / "driver").symlink_to(os.path.relpath(of_driver, folder))
        (folder / "iommu_group").symlink_to(os.path.relpath(self.root / f"sys/kernel/iommu_groups/{group}", folder))
        return folder

    def __call__(self, *arguments):
        return subprocess.run([self.program, "--root", self.root, *map(str, arguments)], text=True, capture_output=True, timeout=60)


@pytest.fixture
def system(ferry_host, tmp_path):
    return System(ferry_host, tmp_path / "node01")


def test_a_report_names_functions_and_findings(system):
    result = system("report")
    assert result.returncode == 0, result.stdout + result.stderr
    assert "host node01\n" in result.stdout
    assert re.search(r"0000:03:00\.2 +mlx5_0 +vfio-pci +41 +00:11:22:33:44:55:66:01 +00:11:22:33:44:55:66:81 +follow +-\n", result.stdout)
    assert re.search(r"mlx5_0: functions +ok +each is alone in its IOMMU group", result.stdout)


def test_a_check_that_fails_is_exit_status_1(system):
    system.write("sys/class/infiniband/mlx5_0/ports/1/state", "1: DOWN")
    result = system("report")
    assert result.returncode == 1
    assert re.search(r"mlx5_0: port 1 +failed +DOWN, LinkUp", result.stdout)


def test_json_is_as_its_schema_and_its_description_say(system, ferry_host):
    system.write("dev/shm/jobs", "x")
    system.write("etc/libvirt/qemu/hpc-07.xml", "<shmem name='jobs'/>")
    schema = json.loads((ROOT / "hw_backend/host/report.schema.json").read_text())
    report = json.loads(system("report", "--json").stdout)
    jsonschema.validate(report, schema)
    real = subprocess.run([ferry_host, "report", "--json"], text=True, capture_output=True, timeout=60)
    jsonschema.validate(json.loads(real.stdout), schema)
    memory = json.loads(system("memory", "--json").stdout)
    assert memory == {"ferry_host": 1, "shared_memory": report["shared_memory"]}
    described = (ROOT / "hw_backend/host/REPORT.md").read_text()

    def keys(part):
        if isinstance(part, dict):
            yield from part.get("properties", {})
            for inside in part.values():
                yield from keys(inside)

    assert [key for key in keys(schema) if f"`{key}`" not in described and f"`{key}:" not in described] == []


def test_guids_and_policy_are_set_and_told(system):
    result = system("set", "0000:03:00.2", "--node-guid", "0a11:2233:4455:6601", "--port-guid", "0a11223344556681", "--policy", "up")
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout == ("node GUID: 00:11:22:33:44:55:66:01 -> 0a:11:22:33:44:55:66:01\n"
                             "port GUID: 00:11:22:33:44:55:66:81 -> 0a:11:22:33:44:55:66:81\n"
                             "policy: follow -> up\n")
    assert (system.adapter / "sriov/1/node").read_text() == "0a:11:22:33:44:55:66:01\n"
    assert (system.adapter / "sriov/1/policy").read_text() == "Up\n"


@pytest.mark.parametrize(("arguments", "told"), [
    (["set", "0000:03:00.2"], "set: nothing to set; --node-guid, --port-guid or --policy would be right"),
    (["set", "mlx5_0", "--policy", "up"], "set mlx5_0: is no PCI address; 0000:03:00.1 would be right"),
    (["set", "0000:03:00.2", "--policy", "auto"], "--policy auto: up, down or follow would be right"),
    (["set", "0000:03:00.2", "--port-guid", "0"],
     "--port-guid 0: is no GUID; 16 hexadecimal digits, not all 0 or all f, as in 00:11:22:33:44:55:66:77 would be right"),
    (["set", "0000:03:00.2", "--port-guid", "0" * 16],
     "--port-guid 0000000000000000: is no GUID; 16 hexadecimal digits, not all 0 or all f, as in 00:11:22:33:44:55:66:77 would be right"),
    (["set", "0000:03:00.3", "--policy", "up"],
     "there is no virtual function 0000:03:00.3 here; there are 0000:03:00.1, 0000:03:00.2"),
    (["memory", "jobs"], "there is no file /dev/shm/jobs; ferry-host memory lists those that it knows"),
    (["memory", "--remove", "--json"], "memory: --json lists; leave --remove out, or --json"),
    ([], "A subcommand is required; --help shows what is right"),
])  # fmt: skip
def test_bad_input_is_one_sentence_and_changes_nothing(system, arguments, told):
    before = (system.adapter / "sriov/1/port").read_text()
    result = system(*arguments)
    assert (result.returncode, result.stdout, result.stderr) == (2, "", f"ferry-host: {told}\n")
    assert (system.adapter / "sriov/1/port").read_text() == before


def test_a_root_that_is_no_folder_is_bad_input(ferry_host, tmp_path):
    result = subprocess.run([ferry_host, "report", "--root", tmp_path / "none"], text=True, capture_output=True)
    assert (result.returncode, result.stderr) == (2, f"ferry-host: --root {tmp_path}/none: is no folder\n")


def test_memory_is_listed_first_and_only_what_nobody_needs_is_removed(system):
    assert system("memory").stdout == "there is no shared memory of Ferry's ranks or of domains\n"
    for name in ("jobs", "old", "other"):
        system.write(f"dev/shm/{name}", name)
    system.write("run/libvirt/qemu/hpc-07.xml", "<shmem name='jobs'/>")
    system.write("etc/libvirt/qemu/hpc-08.xml", "<shmem name='old'/>")
    rows = [re.split("  +", row) for row in system("memory").stdout.splitlines()[1:]]
    assert [(row[0], row[-1]) for row in rows] == [("jobs", "running domain hpc-07 names it"), ("old", "no")]
    assert len(list((system.root / "dev/shm").iterdir())) == 3, "listing removes nothing"
    result = system("memory", "--remove")
    assert (result.returncode, result.stdout) == (0, "kept jobs: running domain hpc-07 names it\nremoved old\n")
    assert sorted(file.name for file in (system.root / "dev/shm").iterdir()) == ["jobs", "other"]
    result = system("memory", "jobs", "--remove")
    assert (result.returncode, result.stdout) == (1, "kept jobs: running domain hpc-07 names it\n"), "it was named and stays"
    assert system("memory", "other", "--remove").stdout == "removed other\n"


# ferry doctor


@pytest.fixture
def cluster(ferry):
    """host0 and host1 have functions of InfiniBand; how they are reached is the test's."""

    def write(libvirt0, libvirt1, **pool):
        functions = [{"pci": "0000:03:00.[1-2]", "parent": "ib0", **pool}]
        ferry.write_yaml("real.yaml", {
            "ferry_cluster": 1,
            "hosts": {name: {"libvirt": uri, "migrate": {"tcp": "tcp://node"}, "virtual_functions": functions}
                      for name, uri in [("host0", libvirt0), ("host1", libvirt1)]},
            "vms": {"vm0": {"domain": "hpc-07"}},
        })  # fmt: skip

    return write


def script(path, text):
    path.write_text("#!/bin/sh\n" + text)
    path.chmod(0o755)
    return path


UNREACHED = "qemu+tls://node02.invalid/system"


def rows_of(result):
    """(check, result, text) of a table that wraps nothing of interest: blanks are one."""
    return [tuple(re.split("  +", line, maxsplit=2)) for line in result.stdout.splitlines()]


def flat(result):
    return re.sub(r"\s+", " ", result.stdout)


def test_doctor_asks_this_machine_itself(ferry, cluster, ferry_host, tmp_path):
    here = System(ferry_host, tmp_path / "here")
    cluster("qemu:///system", UNREACHED)
    asker = script(tmp_path / "asker", f'exec "{ferry_host}" --root "{here.root}" "$@"\n')
    text = flat(ferry("doctor", "--cluster", "real.yaml", "--ferry-host", asker))
    assert "host0: mlx5_0: port 1 ok ACTIVE, InfiniBand, 100 Gb/sec" in text
    assert re.search("host1: ferry-host warning not asked, since it is reached neither here nor by ssh", text)
    assert "HOST" not in text and "--host-reports FOLDER" in text


def test_doctor_asks_by_ssh_as_libvirt_would(ferry, cluster, ferry_host, tmp_path):
    there = System(ferry_host, tmp_path / "there")
    # libvirt uses it too, for its own.
    ssh = script(tmp_path / "ssh", f'case "$*" in *--json) ;; *) exit 1 ;; esac\nprintf "%s\\n" "$@" > {tmp_path}/asked\nwhile [ "$1" != -- ]; do shift; done\nshift 3\n'
                                   f'exec "{ferry_host}" --root "{there.root}" "$@"\n')
    cluster(f"qemu+ssh://hpc@node01:2222/system?command={ssh}&keyfile=/keys/a%20b&no_verify=1", UNREACHED)
    text = flat(ferry("doctor", "--cluster", "real.yaml", "--ferry-host", "/opt/ferry/bin/ferry-host"))
    assert "host0: mlx5_0: GUIDs ok all functions have one" in text
    assert (tmp_path / "asked").read_text().splitlines() == [
        "-T", "-o", "BatchMode=yes", "-o", "ConnectTimeout=10", "-i", "/keys/a b", "-p", "2222", "-l", "hpc",
        "-o", "StrictHostKeyChecking=no", "--", "node01", "/opt/ferry/bin/ferry-host", "report", "--json"]  # fmt: skip


@pytest.mark.parametrize(("says", "told"), [
    ("echo 'ssh: Could not resolve hostname' >&2; exit 255", "it does not answer: ssh: Could not resolve hostname"),
    ("echo 'sh: ferry-host: not found' >&2; exit 127", "it does not answer: sh: ferry-host: not found"),
    ("echo '{}'", "it does not answer: it is no report of ferry-host report --json"),
    ('echo \'{"ferry_host": 7}\'', "it does not answer: it is a report of version 7, and this ferry reads version 1"),
])  # fmt: skip
def test_a_host_without_ferry_host_is_a_warning(ferry, cluster, tmp_path, says, told):
    ssh = script(tmp_path / "ssh", says + "\n")
    cluster(f"qemu+ssh://node01/system?command={ssh}", UNREACHED)
    assert f"host0: ferry-host warning {told}" in flat(ferry("doctor", "--cluster", "real.yaml"))


def test_doctor_reads_a_file_per_host_and_holds_it_against_the_cluster_file(ferry, cluster, ferry_host, tmp_path):
    reports = tmp_path / "reports"
    reports.mkdir()
    for name in ("host0", "host1"):  # with the same GUIDs
        (reports / f"{name}.json").write_text(System(ferry_host, tmp_path / name)("report", "--json").stdout)
    cluster("qemu+tls://node01.invalid/system", UNREACHED, numa=1)
    ferry.write_yaml("four.cluster.yaml", {
        **ferry.read_yaml("real.yaml"),
        "hosts": {name: {**host, "virtual_functions": [{"pci": "0000:03:00.[1-4]", "parent": "ib1", "numa": 1}]}
                  for name, host in ferry.read_yaml("real.yaml")["hosts"].items()},
    })  # fmt: skip
    result = ferry("doctor", "--cluster", "four.cluster.yaml", "--host-reports", reports)
    text = flat(result)
    assert result.returncode in (1, 3)
    assert "ferry-host finds no virtual function 0000:03:00.3, 0000:03:00.4" in text
    assert "mlx5_0 sits on NUMA node 0, and the cluster file says 1" in text
    assert "they are functions of mlx5_0, ib0, and the cluster file says ib1" in text
    assert "00:11:22:33:44:55:66:80 is the port GUID of host0: 0000:03:00.1, host1: 0000:03:00.1" in text
    assert "not asked" not in text


def test_a_bad_report_file_is_named(ferry, cluster, tmp_path):
    (tmp_path / "host0.json").write_text("nothing")
    cluster("qemu+tls://node01.invalid/system", UNREACHED)
    text = flat(ferry("doctor", "--cluster", "real.yaml", "--host-reports", tmp_path))
    assert "host0: ferry-host failed" in text and "host0.json: it is no report of ferry-host report --json" in text
    result = ferry("doctor", "--cluster", "real.yaml", "--host-reports", "none")
    assert (result.returncode, result.stderr) == (2, "ferry: --host-reports none: is no folder\n")


def test_functions_that_no_vm_gets_make_no_cluster_unready(ferry, ferry_host, tmp_path):
    (tmp_path / "reports").mkdir()
    system = System(ferry_host, tmp_path / "node")
    system.write("sys/class/infiniband/mlx5_0/ports/1/state", "1: DOWN")
    (tmp_path / "reports/host0.json").write_text(system("report", "--json").stdout)
    text = flat(ferry("doctor", "--cluster", "cluster.yaml", "--host-reports", tmp_path / "reports"))
    assert "host0: mlx5_0: port 1 warning DOWN, LinkUp" in text
