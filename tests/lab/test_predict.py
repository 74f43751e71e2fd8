"""What `predict.py` makes of runs, and how it tells other work on the machine from its own. No lab is needed."""

import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from ferry_lab.machine_load import OthersShare, hold_memory
from ferry_lab.processes import wait_until

import predict


def test_work_of_ones_own_processes_is_not_others():
    spinning = "import time\nend = time.process_time() + 0.6\nwhile time.process_time() < end: pass\nprint()\ninput()"
    with OthersShare([]) as everybody, OthersShare([os.getpid()]) as others:
        child = subprocess.Popen([sys.executable, "-c", spinning], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        try:
            child.stdout.readline()
            wait_until("the sampler has seen it", 60, lambda: others.own_seconds() >= 0.5)
        finally:
            child.communicate(b"\n")
    assert 0 <= others.share < everybody.share <= 1.05


def test_memory_that_is_held_is_there():
    def resident_kib():
        status = Path("/proc/self/status").read_text()
        return int(re.search(r"^VmRSS:\s+(\d+) kB", status, re.M).group(1))

    before = resident_kib()
    held = hold_memory(64 << 20)
    assert resident_kib() - before >= 63 << 10
    held.close()
    assert resident_kib() - before <= 16 << 10


@pytest.mark.parametrize(
    ("quantity", "predicted", "measured", "verdict"),
    [
        ("total", 1.09, [0.5, 1.0, 1.5], "yes"),
        ("total", 1.11, [0.5, 1.0, 1.5], "no"),  # the spread excuses no total
        ("makespan", 0.89, [0.5, 1.0, 1.5], "no"),
        ("migration", 1.19, [1.0, 1.0, 1.0], "yes"),
        ("migration", 1.4, [0.5, 1.0, 1.5], "in the spread"),
        ("migration", 1.6, [0.5, 1.0, 1.5], "no"),
    ],
)
def test_what_counts_as_predicted(quantity, predicted, measured, verdict):
    assert predict.holds(quantity, predicted, measured) == verdict


def made_up_run(folder, seconds):
    """A run whose every figure is `seconds`."""
    folder.mkdir(parents=True)
    names = sorted({name for parts in predict.QUANTITIES.values() for name in parts})
    (folder / "summary.csv").write_text("metric,value,unit,reason\n" + "".join(f"{name},{seconds},s,\n" for name in names))
    return folder


def test_predictions_stand_beside_the_mean_of_what_was_fitted(tmp_path):
    calibrated = [made_up_run(tmp_path / f"c{i}", seconds) for i, seconds in enumerate((1.0, 2.0))]
    measured = {load.name: [made_up_run(tmp_path / load.name / f"run-{i}", seconds) for i, seconds in enumerate((2.0, 4.0, 3.0))]
                for load in predict.RANKS.held_out}  # fmt: skip
    predicted = {load.name: [made_up_run(tmp_path / "predicted" / load.name / str(seed), seconds)
                             for seed, seconds in enumerate((3.1, 3.15, 3.9))] for load in predict.RANKS.held_out}
    rows = predict.table(predict.RANKS, measured, predicted, calibrated)
    assert len(rows) == len(predict.RANKS.held_out) * len(predict.QUANTITIES)
    total = next(row for row in rows if row["quantity"] == "total")
    assert total["median_seconds"] == 3 and (total["low_seconds"], total["high_seconds"]) == (2, 4)
    assert (total["predicted_low_seconds"], total["predicted_high_seconds"]) == (3.1, 3.9)
    assert total["error_percent"] == pytest.approx(5) and total["holds"] == "yes"
    assert total["guess_seconds"] == 1.5 and total["guess_error_percent"] == pytest.approx(-50)
    assert "| 3.000 s (2.000 to 4.000) | 3.150 s | +5.0 % | yes | 1.500 s | -50.0 % |" in predict.markdown(rows)


def test_loads_that_are_fitted_and_predicted_take_turns():
    order = [(number, folder, load.name) for number, folder, load in predict.turns(predict.DEVICES, 2)]
    assert order[:3] == [(1, "calibrated", "one-160"), (1, "held-out", "one-240"), (1, "calibrated", "one-320")]
    assert [part[1:] for part in order[8:]] == [part[1:] for part in reversed(order[:8])]
    assert {part[0] for part in order[8:]} == {2}


@pytest.mark.parametrize("plan", [predict.DEVICES, predict.RANKS], ids=["devices", "ranks"])
def test_every_load_is_a_scenario_that_can_be_simulated(plan, program, tmp_path):
    if "sim" not in subprocess.run([program, "--version"], text=True, capture_output=True).stdout.split("worlds:")[1]:
        pytest.skip("this build has no simulated world")
    lab = predict.Lab(program, plan, tmp_path, 1, 0.05)
    for load in plan.calibration + plan.held_out:
        runs = lab.predict(load, predict.SCENARIOS.parent / "platforms" / plan.platform, seeds=2)
        assert len({predict.figures(run)["total"] for run in runs}) == 2


def test_a_platform_that_is_given_is_held_beside_runs_without_calibration(tmp_path):
    plan = replace(predict.RANKS, calibration=())
    assert [(folder, load.name) for _, folder, load in predict.turns(plan, 1)] == [
        ("held-out", load.name) for load in predict.RANKS.held_out]  # fmt: skip
    measured = {load.name: [made_up_run(tmp_path / load.name, 2.0)] for load in plan.held_out}
    rows = predict.table(plan, measured, measured, [])
    assert {row["holds"] for row in rows} == {"yes"}
    assert predict.markdown(rows).splitlines()[2].endswith("| +0.0 % | yes | - | - |")
