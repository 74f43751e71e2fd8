#!/usr/bin/python3
"""Fits the lab's platform on some runs, predicts others from that fit alone, and holds them together.

Calibration: one guest of 160 MiB, one of 320 MiB, two and three of 160 MiB at once.
Predicted: one of 240 MiB, one that dirties 20 MB/s, four at once, four one after the other.

With --ranks, an MPI rank in each of two guests that talk by verbs. Calibration: one of them, of 192 MiB and of 384 MiB,
goes to the other's host and back; both change places; three of two pairs move at once. Predicted: 288 MiB, a migration
thread in place of the progress engine, dirtying 20 MB/s, four guests at once.

Loads of both kinds take turns, every second round backwards: a machine whose speed drifts does so in all of them alike.
In each round one is run several times; a guest is brought home in between. A run during which other work, or
the host of a virtual machine (steal), took more than --others of the machine's processors is repeated, a few times; of
those the quietest counts. Where steal comes from memory that the host took back while it was free, --hold most of it.

With --platform nothing is calibrated: the loads that are predicted are run, and held beside what that file gives for them.

Writes into --out: calibrated/ and held-out/ (run folders), predicted/ (simulated), platform.yaml, prediction.csv,
prediction.md and others.csv (other work's share of the processors, by run).
"""

from __future__ import annotations

import argparse
import csv
import math
import os
import shutil
import statistics
import subprocess
import sys
from dataclasses import dataclass, replace
from itertools import zip_longest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from ferry_lab import lab as labs  # noqa: E402
from ferry_lab.machine_load import OthersShare, hold_memory  # noqa: E402
from ferry_lab.problem import LabProblem  # noqa: E402
from ferry_lab.quantities import read_bytes  # noqa: E402
from ferry_lab.scenario import read_scenario  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
SCENARIOS = ROOT / "scenarios/lab"


@dataclass(frozen=True)
class Load:
    """A scenario of scenarios/lab with changes."""

    name: str
    title: str
    scenario: str
    changes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Plan:
    """What is fitted on what, and what it has to predict."""

    platform: str  # of scenarios/platforms: the one that the scenarios name, and that the fit starts from
    calibration: tuple[Load, ...]
    held_out: tuple[Load, ...]
    ranks: bool = False


DEVICES = Plan(
    "lab-tcg.yaml",
    calibration=(
        Load("one-160", "one guest, 160 MiB", "sequential_four.yaml", ("vms.vm.count=1",)),
        Load("one-320", "one guest, 320 MiB", "sequential_four.yaml", ("vms.vm.count=1", "vms.vm.memory=320MiB")),
        Load("two-at-once", "two guests of 160 MiB at once", "parallel_four.yaml", ("vms.vm.count=2",)),
        Load("three-at-once", "three guests of 160 MiB at once", "parallel_four.yaml", ("vms.vm.count=3",)),
    ),
    held_out=(
        Load("one-240", "one guest, 240 MiB", "sequential_four.yaml", ("vms.vm.count=1", "vms.vm.memory=240MiB")),
        Load("dirtying", "one guest, 160 MiB, dirtying 20 MB/s", "dirtying.yaml"),
        Load("four-at-once", "four guests of 160 MiB at once", "parallel_four.yaml"),
        Load("four-in-turn", "four guests of 160 MiB in turn", "sequential_four.yaml"),
    ),
)
PAIR = ("migrations.meet.at=3s", "migrations.part.at=8s", "jobs.pair.workload.iterations=350")
CROSSING = ("migrations.meet.at=3s", "migrations.part.at=3s", "migrations.part.vms=vm1", "schedule.order=parallel",
            "schedule.batch=all", "vms.vm.memory=192MiB", "jobs.pair.workload.iterations=250")  # fmt: skip
