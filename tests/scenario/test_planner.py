"""The planned order beside what it is compared with, on a few small clusters; `tests/bench/planner_clusters.py` has twenty."""

import importlib.util
import re
import subprocess

import pytest

from run_folders import ROOT

SPEC = importlib.util.spec_from_file_location("planner_clusters", ROOT / "tests/bench/planner_clusters.py")
clusters = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(clusters)

# The first four drawn clusters of at most so many VMs: small enough for every test run.
MOST_VMS = 30
SEEDS = [seed for seed in range(1, 31) if clusters.draw_cluster(seed)[0]["vms"][0]["count"] <= MOST_VMS][:4]


@pytest.mark.parametrize("seed", SEEDS)
def test_planned_is_no_worse_than_the_best_cap_and_all_at_once(ferry, tmp_path, seed):
    cluster = clusters.measure(ferry, seed, tmp_path)
    assert not clusters.judge(cluster), cluster["results"]


def expectation(ferry, scenario):
    """By VM its start and end; the mean downtime; the makespan that no schedule beats."""
    text = subprocess.run([ferry, "plan", str(scenario)], capture_output=True, text=True, check=True).stdout
    rows = re.findall(r"^ *\d+ +(\S+) +\S+ +\S+ +tcp +[0-9.]+ +[0-9.]+ +([0-9.]+) +([0-9.]+)$", text, re.M)
    downtime = re.search(r"with a mean downtime of ([0-9.]+) ms", text)
    bound = re.search(r"^At least ([0-9.]+) s", text, re.M)
    return {vm: (float(start), float(end)) for vm, start, end in rows}, float(downtime[1]) / 1000, float(bound[1])


def shares_links(scenario):
    """Whether some leave one host, and some arrive at one."""
    return len(scenario["vms"]) == 1 and scenario["vms"][0]["count"] > len(scenario["cluster"]["hosts"])


ALL_MODES = ["precopy", "hybrid", "postcopy", "offline"]
WAYS = [(device, mode) for device in ["detach", "failover"] for mode in ALL_MODES] + [
    ("vfio", mode) for mode in ["precopy", "offline"]  # QEMU does no post-copy with it
]


@pytest.mark.parametrize("device, mode", WAYS)
def test_a_simulated_run_goes_as_the_plan_expects(ferry, run, device, mode):
    scenario, _ = clusters.draw_cluster(SEEDS[0])
    assert shares_links(scenario)
    scenario["schedule"] = {"order": "planned"}
    scenario["migrations"][0]["device"] = device
    scenario["migrations"][0]["memory"]["mode"] = mode
    scenario["platform"]["hypervisor"] = {"postcopy_switch": "100ms"}
    done = run(scenario)
    expected, downtime, bound = expectation(ferry, done.folder.parent / "scenario.yaml")
    spans = {}
    for row in done.table("spans"):
        start, end = spans.get(row["vm"], (float("inf"), 0))
        spans[row["vm"]] = min(start, float(row["start_seconds"])), max(end, float(row["end_seconds"]))
    assert spans.keys() == expected.keys()
    for vm, times in spans.items():
        assert times == pytest.approx(expected[vm], abs=0.005), vm
    metrics = {row["metric"]: row["value"] for row in done.table("summary")}
    assert float(metrics["downtime_seconds"]) == pytest.approx(downtime, abs=0.0005)
    assert float(metrics["makespan_seconds"]) >= bound
