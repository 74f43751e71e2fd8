"""Every key that is accepted changes some output of a run.

Each key of the scenario's and the platform's schema is set to another value in a scenario where it matters; the tables,
the journal or the trace must differ. A key that the schema has and this file does not fails the last test.
"""

import copy
import json
import os
import subprocess
from pathlib import Path

import pytest

import explained
from run_folders import load_yaml

HERE = Path(__file__).resolve().parent
FERRY = os.environ.get("FERRY_BIN")
BASE = load_yaml(HERE / "every_key.yaml")
PLATFORM = load_yaml(HERE / "../../scenarios/platforms/nowlab-fdr.yaml")

pytestmark = pytest.mark.skipif(not FERRY, reason="FERRY_BIN does not name the program")


def constant(value):
    return {"value": value, "source": "another value for the test", "kind": "assumed"}


def override(*keys_and_value):
    """A platform key set inline, below `platform:`."""
    *keys, value = keys_and_value

    def change(scenario):
        place = scenario["platform"]
        for key in keys[:-1]:
            place = place.setdefault(key, {})
        place[keys[-1]] = constant(value)

    return change


def put(path, value):
    def change(scenario):
        place = scenario
        *parents, last = path.split(".")
        for part in parents:
            place = place[int(part) if part.isdigit() else part]
        place[int(last) if last.isdigit() else last] = value

    return change


def without(path):
    def change(scenario):
        place = scenario
        *parents, last = path.split(".")
        for part in parents:
            place = place[int(part) if part.isdigit() else part]
        place.pop(int(last) if last.isdigit() else last, None)

    return change


def both(*changes):
    def change(scenario):
        for one in changes:
            one(scenario)

    return change


def network(key, value):
    """A key of the platform's own InfiniBand network, which counts where the cluster gives none."""

    def change(scenario):
        networks = copy.deepcopy(PLATFORM["networks"])
        place = networks[1]
        *parents, last = key.split(".")
        for part in parents:
            place = place[part]
        place[last] = value
        scenario["platform"]["networks"] = networks

    return change


def renamed(*replacements):
    """The whole scenario with some of its text replaced, as JSON."""

    def change(scenario):
        text = json.dumps(scenario)
        for old, new in replacements:
            text = text.replace(old, new)
        scenario.update(json.loads(text))

    return change


platforms_networks = without("cluster.networks")
over_tcp = put("migrations.0.transport", "tcp")
over_ipoib = put("migrations.0.transport", "ipoib")
over_two_streams = both(over_tcp, put("migrations.0.memory.streams", 2))
as_zstd = both(over_two_streams, put("migrations.0.memory.compression", "zstd"))
as_xbzrle = both(over_tcp, put("migrations.0.memory.compression", "xbzrle"))
# Twice what the network carries is dirtied: every VM stalls.
stalling = both(over_tcp, put("vms.0.pages.dirty_rate", "3GB/s"), put("vms.0.pages.working_set", "500MiB"))
eager = put("jobs.0.reconnect", "eager")
tight = both(put("schedule.limits", {}), put("faults", []), put("schedule.stagger", "0s"))
crossing = both(tight, put("migrations.0.to", "host[3-4]"))  # two flows between the leaves at once


plain_devices = both(over_tcp, put("vms.0.ivshmem", "0B"), put("faults", []))
failing_over = both(plain_devices, put("migrations.0.device", "failover"))
as_vfio = both(plain_devices, put("migrations.0.device", "vfio"), put("migrations.0.memory.downtime_limit", "300ms"))


def processor_work(**changes):
    """TCP's processor time at 2 s for each GiB, which two busy guests on a host feel."""
    work = {"send": "2s", "receive": "1s", **changes}

    def change(scenario):
        over_tcp(scenario)
        scenario["platform"]["streams"] = {"tcp": {"cpu": {key: constant(value) for key, value in work.items()}}}

    return change


def processors(work, **values):
    return both(processor_work(**work), lambda s: s["platform"].update(processors=values))


def controller_down(record, away):
    return put("faults", [{"journal": record, "controller_down": away}])


def cluster_fault(**keys):
    return put("faults", [{"at": "1s", **keys}])


a_link_down = cluster_fault(link_down="host0", **{"for": "5s"})
a_slow_link = cluster_fault(slow_link="host0", factor="5%", **{"for": "1min"})
late_answers = cluster_fault(late_libvirt="host0", delay="2s", **{"for": "1min"})


