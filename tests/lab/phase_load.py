#!/usr/bin/python3
"""What the machine's processors do in the phases of moves that run alone: the source of `hypervisor.status_cpu` and `busy`.

Moves one guest of 160 MiB some times, reads meanwhile how much processor time the machine has used, and prints for each
phase the time it took (median), the processor time, the cores that were busy on average, and the share of steps of 10 ms
in which at least half a core was, with the cores in those steps; of all of them less what was busy before, with nobody
moving. Last the same of changes of a status (set_pre and set_post) and of operations on devices (unplugging and plugging).
Nothing else should run meanwhile.

With --ranks one of a pair of guests of 192 MiB with an MPI rank each goes to the other's host and back in every run; its
set_pre and set_post are mostly what the ranks and the guest do then.

Keeps the run folders in --out, each with samples.csv: nanoseconds since the epoch, nanoseconds of processor time.
"""

from __future__ import annotations

import argparse
import bisect
import csv
import os
import statistics
import sys
import threading
import time
from pathlib import Path

import predict
from ferry_lab import lab as labs
from ferry_lab.machine_load import hold_memory
from ferry_lab.problem import LabProblem
from ferry_lab.quantities import read_bytes
from ferry_lab.scenario import read_scenario

EVERY_SECONDS = 0.003
STEP_SECONDS = 0.01
BUSY_CORES = 0.5  # a step with so many busy at least counts as busy
PHASES = {
    "set_pre": ("set_pre_migration",),
    "unplug": ("detach_vf", "remove_ivshmem"),
    "migration": ("migration",),
    "plug": ("attach_vf", "add_ivshmem"),
    "set_post": ("set_post_migration",),
}


class ProcessorTime:
    """`with ProcessorTime() as used: ...; used.at(t)`: seconds of processor time that the machine had used `t` seconds
    after the epoch. By the accounting of control groups, which is exact where /proc/stat counts ticks."""

    _V1, _V2 = Path("/sys/fs/cgroup/cpuacct/cpuacct.usage"), Path("/sys/fs/cgroup/cpu.stat")

    def __init__(self) -> None:
        self.times: list[float] = []
        self.used: list[float] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)

    @classmethod
    def read(cls) -> float:
        if cls._V1.exists():
            return int(cls._V1.read_text()) / 1e9
        return int(cls._V2.read_text().split()[1]) / 1e6  # usage_usec

    def __enter__(self) -> ProcessorTime:
        self._thread.start()
        return self

    def __exit__(self, *_) -> None:
        self._ended.set()
        self._thread.join()

    def _sample(self) -> None:
        while not self._ended.wait(EVERY_SECONDS):
            self.times.append(time.time())
            self.used.append(self.read())

    def at(self, when: float) -> float:
        """Between two samples in proportion; the first and last beyond them."""
        after = min(max(bisect.bisect(self.times, when), 1), len(self.times) - 1)
        begin, end = self.times[after - 1], self.times[after]
        part = min(max((when - begin) / (end - begin), 0.0), 1.0)
        return self.used[after - 1] + part * (self.used[after] - self.used[after - 1])


def began(run: Path) -> float:
    """When the run's clock stood at 0, in seconds since the epoch: its journal's first record has both clocks."""
    with open(run / "journal", encoding="utf-8") as journal:
        _number, _sum, _what, _controller, clock, epoch = journal.readline().split()[:6]
    return (int(epoch) - int(clock)) / 1e9


def intervals(run: Path) -> dict[str, list[tuple[float, float]]]:
    """Begin and end of each phase, in seconds of the run's clock, for each move; one moves at a time."""
    with open(run / "spans.csv", encoding="utf-8", newline="") as table:
        rows = sorted(csv.DictReader(table), key=lambda row: float(row["start_seconds"]))
    moves: list[list[dict[str, str]]] = []
    for row in rows:
        if not moves or row["phase"] == "set_pre_migration":
            moves.append([])
        moves[-1].append(row)
    found: dict[str, list[tuple[float, float]]] = {}
    for name, spans in PHASES.items():
        for move in moves:
            own = [row for row in move if row["phase"] in spans]
            if own:
                ends = max(float(row["end_seconds"]) for row in own)
                found.setdefault(name, []).append((float(own[0]["start_seconds"]), ends))
    return found


