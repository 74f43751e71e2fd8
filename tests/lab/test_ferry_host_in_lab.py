"""`ferry-host` on hosts with real QEMUs: what it says of their shared memory, and that it removes only what nobody needs."""

import json
import subprocess
from pathlib import Path

import pytest
from ferry_lab.processes import wait_until

REGION = "ferry-shm0"
# What a region of ranks begins with: "Ferry" and a version, as a number of this machine.
LAYOUT = r"\003\000\000yrreF"


@pytest.fixture
def ferry_host(program, lab):
    """Runs it in a host of the lab: (exit status, what it printed)."""
    built = Path(program).resolve().parents[2] / "hw_backend/ferry-host"
    if not built.exists():
        pytest.skip(f"{built} is not built")

    def run(host, *arguments, inside=()):
        root = lab.host(host).root
        (root / "ferry-host").write_bytes(built.read_bytes())
        (root / "ferry-host").chmod(0o755)
        done = subprocess.run(lab.host(host)._inside(*inside, "/ferry-host", *arguments), stdin=subprocess.DEVNULL,
                              text=True, capture_output=True, timeout=120)  # fmt: skip
        return done.returncode, done.stdout + done.stderr

    return run


def listed(ferry_host, host, *names):
    status, said = ferry_host(host, "memory", *names, "--json")
    assert status == 0, said
    return {file["name"]: file for file in json.loads(said)["shared_memory"]}


def test_a_region_that_qemus_map_is_known_with_its_guests(lab, ferry_host):
    region = listed(ferry_host, "host0")[REGION]
    assert {user["guest"] for user in region["users"]} == {"vm0", "odd"}
    assert sorted(region["running_domains"]) == ["odd", "vm0"]
    assert region["size_bytes"] == 4 << 20
    assert "qemu-system-x86" in region["kept"]


def test_what_nobody_needs_goes_and_the_region_of_guests_stays(lab, ferry_host):
    host = lab.host("host0")
    before = host.run("stat", "-c", "%i", f"/dev/shm/{REGION}")
    host.run("sh", "-c", f"printf '{LAYOUT}' >/dev/shm/left && echo theirs >/dev/shm/unrelated")
    assert listed(ferry_host, "host0")["left"]["kept"] == ""
    status, said = ferry_host("host0", "memory", "--remove")
    assert status == 0, said
    assert f"kept {REGION}: " in said and "removed left\n" in said
    assert host.run("ls", "-A", "/dev/shm").split() == [REGION, "unrelated"]
    assert ferry_host("host0", "memory", REGION, "--remove")[0] == 1
    assert host.run("stat", "-c", "%i", f"/dev/shm/{REGION}") == before
    host.run("rm", "/dev/shm/unrelated")


def test_what_a_process_of_another_namespace_has_open_stays(lab, ferry_host):
    host = lab.host("host1")
    hidden = ["unshare", "--pid", "--fork", "--mount-proc"]  # sees itself alone
    holder = subprocess.Popen(host._inside("sh", "-c", f"printf '{LAYOUT}' >/dev/shm/held; exec 3<>/dev/shm/held; echo ready; read -r go"),
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)  # fmt: skip
    try:
        assert holder.stdout.readline() == "ready\n"
        status, said = ferry_host("host1", "memory", "held", "--remove", inside=hidden)
        assert (status, said) == (1, "kept held: a process that this one does not see has it\n")
    finally:
        holder.communicate("go\n")
    assert ferry_host("host1", "memory", "held", "--remove", inside=hidden) == (0, "removed held\n")


def test_a_region_that_no_guest_has_any_more_goes_and_comes_again(bare, ferry_host):
    """`bare` has taken IVShmem from all guests, and gives it back afterwards."""
    wait_until("QEMUs have let go of the region", 60, lambda: listed(ferry_host, "host1", REGION)[REGION]["kept"] == "")
    status, said = ferry_host("host1", "memory", REGION, "--remove")
    assert (status, said) == (0, f"removed {REGION}\n")
    bare.give_back_devices("vm1")
    assert {user["guest"] for user in listed(ferry_host, "host1")[REGION]["users"]} == {"vm1"}


def test_a_report_of_a_host_has_its_daemon_and_versions(lab, ferry_host):
    status, said = ferry_host("host0", "report", "--json")
    report = json.loads(said)
    assert status == (1 if any(finding["level"] == "failed" for finding in report["findings"]) else 0)
    assert report["host"] == "host0"
    assert report["versions"]["libvirt"].count(".") == 2
    assert "libvirtd" in {locked["process"]["program"] for locked in report["locked_memory"]}
    assert sum(node["cores"] for node in report["numa"]) >= 1
