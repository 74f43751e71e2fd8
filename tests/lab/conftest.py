"""Labs for tests. FERRY_LAB_VMS says how many guests the shared one has, two at least."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from ferry_lab import lab as labs  # noqa: E402
from ferry_lab.domain import Vm  # noqa: E402
from ferry_lab.lab import in_parallel  # noqa: E402
from ferry_lab.scenario import read_scenario  # noqa: E402

ROOT = HERE.parents[1]
SCENARIOS = ROOT / "scenarios/lab"
MIB = 1 << 20


def plan(hosts=2, vms=2, memory=160 * MIB, **options):
    """Hosts host0 ... and VMs vm0 ..., in turn on them."""
    names = [f"host{i}" for i in range(hosts)]
    return [labs.HostPlan(name) for name in names], [
        Vm(name=f"vm{i}", host=names[i % hosts], memory=memory, number=i, **options) for i in range(vms)
    ]


def bring_up(folder, scenario, changes=()):
    """A lab with the hosts and VMs of a scenario; use it in a `with`."""
    return labs.up(folder, *read_scenario(scenario, changes))


@pytest.fixture(scope="session")
def lab_is_possible():
    """Skips where there can be no lab, and says why."""
    if reason := labs.missing():
        pytest.skip(f"no lab here: {reason}")


@pytest.fixture(scope="session")
def program():
    found = Path(os.environ.get("FERRY_BIN", ROOT / "build/both/controller/cli/ferry"))
    if not found.exists():
        pytest.skip(f"{found} is not built")
    worlds = subprocess.run([found, "--version"], text=True, capture_output=True).stdout.split("worlds:")[1]
    if "hw" not in worlds:
        pytest.skip("this build has no real world (it was built without libvirt)")
    return found


@pytest.fixture(scope="session")
def vms_wanted():
    return max(2, int(os.environ.get("FERRY_LAB_VMS", "2")))


# Labs that tests share: each test leaves them as it found them. A guest that does nothing takes 6 % of a core under TCG.


@pytest.fixture(scope="session")
def lab(lab_is_possible, tmp_path_factory, vms_wanted):
    """The hosts and VMs of two_vms.yaml, or more VMs, in turn on the hosts."""
    with bring_up(tmp_path_factory.mktemp("lab") / "shared", SCENARIOS / "two_vms.yaml", [f"vms.vm.count={vms_wanted}"]) as shared:
        yield shared


@pytest.fixture(scope="module")
def bare(lab):
    """The same without IVShmem, as QEMU wants it for a migration: for tests that have no part in Ferry."""
    in_parallel(lab.remove_ivshmem, list(lab.vms))
    yield lab
    in_parallel(lab.give_back_devices, list(lab.vms))


@pytest.fixture
def make_lab(lab_is_possible, tmp_path):
    """Labs of a test's own: make_lab(hosts=2, vms=1, ivshmem=4 << 20) or make_lab(scenario=FILE, changes=[...])."""
    made = []

    def make(scenario=None, changes=(), **options):
        hosts, vms = read_scenario(scenario, changes) if scenario else plan(**options)
        made.append(labs.up(tmp_path / f"lab{len(made)}", hosts, vms))
        return made[-1]

    yield make
    for each in made:
        each.down()


@pytest.fixture(scope="session")
def four(lab_is_possible, tmp_path_factory):
    """The hosts and VMs of sequential_four.yaml."""
    with bring_up(tmp_path_factory.mktemp("lab") / "four", SCENARIOS / "sequential_four.yaml") as lab:
        yield lab


@pytest.fixture(scope="session")
def unlike(lab_is_possible, tmp_path_factory):
    """Two guests of host0. vm0 is the one of dirtying.yaml but for what it dirties: nothing, until a test says so. vm1 is
    larger, mostly zero, has two vCPUs and no virtual function, and dirties a little."""
    hosts, vms = plan(vms=2, ivshmem=4 * MIB)
    vms[0] = replace(vms[0], zero=0.45, working_set=24 * MIB)
    vms[1] = replace(vms[1], host="host0", memory=256 * MIB, zero=0.6, vcpus=2, working_set=16 * MIB, dirty_rate=1_000_000,
                     virtual_function=False)  # fmt: skip
    with labs.up(tmp_path_factory.mktemp("lab") / "unlike", hosts, vms) as lab:
        yield lab
