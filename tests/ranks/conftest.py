"""ferry-rank under its launchers."""

import os
import shutil
from pathlib import Path

import pytest
from slurm import Slurm

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def rank_program() -> Path:
    ferry = Path(os.environ.get("FERRY_BIN", ROOT / "build/both/controller/cli/ferry")).resolve()
    found = ferry.parents[2] / "hw_backend" / "ferry-rank"
    if not found.exists():
        pytest.fail(f"{found} is not there; build it, or name another build's ferry with FERRY_BIN")
    return found


SCENARIO = f"""
ferry: 1
name: ranks
platform: {ROOT}/scenarios/platforms/nowlab-fdr.yaml
cluster:
  hosts: [{{name: host, count: 1, cores: 16, memory: 32GiB, virtual_functions: 16}}]
vms:
  - {{name: vm, count: 1, on: host0, vcpus: 4, memory: 1GiB, virtual_functions: 1, ivshmem: 64MiB,
     pages: {{zero: 0%, working_set: 64MiB, dirty_rate: 20MB/s, idle_dirty_rate: 1MB/s}}}}
jobs:
  - {{name: pair, on: {{vms: vm}}, ranks: 2, workload: {{type: osu_latency, iterations: 20, sizes: [1B, 4KiB, 1MiB]}}}}
  - {{name: sum, on: {{vms: vm}}, ranks: 4, workload: {{type: osu_allreduce, iterations: 5, sizes: [8B, 64KiB]}}}}
  - {{name: lap, on: {{vms: vm}}, ranks: 2, workload: {{type: overlap, iterations: 4, exchanges: 3, message: 64KiB, share: 50%}}}}
  - {{name: replay, on: {{vms: vm}}, ranks: 2, workload: {{type: trace, file: {ROOT}/tests/scenario/good/two-ranks.ti}}}}
  - {{name: search, on: {{vms: vm}}, ranks: 4, workload: {{type: graph500, scale: 8, iterations: 1}}}}
  - {{name: sorting, on: {{vms: vm}}, ranks: 4, workload: {{type: nas_is, class: S, iterations: 2}}}}
  - {{name: endless, on: {{vms: vm}}, ranks: 2, workload: {{type: iterate, iterations: 1000000, compute: 1ms}}}}
"""


@pytest.fixture
def scenario(tmp_path) -> Path:
    file = tmp_path / "ranks.yaml"
    file.write_text(SCENARIO)
    return file


@pytest.fixture
def memory_names():
    """The names of shared memory that a test leaves behind: none."""
    def names():
        return {name for name in os.listdir("/dev/shm") if name.startswith(f"ferry-{os.geteuid()}-job-")}
    before = names()
    yield names
    assert names() <= before


@pytest.fixture(scope="session")
def hydra() -> list:
    program = shutil.which("mpiexec.hydra")
    if program is None:
        pytest.skip("Hydra is not here: Debian's mpich has it")
    return [program]


@pytest.fixture(scope="session")
def slurm(tmp_path_factory):
    missing = [name for name in ("/usr/sbin/slurmctld", "/usr/sbin/slurmd", "/usr/bin/srun") if not Path(name).exists()]
    if missing:
        pytest.skip(f"{', '.join(missing)} are not here: Debian's slurm-wlm has them")
    if os.geteuid() != 0:
        pytest.skip("slurmd wants to be root")
    running = Slurm(tmp_path_factory.mktemp("slurm"))
    yield running
    running.stop()
