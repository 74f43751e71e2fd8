#!/usr/bin/python3
"""Fits the lab's platform on some runs, predicts others before they are measured, and holds them together.

Calibration: one guest of 160 MiB, one of 320 MiB, two and three of 160 MiB at once.
Predicted: one of 240 MiB, one that dirties
20 MB/s, four at once, four one after the other. Each is run several times; a guest is brought home in between.

Writes into --out: calibrated/ and held-out/ (run folders), predicted/ (simulated), platform.yaml, prediction.csv and
prediction.md.
"""

from __future__ import annotations

import argparse
import csv
import os
import shutil
import statistics
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from ferry_lab import lab as labs  # noqa: E402
from ferry_lab.problem import LabProblem  # noqa: E402
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


CALIBRATION = (
    Load("one-160", "one guest, 160 MiB", "sequential_four.yaml", ("vms.vm.count=1",)),
    Load("one-320", "one guest, 320 MiB", "sequential_four.yaml", ("vms.vm.count=1", "vms.vm.memory=320MiB")),
    Load("two-at-once", "two guests of 160 MiB at once", "parallel_four.yaml", ("vms.vm.count=2",)),
    Load("three-at-once", "three guests of 160 MiB at once", "parallel_four.yaml", ("vms.vm.count=3",)),
)
HELD_OUT = (
    Load("one-240", "one guest, 240 MiB", "sequential_four.yaml", ("vms.vm.count=1", "vms.vm.memory=240MiB")),
    Load("dirtying", "one guest, 160 MiB, dirtying 20 MB/s", "dirtying.yaml"),
    Load("four-at-once", "four guests of 160 MiB at once", "parallel_four.yaml"),
    Load("four-in-turn", "four guests of 160 MiB in turn", "sequential_four.yaml"),
)


class Broken(Exception):
    """What ended the measurement; the message is for the user."""


class Lab:
    """Runs the program over loads."""

    def __init__(self, program: Path, out: Path, repetitions: int) -> None:
        self.program, self.out, self.repetitions = program, out, repetitions

    def ferry(self, *arguments: object) -> str:
        done = subprocess.run([self.program, *map(str, arguments)], text=True, capture_output=True, timeout=900)
        if done.returncode != 0:
            raise Broken(f"ferry {' '.join(map(str, arguments))}: exit status {done.returncode}: {done.stderr}{done.stdout}")
        return done.stdout

    def measure(self, load: Load, folder: str) -> list[Path]:
        """The load on real hosts; its run folders."""
        runs = []
        changes = [part for change in load.changes for part in ("--set", change)]
        hosts, vms = read_scenario(SCENARIOS / load.scenario, load.changes)
        with labs.up(self.out / "lab", hosts, vms) as lab:
            # A libvirtd's first migration takes longer: it is not counted.
            for repetition in range(self.repetitions + 1):
                run = self.out / folder / load.name / (f"run-{repetition}" if repetition > 0 else "warm-up")
                self.ferry("run", SCENARIOS / load.scenario, *changes, "--on", "hw", "--cluster", lab.cluster_file,
                           "--yes", "--quiet", "--out", run)  # fmt: skip
                if repetition > 0:
                    runs.append(run)
                for vm in lab.vms:
                    lab.bring_home(vm)
                print(f"{load.title}: {repetition}/{self.repetitions}", file=sys.stderr)
        return runs

    def predict(self, load: Load, platform: Path) -> Path:
        """The load simulated with a platform file; its run folder."""
        text = (SCENARIOS / load.scenario).read_text(encoding="utf-8")
        changed = text.replace("../platforms/lab-tcg.yaml", str(platform.resolve()))
        if changed == text:
            raise Broken(f"{load.scenario}: does not name ../platforms/lab-tcg.yaml")
        folder = self.out / "predicted"
        folder.mkdir(exist_ok=True)
        file = folder / f"{load.name}.yaml"
        file.write_text(changed, encoding="utf-8")
        changes = [part for change in load.changes for part in ("--set", change)]
        run = folder / load.name
        self.ferry("run", file, *changes, "--on", "sim", "--quiet", "--out", run)
        return run


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


def table(measured: dict[str, list[Path]], predicted: dict[str, Path], calibrated: list[Path]) -> list[dict[str, object]]:
    """One row a load and quantity; the naive guess is the mean over the calibration runs."""
    rows: list[dict[str, object]] = []
    for load in HELD_OUT:
        for quantity in QUANTITIES:
            values = [figures(run)[quantity] for run in measured[load.name]]
            guess = statistics.mean(figures(run)[quantity] for run in calibrated)
            median, got = statistics.median(values), figures(predicted[load.name])[quantity]
            rows.append({
                "load": load.title, "quantity": quantity, "runs": len(values),
                "median_seconds": median, "low_seconds": min(values), "high_seconds": max(values),
                "predicted_seconds": got, "error_percent": 100 * (got / median - 1) if median else float("nan"),
                "guess_seconds": guess, "guess_error_percent": 100 * (guess / median - 1) if median else float("nan"),
            })  # fmt: skip
    return rows


def markdown(rows: list[dict[str, object]]) -> str:
    lines = ["| load | quantity | measured: median (lowest to highest) | predicted | error | naive guess | its error |",
             "|---|---|---|---|---|---|---|"]  # fmt: skip
    for row in rows:
        lines.append(
            f"| {row['load']} | {row['quantity']} | {row['median_seconds']:.3f} s ({row['low_seconds']:.3f} to "
            f"{row['high_seconds']:.3f}) | {row['predicted_seconds']:.3f} s | {row['error_percent']:+.1f} % | "
            f"{row['guess_seconds']:.3f} s | {row['guess_error_percent']:+.1f} % |"
        )
    return "\n".join(lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="a new folder")
    parser.add_argument("--repetitions", type=int, default=5)
    arguments = parser.parse_args()
    program = Path(os.environ.get("FERRY_BIN", ROOT / "build/both/controller/cli/ferry"))
    if reason := labs.missing():
        print(f"predict: no lab here: {reason}", file=sys.stderr)
        return 3
    arguments.out.mkdir(parents=True)
    lab = Lab(program.resolve(), arguments.out.resolve(), arguments.repetitions)
    try:
        calibrated = [run for load in CALIBRATION for run in lab.measure(load, "calibrated")]
        platform = lab.out / "platform.yaml"
        print(lab.ferry("calibrate", *calibrated, "--platform", SCENARIOS.parent / "platforms/lab-tcg.yaml", "--out", platform))
        predicted = {load.name: lab.predict(load, platform) for load in HELD_OUT}  # before they are measured
        measured = {load.name: lab.measure(load, "held-out") for load in HELD_OUT}
    except (Broken, LabProblem) as problem:
        print(f"predict: {problem}", file=sys.stderr)
        return 3
    finally:
        shutil.rmtree(lab.out / "lab", ignore_errors=True)
    rows = table(measured, predicted, calibrated)
    with open(lab.out / "prediction.csv", "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys(), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    (lab.out / "prediction.md").write_text(markdown(rows), encoding="utf-8")
    print(markdown(rows))
    makespan = {load: statistics.median(figures(run)["makespan"] for run in measured[load])
                for load in ("four-at-once", "four-in-turn")}  # fmt: skip
    simulated = {load: figures(predicted[load])["makespan"] for load in makespan}
    print(f"parallel over sequential: measured {makespan['four-at-once'] / makespan['four-in-turn']:.3f}, "
          f"predicted {simulated['four-at-once'] / simulated['four-in-turn']:.3f}")  # fmt: skip
    return 0


if __name__ == "__main__":
    sys.exit(main())
