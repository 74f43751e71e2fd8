"""Totals against values worked out here from the resolved constants, phase by phase."""

import copy
import json
import re
import subprocess
from fractions import Fraction

import pytest

from run_folders import ROOT

PHASES = ["set_pre_migration", "detach_vf", "remove_ivshmem", "migration", "attach_vf", "add_ivshmem", "set_post_migration"]
TIMES = {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1, "min": 60, "h": 3600}
SIZES = {"B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "KB": 1e3, "MB": 1e6, "GB": 1e9}


def number(text, units):
    amount, unit = re.fullmatch(r"([0-9.e+-]+) *([A-Za-z/]*)", str(text)).groups()
    return float(amount) * (units[unit] if unit else 1)


def value(node):
    return node["value"] if isinstance(node, dict) else node


def seconds(node):
    return number(value(node), TIMES)


def size(node):
    return number(value(node), SIZES)


def speed(node):
    """Bytes per second."""
    text = str(value(node))
    if text.endswith("bps"):
        return number(text[:-3] + "x", {"x": 1, "Kx": 1e3, "Mx": 1e6, "Gx": 1e9, "Tx": 1e12}) / 8
    return number(text.removesuffix("/s"), SIZES)


def share(node):
    text = str(value(node))
    return float(text.rstrip("%")) / 100 if text.endswith("%") else float(text)


SCENARIO = {
    "ferry": 1,
    "name": "by-hand",
    "platform": {"base": str(ROOT / "scenarios/platforms/nowlab-fdr.yaml")},
    "cluster": {"hosts": [{"name": "host", "count": 2, "cores": 16, "memory": "32GiB", "virtual_functions": 8}]},
    "vms": [{"name": "vm", "count": 1, "on": "host0", "memory": "1GiB", "virtual_functions": 1, "ivshmem": "64MiB",
             "pages": {"zero": "0%", "working_set": "0B"}}],
    "jobs": [],
    "migrations": [{"name": "leave", "vms": "vm", "to": "host1", "at": "0s", "transport": "tcp"}],
    "schedule": {"order": "parallel"},
}


class Costs:
    """The resolved constants of a run, as numbers."""

    def __init__(self, resolved):
        platform = resolved["platform"]
        hypervisor = platform["hypervisor"]
        for name in ("prepare", "finish", "clean_up", "set_status", "detach_vf", "remove_ivshmem", "add_ivshmem", "pin_per_gib"):
            setattr(self, name, seconds(hypervisor[name]))
        self.serial = share(hypervisor["serial"])
        self.attach_fixed = seconds(hypervisor["attach_vf"]["fixed"])
        self.attach_per_gib = seconds(hypervisor["attach_vf"]["per_gib"])
        self.stream = {name: speed(stream["bandwidth"]) for name, stream in platform["streams"].items()}
        self.link = {transport: speed(network["link"]["bandwidth"]) for network in platform["networks"] for transport in network["carries"]}
        self.mpi = {name: seconds(platform["mpi"][name]) for name in ("notice", "drain_channel", "reconnect_channel", "reactivate")}
        self.postcopy_switch = seconds(hypervisor["postcopy_switch"])
        self.compression = {name: (share(node["ratio"]), speed(node["speed"])) for name, node in platform["compression"].items()}

    def bandwidth(self, transport):
        return min(self.stream[transport], self.link[transport])

    def around(self, gib):
        """Everything but suspension, memory and pinning; the device operations of a VM follow each other or
        overlap as the platform says, which the spans tell."""
        return 2 * self.set_status + self.prepare + self.finish + self.clean_up


def one(run, change=lambda scenario: None):
    scenario = copy.deepcopy(SCENARIO)
    change(scenario)
    result = run(scenario)
    rows = result.table("migrations")
    return result, rows, Costs(result.resolved())


def phase(row, name):
    return float(row[f"{name}_seconds"])


def check_sums(rows):
    for row in rows:
        exact = sum(Fraction(row[f"{name}_seconds"]) for name in PHASES)
        assert exact == Fraction(row["total_seconds"])


def expect_total(row, costs, gib, memory_seconds, suspended=0.0, reactivated=0.0):
    devices = sum(phase(row, name) for name in ("detach_vf", "remove_ivshmem", "attach_vf", "add_ivshmem"))
    attach = costs.attach_fixed + costs.attach_per_gib * gib
    leaving = (costs.detach_vf, costs.remove_ivshmem)
    coming = (attach, costs.add_ivshmem)
    # One after the other, or side by side with the serial share one at a time.
    after = sum(leaving) + sum(coming)
    beside = max(leaving[0], leaving[0] * costs.serial + leaving[1]) + max(coming[0], coming[0] * costs.serial + coming[1])
    assert min(abs(devices - after), abs(devices - beside)) < 1e-6
    total = devices + costs.around(gib) + memory_seconds + suspended + reactivated
    assert float(row["total_seconds"]) == pytest.approx(total, abs=2e-3)


def test_one_vm_that_dirties_nothing(run):
    _, [row], costs = one(run)
    check_sums([row])
    expect_total(row, costs, 1, 2**30 / costs.bandwidth("tcp"))
    assert int(row["bytes"]) == 2**30
    # The last 300 ms worth of memory are sent with the guest paused, at the bandwidth of the last 100 ms.
    assert float(row["downtime_seconds"]) == pytest.approx(0.3 + costs.finish, abs=5e-3)


def test_zero_pages_cost_a_header_each(run):
    def half_zero(scenario):
        scenario["vms"][0]["pages"]["zero"] = "50%"

    _, [row], costs = one(run, half_zero)
    sent = 2**29 + 2**17 * 9
    assert int(row["bytes"]) == sent
    expect_total(row, costs, 1, sent / costs.bandwidth("tcp"))


def test_one_vm_that_dirties_below_the_bandwidth(run):
    rate, limit = 200e6, 0.05

    def dirty(scenario):
        scenario["vms"][0]["pages"].update(working_set="1GiB", idle_dirty_rate="200MB/s")
        scenario["migrations"][0]["memory"] = {"downtime_limit": "50ms"}

    result, [row], costs = one(run, dirty)
    bandwidth = costs.bandwidth("tcp")
    threshold = bandwidth * limit
    pending, sent, time = 2**30, 0.0, 0.0
    rounds = 0
    while True:
        part = pending - threshold
        rounds += 1
        time += part / bandwidth
        sent += part
        pending = threshold + rate * part / bandwidth
        if pending - threshold < 1:
            break
    time += pending / bandwidth
    sent += pending
    check_sums([row])
    # The rounds end when less than a byte more than the threshold is left; the series converges long before.
    assert float(row["bytes"]) == pytest.approx(sent, rel=1e-3)
    expect_total(row, costs, 1, time)
    table = result.table("rounds")
    assert sum(int(line["bytes"]) for line in table) == int(row["bytes"])
    assert float(table[1]["bytes"]) == pytest.approx(float(table[0]["bytes"]) * rate / bandwidth, rel=2e-2)


def test_rdma_with_pin_all_pins_and_sends_zero_pages(run):
    def pinned(scenario):
        scenario["vms"][0]["pages"]["zero"] = "50%"
        scenario["vms"][0]["memory"] = "2GiB"
        scenario["migrations"][0]["transport"] = "rdma"

    _, [row], costs = one(run, pinned)
    assert int(row["bytes"]) == 2**31
    expect_total(row, costs, 2, 2**31 / costs.bandwidth("rdma") + 2 * costs.pin_per_gib)


def test_offline_pauses_the_guest_for_the_whole_transfer(run):
    def offline(scenario):
        scenario["migrations"][0]["memory"] = {"mode": "offline"}

    _, [row], costs = one(run, offline)
    expect_total(row, costs, 1, 2**30 / costs.bandwidth("tcp"))
    assert float(row["downtime_seconds"]) >= 2**30 / costs.bandwidth("tcp")


def limited(mode):
    def change(scenario):
        scenario["migrations"][0]["memory"] = {"mode": mode, "bandwidth_limit": "100MB/s"}

    return change


@pytest.mark.parametrize("mode", ["precopy", "offline"])
def test_a_bandwidth_limit_holds_except_for_what_the_pause_sends(run, mode):
    result, [row], costs = one(run, limited(mode))
    limit, bandwidth = 100e6, costs.bandwidth("tcp")
    left = 0.99 * 0.3 * limit
    first = (2**30 - left) / limit
    expect_total(row, costs, 1, first + left / bandwidth)
    paused = left / bandwidth + (first if mode == "offline" else 0) + costs.finish
    assert float(row["downtime_seconds"]) == pytest.approx(paused, abs=1e-3)
    assert [int(line["bytes"]) for line in result.table("rounds")] == pytest.approx([2**30 - left, left], abs=100)


def test_a_bandwidth_limit_holds_for_all_that_post_copy_sends(run):
    _, [row], costs = one(run, limited("postcopy"))
    expect_total(row, costs, 1, 2**30 / 100e6 + costs.postcopy_switch - costs.finish)
    assert float(row["downtime_seconds"]) == pytest.approx(costs.postcopy_switch, abs=1e-3)


def dirtying(rate, working_set="1GiB", **memory):
    """One VM of 1 GiB that dirties at `rate` whatever happens."""

    def change(scenario):
        scenario["vms"][0]["pages"].update(working_set=working_set, idle_dirty_rate=rate)
        scenario["migrations"][0]["memory"] = memory

    return change


def test_post_copy_pauses_for_the_switch_and_sends_all_memory_once(run):
    result, [row], costs = one(run, dirtying("5GB/s", mode="postcopy"))
    check_sums([row])
    expect_total(row, costs, 1, 2**30 / costs.bandwidth("tcp") + costs.postcopy_switch - costs.finish)
    assert float(row["downtime_seconds"]) == pytest.approx(costs.postcopy_switch, abs=1e-4)
    assert (int(row["bytes"]), int(row["rounds"]), row["reason"]) == (2**30, 1, "")
    assert [int(line["bytes"]) for line in result.table("rounds")] == [2**30]


def test_hybrid_sends_after_the_switch_what_its_round_left_and_let_be_dirtied(run):
    result, [row], costs = one(run, dirtying("500MB/s", mode="hybrid", downtime_limit="50ms"))
    bandwidth = costs.bandwidth("tcp")
    left = bandwidth * 0.05
    first = 2**30 - left
    rest = left + 500e6 * first / bandwidth
    check_sums([row])
    assert [int(line["bytes"]) for line in result.table("rounds")] == pytest.approx([first, rest], rel=2e-3)
    expect_total(row, costs, 1, (first + rest) / bandwidth + costs.postcopy_switch - costs.finish)
    assert float(row["downtime_seconds"]) == pytest.approx(costs.postcopy_switch, abs=1e-4)


def device(strategy):
    def change(scenario):
        scenario["vms"][0]["ivshmem"] = "0B"
        scenario["migrations"][0]["device"] = strategy

    return change


def test_a_function_that_moves_pauses_its_guest_for_its_state(run):
    result, [row], costs = one(run, device("vfio"))
    vfio = result.resolved()["platform"]["hypervisor"]["vfio"]
    state, bandwidth = 64 * 2**20, costs.bandwidth("tcp")
    assert vfio["state"]["value"] == "64MiB"
    extra = seconds(vfio["save"]) + seconds(vfio["load"])
    check_sums([row])
    assert (phase(row, "detach_vf"), phase(row, "attach_vf"), row["device"]) == (0, 0, "vfio")
    total = costs.around(1) + costs.attach_per_gib + (2**30 + state) / bandwidth + extra
    assert float(row["total_seconds"]) == pytest.approx(total, abs=2e-3)
    # State and memory fill the limit together, less 1 % of what is left for memory.
    pause = state / bandwidth + 0.99 * (0.3 - state / bandwidth) + extra + costs.finish
    assert float(row["downtime_seconds"]) == pytest.approx(pause, abs=2e-3)
    assert row["outage_seconds"] == row["lost_traffic_seconds"] == row["downtime_seconds"]


def test_a_stand_in_is_redirected_to_twice_and_lacks_throughput_meanwhile(run):
    result, [row], costs = one(run, device("failover"))
    failover = result.resolved()["platform"]["hypervisor"]["failover"]
    redirect, throughput = seconds(failover["redirect"]), share(failover["throughput"])
    attach = costs.attach_fixed + costs.attach_per_gib
    check_sums([row])
    assert phase(row, "detach_vf") == pytest.approx(costs.detach_vf + redirect, abs=1e-6)
    assert phase(row, "attach_vf") == pytest.approx(attach + redirect, abs=1e-6)
    downtime = float(row["downtime_seconds"])
    assert float(row["outage_seconds"]) == pytest.approx(2 * redirect + downtime, abs=1e-6)
    slow = phase(row, "migration") + attach
    lost = 2 * redirect + slow * (1 - throughput) + downtime * throughput
    assert float(row["lost_traffic_seconds"]) == pytest.approx(lost, abs=1e-6)


def test_a_stall_that_ends_in_post_copy_is_told_in_the_reason_of_the_completed_move(run):
    # 2 GB/s is more than the network carries: each round after the first sends the working set.
    result, [row], costs = one(run, dirtying("2GB/s", "512MiB", max_rounds=3, on_stall=["postcopy"]))
    assert row["outcome"] == "completed"
    assert row["reason"] == "did not converge in 3 rounds: post-copy"
    expect_total(row, costs, 1, (2**30 + 3 * 2**29) / costs.bandwidth("tcp") + costs.postcopy_switch - costs.finish)


def test_a_stall_that_nothing_helps_is_told_with_what_was_tried(run):
    def stalls(scenario):
        dirtying("20GB/s", "512MiB", max_rounds=2, on_stall=["auto_converge", "abort"])(scenario)

    scenario = copy.deepcopy(SCENARIO)
    stalls(scenario)
    [row] = run(scenario, statuses=(1,)).table("migrations")
    assert row["outcome"] == "rolled_back"
    assert re.fullmatch(r"pre-copy of vm0 has not converged after 4 rounds: in the last one [0-9.]+ MB/s were sent and [0-9.]+ MB/s"
                        r" were dirtied; it did not converge in 2 rounds: throttled \(auto_converge\)", row["reason"])


def test_auto_converge_takes_twenty_percent_then_ten_until_the_rest_fits(run):
    rate, limit, memory = 1.4e9, 0.3, 2**33

    def busy(scenario):
        dirtying("1.4GB/s", "8GiB", auto_converge=True)(scenario)
        scenario["vms"][0]["memory"] = "8GiB"

    result, [row], costs = one(run, busy)
    bandwidth = costs.bandwidth("tcp")
    threshold = bandwidth * limit
    pending, time, sent, rounds = memory, 0.0, 0.0, []
    throttle, high, period_sent, period_dirtied, looked = 0.0, 0, 0.0, 0.0, 0.0
    while True:
        part = pending - threshold
        time += part / bandwidth
        dirtied = min(rate * (1 - throttle) * part / bandwidth, memory)
        sent += part
        rounds.append((part, dirtied))
        period_sent, period_dirtied = period_sent + part, period_dirtied + dirtied
        if time - looked > 1:
            if period_dirtied > period_sent / 2:
                high += 1
                if high == 2:
                    high, throttle = 0, 0.2 if throttle == 0 else min(throttle + 0.1, 0.99)
            period_sent, period_dirtied, looked = 0.0, 0.0, time
        pending = min(threshold + dirtied, memory)
        if pending - threshold < threshold * 0.01:
            break
    time += pending / bandwidth
    assert throttle >= 0.4
    assert row["reason"] == ""
    table = result.table("rounds")
    for line, (part, dirtied) in zip(table[:8], rounds):
        assert float(line["bytes"]) == pytest.approx(part, rel=1e-2)
        assert float(line["dirty_bytes"]) == pytest.approx(dirtied, rel=1e-2)
    assert float(row["migration_seconds"]) == pytest.approx(time + costs.prepare + costs.finish + costs.clean_up, rel=2e-2)


def test_several_streams_fill_the_link(run):
    for streams, expected in ((1, 2e9 / 8), (3, 6e9 / 8), (8, 10e9 / 8)):
        def several(scenario):
            scenario["platform"]["streams"] = {"tcp": {"bandwidth": {"value": "2Gbps", "source": "a slow stream", "kind": "assumed"}}}
            scenario["migrations"][0]["memory"] = {"streams": streams}

        _, [row], costs = one(run, several)
        expect_total(row, costs, 1, 2**30 / expected)


def test_zstd_takes_as_long_as_its_threads_or_the_link(run):
    for streams in (2, 8, 40):
        _, [row], costs = one(run, dirtying("0B/s", "0B", mode="offline", compression="zstd", streams=streams))
        ratio, pace = costs.compression["zstd"]
        assert int(row["bytes"]) == pytest.approx(2**30 * ratio, abs=1)
        expect_total(row, costs, 1, max(2**30 / (streams * pace), 2**30 * ratio / costs.link["tcp"]))


def test_xbzrle_sends_differences_from_the_third_round_on(run):
    result, [row], costs = one(run, dirtying("20GB/s", "64MiB", compression="xbzrle", downtime_limit="1ms", max_rounds=4, on_stall=["postcopy"]))
    ratio, pace = costs.compression["xbzrle"]
    lines = result.table("rounds")
    assert float(lines[1]["bytes"]) == pytest.approx(2**26, rel=2e-2)
    for line in lines[2:4]:
        assert float(line["bytes"]) == pytest.approx(2**26 * ratio, rel=2e-2)
        assert float(line["seconds"]) == pytest.approx(2**26 / pace, rel=2e-2)  # the encoder, not the network
    assert float(lines[4]["bytes"]) == pytest.approx(2**26, rel=2e-2)  # after the switch, as it is


@pytest.mark.parametrize("memory", [
    {}, {"mode": "offline"}, {"mode": "postcopy"}, {"mode": "hybrid"}, {"auto_converge": True}, {"streams": 4},
    {"compression": "xbzrle"}, {"compression": "zstd", "streams": 8}, {"max_rounds": 2, "on_stall": ["postcopy"]},
    {"max_rounds": 8, "on_stall": ["auto_converge"]},
], ids=str)
def test_the_plan_predicts_the_total_of_a_move_alone(run, ferry, tmp_path, memory):
    scenario = copy.deepcopy(SCENARIO)
    dirtying("700MB/s", "900MiB", **memory)(scenario)
    scenario["vms"][0]["memory"] = "4GiB"
    [row] = run(scenario).table("migrations")
    path = tmp_path / "planned.yaml"
    path.write_text(json.dumps(scenario))
    planned = subprocess.run([ferry, "plan", str(path)], capture_output=True, text=True, check=True).stdout
    [predicted] = re.findall(r"^ *1 +vm0 .* ([0-9.]+)$", planned, re.M)
    assert float(predicted) == pytest.approx(float(row["total_seconds"]), rel=1e-2)


def test_a_job_adds_its_answer_and_its_reactivation(run):
    def with_job(scenario):
        scenario["jobs"] = [{"name": "job", "on": {"vms": "vm"}, "ranks": 4, "strategy": "progress_engine", "reconnect": "eager",
                             "workload": {"type": "timed", "next_call": "30ms"}}]

    _, [row], costs = one(run, with_job)
    suspended = 0.030 + costs.mpi["notice"] + 3 * costs.mpi["drain_channel"]
    reactivated = costs.mpi["reactivate"] + 3 * costs.mpi["reconnect_channel"]
    assert phase(row, "set_pre_migration") == pytest.approx(costs.set_status + suspended, abs=1e-6)
    assert phase(row, "set_post_migration") == pytest.approx(costs.set_status + reactivated, abs=1e-6)
    expect_total(row, costs, 1, 2**30 / costs.bandwidth("tcp"), suspended, reactivated)


def two_vms(order):
    def change(scenario):
        scenario["vms"][0]["count"] = 2
        scenario["schedule"]["order"] = order
        scenario["platform"]["hypervisor"] = {"serial": {"value": "0%", "source": "each operation alone", "kind": "assumed"}}

    return change


def test_two_vms_that_share_a_link_halve_it(run):
    _, rows, costs = one(run, two_vms("parallel"))
    check_sums(rows)
    shared = min(costs.stream["tcp"], costs.link["tcp"] / 2)
    for row in rows:
        expect_total(row, costs, 1, 2**30 / shared)


def test_sequential_order_is_the_sum(run):
    result, rows, costs = one(run, two_vms("sequential"))
    check_sums(rows)
    for row in rows:
        expect_total(row, costs, 1, 2**30 / costs.bandwidth("tcp"))
    makespan = {line["metric"]: line["value"] for line in result.table("summary")}["makespan_seconds"]
    assert float(makespan) == pytest.approx(sum(float(row["total_seconds"]) for row in rows), abs=1e-6)