def steps(used: ProcessorTime, begin: float, end: float, idle: float) -> list[float]:
    """Cores that were busy in each whole step, beyond `idle`."""
    count = int((end - begin) / STEP_SECONDS)
    edges = [used.at(begin + i * STEP_SECONDS) for i in range(count + 1)]
    return [(after - before) / STEP_SECONDS - idle for before, after in zip(edges, edges[1:])]


def busy(cores: list[float]) -> str:
    """Of steps: the share that was busy, and the cores in those."""
    found = [each for each in cores if each >= BUSY_CORES]
    return f"{len(found) / len(cores):.0%} | {statistics.mean(found):.2f}" if found else "- | -"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="a new folder")
    parser.add_argument("--ranks", action="store_true", help="with MPI ranks in the guests: two moves in each run")
    parser.add_argument("--runs", type=int, default=8, help="besides one that is not counted (default: 8)")
    parser.add_argument("--hold", type=read_bytes, default=0, metavar="BYTES", help="as predict.py's")
    arguments = parser.parse_args()
    if reason := labs.missing():
        print(f"phase_load: no lab here: {reason}", file=sys.stderr)
        return 3
    plan = predict.RANKS if arguments.ranks else predict.DEVICES
    load = plan.calibration[0]
    arguments.out.mkdir(parents=True)
    out = arguments.out.resolve()
    program = Path(os.environ.get("FERRY_BIN", predict.ROOT / "build/both/controller/cli/ferry")).resolve()
    runner = predict.Lab(program, plan, out, 1, 1.0)
    held = hold_memory(arguments.hold) if arguments.hold else None
    times: dict[str, list[float]] = {}
    works: dict[str, list[float]] = {}
    cores: dict[str, list[float]] = {}
    idle: list[float] = []
    try:
        hosts, vms = read_scenario(predict.SCENARIOS / load.scenario, load.changes)
        with labs.up(out / "lab", hosts, vms, **runner.guests()) as lab:
            runner.run_once(lab, load, out / "warm-up")
            for number in range(1, arguments.runs + 1):
                time.sleep(1)
                run = out / f"run-{number}"
                with ProcessorTime() as used:
                    before = time.time(), used.read()
                    time.sleep(1)
                    idle.append((used.read() - before[1]) / (time.time() - before[0]))
                    runner.run_once(lab, load, run)
                with open(run / "samples.csv", "w", encoding="utf-8") as table:
                    table.writelines(f"{when * 1e9:.0f},{work * 1e9:.0f}\n" for when, work in zip(used.times, used.used))
                zero = began(run)
                for name, begin, end in ((name, zero + begin, zero + end)
                                         for name, each in intervals(run).items() for begin, end in each):  # fmt: skip
                    times.setdefault(name, []).append(end - begin)
                    works.setdefault(name, []).append(used.at(end) - used.at(begin) - idle[-1] * (end - begin))
                    cores.setdefault(name, []).extend(steps(used, begin, end, idle[-1]))
    except (predict.Broken, LabProblem) as problem:
        print(f"phase_load: {problem}", file=sys.stderr)
        return 3
    finally:
        if held:
            held.close()
    print(f"{load.title}, {len(times['migration'])} moves; {statistics.median(idle):.2f} cores are busy with nobody moving\n")
    print("| phase | time | processor time | cores | busy | cores while busy |\n|---|---|---|---|---|---|")
    for name, took in times.items():
        print(f"| {name} | {statistics.median(took) * 1e3:.1f} ms | {statistics.median(works[name]) * 1e3:.1f} ms "
              f"| {sum(works[name]) / sum(took):.2f} | {busy(cores[name])} |")  # fmt: skip
    status = sum(works["set_pre"] + works["set_post"]) / sum(times["set_pre"] + times["set_post"])
    print(f"\nstatus: {status:.2f} cores; devices: busy | cores while busy: {busy(cores['unplug'] + cores['plug'])}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
