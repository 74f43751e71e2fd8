#!/usr/bin/python3
"""The planned order beside fixed caps, on clusters drawn from a seed.

  planner_clusters.py [--ferry PROGRAM] [--clusters 20] [--seed 1] [--jobs 2] [--out FILE.tsv] [--keep FOLDER]

Each cluster is an oversubscribed fat tree with VMs of mixed sizes and dirty rates and MPI jobs spread over the hosts;
some of its hosts are emptied into the others. Nothing of a cluster depends on how any schedule does on it: its numbers are
drawn once, in the order of the text below. Every schedule moves the same VMs; destinations are the plan's own.

For each cluster: makespan and mean downtime of every schedule, the lower bound of the most loaded link, what the planner
chose and expected, and whether the planned order is no worse than the best uniform cap and than all at once, within 1.15
of the bound, and its mean downtime no longer than theirs. Exit status 1 if it is not so somewhere; then the link that
bounds it, and the schedule that was chosen, say why.
"""

import argparse
import concurrent.futures
import csv
import json
import random
import re
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PLATFORM = ROOT / "scenarios/platforms/chameleon-fdr.yaml"

UNLIMITED = {"cluster": "unlimited", "host_out": "unlimited", "host_in": "unlimited"}
SCHEDULES = {
    "sequential": {"order": "sequential"},
    "kubevirt": {"limits": {"cluster": 5, "host_out": 2}},
    "nova": {"limits": {"host_out": 1}},
    "ovirt": {"limits": {"host_out": 2, "host_in": 2}},
    "cap 1": {"limits": {"host_out": 1, "host_in": 1}},
    "cap 2": {"limits": {"host_out": 2, "host_in": 2}},
    "cap 4": {"limits": {"host_out": 4, "host_in": 4}},
    "cap 8": {"limits": {"host_out": 8, "host_in": 8}},
    "all at once": {},
    "planned": {"order": "planned"},
}
UNIFORM = ["cap 1", "cap 2", "cap 4", "cap 8"]
ALL = "all at once"
MOST_OVER_BOUND = 1.15