def dragonfly(groups, chassis, routers, hosts_per_router):
    return {"dragonfly": {"groups": groups, "chassis": chassis, "routers": routers, "hosts_per_router": hosts_per_router}}


def cluster_dragonfly(*shape):
    return both(tight, put("cluster.networks.1.topology", dragonfly(*shape)))


def platform_dragonfly(*shape):
    return both(platforms_networks, tight, network("topology", dragonfly(*shape)))


def platform_fat_tree(hosts_per_leaf, spines):
    def narrow(scenario):
        scenario["platform"]["networks"][1]["link"]["bandwidth"] = constant("20Gbps")

    shape = {"fat_tree": {"hosts_per_leaf": hosts_per_leaf, "spines": spines}}
    return both(platforms_networks, crossing, network("topology", shape), narrow)


# path in the schema -> (what makes the key matter, the change); None: the base scenario as it stands.
CHANGES = {
    "name": (None, put("name", "other-name")),
    "seed": (None, put("seed", 8)),
    "cluster.hosts.name": (None, renamed(("host[", "node["), ('"name": "host"', '"name": "node"'))),
    "cluster.hosts.count": (both(put("migrations.0.to", "any"), put("migrations.0.vms", "vm")), put("cluster.hosts.0.count", 3)),
    "cluster.hosts.cores": (put("migrations.0.place", "pack"), put("cluster.hosts.0.cores", 4)),
    "cluster.hosts.memory": (put("migrations.0.place", "pack"), put("cluster.hosts.0.memory", "2GiB")),
    "cluster.hosts.virtual_functions": (put("migrations.0.place", "pack"), put("cluster.hosts.0.virtual_functions", 2)),
    "cluster.hosts.ivshmem": (put("migrations.0.place", "pack"), put("cluster.hosts.0.ivshmem", "128MiB")),
    "cluster.networks.topology": (None, put("cluster.networks.1.topology", "star")),
    "cluster.networks.topology.fat_tree.hosts_per_leaf": (None, put("cluster.networks.1.topology.fat_tree.hosts_per_leaf", 5)),
    "cluster.networks.topology.fat_tree.spines": (crossing, put("cluster.networks.1.topology.fat_tree.spines", 4)),
    "cluster.networks.topology.dragonfly.chassis": (cluster_dragonfly(2, 2, 2, 1), cluster_dragonfly(2, 3, 2, 1)),
    "cluster.networks.topology.dragonfly.routers": (cluster_dragonfly(1, 2, 3, 1), cluster_dragonfly(1, 2, 5, 1)),
    "cluster.networks.topology.dragonfly.hosts_per_router": (cluster_dragonfly(2, 2, 2, 2), cluster_dragonfly(2, 2, 2, 1)),
    "cluster.networks.link.bandwidth": (None, put("cluster.networks.1.link.bandwidth", "8Gbps")),
    "cluster.networks.link.latency": (None, put("cluster.networks.1.link.latency", "50ms")),
    "cluster.networks.carries": (over_tcp, both(put("cluster.networks.0.carries", ["ipoib"]), put("cluster.networks.1.carries", ["tcp", "rdma"]))),
    "vms.name": (None, renamed(("vm[", "guest["), ('"name": "vm"', '"name": "guest"'), ('"vms": "vm"', '"vms": "guest"'), ('"vm": "vm', '"vm": "guest'))),
    "vms.count": (None, put("vms.0.count", 8)),
    "vms.on": (None, put("vms.0.on", "host[0-2]")),
    "vms.spread": (None, put("vms.0.spread", "pack")),
    "vms.vcpus": (put("migrations.0.place", "pack"), put("vms.0.vcpus", 4)),
    "vms.memory": (None, put("vms.0.memory", "700MiB")),
    "vms.virtual_functions": (put("faults", []), put("vms.0.virtual_functions", 0)),
    "vms.ivshmem": (None, put("vms.0.ivshmem", "0B")),
    "vms.pages.zero": (put("migrations.0.memory.pin_all", False), put("vms.0.pages.zero", "50%")),
    "vms.pages.working_set": (None, put("vms.0.pages.working_set", "20MiB")),
    "vms.pages.dirty_rate": (None, put("vms.0.pages.dirty_rate", "100MB/s")),
    "vms.pages.idle_dirty_rate": (None, put("vms.0.pages.idle_dirty_rate", "50MB/s")),
    "jobs.name": (None, put("jobs.0.name", "work")),
    "jobs.count": (None, put("jobs.0.count", 4)),
    "jobs.on.vms": (None, put("jobs.0.on.vms", "vm[0-1]")),
    "jobs.ranks": (None, put("jobs.0.ranks", 3)),
    "jobs.strategy": (None, put("jobs.0.strategy", "migration_thread")),
    "jobs.suspend": (both(put("jobs.0.count", 1), without("jobs.0.on.split")), put("jobs.0.suspend", "job")),
    "jobs.reconnect": (None, eager),
    "jobs.workload.next_call": (None, put("jobs.0.workload.next_call", "40ms")),
    "migrations.name": (None, put("migrations.0.name", "go")),
    "migrations.vms": (None, put("migrations.0.vms", "vm")),
    "migrations.to": (None, put("migrations.0.to", "host[3-4]")),
    "migrations.evacuate": (both(tight, put("migrations.0.vms", "vm"), put("migrations.0.evacuate", "host0")), put("migrations.0.evacuate", "host1")),
    "migrations.swap_with": (both(tight, without("migrations.0.to"), put("migrations.0.vms", "vm0"), put("migrations.0.swap_with", "host2")), put("migrations.0.swap_with", "host3")),
    "constraints.before": (both(tight, put("constraints", [{"before": ["vm2", "vm0"]}])), put("constraints.0.before", ["vm0", "vm2"])),
    "constraints.together": (both(tight, put("constraints", [{"together": ["vm0", "vm1"]}])), put("constraints.0.together", ["vm1", "vm2"])),
    "constraints.apart": (both(tight, put("migrations.0.place", "pack"), put("constraints", [{"apart": ["vm0", "vm1"]}])), put("constraints.0.apart", ["vm0", "vm2"])),
    "migrations.place": (None, put("migrations.0.place", "pack")),
    "migrations.at": (None, put("migrations.0.at", "2s")),
    "migrations.transport": (None, over_tcp),
    "migrations.device": (plain_devices, failing_over),
    "migrations.memory.mode": (None, put("migrations.0.memory.mode", "offline")),
    "migrations.memory.downtime_limit": (None, put("migrations.0.memory.downtime_limit", "300ms")),
    "migrations.memory.bandwidth_limit": (None, put("migrations.0.memory.bandwidth_limit", "6Gbps")),
    "migrations.memory.pin_all": (None, put("migrations.0.memory.pin_all", False)),
    "migrations.memory.max_rounds": (None, put("migrations.0.memory.max_rounds", 1)),
    "migrations.memory.auto_converge": (stalling, put("migrations.0.memory.auto_converge", True)),
    "migrations.memory.compression": (over_two_streams, put("migrations.0.memory.compression", "zstd")),
    "migrations.memory.streams": (both(over_tcp, override("streams", "tcp", "bandwidth", "2Gbps")), put("migrations.0.memory.streams", 2)),
    "migrations.memory.on_stall": (stalling, put("migrations.0.memory.on_stall", ["postcopy"])),
    "migrations.timeouts.suspend": (None, put("migrations.0.timeouts.suspend", "1ms")),
    "migrations.timeouts.detach": (None, put("migrations.0.timeouts.detach", "1ms")),
    "migrations.timeouts.ivshmem": (None, put("migrations.0.timeouts.ivshmem", "1ms")),
    "migrations.timeouts.migration": (None, put("migrations.0.timeouts.migration", "100ms")),
    "migrations.timeouts.attach": (None, put("migrations.0.timeouts.attach", "1ms")),
    "migrations.retry.attempts": (None, put("migrations.0.retry.attempts", 0)),
    "migrations.retry.wait": (None, put("migrations.0.retry.wait", "1s")),
    "schedule.order": (None, put("schedule.order", "sequential")),
    "schedule.batch": (None, put("schedule.batch", "all")),
    "schedule.limits.cluster": (tight, put("schedule.limits.cluster", 1)),
    "schedule.limits.host_out": (tight, put("schedule.limits.host_out", 1)),
    "schedule.limits.host_in": (both(tight, put("migrations.0.to", "host2")), put("schedule.limits.host_in", 1)),
    "schedule.limits.link": (tight, put("schedule.limits.link", 1)),
    "schedule.stagger": (None, put("schedule.stagger", "2s")),
    "faults.phase": (None, put("faults.0.phase", "detach_vf")),
    "faults.vm": (None, put("faults.0.vm", "vm2")),
    "faults.fail": (None, put("faults.0.fail", "always")),
    "faults.journal": (controller_down(12, "1s"), controller_down(20, "1s")),
    "faults.controller_down": (controller_down(12, "1s"), controller_down(12, "3s")),
    "faults.last_record": (controller_down(12, "1s"), put("faults.0.last_record", "whole")),
    "faults.at": (a_link_down, put("faults.0.at", "2s")),
    "faults.host_down": (cluster_fault(host_down="host0"), put("faults.0.host_down", "host1")),
    "faults.link_down": (a_link_down, put("faults.0.link_down", "host1")),
    "faults.slow_link": (a_slow_link, put("faults.0.slow_link", "host1")),
    "faults.late_libvirt": (late_answers, put("faults.0.late_libvirt", "host1")),
    "faults.network": (both(a_link_down, put("faults.0.network", "infiniband")), put("faults.0.network", "ethernet")),
    "faults.factor": (a_slow_link, put("faults.0.factor", "10%")),
    "faults.delay": (late_answers, put("faults.0.delay", "3s")),
    "faults.for": (a_link_down, put("faults.0.for", "7s")),
    "faults.stall": (None, put("faults.1.stall", "1s")),
    "outputs.trace": (None, put("outputs.trace", False)),
    "outputs.links": (None, put("outputs.links", False)),
    "platform.hypervisor.prepare": (None, override("hypervisor", "prepare", "2s")),
    "platform.hypervisor.finish": (None, override("hypervisor", "finish", "70ms")),
    "platform.hypervisor.clean_up": (None, override("hypervisor", "clean_up", "700ms")),
    "platform.hypervisor.serial": (None, override("hypervisor", "serial", "90%")),
    "platform.hypervisor.set_status": (None, override("hypervisor", "set_status", "70ms")),
    "platform.hypervisor.detach_vf": (None, override("hypervisor", "detach_vf", "700ms")),
    "platform.hypervisor.attach_vf.fixed": (None, override("hypervisor", "attach_vf", "fixed", "700ms")),
    "platform.hypervisor.attach_vf.per_gib": (None, override("hypervisor", "attach_vf", "per_gib", "70ms")),
    "platform.hypervisor.remove_ivshmem": (None, override("hypervisor", "remove_ivshmem", "700ms")),
    "platform.hypervisor.add_ivshmem": (None, override("hypervisor", "add_ivshmem", "2s")),
    "platform.hypervisor.pin_per_gib": (None, override("hypervisor", "pin_per_gib", "700ms")),
    "platform.hypervisor.keepalive": (both(a_link_down, put("faults.0.for", "1min")), override("hypervisor", "keepalive", "7s")),
    "platform.hypervisor.postcopy_switch": (both(over_tcp, put("migrations.0.memory.mode", "postcopy")), override("hypervisor", "postcopy_switch", "70ms")),
    "platform.hypervisor.failover.redirect": (failing_over, override("hypervisor", "failover", "redirect", "900ms")),
    "platform.hypervisor.failover.throughput": (failing_over, override("hypervisor", "failover", "throughput", "90%")),
    "platform.hypervisor.vfio.state": (as_vfio, override("hypervisor", "vfio", "state", "1MiB")),
    "platform.hypervisor.vfio.save": (as_vfio, override("hypervisor", "vfio", "save", "300ms")),
    "platform.hypervisor.vfio.load": (as_vfio, override("hypervisor", "vfio", "load", "300ms")),
    "platform.hypervisor.migration_cpu": (both(processors({}, cores=1), override("hypervisor", "cpu", "80%")), override("hypervisor", "migration_cpu", "300%")),
    "platform.hypervisor.busy": (both(processors({}, cores=1), override("hypervisor", "cpu", "300%")), override("hypervisor", "busy", "50%")),
    "platform.hypervisor.status_cpu": (both(processors({}, cores=1), override("hypervisor", "cpu", "80%")), override("hypervisor", "status_cpu", "300%")),
    "platform.hypervisor.cpu": (processors({}, cores=1), both(processors({}, cores=1), override("hypervisor", "cpu", "80%"))),
    "platform.hypervisor.variation": (None, override("hypervisor", "variation", "20%")),
    "platform.processors.cores": (processors({}, cores=2), processors({}, cores=1)),
    "platform.processors.shared": (processors({}, cores=2, shared=False), processors({}, cores=2, shared=True)),
    "platform.streams.tcp.cpu.send": (processor_work(), processor_work(send="8s")),
    "platform.streams.tcp.cpu.receive": (processor_work(), processor_work(receive="8s")),
    "platform.streams.ipoib.cpu.send": (over_ipoib, both(over_ipoib, override("streams", "ipoib", "cpu", "receive", "0s"), override("streams", "ipoib", "cpu", "send", "8s"))),
    "platform.streams.ipoib.cpu.receive": (over_ipoib, both(over_ipoib, override("streams", "ipoib", "cpu", "send", "0s"), override("streams", "ipoib", "cpu", "receive", "8s"))),
    "platform.streams.rdma.cpu.send": (None, both(override("streams", "rdma", "cpu", "receive", "0s"), override("streams", "rdma", "cpu", "send", "8s"))),
    "platform.streams.rdma.cpu.receive": (None, both(override("streams", "rdma", "cpu", "send", "0s"), override("streams", "rdma", "cpu", "receive", "8s"))),
    "platform.compression.xbzrle.ratio": (as_xbzrle, override("compression", "xbzrle", "ratio", "90%")),
    "platform.compression.xbzrle.speed": (as_xbzrle, override("compression", "xbzrle", "speed", "100MB/s")),
    "platform.compression.zstd.ratio": (as_zstd, override("compression", "zstd", "ratio", "90%")),
    "platform.compression.zstd.speed": (as_zstd, override("compression", "zstd", "speed", "100MB/s")),
    "platform.streams.tcp.bandwidth": (over_tcp, override("streams", "tcp", "bandwidth", "5Gbps")),
    "platform.streams.ipoib.bandwidth": (over_ipoib, override("streams", "ipoib", "bandwidth", "5Gbps")),
    "platform.hypervisor.devices_at_once": (None, lambda s: s["platform"].update(hypervisor={"devices_at_once": True})),
    "platform.streams.rdma.unpinned_bandwidth": (put("migrations.0.memory.pin_all", False), override("streams", "rdma", "unpinned_bandwidth", "5Gbps")),
    "platform.streams.rdma.bandwidth": (None, override("streams", "rdma", "bandwidth", "5Gbps")),
    "platform.mpi.notice": (None, override("mpi", "notice", "70ms")),
    "platform.mpi.drain_channel": (None, override("mpi", "drain_channel", "7ms")),
    "platform.mpi.reconnect_channel": (eager, override("mpi", "reconnect_channel", "7ms")),
    "platform.mpi.reactivate": (None, override("mpi", "reactivate", "700ms")),
    "platform.mpi.open_device": (None, override("mpi", "open_device", "700ms")),
    "platform.networks.topology": (platforms_networks, network("topology", {"fat_tree": {"hosts_per_leaf": 3, "spines": 1}})),
    "platform.networks.topology.fat_tree.hosts_per_leaf": (platform_fat_tree(3, 1), platform_fat_tree(5, 1)),
    "platform.networks.topology.fat_tree.spines": (platform_fat_tree(3, 1), platform_fat_tree(3, 4)),
    "platform.networks.topology.dragonfly.chassis": (platform_dragonfly(2, 2, 2, 1), platform_dragonfly(2, 3, 2, 1)),
    "platform.networks.topology.dragonfly.routers": (platform_dragonfly(1, 2, 3, 1), platform_dragonfly(1, 2, 5, 1)),
    "platform.networks.topology.dragonfly.hosts_per_router": (platform_dragonfly(2, 2, 2, 2), platform_dragonfly(2, 2, 2, 1)),
    "platform.networks.link.bandwidth": (platforms_networks, network("link.bandwidth", constant("5Gbps"))),
    "platform.networks.link.latency": (platforms_networks, network("link.latency", constant("70ms"))),
    "platform.networks.carries": (both(platforms_networks, over_tcp), lambda s: s["platform"].update(networks=[{**copy.deepcopy(PLATFORM["networks"][0]), "carries": ["ipoib"]}, {**copy.deepcopy(PLATFORM["networks"][1]), "carries": ["rdma", "tcp"]}])),
}

