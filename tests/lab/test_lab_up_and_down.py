"""A lab comes up, is a lab, and goes without leaving anything."""

import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from conftest import HERE, plan
from ferry_lab import lab as labs
from ferry_lab.problem import LabProblem

PROGRAM = HERE / "lab.py"


def lab_py(*arguments, **options):
    def heed_interrupts():
        # A shell's background jobs, and so perhaps these tests, ignore SIGINT, and what they start does too.
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    return subprocess.Popen(
        [sys.executable, str(PROGRAM), *map(str, arguments)], text=True, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=heed_interrupts, **options,
    )  # fmt: skip


def wait_for(test, seconds=120):
    deadline = time.monotonic() + seconds
    while not test():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def traces(folder: Path, namespaces=(), links=()) -> list[str]:
    """Whatever on this machine has to do with a lab that was in `folder`. Other labs may come and go meanwhile."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if process.name == str(os.getpid()):
                places = []
            else:
                places = [os.readlink(process / "cwd"), os.readlink(process / "root"),
                          (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")]  # fmt: skip
            mounts = (process / "mountinfo").read_text()
            inside = {os.readlink(entry) for entry in (process / "ns").iterdir()}
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
        if any(str(folder) in place for place in places) or str(folder) in mounts or inside & set(namespaces):
            found.append(f"process {process.name} {places}")
    found += [f"link {link}" for link in links if Path("/sys/class/net", link).exists()]
    if folder.exists():
        found += [f"file {path}" for path in [folder, *folder.rglob("*")]]
    return found


def namespaces_of(lab) -> set[str]:
    own = {os.readlink(entry) for entry in Path("/proc/self/ns").iterdir()}
    firsts = [lab.switch, *(host.first for host in lab.hosts.values())]
    return {os.readlink(entry) for first in firsts for entry in Path(f"/proc/{first.pid}/ns").iterdir()} - own


def shared_places() -> set[str]:
    """Where libvirt and QEMU would leave something on a machine, had their host not places of its own."""
    places = ["/run/libvirt", "/var/lib/libvirt", "/var/log/libvirt", "/var/cache/libvirt", "/etc/libvirt", "/dev/shm"]
    return {str(path) for place in places for path in [Path(place), *Path(place).rglob("*")] if path.exists()}


@dataclass
class BroughtUp:
    """A lab that the program brought up, and what there was before."""

    folder: Path
    before: set[str]
    said: str
    errors: str


@pytest.fixture(scope="module")
def brought_up(lab_is_possible, tmp_path_factory):
    folder = tmp_path_factory.mktemp("lab") / "program"
    before = shared_places()
    up = lab_py("up", "--dir", folder, "--hosts", 2, "--vms", 2)
    said, errors = up.communicate(timeout=600)
    assert up.returncode == 0, errors
    yield BroughtUp(folder, before, said, errors)
    labs.down(folder)


def test_a_lab_comes_up(brought_up):
    assert brought_up.said == f"{brought_up.folder}/cluster.yaml\n"
    assert re.search(r"2 hosts, 2 guests, accelerator (kvm|tcg): \S", brought_up.errors)
    assert all(host.libvirtd() for host in labs.load(brought_up.folder).hosts.values())


def test_a_host_whose_plug_is_pulled_loses_its_guests_and_can_be_switched_on_again(brought_up):
    lab = labs.load(brought_up.folder)
    lab.host("host1").power_off()
    assert not lab.host("host1").reachable()
    assert lab.host_of("vm0").name == "host0"
    with pytest.raises(LabProblem, match="vm1 runs nowhere"):
        lab.host_of("vm1")
    assert not labs.load(lab.folder).host("host1").first
    lab.host("host1").power_on()
    assert labs.load(lab.folder).host("host1").first == lab.host("host1").first
    lab.remove_ivshmem("vm0")
    lab.migrate("vm0", "host1")
    assert lab.host_of("vm0").name == "host1"


def test_a_lab_goes_without_leaving_anything(brought_up):
    lab = labs.load(brought_up.folder)
    namespaces = namespaces_of(lab)
    assert len(namespaces) == 3 + 2 * 5  # the switch: PID, network, IPC; each host also mounts and name
    assert len(traces(lab.folder, namespaces, [lab.link])) > 8

    down = lab_py("down", "--dir", lab.folder)
    down.communicate(timeout=120)
    assert down.returncode == 0
    assert traces(lab.folder, namespaces, [lab.link]) == []
    assert {path for path in shared_places() - brought_up.before if "vm0" in path or "ferry-shm0" in path} == set()


# When the program is stopped: once its first process runs, hosts are set up, or guests boot.
MOMENTS = {
    "with_its_first_process": lambda folder: "switch" in (labs._read_state(folder) or {}),
    "with_the_hosts": lambda folder: len(list(folder.glob("hosts/*/set-up.log"))) == 2,
    "with_the_guests": lambda folder: list(folder.glob("hosts/*/root/var/log/guests/*.log")),
}


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_lab_that_is_interrupted_leaves_nothing(lab_is_possible, tmp_path, moment, number, status):
    folder = tmp_path / "lab"
    up = lab_py("up", "--dir", folder, "--vms", 1, start_new_session=True)
    wait_for(lambda: MOMENTS[moment](folder) or up.poll() is not None)
    state = labs._read_state(folder)
    os.killpg(up.pid, number)  # as Ctrl-C does: all of the process group
    _, errors = up.communicate(timeout=120)
    assert up.returncode == status, errors
    assert traces(folder, links=[state.get("link", "ferry-none")]) == []


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_lab_whose_program_was_killed_ends_by_itself_and_the_next_clears_its_files(lab_is_possible, tmp_path, moment):
    folder = tmp_path / "lab"
    up = lab_py("up", "--dir", folder, "--vms", 1)
    wait_for(lambda: MOMENTS[moment](folder) or up.poll() is not None)
    link = labs._read_state(folder).get("link", "ferry-none")
    up.kill()
    up.communicate(timeout=60)
    wait_for(lambda: all(trace.startswith("file ") for trace in traces(folder, links=[link])))
    if moment == "with_the_hosts":
        labs.up(folder, *plan(hosts=1, vms=0)).down()
    else:
        assert labs.down(folder)
    assert traces(folder) == []


def test_a_lab_that_cannot_come_up_says_why_and_leaves_nothing(lab_is_possible, tmp_path):
    hosts, (vm,) = plan(vms=1, memory=1 << 20)  # no kernel fits in
    with pytest.raises(Exception, match="kernel|memory|internal error"):
        labs.up(tmp_path / "lab", hosts, [vm])
    assert traces(tmp_path / "lab") == []


def test_a_lab_takes_no_folder_that_is_in_use(lab_is_possible, tmp_path):
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "file").touch()
    with pytest.raises(LabProblem, match="holds other things; a lab needs a folder of its own"):
        labs.up(tmp_path / "other", *plan(vms=0))
    with labs.up(tmp_path / "lab", *plan(hosts=1, vms=0)):
        with pytest.raises(LabProblem, match="is bringing up a lab|a lab is up in .*; end it with `down`"):
            labs.up(tmp_path / "lab", *plan(vms=0))
    assert (tmp_path / "other" / "file").exists()


def test_two_labs_at_once_know_nothing_of_each_other(make_lab):
    first, second = make_lab(hosts=1, vms=0), make_lab(hosts=1, vms=0)
    assert first.network != second.network
    assert first.link != second.link
    for lab, other in [(first, second), (second, first)]:
        host = lab.host("host0")
        assert "1 packets received" in host.run("busybox", "ping", "-c", 1, host.address)
        with pytest.raises(LabProblem, match="Network is unreachable"):
            host.run("busybox", "ping", "-c", 1, other.host("host0").address)
    first.down()
    with second.host("host0").connect() as connection:
        assert connection.getHostname() == "host0"


def test_hosts_share_no_path_with_each_other_or_with_the_machine(lab):
    one, other = lab.host("host0"), lab.host("host1")
    for folder in ["/tmp", "/run", "/dev/shm", "/var/lib/libvirt", "/etc/libvirt", "/boot", "/opt"]:
        one.run("touch", f"{folder}/of-host0")
        assert "of-host0" in one.run("ls", folder)
        assert "of-host0" not in other.run("ls", folder)
        assert not Path(folder, "of-host0").exists()
        one.run("rm", f"{folder}/of-host0")
    for machines in [lab.folder, HERE, "/home", "/root/.ssh", "/mnt"]:
        assert one.run("ls", "-d", machines, check=False) == ""
    with pytest.raises(LabProblem, match="Read-only file system"):
        one.run("touch", "/usr/of-host0")
    mounts = one.run("cat", "/proc/self/mountinfo")
    bound = {line.split()[4] for line in mounts.splitlines() if " tmpfs " not in line and "/" != line.split()[3]}
    assert bound <= {"/", "/usr", *(f"/dev/{device}" for device in ["null", "zero", "full", "random", "urandom", "tty", "net/tun", "kvm"])}, mounts


def test_the_cluster_file_tells_how_to_reach_hosts_and_domains(lab, vms_wanted):
    content = yaml.safe_load(lab.cluster_file.read_text())
    assert content["ferry_cluster"] == 1
    assert list(content["hosts"]) == ["host0", "host1"]
    assert list(content["vms"]) == [*(f"vm{i}" for i in range(vms_wanted)), "odd"]
    for name, entry in content["hosts"].items():
        address = lab.host(name).address
        assert entry == {
            "libvirt": f"qemu+tcp://{address}/system", "peer": f"qemu+tcp://{address}/system",
            "migrate": {"tcp": f"tcp://{address}"}, "virtual_functions": [{"nic": "virtio", "bridge": "br0", "count": 8}],
        }  # fmt: skip
    assert content["vms"]["vm0"] == {"domain": "vm0", "virtual_function": "ua-vf0", "ivshmem": "ua-shm0"}


def test_status_says_what_runs_where(lab):
    said, _ = lab_py("status", "--dir", lab.folder).communicate(timeout=60)
    assert f"accelerator: {lab.accelerator.name}" in said
    assert re.search(rf"host0: {lab.host('host0').address}, libvirtd {lab.host('host0').libvirtd().pid}, guests: vm0", said)
