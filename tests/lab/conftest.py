"""Labs for tests. FERRY_LAB_VMS says how many guests the shared one has."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from ferry_lab import lab as labs  # noqa: E402
from ferry_lab.domain import Vm  # noqa: E402
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
    return int(os.environ.get("FERRY_LAB_VMS", "2"))


@pytest.fixture(scope="session")
def lab(lab_is_possible, tmp_path_factory, vms_wanted):
    """A lab of two hosts that tests share: each leaves it as it found it."""
    with labs.up(tmp_path_factory.mktemp("lab") / "shared", *plan(vms=vms_wanted)) as shared:
        yield shared


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