# Keys of channels: `ferry explain` shows them.
EXPLAINED = {**explained.channel_keys(PLATFORM), **explained.other_keys()}


def working(**keys):
    """The second job runs a workload of its own."""
    return put("jobs.1.workload", keys)


osu = working(type="osu_bcast", sizes=["8B"], iterations=5, warm_up=1)
overlapping = working(type="overlap", iterations=5, share="20%")
iterating = working(type="iterate", iterations=5, compute="1ms")
searching = working(type="graph500", scale=6, iterations=3)
replaying = working(type="trace", file=str(HERE / "good/two-ranks.ti"))


def kernel(name, class_name):
    """A kernel of NAS, and its platform constant at another value."""
    runs = working(type=name, **{"class": class_name}, **({} if name == "nas_ep" else {"iterations": 1}))
    return (runs, override("compute", name, class_name, "70ms"))


# Keys of what ranks do, which shows in jobs.csv and measurements.csv.
OF_RANKS = {
    "migrations.when": (working(type="iterate", iterations=9, compute="700ms"), put("migrations.0.when", "communicating")),
    "outputs.twin": (osu, put("outputs", {"twin": False})),
    "jobs.workload.type": (osu, put("jobs.1.workload.type", "osu_allreduce")),
    "jobs.workload.class": (working(type="nas_lu", **{"class": "S"}), put("jobs.1.workload.class", "W")),
    "jobs.workload.iterations": (osu, put("jobs.1.workload.iterations", 7)),
    "jobs.workload.warm_up": (osu, put("jobs.1.workload.warm_up", 3)),
    "jobs.workload.rounds": (osu, put("jobs.1.workload.rounds", 2)),
    "jobs.workload.sizes": (osu, put("jobs.1.workload.sizes", ["8B", "64KiB"])),
    "jobs.workload.message": (iterating, put("jobs.1.workload.message", "64KiB")),
    "jobs.workload.exchanges": (overlapping, put("jobs.1.workload.exchanges", 3)),
    "jobs.workload.share": (overlapping, put("jobs.1.workload.share", "50%")),
    "jobs.workload.compute": (iterating, put("jobs.1.workload.compute", "2ms")),
    "jobs.workload.jitter": (iterating, put("jobs.1.workload.jitter", "50%")),
    "jobs.workload.collective": (iterating, put("jobs.1.workload.collective", "alltoall")),
    "jobs.workload.scale": (searching, put("jobs.1.workload.scale", 7)),
    "jobs.workload.edge_factor": (searching, put("jobs.1.workload.edge_factor", 8)),
    "jobs.workload.file": (both(replaying, put("jobs.1.on.vms", "vm[0-1]")), put("jobs.1.workload.file", str(HERE / "good/two-ranks-twice.ti"))),
    "platform.compute.graph500_edge": (searching, override("compute", "graph500_edge", "1us")),
    "platform.compute.trace_million": (both(replaying, put("jobs.1.on.vms", "vm[0-1]")), override("compute", "trace_million", "9ms")),
    **{f"platform.compute.{name}.{size}": kernel(name, size)
       for name in ("nas_lu", "nas_ep", "nas_is", "nas_mg", "nas_cg", "nas_ft") for size in "SWABCD"},
}

