"""ferry calibrate on moves that met MPI ranks, and on moves that shared processors: what simulated runs were made with is
found again."""

import copy

import pytest
import yaml
from test_cli_calibrate import TRUTH, seconds, sourced

SEGMENT = {"latency": "50us", "overhead": "5us", "gap": "5us", "bandwidth": "1GB/s"}
WITH_RANKS = {
    **TRUTH,
    "mpi": {"notice": "47ms", "drain_channel": "31ms", "reconnect_channel": "0ms", "reactivate": "23ms", "open_device": "610ms",
            "call": "1us", "lock": "1us", "poll": "1us", "reduce": "1GB/s"},
    "networks": [TRUTH["networks"][0],
                 {"name": "fabric", "topology": "star", "carries": ["mpi"], "link": {"bandwidth": "10Gbps", "latency": "1us"}}],
}  # fmt: skip
CHANNELS = {"sriov": {"segments": [SEGMENT], "packet": "8KiB", "connect": "1ms"},
            "ivshmem": {"segments": [SEGMENT], "packet": "8KiB", "connect": "1ms"}}  # fmt: skip


def platform(**hypervisor):
    made = copy.deepcopy(WITH_RANKS)
    made["hypervisor"].update(hypervisor)
    made = sourced(made)
    made["channels"] = {name: {**sourced({k: v for k, v in channel.items() if k != "segments"}),
                               "segments": [sourced(segment) for segment in channel["segments"]]}
                        for name, channel in CHANNELS.items()}  # fmt: skip
    return made


def start_of(truth):
    """What runs with ranks determine is far off."""
    start = copy.deepcopy(truth)
    for name in ("notice", "drain_channel", "reactivate", "open_device"):
        start["mpi"][name]["value"] = "0ms"
    for name in ("detach_vf", "remove_ivshmem", "add_ivshmem"):
        start["hypervisor"][name]["value"] = "1ms"
    return start


def pair(strategy="migration_thread"):
    """One VM of two goes to the other's host and back."""
    return {
        "ferry": 1, "name": "pair", "description": "for calibration", "platform": "truth.yaml", "seed": 1,
        "cluster": {"hosts": [{"name": "host", "count": 2, "cores": 16, "memory": "64GiB", "virtual_functions": 8}]},
        "vms": [{"name": "vm", "count": 2, "on": "host[0-1]", "spread": "round_robin", "memory": "256MiB",
                 "virtual_functions": 1, "ivshmem": "4MiB", "pages": {"zero": "50%"}}],
        "jobs": [{"name": "pair", "on": {"vms": "vm"}, "ranks": 1, "strategy": strategy, "ivshmem": "4MiB",
                  "workload": {"type": "iterate", "compute": "2ms", "collective": "allreduce", "message": "4KiB",
                               "iterations": 9000}}],
        "migrations": [{"name": "meet", "vms": "vm0", "to": "host1", "at": "1s"},
                       {"name": "part", "vms": "vm0", "to": "host0", "at": "8s"}],
        "schedule": {"order": "sequential"},
        "outputs": {"twin": False},
    }  # fmt: skip


def crossing(count):
    """VMs without ranks change hosts, all at once, in both directions."""
    return {
        "ferry": 1, "name": f"cross-{count}", "description": "for calibration", "platform": "truth.yaml", "seed": 1,
        "cluster": {"hosts": [{"name": "host", "count": 2, "cores": 16, "memory": "64GiB", "virtual_functions": 8}]},
        "vms": [{"name": "vm", "count": count, "on": "host[0-1]", "spread": "round_robin", "memory": "1GiB",
                 "virtual_functions": 1, "ivshmem": "4MiB", "pages": {"zero": "50%"}}],
        "migrations": [{"name": f"go{i}", "vms": f"vm{i}", "to": f"host{(i + 1) % 2}", "at": "0s"} for i in range(count)],
        "schedule": {"order": "parallel"},
    }  # fmt: skip


def run(ferry, truth, *scenarios):
    for name, made in (("truth", truth), ("start", start_of(truth))):
        (ferry.folder / f"{name}.yaml").write_text(yaml.dump(made, sort_keys=False))
    for i, scenario in enumerate(scenarios):
        (ferry.folder / f"s{i}.yaml").write_text(yaml.dump(scenario, sort_keys=False))
        ran = ferry("run", f"s{i}.yaml", "--out", f"run{i}", "--quiet")
        assert ran.returncode == 0, ran.stderr
    return [f"run{i}" for i in range(len(scenarios))]


