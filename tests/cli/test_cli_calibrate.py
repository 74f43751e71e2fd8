"""ferry calibrate: what simulated runs were made with is found again."""

import copy

import pytest
import yaml

TRUTH = {
    "ferry_platform": 1,
    "name": "truth",
    "hypervisor": {
        "prepare": "1700ms", "finish": "35ms", "clean_up": "0ms", "serial": "40%",
        "devices_at_once": False, "set_status": "3ms", "detach_vf": "160ms",
        "attach_vf": {"fixed": "210ms", "per_gib": "330ms"},
        "remove_ivshmem": "70ms", "add_ivshmem": "90ms", "pin_per_gib": "0ms",
    },
    "streams": {"tcp": {"bandwidth": "150MB/s"}},
    "mpi": {"notice": "1ms", "drain_channel": "0ms", "reconnect_channel": "0ms",
            "reactivate": "1ms"},
    "networks": [{"name": "ethernet", "topology": "star", "carries": ["tcp"],
                  "link": {"bandwidth": "10Gbps", "latency": "20us"}}],
}
WORDS = {"name", "topology", "devices_at_once", "carries", "ferry_platform"}


def sourced(tree):
    """Every constant with a source."""
    if isinstance(tree, list):
        return [sourced(item) for item in tree]
    return {
        key: value if key in WORDS else sourced(value) if isinstance(value, (dict, list))
        else {"value": value, "source": "made up for a test", "kind": "assumed"}
        for key, value in tree.items()
    }


def start_platform():
    """Everything that runs determine is far off."""
    start = copy.deepcopy(TRUTH)
    start["hypervisor"].update(
        prepare="300ms", finish="1ms", serial="0%", set_status="1ms", detach_vf="1ms",
        attach_vf={"fixed": "1ms", "per_gib": "0ms"}, remove_ivshmem="1ms", add_ivshmem="1ms")
    start["streams"]["tcp"]["bandwidth"] = "900MB/s"
    return start


def scenario(memory, count=1):
    return {
        "ferry": 1, "name": f"{count}-of-{memory}", "description": "for calibration",
        "platform": "truth.yaml", "seed": 1,
        "cluster": {"hosts": [{"name": "host", "count": 2, "cores": 16, "memory": "64GiB",
                               "virtual_functions": 8}]},
        "vms": [{"name": "vm", "count": count, "on": "host0", "memory": memory,
                 "virtual_functions": 1, "ivshmem": "4MiB",
                 "pages": {"zero": "50%", "working_set": "16MiB", "idle_dirty_rate": "10MB/s"}}],
        "migrations": [{"name": "go", "vms": "vm", "to": "host1", "at": "0s"}],
    }


@pytest.fixture
def runs(ferry):
    for name, platform in (("truth", TRUTH), ("start", start_platform())):
        (ferry.folder / f"{name}.yaml").write_text(yaml.dump(sourced(platform), sort_keys=False))
    folders = []
    for memory, count in (("256MiB", 1), ("1GiB", 1), ("4GiB", 1), ("512MiB", 4)):
        name = f"{memory}-{count}"
        (ferry.folder / f"{name}.yaml").write_text(
            yaml.dump(scenario(memory, count), sort_keys=False))
        ran = ferry("run", f"{name}.yaml", "--out", name, "--quiet")
        assert ran.returncode == 0, ran.stderr
        folders.append(name)
    return folders


def seconds(constant):
    text = constant["value"]
    assert text.endswith("ms")
    return float(text[:-2]) / 1e3


def test_finds_the_constants_again_that_runs_were_made_with(ferry, runs):
    done = ferry("calibrate", *runs, "--platform", "start.yaml", "--out", "found.yaml")
    assert done.returncode == 0, done.stderr
    found = ferry.read_yaml("found.yaml")
    costs = found["hypervisor"]
    # A round ends when its bytes have arrived: the path's latency stays in prepare and finish.
    assert seconds(costs["prepare"]) == pytest.approx(1.7, abs=1e-3)
    assert seconds(costs["finish"]) == pytest.approx(0.035, abs=1e-3)
    assert seconds(costs["set_status"]) == pytest.approx(0.003)
    assert seconds(costs["detach_vf"]) == pytest.approx(0.160)
    assert seconds(costs["remove_ivshmem"]) == pytest.approx(0.070)
    assert seconds(costs["add_ivshmem"]) == pytest.approx(0.090)
    assert seconds(costs["attach_vf"]["fixed"]) == pytest.approx(0.210, abs=1e-5)
    assert seconds(costs["attach_vf"]["per_gib"]) == pytest.approx(0.330, abs=1e-5)
    assert float(costs["serial"]["value"][:-1]) == pytest.approx(40, abs=0.5)
    assert costs["serial"]["kind"] == "fitted"
    assert costs["prepare"]["kind"] == "measured"
    bandwidth = found["streams"]["tcp"]["bandwidth"]["value"]
    assert float(bandwidth.removesuffix("MB/s")) == pytest.approx(150, rel=1e-3)
    # The pin cost was not seen.
    assert costs["pin_per_gib"]["source"] == "made up for a test"
    assert ferry("check", "found.yaml").returncode == 0
    # The table of what they give for the runs themselves.
    errors = [float(line.split()[-2]) for line in done.stdout.splitlines()
              if line.endswith("%") and "-of-" in line]
    assert len(errors) == 24
    assert max(map(abs, errors)) < 0.2