# Keys that only make room: hosts fill a dragonfly from its first group on, and one that is too small is refused.
ROOM_ONLY = {
    "constraints.deadline": (put("constraints", [{"deadline": "1h"}]), put("constraints", [{"deadline": "1ms"}])),
    "cluster.networks.topology.dragonfly.groups": (cluster_dragonfly(2, 1, 2, 2), cluster_dragonfly(1, 1, 2, 2)),
    "platform.networks.topology.dragonfly.groups": (platform_dragonfly(2, 1, 2, 2), platform_dragonfly(1, 1, 2, 2)),
}

# Keys that only name or describe: they show in resolved.yaml and in the run's title, in no table.
NAMES_ONLY = {
    "description": put("description", "another text"),
    "cluster.networks.name": put("cluster.networks.0.name", "lan"),
    "platform.name": put("platform.name", "other-bed"),
    "platform.description": put("platform.description", "another bed"),
    "platform.networks.name": both(platforms_networks, network("name", "fabric")),
}


def run(scenario, folder, statuses=(0, 1)):
    folder.mkdir()
    scenario = copy.deepcopy(scenario)
    scenario["platform"]["base"] = str((HERE / scenario["platform"]["base"]).resolve())
    path = folder / "scenario.yaml"
    path.write_text(json.dumps(scenario, indent=1))  # JSON is YAML, and quotes `on`
    done = subprocess.run([FERRY, "run", str(path), "--out", str(folder / "run"), "--quiet"], capture_output=True, text=True)
    assert done.returncode in statuses, done.stderr
    return folder / "run"