RANKS = Plan(
    "lab-tcg-ranks.yaml",
    calibration=(
        Load("pair-192", "a pair, 192 MiB", "pair_over_verbs.yaml", (*PAIR, "vms.vm.memory=192MiB")),
        Load("pair-384", "a pair, 384 MiB", "pair_over_verbs.yaml", (*PAIR, "vms.vm.memory=384MiB")),
        Load("pair-crosses", "both of a pair at once, 192 MiB", "pair_over_verbs.yaml", CROSSING),
        Load("three-cross", "three of two pairs at once, 192 MiB", "pairs_cross.yaml", ("migrations.left.vms=vm1",)),
    ),
    held_out=(
        Load("pair-288", "a pair, 288 MiB", "pair_over_verbs.yaml", (*PAIR, "vms.vm.memory=288MiB")),
        Load("pair-thread", "a pair, 192 MiB, migration thread", "pair_over_verbs.yaml",
             (*PAIR, "vms.vm.memory=192MiB", "jobs.pair.strategy=migration_thread")),
        Load("pair-dirtying", "a pair, 192 MiB, dirtying 20 MB/s", "pair_over_verbs.yaml",
             (*PAIR, "vms.vm.memory=192MiB", "vms.vm.pages.zero=30%", "vms.vm.pages.working_set=32MiB",
              "vms.vm.pages.idle_dirty_rate=20MB/s")),
        Load("pairs-cross", "four with two pairs at once, 192 MiB", "pairs_cross.yaml"),
    ),
    ranks=True,
)  # fmt: skip
ATTEMPTS = 4  # to find the machine quiet
SEEDS = 15  # simulated; operations vary
TOTAL_WITHIN, PHASE_WITHIN = 0.10, 0.20


def turns(plan: Plan, rounds: int) -> list[tuple[int, str, Load]]:
    """What is measured, in this order: the round, the folder, the load."""
    pairs = zip_longest(plan.calibration, plan.held_out)
    one_round = [(folder, load) for pair in pairs for folder, load in zip(("calibrated", "held-out"), pair) if load]
    return [(number, *part) for number in range(1, rounds + 1) for part in one_round[:: 1 if number % 2 else -1]]


class Broken(Exception):
    """What ended the measurement; the message is for the user."""


class Lab:
    """Runs the program over loads."""

    def __init__(self, program: Path, plan: Plan, out: Path, repetitions: int, others: float) -> None:
        self.program, self.plan, self.out, self.repetitions, self.others = program, plan, out, repetitions, others
        self.shares: dict[Path, float] = {}  # of the processors, that other work took; by run

    def ferry(self, *arguments: object) -> str:
        done = subprocess.run([self.program, *map(str, arguments)], text=True, capture_output=True, timeout=900)
        if done.returncode != 0:
            raise Broken(f"ferry {' '.join(map(str, arguments))}: exit status {done.returncode}: {done.stderr}{done.stdout}")
        return done.stdout

    def guests(self) -> dict[str, object]:
        """What a lab's guests have besides its scenario."""
        programs = [self.program.parents[2] / "hw_backend" / name for name in ("ferry-agent", "ferry-rank")]
        return {"programs": programs, "rdma": True} if self.plan.ranks else {}

    def measure(self, load: Load, folder: str, number: int) -> list[Path]:
        """The load on real hosts, in this round; its run folders."""
        hosts, vms = read_scenario(SCENARIOS / load.scenario, load.changes)
        with labs.up(self.out / "lab", hosts, vms, **self.guests()) as lab:
            # A libvirtd's first migration takes longer: it is not counted.
            self.run_once(lab, load, self.out / folder / load.name / f"warm-up-{number}")
            runs = []
            for repetition in range(1, self.repetitions + 1):
                run = self.run_quietly(lab, load, self.out / folder / load.name, f"run-{number}-{repetition}")
                runs.append(run)
                print(f"round {number}, {load.title}: {repetition}/{self.repetitions}, others took {self.shares[run]:.0%}",
                      file=sys.stderr)
        return runs

    def run_quietly(self, lab: labs.Lab, load: Load, folder: Path, name: str) -> Path:
        """Of some attempts the first during which other work took little, or else the one with the least of it."""
        tried = []
        for attempt in range(ATTEMPTS):
            tried.append(folder / (name + (f"-attempt-{attempt + 1}" if attempt else "")))
            self.run_once(lab, load, tried[-1])
            if self.shares[tried[-1]] <= self.others:
                break
        return min(tried, key=lambda run: self.shares[run])

    def run_once(self, lab: labs.Lab, load: Load, run: Path) -> None:
        changes = [part for change in load.changes for part in ("--set", change)]
        with OthersShare([os.getpid(), lab.switch.pid]) as others:
            self.ferry("run", SCENARIOS / load.scenario, *changes, "--on", "hw", "--cluster", lab.cluster_file,
                       "--yes", "--quiet", "--out", run)  # fmt: skip
        self.shares[run] = others.share
        for vm in lab.vms:
            lab.bring_home(vm)
            lab.give_back_devices(vm)

    def predict(self, load: Load, platform: Path, seeds: int = SEEDS) -> list[Path]:
        """The load simulated with a platform file, once for each seed; its run folders."""
        text = (SCENARIOS / load.scenario).read_text(encoding="utf-8")
        named = f"../platforms/{self.plan.platform}"
        changed = text.replace(named, str(platform.resolve()))
        if changed == text:
            raise Broken(f"{load.scenario}: does not name {named}")
        folder = self.out / "predicted"
        folder.mkdir(exist_ok=True)
        file = folder / f"{load.name}.yaml"
        file.write_text(changed, encoding="utf-8")
        changes = [part for change in load.changes for part in ("--set", change)]
        runs = [folder / f"{load.name}-{seed}" for seed in range(1, seeds + 1)]
        for seed, run in enumerate(runs, 1):
            self.ferry("run", file, *changes, "--set", f"seed={seed}", "--on", "sim", "--quiet", "--out", run)
        return runs


