"""Keys of channels: each is set to another value where some pair of ranks feels it, and `ferry explain --json` must change.

What `tests/scenario/test_every_key.py` does by running, this does by explaining: paths of the schema, and for each what
makes the key matter and the change.
"""

import copy

CHANNELS = ["shm", "cma", "ivshmem", "sriov", "sriov_loopback", "passthrough", "native"]


def sourced(value):
    return {"value": value, "source": "another value for the test", "kind": "assumed"}


def base(platform):
    """Every class of pairs: containers of a VM, VMs of a host on one socket and on two, two hosts."""
    pages = {"zero": "50%"}

    def vm(name, count, host, vcpus, **keys):
        return {"name": name, "count": count, "on": host, "vcpus": vcpus, "containers": 2, "memory": "1GiB",
                "ivshmem": "64MiB", "pages": pages, **keys}

    return {
        "ferry": 1,
        "name": "explained",
        "platform": {"base": platform},
        "cluster": {"hosts": [{"name": "host", "count": 2, "cores": 16, "memory": "32GiB", "numa": "2x8",
                               "virtual_functions": 16}]},
        "vms": [vm("near", 2, "host0", 4, numa=0), vm("wide", 1, "host0", 8, numa=1), vm("far", 1, "host1", 12)],
        "jobs": [{"name": "job", "on": {"vms": "*"}, "ranks": 2, "strategy": "migration_thread",
                  "channels": {"mode": "hybrid", "device": "sriov", "eager_threshold": "auto"}}],
    }


def job(key, value):
    return lambda s: s["jobs"][0].update({key: value})


def choices(**keys):
    return lambda s: s["jobs"][0]["channels"].update(keys)


def channel_keys(platform):
    """The keys of each channel, by their paths. `platform`: the platform file, as it is read."""
    changes = {}
    for channel in CHANNELS:
        costs = platform["channels"][channel]
        # In mode default two containers use the adapter on one host too, on one socket and on two.
        device = {"sriov_loopback": "sriov", "passthrough": "passthrough", "native": "native"}.get(channel)
        used = choices(mode="default", device=device) if device else None

        def put(*keys_and_value, channel=channel):
            *keys, value = keys_and_value

            def change(s):
                place = s["platform"].setdefault("channels", {}).setdefault(channel, {})
                for key in keys[:-1]:
                    place = place.setdefault(key, {})
                place[keys[-1]] = value

            return change

        def with_reads(channel=channel, used=used, put=put):
            def setup(s):
                if used:
                    used(s)
                put("reads", True)(s)

            return setup

        def segment_changes(path, where, costs, used=used, put=put):
            segments = copy.deepcopy(costs["segments"])
            if len(segments) == 1:
                segments.append({**segments[0], "from": sourced("4KiB"), "latency": sourced("3us")})

            def setup(s, segments=segments):
                if used:
                    used(s)
                put(*where, segments)(s)

            for key, value in (("from", "512B"), ("latency", "7us"), ("overhead", "9us"), ("gap", "30us"),
                               ("bandwidth", "100MB/s")):
                other = copy.deepcopy(segments)
                other[1][key] = sourced(value)
                changes[f"{path}.{key}"] = (setup, put(*where, other))

        path = f"platform.channels.{channel}"
        segment_changes(f"{path}.segments", ("segments",), costs)
        changes[f"{path}.connect"] = (used, put("connect", sourced("7ms")))
        changes[f"{path}.reads"] = (used, put("reads", not costs.get("reads", False)))
        changes[f"{path}.registration"] = (with_reads(), put("registration", sourced("70us")))
        changes[f"{path}.registration_bandwidth"] = (with_reads(), put("registration_bandwidth", sourced("1GB/s")))
        if channel != "cma":
            changes[f"{path}.packet"] = (used, put("packet", sourced("2KiB")))
            changes[f"{path}.copy"] = (used, put("copy", sourced("1GB/s")))
        if channel == "sriov":
            continue
        segment_changes(f"{path}.other_socket.segments", ("other_socket", "segments"), costs)
        if channel != "cma":
            changes[f"{path}.other_socket.copy"] = (used, put("other_socket", "copy", sourced("100MB/s")))
        if channel != "cma":
            changes[f"platform.mpi.eager_thresholds.{channel}"] = (
                used, lambda s, channel=channel: s["platform"].update(
                    mpi={"eager_thresholds": {channel: sourced("777B")}}))
    changes["platform.mpi.eager_thresholds.sriov"] = (
        None, lambda s: s["platform"].update(mpi={"eager_thresholds": {"sriov": sourced("777B")}}))
    return changes


def other_keys():
    def runtime(key, value):
        return lambda s: s["platform"].update(mpi={key: sourced(value)})

    def host(key, value):
        return lambda s: s["cluster"]["hosts"][0].update({key: value})

    def vm(item, key, value):
        return lambda s: s["vms"][item].update({key: value})

    def everywhere(s):
        for item in s["vms"]:
            item["numa"] = "any"

    def small(s):
        s["vms"][0]["count"] = 1
        s["vms"][1]["vcpus"] = 4

    def boxed(s):
        for item in s["vms"]:
            item["containers"] = 3

    return {
        "platform.mpi.call": (None, runtime("call", "7us")),
        "platform.mpi.lock": (None, runtime("lock", "7us")),
        "platform.mpi.poll": (None, runtime("poll", "7us")),
        "platform.mpi.reduce": (None, runtime("reduce", "7GB/s")),
        "cluster.hosts.numa": (everywhere, host("numa", "1x16")),
        "vms.numa": (small, vm(1, "numa", 0)),
        "vms.containers": (None, boxed),
        "jobs.channels.mode": (None, choices(mode="one_layer")),
        "jobs.channels.device": (None, choices(device="native")),
        "jobs.channels.eager_threshold": (None, choices(eager_threshold="777B")),
        "jobs.ivshmem": (None, job("ivshmem", "0B")),
    }
