"""Hosts that are reached by TLS with certificates and passwords (SASL), and by SSH."""

import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from conftest import SCENARIOS
from ferry_lab import access, lab as labs
from ferry_lab.lab import in_parallel
from ferry_lab.scenario import read_scenario
from ferry_program import Ferry, check_whole


@pytest.fixture(scope="module")
def guarded(shared_labs, tmp_path_factory):
    """The lab of two_vms.yaml and the ways into it."""
    if reason := access.missing():
        pytest.skip(f"no guarded hosts here: {reason}")
    shared_labs.down()  # one lab at a time
    folder = tmp_path_factory.mktemp("guarded")
    lab = labs.up(folder / "lab", *read_scenario(SCENARIOS / "two_vms.yaml", []))
    try:
        yield lab, access.Access(folder / "access", [lab.host("host0"), lab.host("host1")])
    finally:
        lab.down()


def by(lab, ways, controller):
    """Writes the cluster file: the controller comes by `controller`, hosts come to each other by TLS."""
    cluster = yaml.safe_load(lab.cluster_file.read_text())
    for name, host in cluster["hosts"].items():
        host["libvirt"] = controller(lab.host(name))
        host["peer"] = ways.tls_from_host(lab.host(name))
    lab.cluster_file.write_text(yaml.safe_dump(cluster))


@pytest.mark.parametrize("way", ["tls", "ssh"])
def test_two_vms_move_crosswise(program, guarded, tmp_path, way):
    lab, ways = guarded
    by(lab, ways, getattr(ways, way))
    before = {vm: lab.host_of(vm).name for vm in lab.vms}
    ferry = Ferry(program, lab, tmp_path)
    status, said = ferry.run("two_vms.yaml")
    assert status == 0, said
    for vm, move in ferry.moves().items():
        assert move["outcome"] == "completed"
        assert move["to"] != before[vm]
        check_whole(lab, vm, move["to"])
    in_parallel(lab.bring_home, list(lab.vms))


def test_doctor_asks_hosts_for_their_report_by_ssh(program, guarded, tmp_path):
    built = Path(program).resolve().parents[2] / "hw_backend/ferry-host"
    if not built.exists():
        pytest.skip(f"{built} is not built")
    lab, ways = guarded
    by(lab, ways, ways.ssh)
    shutil.copy(built, lab.host("host0").root / "ferry-host")
    done = subprocess.run([program, "doctor", "--cluster", lab.cluster_file, "--ferry-host", "/ferry-host"], text=True,
                          stdin=subprocess.DEVNULL, capture_output=True, timeout=300)  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "host0: versions " in done.stdout
    assert "host1: versions " not in done.stdout, "it is optional"


def test_a_wrong_password_is_said_and_nothing_is_touched(program, guarded, tmp_path):
    lab, ways = guarded
    by(lab, ways, ways.tls)
    ways.write_password("battery staple")
    try:
        before = {vm: lab.host_of(vm).name for vm in lab.vms}
        ferry = Ferry(program, lab, tmp_path)
        status, said = ferry.run("two_vms.yaml")
        assert status == 3, said
        assert "host0" in said and "authentication failed" in said
        assert {vm: lab.host_of(vm).name for vm in lab.vms} == before
    finally:
        ways.write_password(access.PASSWORD)