def test_finds_how_much_operations_vary(ferry):
    varying = copy.deepcopy(TRUTH)
    varying["hypervisor"]["variation"] = "25%"
    hosts = [{"name": "host", "count": 2, "cores": 64, "memory": "64GiB", "virtual_functions": 64}]
    in_turn = {**scenario("256MiB", 60), "schedule": {"order": "sequential"}, "cluster": {"hosts": hosts}}
    for name, tree in (("truth", sourced(varying)), ("start", sourced(start_platform())), ("turns", in_turn)):
        (ferry.folder / f"{name}.yaml").write_text(yaml.dump(tree, sort_keys=False))
    assert ferry("run", "turns.yaml", "--out", "turns", "--quiet").returncode == 0
    done = ferry("calibrate", "turns", "--platform", "start.yaml", "--out", "found.yaml")
    assert done.returncode == 0, done.stderr
    costs = ferry.read_yaml("found.yaml")["hypervisor"]
    # 5 operations of 60 moves: 295 degrees of freedom, a standard error of 4 %.
    assert float(costs["variation"]["value"][:-1]) == pytest.approx(25, rel=0.12)
    assert costs["variation"]["kind"] == "measured"
    # Medians of 60: a standard error of 4 %.
    for name, truth in (("prepare", 1.7), ("detach_vf", 0.160), ("remove_ivshmem", 0.070), ("add_ivshmem", 0.090)):
        assert seconds(costs[name]) == pytest.approx(truth, rel=0.13)
    low, high = next(line.split()[2:5:2] for line in done.stdout.splitlines() if line.startswith("hypervisor.variation"))
    assert float(low[:-1]) < float(costs["variation"]["value"][:-1]) < float(high[:-1])


def test_keeps_what_no_run_determines_and_says_why(ferry, runs):
    done = ferry("calibrate", runs[0], "--platform", "start.yaml", "--out", "found.yaml")
    assert done.returncode == 0, done.stderr
    assert "hypervisor.serial: kept, no two moves overlapped" in done.stdout
    assert "resting on fewer than 5 observations: streams.tcp.bandwidth, hypervisor.set_status" in done.stdout
    assert "hypervisor.variation: kept, no operation was seen twice alone" in done.stdout
    assert ferry.read_yaml("found.yaml")["hypervisor"]["serial"]["value"] == "0%"


def test_a_link_is_at_least_as_fast_as_a_stream_that_was_seen_on_it(ferry, runs):
    slow = start_platform()
    slow["networks"][0]["link"]["bandwidth"] = "400Mbps"
    (ferry.folder / "slow.yaml").write_text(yaml.dump(sourced(slow), sort_keys=False))
    done = ferry("calibrate", runs[1], "--platform", "slow.yaml", "--out", "found.yaml")
    assert done.returncode == 0, done.stderr
    link = ferry.read_yaml("found.yaml")["networks"][0]["link"]["bandwidth"]
    assert float(link["value"].removesuffix("MB/s")) == pytest.approx(150, rel=1e-3)
    assert "400Mbps was less" in link["source"]


def test_never_overwrites(ferry, runs):
    done = ferry("calibrate", runs[0], "--platform", "start.yaml", "--out", "truth.yaml")
    assert done.returncode == 2
    assert "truth.yaml: exists already" in done.stderr


def test_refuses_what_is_no_platform_file(ferry, runs):
    done = ferry("calibrate", runs[0], "--platform", f"{runs[0]}.yaml", "--out", "found.yaml")
    assert done.returncode == 2
    assert "has no ferry_platform; a platform file would be right" in done.stderr
    assert not (ferry.folder / "found.yaml").exists()