def fit(ferry, runs):
    done = ferry("calibrate", *runs, "--platform", "start.yaml", "--out", "found.yaml", timeout=900)
    assert done.returncode == 0, done.stderr
    assert ferry("check", "found.yaml").returncode == 0
    return ferry.read_yaml("found.yaml"), done.stdout


@pytest.mark.parametrize("strategy", ["migration_thread", "progress_engine"])
def test_finds_what_ranks_add_from_moves_there_and_back(ferry, strategy):
    found, said = fit(ferry, run(ferry, platform(), pair(strategy)))
    costs = found["mpi"]
    assert seconds(costs["drain_channel"]) == pytest.approx(0.031, abs=1e-6)
    # An engine's rank notices in its next call, within 2 ms; a thread's at once.
    assert seconds(costs["notice"]) == pytest.approx(0.047, abs=3e-3)
    assert seconds(costs["reactivate"]) == pytest.approx(0.023, abs=1e-4)
    assert costs["notice"]["kind"] == "fitted" and costs["notice"]["to"] == ["set_pre_migration"]
    assert costs["drain_channel"]["kind"] == "measured"
    assert seconds(costs["open_device"]) == pytest.approx(0.610, abs=1e-3)
    # Of a VM that moved twice both moves count.
    (total,) = [line for line in said.splitlines() if line.startswith("pair") and " total " in line]
    assert total.split()[2] == "2"
    assert abs(float(total.split()[-2])) < 0.5


def test_says_that_no_move_met_ranks(ferry):
    _, said = fit(ferry, run(ferry, platform(), crossing(1)))
    assert "mpi: kept, no move that ran alone met ranks" in said


def test_a_device_is_not_charged_with_its_wait_for_the_other_one(ferry):
    found, _ = fit(ferry, run(ferry, platform(devices_at_once=True), crossing(1)))
    costs = found["hypervisor"]
    assert costs["devices_at_once"] == "true"
    assert seconds(costs["detach_vf"]) == pytest.approx(0.160)
    assert seconds(costs["remove_ivshmem"]) == pytest.approx(0.070, abs=1e-4)
    assert seconds(costs["add_ivshmem"]) == pytest.approx(0.090, abs=1e-4)


@pytest.mark.parametrize(("cores", "migration"), [("90%", "130%"), ("150%", "110%")])
def test_finds_what_hosts_of_one_machine_share(ferry, cores, migration):
    truth = platform(devices_at_once=True, serial="0%", cpu=cores, migration_cpu=migration)
    truth["processors"] = {"cores": {"value": 2, "source": "made up for a test", "kind": "assumed"}, "shared": True}
    work = {"value": "5s", "source": "made up for a test", "kind": "assumed"}
    truth["streams"]["tcp"]["cpu"] = {"send": work, "receive": work}
    runs = run(ferry, truth, crossing(1), crossing(4))
    begun = ferry.read_yaml("start.yaml")
    del begun["streams"]["tcp"]["cpu"], begun["hypervisor"]["cpu"], begun["hypervisor"]["migration_cpu"]
    ferry.write_yaml("start.yaml", begun)
    found, said = fit(ferry, runs)
    costs = found["hypervisor"]
    assert float(costs["cpu"]["value"][:-1]) == pytest.approx(float(cores[:-1]), rel=0.03)
    assert costs["cpu"]["kind"] == "fitted" and costs["cpu"]["to"] == ["unplug", "plug"]
    assert float(costs["migration_cpu"]["value"][:-1]) == pytest.approx(float(migration[:-1]), rel=0.05)
    assert costs["migration_cpu"]["kind"] == "fitted" and costs["migration_cpu"]["to"] == ["migration"]
    assert "hypervisor.serial: kept, what overlapping moves show is how they share processors" in said
    for end in ("send", "receive"):
        assert seconds(found["streams"]["tcp"]["cpu"][end]) == pytest.approx(5, rel=0.05)
    assert found["streams"]["tcp"]["cpu"]["send"]["to"] == ["migration"]
    # A move's two devices go at once, and need no more cores together than one alone.
    for name in ("detach_vf", "remove_ivshmem", "add_ivshmem"):
        assert seconds(costs[name]) == pytest.approx(seconds(truth["hypervisor"][name]), rel=0.03)
    assert "for what a move alone takes of its own cores" not in costs["detach_vf"]["source"]
    errors = [float(line.split()[-2]) for line in said.splitlines() if line.startswith("cross-") and " total " in line]
    assert len(errors) == 2 and max(map(abs, errors)) < 3
