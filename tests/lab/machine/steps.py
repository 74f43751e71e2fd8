"""What the steps in a machine have in common. They print what they find as lines `STEP {json}`, which a test judges."""

import contextlib
import json
import subprocess
import sys
from pathlib import Path

SHARED = Path("/lab")
sys.path.insert(0, str(SHARED / "tests/lab"))

from ferry_lab import lab as labs  # noqa: E402
from ferry_lab.accelerator import Accelerator  # noqa: E402
from ferry_lab.image import Image  # noqa: E402

SCENARIO = SHARED / "scenarios/lab/sequential_four.yaml"

labs.image = lambda: Image(SHARED / "image")
labs.accelerator = lambda _: Accelerator("kvm", "of the machine's emulated SVM")


def introduce(lab):
    """libvirt asks all of a host's emulators what they can do when it is asked for the first time what the host can do; in a
    machine that is itself emulated that takes longer than Ferry waits."""

    def ask(host):
        with contextlib.closing(host.connect()) as connection:
            connection.getCapabilities()

    labs.in_parallel(ask, list(lab.hosts.values()))


def tell(step, **found):
    print("STEP", json.dumps({"step": step, **found}), flush=True)


def start_ferry(*arguments, cluster="cluster.yaml"):
    return subprocess.Popen([SHARED / "ferry", *arguments, "--cluster", f"/root/{cluster}"], text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE)  # fmt: skip


def ferry(step, *arguments, cluster="cluster.yaml"):
    running = start_ferry(*arguments, cluster=cluster)
    said = "".join(running.communicate())
    tell(step, status=running.returncode, said=said)
