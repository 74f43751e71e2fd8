"""An installed Ferry, used from elsewhere."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
COMMANDS = ["check", "plan", "explain", "run", "sweep", "compare", "calibrate", "plot", "doctor", "status", "cancel", "resume", "schema"]
# What every glibc comes with.
SYSTEM = {"linux-vdso.so.1", "libc.so.6", "libm.so.6", "libgcc_s.so.1", "ld-linux-x86-64.so.2", "libpthread.so.0", "libdl.so.2", "librt.so.1"}
# With RDMA the adapters' own library, which is loaded by those who have one.
ADAPTERS = {"libibverbs.so.1", "libnl-3.so.200", "libnl-route-3.so.200"}


@pytest.fixture(scope="session")
def installed(tmp_path_factory):
    build = Path(os.environ.get("FERRY_BIN", ROOT / "build/both/controller/cli/ferry")).resolve().parents[2]
    destination = tmp_path_factory.mktemp("destination")
    done = subprocess.run(["cmake", "--install", build, "--prefix", "/opt/ferry"], text=True, capture_output=True,
                          env={**os.environ, "DESTDIR": str(destination)})
    assert done.returncode == 0, done.stdout + done.stderr
    return destination / "opt/ferry"


def run(*command, folder, **options):
    # As in a login shell of somebody else: nothing points at the sources.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("FERRY_")}
    return subprocess.run([str(word) for word in command], cwd=folder, text=True, capture_output=True, timeout=300,
                          env=environment, **options)


def test_an_installed_ferry_runs_a_shipped_scenario_from_another_folder(installed, tmp_path):
    ferry = installed / "bin/ferry"
    world = ["--on", "sim"] if "sim (" in run(ferry, "--version", folder=tmp_path).stdout else ["--on", "threads", "--speed", "20"]
    done = run(ferry, "run", installed / "share/ferry/scenarios/lab/two_vms.yaml", *world, "--out", "out", "--quiet", folder=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "out/migrations.csv").exists()


def test_an_installed_ferry_draws_with_the_package_beside_it(installed, tmp_path):
    assert (installed / "share/ferry/analysis/ferry_analysis/__main__.py").exists()
    assert not list((installed / "share/ferry/analysis").rglob("__pycache__"))


@pytest.mark.parametrize("kind", ["paper", "studies", "lab", "platforms"])
def test_every_shipped_file_is_good_where_it_is_installed(installed, tmp_path, kind):
    files = sorted((installed / "share/ferry/scenarios" / kind).glob("*.yaml"))
    assert files
    done = run(installed / "bin/ferry", "check", *files, folder=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


def test_manual_pages_name_every_command_and_option(installed, tmp_path):
    page = (installed / "share/man/man1/ferry.1").read_text()
    for command in COMMANDS:
        assert re.search(rf"(^\.B\S* \"?|[ ,\"]){command}\b", page, flags=re.M), command
    for program, commands in [("ferry-rank", [[]]), ("ferry-host", [[], ["report"], ["set"], ["memory"]])]:
        program_page = (installed / f"share/man/man1/{program}.1").read_text().replace("\\-", "-")
        for command in commands:
            help_text = run(installed / "bin" / program, *command, "--help", folder=tmp_path).stdout
            assert all(word in program_page for word in command)
            for option in set(re.findall(r"--[a-z-]+", help_text)) - {"--help", "--version", "--mpi"}:
                assert option in program_page, option


def test_doctor_finds_ferry_host_beside_it(installed, tmp_path):
    (tmp_path / "cluster.yaml").write_text(
        "ferry_cluster: 1\nhosts: {host0: {libvirt: 'qemu:///system', migrate: {tcp: 'tcp://here'}}}\nvms: {vm0: {domain: none-such}}\n")
    assert "host0: versions " in run(installed / "bin/ferry", "doctor", "--cluster", "cluster.yaml", folder=tmp_path).stdout


@pytest.mark.parametrize("name", ["ferry-rank", "ferry-agent"])
def test_programs_for_guests_need_no_libraries_beyond_glibc(installed, name):
    program = installed / "bin" / name
    if not program.exists() and name == "ferry-agent":
        pytest.skip("this build has no ferry-agent")
    if not shutil.which("objdump"):
        pytest.skip("objdump is not here")
    listed = subprocess.run(["objdump", "-p", program], text=True, capture_output=True, check=True).stdout
    if "libasan" in listed or "libyaml-cpp.so" in listed:
        pytest.skip("linked with shared libraries: there is no libyaml-cpp.a here, or sanitizers are on")
    needed = set(re.findall(r"NEEDED\s+(\S+)", listed))
    assert needed <= SYSTEM | ADAPTERS
    versions = {tuple(map(int, version.split("."))) for version in re.findall(r"GLIBC_([0-9.]+)", listed)}
    said = re.search(r"glibc ([0-9]+)\.([0-9]+) or newer", (ROOT / "README.md").read_text())
    assert said, "the README says which glibc programs for guests need"
    assert max(versions) <= tuple(map(int, said.groups()))
