"""`ferry explain`: channels and protocols of pairs, with times and reasons."""

import csv
import io
import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

SCENARIO = f"""\
ferry: 1
name: explained
platform: {ROOT}/scenarios/platforms/nowlab-fdr.yaml
cluster:
  hosts: [{{name: host, count: 2, cores: 16, memory: 32GiB, numa: "2x8", virtual_functions: 16}}]
vms:
  - {{name: near, count: 2, on: host0, vcpus: 4, numa: 0, memory: 1GiB, ivshmem: 64MiB, pages: {{zero: 50%}}}}
  - {{name: wide, on: host0, vcpus: 8, numa: 1, memory: 1GiB, ivshmem: 64MiB, pages: {{zero: 50%}}}}
  - {{name: far, on: host1, memory: 1GiB, ivshmem: 64MiB, pages: {{zero: 50%}}}}
jobs:
  - {{name: lu, on: {{vms: "*"}}, ranks: 2, strategy: progress_engine}}
  - {{name: ep, on: {{vms: far}}, ranks: 1}}
"""


@pytest.fixture
def explain(ferry):
    (ferry.folder / "explained.yaml").write_text(SCENARIO)
    return lambda *arguments: ferry("explain", "explained.yaml", *arguments)


def classes(explain, *arguments):
    result = explain("--json", "--job", "lu", *arguments)
    assert result.returncode == 0, result.stderr
    return {(one["nearness"], one["same_socket"]): one for one in json.loads(result.stdout)["jobs"][0]["classes"]}


def channels(one):
    """Of the data, by rising size."""
    names = [piece["channel"] for piece in one["ranges"]]
    return [name for i, name in enumerate(names) if i == 0 or names[i - 1] != name]


def test_every_class_of_pairs_is_there_once_with_an_example(explain):
    found = classes(explain)
    assert {key: (one["from_rank"], one["to_rank"], one["pairs"]) for key, one in found.items()} == {
        ("same_container", True): (0, 1, 4),
        ("same_host", True): (2, 4, 4),
        ("same_host", False): (2, 6, 8),
        ("other_host", True): (0, 2, 12),
    }


@pytest.mark.parametrize(
    ("mode", "one_socket", "two_sockets"),
    [
        ("default", ["sriov_loopback"], ["sriov_loopback"]),
        ("one_layer", ["sriov_loopback"], ["sriov_loopback"]),
        ("two_layer", ["ivshmem"], ["ivshmem"]),
        ("hybrid", ["ivshmem"], ["ivshmem", "sriov_loopback"]),
    ],
)
def test_modes_differ_between_vms_of_a_host(explain, mode, one_socket, two_sockets):
    found = classes(explain, "--set", f"jobs.lu.channels.mode={mode}")
    assert channels(found["same_container", True]) == ["shm", "cma"]
    assert channels(found["same_host", True]) == one_socket
    assert channels(found["same_host", False]) == two_sockets
    assert channels(found["other_host", True]) == ["sriov"]


def test_two_layers_are_faster_than_one_on_a_socket_and_hybrid_than_two_layers_between_sockets(explain):
    """The comparisons of VEE 2017, in their direction: C13."""

    def fastest(mode, same_socket, size):
        one = classes(explain, "--set", f"jobs.lu.channels.mode={mode}")["same_host", same_socket]
        return min(way["seconds_by_bytes"][size] for way in one["times"] if size in way["seconds_by_bytes"])

    for size in ("0", "1024", "65536", "4194304"):
        assert fastest("two_layer", True, size) < fastest("one_layer", True, size)
    assert fastest("hybrid", False, "64") == fastest("two_layer", False, "64")
    assert fastest("hybrid", False, "1048576") < fastest("two_layer", False, "1048576")


def test_every_channel_that_is_not_used_has_its_reason(explain):
    for one in classes(explain).values():
        used = {way["channel"] for way in one["times"]}
        assert used | set(one["not_used"]) == {"shm", "cma", "ivshmem", "sriov", "sriov_loopback", "passthrough", "native"}
        assert not used & set(one["not_used"])
        assert all(one["not_used"].values())


