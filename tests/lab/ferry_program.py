"""The program ferry with a lab as its cluster."""

import csv
import subprocess

from conftest import SCENARIOS
from ferry_lab import guest
from ferry_lab.processes import wait_until

MIB = 1 << 20


class Ferry:
    """The program, with a lab as its cluster and run folders in a folder of the test."""

    def __init__(self, program, lab, folder):
        self.program, self.lab, self.folder, self.runs = program, lab, folder, 0

    def start(self, scenario, *options, environment=None):
        self.runs += 1
        self.out = self.folder / f"run{self.runs}"
        return subprocess.Popen(
            [self.program, "run", SCENARIOS / scenario, "--on", "hw", "--cluster", self.lab.cluster_file, "--yes",
             "--out", self.out, *options],
            text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
            env=environment,
        )  # fmt: skip

    def run(self, scenario, *options):
        running = self.start(scenario, *options)
        said = running.communicate(timeout=600)
        return running.returncode, "".join(said)

    def moves(self):
        return {row["vm"]: row for row in self.table("migrations.csv")}

    def spans(self):
        return self.table("spans.csv")

    def table(self, name):
        with open(self.out / name) as table:
            return list(csv.DictReader(table))


def check_whole(lab, vm, host):
    """A VM runs on exactly this host, with its devices, and its guest lives."""
    assert lab.host_of(vm).name == host
    with lab.domain(vm) as domain:
        wait_until(f"{vm} has its devices", 60, lambda: all(f"<alias name='{alias}'/>" in domain.XMLDesc() for alias in ["ua-vf0", "ua-shm0"]))
        guest.wait_for_agent(domain, 60)
        assert guest.run(domain, "hostname").strip() == vm


def under_way(lab, vm, host):
    """Waits until a migration of the VM has sent something."""

    def has_sent():
        with lab.domain(vm, lab.host(host)) as domain:
            return domain.jobStats().get("memory_processed", 0) > MIB

    wait_until(f"a migration of {vm} is under way", 120, has_sent)