def draw_cluster(seed):
    """A scenario without its schedule."""
    draw = random.Random(f"planner-clusters/{seed}")
    hosts_per_leaf = draw.choice([4, 6, 8, 12])
    leaves = draw.randint(3, 8)
    oversubscription = draw.choice([1, 2, 3, 4])
    spines = max(1, hosts_per_leaf // oversubscription)
    link = draw.choice(["10Gbps", "25Gbps"])
    hosts = hosts_per_leaf * leaves
    emptied = draw.randint(max(2, hosts // 8), hosts // 3)
    vms_per_host = draw.randint(4, 10)
    sizes = [f"{draw.choice([2, 4, 6, 8, 12, 16])}GiB" for _ in range(5)]
    vms = emptied * vms_per_host
    quiet = draw.choice([1, 2, 5, 10])
    busy = draw.choice([20, 40, 60])
    together = draw.choice([size for size in (2, 4, 6, 8) if vms >= size])
    cooperative = max(together, vms * draw.choice([5, 7, 9]) // 10 // together * together)
    scenario = {
        "ferry": 1,
        "name": f"cluster-{seed}",
        "platform": {
            "base": str(PLATFORM),
            "streams": {"tcp": {"bandwidth": {"value": "23.5Gbps" if link == "25Gbps" else "9.41Gbps",
                                               "source": "the link less Ethernet, IP and TCP headers (1448/1538)", "kind": "documented"}}},
        },
        "seed": seed,
        "cluster": {
            "hosts": [{"name": "host", "count": hosts, "cores": 64, "memory": "512GiB", "virtual_functions": 64}],
            "networks": [{"name": "ethernet", "topology": {"fat_tree": {"hosts_per_leaf": hosts_per_leaf, "spines": spines}},
                          "link": {"bandwidth": link, "latency": "20us"}, "carries": ["tcp"]}],
        },
        "vms": [{
            "name": "vm", "count": vms, "on": f"host[0-{emptied - 1}]", "vcpus": 2, "memory": {"choice": sizes},
            "pages": {"zero": f"{draw.choice([10, 20, 30])}%", "working_set": {"uniform": ["50MiB", "500MiB"]},
                      "dirty_rate": {"uniform": ["1MB/s", f"{busy}MB/s"]}, "idle_dirty_rate": {"uniform": ["0MB/s", f"{quiet}MB/s"]}},
        }],
        "jobs": [
            {"name": "mpi", "count": cooperative // together, "on": {"vms": f"vm[0-{cooperative - 1}]"}, "ranks": 2,
             "strategy": "migration_thread", "workload": {"type": "timed", "next_call": {"uniform": ["0s", "100ms"]}}},
            {"name": "other", "on": {"vms": f"vm[{cooperative}-{vms - 1}]"}, "ranks": 1, "strategy": "none"},
        ],
        "migrations": [{"name": "leave", "evacuate": f"host[0-{emptied - 1}]", "to": f"host[{emptied}-{hosts - 1}]", "at": "0s",
                        "transport": "tcp", "memory": {"max_rounds": 1000}, "timeouts": {"migration": "100h"}}],
        "outputs": {"trace": False},
    }
    text = (f"{hosts} hosts, {hosts_per_leaf} a leaf, {spines} spines, {link}; {emptied} hosts with {vms} VMs leave; jobs of "
            f"{together}, {100 * cooperative // vms} % cooperate")
    return scenario, text


def run(ferry, path, schedule, folder):
    scenario = json.loads(path.read_text())
    scenario["schedule"] = schedule
    folder.mkdir(parents=True)
    file = folder / "scenario.yaml"
    file.write_text(json.dumps(scenario))
    done = subprocess.run([ferry, "run", str(file), "--out", str(folder / "run"), "--quiet"], capture_output=True, text=True)
    if done.returncode not in (0, 1):
        raise RuntimeError(f"{file}: {done.stderr}")
    with open(folder / "run" / "summary.csv", newline="") as table:
        metrics = {row["metric"]: row["value"] for row in csv.DictReader(table)}
    return {"makespan": float(metrics["makespan_seconds"]), "downtime": float(metrics["downtime_seconds"]),
            "failed": int(metrics["failed"])}


def plan_of(ferry, folder):
    """What `ferry plan` expects, and says that no schedule beats, and what bounds it."""
    text = subprocess.run([ferry, "plan", str(folder / "scenario.yaml")], capture_output=True, text=True, check=True).stdout
    bound = re.search(r"^At least ([0-9.]+) s, (.*)\.$", text, re.M)
    expected = re.search(r"^Expected to take ([0-9.]+) s, with a mean downtime of ([0-9.]+) ms: (.*)\.$", text, re.M)
    return {"bound": float(bound[1]), "reason": bound[2], "expected": float(expected[1]), "expected_downtime": float(expected[2]),
            "chosen": expected[3]}


def measure(ferry, seed, folder):
    scenario, text = draw_cluster(seed)
    path = folder / f"cluster-{seed}.json"
    path.write_text(json.dumps(scenario))
    results = {name: run(ferry, path, schedule, folder / f"{seed}" / name.replace(" ", "-")) for name, schedule in SCHEDULES.items()}
    return {"seed": seed, "text": text, "results": results} | plan_of(ferry, folder / f"{seed}" / "planned")


def judge(cluster):
    """What does not hold on this cluster."""
    results = cluster["results"]
    planned = results["planned"]
    complaints = []
    if planned["failed"]:
        complaints.append(f"{planned['failed']} moves failed")
    if planned["makespan"] > MOST_OVER_BOUND * cluster["bound"]:
        complaints.append(f"{planned['makespan'] / cluster['bound']:.3f} of the bound ({cluster['reason']})")
    caps = [name for name in UNIFORM if not results[name]["failed"]]
    rivals = [min(caps, key=lambda name: results[name]["makespan"])] if caps else []
    if not results[ALL]["failed"]:
        rivals.append(ALL)  # one of which a move failed did not do the work
    for name in rivals:
        other = results[name]
        if planned["makespan"] > other["makespan"]:
            complaints.append(f"slower than {name}: {planned['makespan']:.1f} s and {other['makespan']:.1f} s")
        if planned["downtime"] > other["downtime"]:
            complaints.append(f"longer downtime than {name}: {1000 * planned['downtime']:.2f} ms and {1000 * other['downtime']:.2f} ms")
    return complaints


def spread(values):
    ordered = sorted(values)
    return f"median {statistics.median(ordered):6.1%}, {ordered[0]:6.1%} to {ordered[-1]:6.1%}"


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--ferry", default=str(ROOT / "build/both/controller/cli/ferry"))
    arguments.add_argument("--clusters", type=int, default=20)
    arguments.add_argument("--seed", type=int, default=1, help="of the first cluster")
    arguments.add_argument("--jobs", type=int, default=2)
    arguments.add_argument("--out", help="every figure, as tab-separated values")
    arguments.add_argument("--keep", help="keep scenarios and run folders here")
    options = arguments.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(options.keep or temporary).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        seeds = range(options.seed, options.seed + options.clusters)
        with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
            clusters = list(pool.map(lambda seed: measure(options.ferry, seed, folder), seeds))

    bad = 0
    for cluster in clusters:
        print(f"\ncluster {cluster['seed']}: {cluster['text']}\n  at least {cluster['bound']:.1f} s, {cluster['reason']}")
        print(f"  planned: {cluster['chosen']};\n  expected {cluster['expected']:.1f} s, downtime {cluster['expected_downtime']:.2f} ms")
        for name, result in cluster["results"].items():
            failed = f", {result['failed']} failed" if result["failed"] else ""
            print(f"  {name:12} {result['makespan']:9.1f} s  {result['makespan'] / cluster['bound']:6.3f} of the bound"
                  f"  downtime {1000 * result['downtime']:7.2f} ms{failed}")
        complaints = judge(cluster)
        bad += bool(complaints)
        for complaint in complaints:
            print(f"  NOT: {complaint}")

    print(f"\nMakespan of the planned order, and what it gains over the others, on {len(clusters)} clusters:")
    off = [c["expected"] / c["results"]["planned"]["makespan"] - 1 for c in clusters]
    print(f"  forecast less truth   {spread(off)}")
    print(f"  over the bound        {spread([c['results']['planned']['makespan'] / c['bound'] - 1 for c in clusters])}")
    gains = {name: [] for name in SCHEDULES if name != "planned"}
    gains["best cap"] = []
    for cluster in clusters:
        planned = cluster["results"]["planned"]["makespan"]
        for name in gains:
            if name == "best cap":
                times = [cluster["results"][cap]["makespan"] for cap in UNIFORM if not cluster["results"][cap]["failed"]]
                gains[name].append(1 - planned / min(times))
            elif not cluster["results"][name]["failed"]:
                gains[name].append(1 - planned / cluster["results"][name]["makespan"])
    for name, values in gains.items():
        if values:
            left_out = f" (on the {len(values)} where all moves completed)" if len(values) < len(clusters) else ""
            print(f"  gain over {name:11} {spread(values)}{left_out}")
    print(f"{len(clusters) - bad} of {len(clusters)} clusters as they should be")

    if options.out:
        with open(options.out, "w", newline="") as table:
            writer = csv.writer(table, delimiter="\t", lineterminator="\n")
            writer.writerow(["cluster", "schedule", "makespan_seconds", "downtime_seconds", "failed", "bound_seconds"])
            for cluster in clusters:
                for name, result in cluster["results"].items():
                    writer.writerow([cluster["seed"], name, result["makespan"], result["downtime"], result["failed"], cluster["bound"]])
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