# Both devices go, and come, side by side: which of them is ready last is chance, so their phases are taken together.
QUANTITIES = {
    "total": ("total_seconds",),
    "makespan": ("makespan_seconds",),
    "set_pre_migration": ("set_pre_migration_seconds",),
    "unplug": ("detach_vf_seconds", "remove_ivshmem_seconds"),
    "migration": ("migration_seconds",),
    "plug": ("attach_vf_seconds", "add_ivshmem_seconds"),
    "set_post_migration": ("set_post_migration_seconds",),
}


def figures(run: Path) -> dict[str, float]:
    """Seconds by quantity: means over the run's moves, from summary.csv."""
    with open(run / "summary.csv", encoding="utf-8", newline="") as table:
        metrics = {row["metric"]: float(row["value"]) for row in csv.DictReader(table) if row["value"]}
    return {quantity: sum(metrics[name] for name in names) for quantity, names in QUANTITIES.items()}


def table(plan: Plan, measured: dict[str, list[Path]], predicted: dict[str, list[Path]],
          calibrated: list[Path]) -> list[dict[str, object]]:
    """One row a load and quantity; the naive guess is the mean over the calibration runs."""
    rows: list[dict[str, object]] = []
    for load in plan.held_out:
        for quantity in QUANTITIES:
            values = [figures(run)[quantity] for run in measured[load.name]]
            guess = statistics.mean(figures(run)[quantity] for run in calibrated) if calibrated else math.nan
            median = statistics.median(values)
            seeds = [figures(run)[quantity] for run in predicted[load.name]]
            got = statistics.median(seeds)
            rows.append({
                "load": load.title, "quantity": quantity, "runs": len(values),
                "median_seconds": median, "low_seconds": min(values), "high_seconds": max(values),
                "predicted_seconds": got, "predicted_low_seconds": min(seeds), "predicted_high_seconds": max(seeds),
                "error_percent": 100 * (got / median - 1) if median else float("nan"),
                "guess_seconds": guess, "guess_error_percent": 100 * (guess / median - 1) if median else float("nan"),
                "holds": holds(quantity, got, values),
            })  # fmt: skip
    return rows


def holds(quantity: str, predicted: float, values: list[float]) -> str:
    """A total is to be within 10 % of the median, a phase within 20 % or within the lab's own spread."""
    off = abs(predicted - statistics.median(values))
    if quantity in ("total", "makespan"):
        return "yes" if off <= TOTAL_WITHIN * statistics.median(values) else "no"
    if off <= PHASE_WITHIN * statistics.median(values):
        return "yes"
    return "in the spread" if min(values) <= predicted <= max(values) else "no"


