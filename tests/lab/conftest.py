"""Labs for tests. FERRY_LAB_VMS says how many guests the shared one has, two at least."""

import os
import subprocess
import sys
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


class SharedLabs:
    """One lab at a time, since a guest that does nothing takes 6 % of a core under TCG: another one begins when this one has
    ended."""

    def __init__(self, folder):
        self.folder, self.name, self.lab = folder, None, None

    def get(self, name, plans):
        if self.name != name or not self.lab.is_whole():  # a test may have lost a guest, and has failed
            self.down()
            self.lab = labs.up(self.folder / name, *plans())
            self.name = name
        return self.lab

    def down(self):
        self.name = None
        if self.lab:
            self.lab.down()


@pytest.fixture(scope="session")
def shared_labs(lab_is_possible, tmp_path_factory):
    shared = SharedLabs(tmp_path_factory.mktemp("labs"))
    yield shared
    shared.down()


def pytest_collection_modifyitems(items):
    """The tests of a lab follow each other, so that it is brought up once."""
    items.sort(key=lambda item: 2 if "four" in item.fixturenames else 1 if "lab" in item.fixturenames else 0)


@pytest.fixture
def lab(shared_labs, vms_wanted):
    """The VMs of two_vms.yaml, or more, in turn on the hosts; vm0 is also the one of dirtying.yaml, but dirties nothing
    until a test says so. On host0 there is `odd` too: larger, mostly zero, with two vCPUs and no virtual function, and it
    dirties a little. Each test leaves the lab as it found it."""

    def plans():
        changes = [f"vms.vm.count={vms_wanted}", "vms.vm.pages.zero=45%", "vms.vm.pages.working_set=24MiB"]
        hosts, vms = read_scenario(SCENARIOS / "two_vms.yaml", changes)
        odd = Vm(name="odd", host="host0", memory=256 * MIB, zero=0.6, vcpus=2, working_set=16 * MIB, dirty_rate=1_000_000,
                 virtual_function=False, ivshmem=4 * MIB, number=vms_wanted)  # fmt: skip
        return hosts, [*vms, odd]

    return shared_labs.get("two", plans)


@pytest.fixture
def bare(lab):
    """The same without IVShmem, as QEMU wants it for a migration: for tests that have no part in Ferry."""
    in_parallel(lab.remove_ivshmem, list(lab.vms))
    yield lab
    in_parallel(lab.give_back_devices, list(lab.vms))


@pytest.fixture
def four(shared_labs):
    """The hosts and VMs of sequential_four.yaml; a test may leave the VMs where it likes."""
    return shared_labs.get("four", lambda: read_scenario(SCENARIOS / "sequential_four.yaml"))


@pytest.fixture
def make_lab(lab_is_possible, tmp_path):
    """Labs of a test's own: make_lab(hosts=2, vms=1, ivshmem=4 << 20) or make_lab(scenario=FILE, changes=[...])."""
    made = []

    def make(scenario=None, changes=(), programs=(), rdma=False, **options):
        hosts, vms = read_scenario(scenario, changes) if scenario else plan(**options)
        made.append(labs.up(tmp_path / f"lab{len(made)}", hosts, vms, programs=programs, rdma=rdma))
        return made[-1]

    yield make
    for each in made:
        each.down()