def test_what_a_vm_lacks_is_named_and_the_next_channel_serves(explain):
    no_memory = classes(explain, "--set", "vms.near.ivshmem=0B")["same_host", True]
    assert channels(no_memory) == ["sriov_loopback"]
    assert no_memory["not_used"]["ivshmem"] == "not both VMs have an IVShmem device"
    no_function = classes(explain, "--set", "vms.far.virtual_functions=0")["other_host", True]
    assert no_function["ranges"] == []
    assert no_function["not_used"]["sriov"] == "not both VMs have a virtual function"


def test_a_threshold_is_kept_and_named(explain):
    ranges = classes(explain, "--set", "jobs.lu.channels.eager_threshold=3000B")["other_host", True]["ranges"]
    assert ranges[0]["protocol"] == "eager"
    assert ranges[0]["last_bytes"] == 3000
    assert ranges[0]["ends"] == "the job's eager_threshold"
    assert ranges[1]["protocol"] == "rendezvous_read"


def test_the_migration_thread_adds_its_lock_to_every_time(explain):
    def eager(strategy):
        one = classes(explain, "--set", f"jobs.lu.strategy={strategy}")["other_host", True]
        return one["times"][0]["seconds_by_bytes"]["64"]

    assert eager("migration_thread") - eager("progress_engine") == pytest.approx(30e-9)


def test_one_pair_is_shown_alone(explain):
    text = explain("--from", "6", "--to", "2", "--job", "lu").stdout
    assert "two VMs of one host, two sockets: rank 6 (wide on host0) and rank 2 (near0 on host0)\n" in text
    assert text.count("one way, us") == 1


def test_the_text_has_every_job_and_marks_the_way_that_is_used(explain):
    result = explain()
    assert result.returncode == 0
    assert result.stderr == ""
    text = result.stdout
    assert text.startswith("lu: 8 ranks in 4 VMs; mode hybrid, device sriov, eager_threshold auto; every call takes 50ns\n")
    assert "ep: 1 rank in 1 VM;" in text
    assert "It has one rank, and so no pairs." in text
    assert max(len(line) for line in text.splitlines()) <= 100
    for line in text.splitlines():
        assert line == line.rstrip()
        if re.match(r" +(0B|64B|\d+[KM]iB) +[*\d-]", line) and "." in line:
            assert line.count("*") == 1


def test_csv_has_a_row_for_each_range_and_no_gap_between_them(explain):
    rows = list(csv.DictReader(io.StringIO(explain("--csv", "--job", "lu").stdout)))
    assert rows
    for before, after in zip(rows, rows[1:]):
        if before["last_bytes"]:
            assert int(after["first_bytes"]) == int(before["last_bytes"]) + 1
            assert before["ends"]
        else:
            assert after["first_bytes"] == "0"
    assert {row["nearness"] for row in rows} == {"same_container", "same_host", "other_host"}
    for row in rows:
        assert float(row["first_seconds"]) > 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--from", "1", "--to", "8", "--job", "lu"], "explained.yaml: --to 8: job lu has 8 ranks, counted from 0\n"),
        (["--from", "1", "--to", "1", "--job", "lu"],
         "explained.yaml: --from 1 --to 1: a rank needs no channel to itself; name two\n"),
        (["--from", "1"], "ferry: --from requires --to; --help shows what is right\n"),
        (["--job", "li"], "explained.yaml: --job li: there is no such job; did you mean lu?\n"),
        (["--job", "graph500"], "explained.yaml: --job graph500: there is no such job; one of lu, ep would be right\n"),
        (["--csv", "--json"], None),
    ],
)
def test_wrong_requests_end_with_2_and_one_line(explain, arguments, message):
    result = explain(*arguments)
    assert result.returncode == 2
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1
    if message:
        assert result.stderr == message


def test_a_platform_without_channels_and_a_scenario_without_jobs_say_so(ferry, explain):
    result = ferry("explain", "four.yaml")
    assert result.returncode == 2
    assert "does not say what channels between ranks cost; add channels and mpi.call" in result.stderr
    result = explain("--set", "jobs=[]")
    assert result.returncode == 2
    assert result.stderr == "explained.yaml: the scenario has no jobs; channels join ranks of jobs\n"