def markdown(rows: list[dict[str, object]]) -> str:
    lines = ["| load | quantity | measured: median (lowest to highest) | predicted | error | holds | naive guess | its error |",
             "|---|---|---|---|---|---|---|---|"]  # fmt: skip
    for row in rows:
        guess = "- | -" if math.isnan(row["guess_seconds"]) else \
            f"{row['guess_seconds']:.3f} s | {row['guess_error_percent']:+.1f} %"
        lines.append(
            f"| {row['load']} | {row['quantity']} | {row['median_seconds']:.3f} s ({row['low_seconds']:.3f} to "
            f"{row['high_seconds']:.3f}) | {row['predicted_seconds']:.3f} s | {row['error_percent']:+.1f} % | "
            f"{row['holds']} | {guess} |"
        )
    return "\n".join(lines) + "\n"


def write_rows(file: Path, rows: list[dict[str, object]]) -> None:
    with open(file, "w", encoding="utf-8", newline="") as table:
        writer = csv.DictWriter(table, rows[0].keys(), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def say_order(measured: dict[str, list[Path]], predicted: dict[str, list[Path]]) -> None:
    """Parallel over sequential, if there are both."""
    loads = ("four-at-once", "four-in-turn")
    if any(load not in measured for load in loads):
        return
    real, simulated = ({load: statistics.median(figures(run)["makespan"] for run in runs[load]) for load in loads}
                       for runs in (measured, predicted))
    print(f"parallel over sequential: measured {real[loads[0]] / real[loads[1]]:.3f}, "
          f"predicted {simulated[loads[0]] / simulated[loads[1]]:.3f}")  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="a new folder")
    parser.add_argument("--ranks", action="store_true", help="with MPI ranks in the guests")
    parser.add_argument("--platform", type=Path, metavar="FILE", help="predict with it, without calibration: does it hold today?")
    parser.add_argument("--rounds", type=int, default=3, help="of all loads (default: 3)")
    parser.add_argument("--repetitions", type=int, default=2, help="in each round (default: 2)")
    parser.add_argument("--others", type=float, default=0.05, metavar="SHARE",
                        help="how much of the processors other work and the machine's host may take during a run (default: 0.05)")  # fmt: skip
    parser.add_argument("--hold", type=read_bytes, default=0, metavar="BYTES",
                        help="of the machine's memory meanwhile, if its host is slow to give memory that was free (20GiB of 24GiB)")  # fmt: skip
    arguments = parser.parse_args()
    program = Path(os.environ.get("FERRY_BIN", ROOT / "build/both/controller/cli/ferry"))
    if reason := labs.missing():
        print(f"predict: no lab here: {reason}", file=sys.stderr)
        return 3
    plan = RANKS if arguments.ranks else DEVICES
    if arguments.platform:
        plan = replace(plan, calibration=())
    arguments.out.mkdir(parents=True)
    held = hold_memory(arguments.hold) if arguments.hold else None
    lab = Lab(program.resolve(), plan, arguments.out.resolve(), arguments.repetitions, arguments.others)
    try:
        measured: dict[str, list[Path]] = {}
        for number, folder, load in turns(plan, arguments.rounds):
            measured.setdefault(load.name, []).extend(lab.measure(load, folder, number))
        calibrated = [run for load in plan.calibration for run in measured[load.name]]
        platform = arguments.platform or lab.out / "platform.yaml"
        if calibrated:
            start = SCENARIOS.parent / "platforms" / plan.platform
            print(lab.ferry("calibrate", *calibrated, "--platform", start, "--out", platform))
        predicted = {load.name: lab.predict(load, platform) for load in plan.held_out}
    except (Broken, LabProblem) as problem:
        print(f"predict: {problem}", file=sys.stderr)
        return 3
    finally:
        shutil.rmtree(lab.out / "lab", ignore_errors=True)
        if held:
            held.close()
    rows = table(plan, measured, predicted, calibrated)
    write_rows(lab.out / "prediction.csv", rows)
    write_rows(lab.out / "others.csv", [{"run": run.relative_to(lab.out), "others_percent": f"{100 * share:.1f}"}
                                        for run, share in lab.shares.items()])  # fmt: skip
    (lab.out / "prediction.md").write_text(markdown(rows), encoding="utf-8")
    print(markdown(rows))
    say_order(measured, predicted)
    return 0


if __name__ == "__main__":
    sys.exit(main())
