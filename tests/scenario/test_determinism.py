"""The same seed and scenario give the same bytes, whatever the order of independent things in the file."""

import copy
import random

from run_folders import ROOT, load_yaml


def scenario():
    text = load_yaml(ROOT / "tests/scenario/every_key.yaml")
    text["platform"]["base"] = str(ROOT / "scenarios/platforms/nowlab-fdr.yaml")
    # More groups, so that there is something to reorder.
    guest = copy.deepcopy(text["vms"][0])
    guest.update(name="guest", count=3, on="host[1-3]", memory={"choice": ["300MiB", "900MiB"]})
    text["vms"].append(guest)
    text["jobs"].append({"name": "other", "on": {"vms": "guest"}, "ranks": 2})
    text["migrations"].append({"name": "also", "vms": "guest[0-1]", "to": "host[0,4]", "at": "1s", "transport": "tcp"})
    return text


def reordered(node, source):
    """Every mapping's keys, and the lists of named items, in another order."""
    if isinstance(node, dict):
        keys = list(node)
        source.shuffle(keys)
        return {key: reordered(node[key], source) for key in keys}
    if isinstance(node, list) and node and all(isinstance(item, dict) for item in node):
        items = [reordered(item, source) for item in node]
        source.shuffle(items)
        return items
    return node


def test_the_same_scenario_twice_gives_the_same_bytes(run):
    assert run(scenario(), (0, 1)).csvs() == run(scenario(), (0, 1)).csvs()


def test_another_seed_gives_other_bytes(run):
    assert run(scenario(), (0, 1)).csvs() != run(scenario(), (0, 1), ["--seed", "99"]).csvs()


def test_the_order_of_the_file_changes_no_byte(run):
    base = run(scenario(), (0, 1)).csvs()
    for seed in range(5):
        assert run(reordered(scenario(), random.Random(seed)), (0, 1)).csvs() == base, f"shuffled with {seed}"


def test_a_vm_more_changes_no_draw_of_the_others(run):
    base = scenario()
    for migration in base["migrations"]:
        migration["memory"] = {"mode": "offline", "pin_all": False}  # the bytes tell the memory that was drawn
    base["faults"] = []
    more = copy.deepcopy(base)
    more["vms"][1]["count"] = 4

    def draws(result):
        return {row["vm"]: row["bytes"] for row in result.table("migrations")}

    assert draws(run(base)) == draws(run(more))