def outputs(folder):
    texts = {path.name: path.read_bytes() for path in folder.iterdir() if path.suffix == ".csv" or path.name in ("journal", "trace.json")}
    texts["name"] = json.loads((folder / "run.json").read_text())["name"]
    return texts


@pytest.mark.parametrize("key", sorted(CHANGES))
def test_the_key_changes_an_output(key, tmp_path):
    compare_outputs(*CHANGES[key], tmp_path)


def compare_outputs(setup, change, tmp_path):
    base = copy.deepcopy(BASE)
    if setup:
        setup(base)
    changed = copy.deepcopy(base)
    change(changed)
    assert changed != base
    assert outputs(run(base, tmp_path / "base")) != outputs(run(changed, tmp_path / "changed"))


def explain(scenario, folder):
    folder.mkdir()
    path = folder / "scenario.yaml"
    path.write_text(json.dumps(scenario, indent=1))
    done = subprocess.run([FERRY, "explain", str(path), "--json"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("key", sorted(EXPLAINED))
def test_the_key_changes_how_ranks_reach_each_other(key, tmp_path):
    setup, change = EXPLAINED[key]
    base = explained.base(str((HERE / "../../scenarios/platforms/nowlab-fdr.yaml").resolve()))
    if setup:
        setup(base)
    changed = copy.deepcopy(base)
    change(changed)
    assert changed != base
    assert explain(base, tmp_path / "base") != explain(changed, tmp_path / "changed")


@pytest.mark.parametrize("key", sorted(OF_RANKS))
def test_the_key_changes_what_ranks_do(key, tmp_path):
    compare_outputs(*OF_RANKS[key], tmp_path)


@pytest.mark.parametrize("key", sorted(NAMES_ONLY))
def test_the_name_shows_in_the_resolved_scenario(key, tmp_path):
    changed = copy.deepcopy(BASE)
    NAMES_ONLY[key](changed)
    base = (run(BASE, tmp_path / "base") / "resolved.yaml").read_text()
    assert (run(changed, tmp_path / "changed") / "resolved.yaml").read_text() != base


@pytest.mark.parametrize("key", sorted(ROOM_ONLY))
def test_too_little_room_is_refused(key, tmp_path):
    enough, too_little = (copy.deepcopy(BASE) for _ in range(2))
    ROOM_ONLY[key][0](enough)
    ROOM_ONLY[key][1](too_little)
    run(enough, tmp_path / "enough")
    run(too_little, tmp_path / "too_little", statuses=(2,))


def leaves(schema, node, path, found):
    """Collects the keys that take a value of the user's: those with more than one possible value."""
    if "$ref" in node:
        name = node["$ref"].rsplit("/", 1)[-1]
        return leaves(schema, schema["$defs"][name], path, found)
    kinds = [kind for word in ("anyOf", "oneOf", "allOf") for kind in node.get(word, [])]
    if "properties" in node:
        if {"value", "source", "kind"} <= set(node["properties"]) or set(node["properties"]) & {"uniform", "choice", "lognormal"}:
            found.add(path)
            return
        for key, child in node["properties"].items():
            leaves(schema, child, f"{path}.{key}" if path else key, found)
    elif "items" in node:
        leaves(schema, node["items"], path, found)
    elif kinds:
        for kind in kinds:
            leaves(schema, kind, path, found)
    elif "const" in node and not kinds:
        return
    elif len(node.get("enum", [1, 2])) > 1:
        found.add(path)


def test_no_key_of_the_schema_is_missing_here():
    found = set()
    for kind, prefix in (("scenario", ""), ("platform", "platform")):
        schema = json.loads(subprocess.run([FERRY, "schema", kind], capture_output=True, text=True, check=True).stdout)
        leaves(schema, schema, prefix, found)
    # The inline platform repeats the platform file's keys; `base` names the file.
    found = {key for key in found if key not in ("platform", "platform.base")}
    tested = set(CHANGES) | set(NAMES_ONLY) | set(ROOM_ONLY) | set(EXPLAINED) | set(OF_RANKS)
    assert sorted(found - tested) == []
    assert sorted(key for key in tested - found if not key.endswith(".topology")) == []
