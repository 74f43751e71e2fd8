"""ferry-rank over verbs, started by Hydra in an emulated machine with an RDMA device in software: two ranks that share no
memory, and three of which two do, so that one waits for memory and adapter at once."""

import csv
import io
import os
import re
import shutil
from pathlib import Path

import pytest
from ferry_lab.image import ROOT
from ferry_lab.machine import VERBS, run_machines

SCENARIO = """
ferry: 1
name: ranks
platform: scenarios/platforms/nowlab-fdr.yaml
cluster:
  hosts: [{name: host, count: 3, cores: 16, memory: 32GiB, virtual_functions: 4}]
vms:
  - {name: vm, count: 3, on: "host[0-2]", spread: round_robin, vcpus: 2, memory: 256MiB, virtual_functions: 1,
     pages: {zero: 90%, working_set: 8MiB, dirty_rate: 20MB/s, idle_dirty_rate: 1MB/s}}
jobs:
  - {name: pair, on: {vms: "vm[0-1]"}, ranks: 1, workload: {type: osu_latency, iterations: 10, warm_up: 2, sizes: [1B, 4KiB, 64KiB, 256KiB]}}
  - {name: three, on: {vms: vm}, ranks: 1, workload: {type: osu_allreduce, iterations: 5, warm_up: 1, sizes: [8B, 32KiB]}}
"""
# As in a guest of one's own: nobody else's /dev/shm. The first ranks of a job have one together, as many as FIRST says.
ALONE = """#!/bin/sh
[ "$PMI_RANK" -lt "${FIRST:-0}" ] && exec "$@"
exec unshare -m sh -c 'mount -t tmpfs none /dev/shm && exec "$@"' sh "$@"
"""
STEPS = """
mpiexec.hydra -n 2 /lab/alone.sh /lab/ferry-rank --scenario /lab/pair.yaml --job pair --listen 127.0.0.1 --out /tmp/pair; echo "STATUS pair $?"
cat /tmp/pair/measurements.csv; echo END
export FIRST=2
mpiexec.hydra -n 3 /lab/alone.sh /lab/ferry-rank --scenario /lab/pair.yaml --job three --listen 127.0.0.1 --out /tmp/three; echo "STATUS three $?"
cat /tmp/three/measurements.csv; echo END
"""


def tables(console):
    texts = re.findall(r"(job,metric,.*?)END", console.replace("\r", ""), flags=re.S)
    return [list(csv.DictReader(io.StringIO(text))) for text in texts]


@pytest.mark.skipif(shutil.which("mpiexec.hydra") is None, reason="Hydra is not here: Debian's mpich has it")
def test_ranks_talk_by_verbs_and_by_memory(lab_is_possible, tmp_path):
    build = Path(os.environ.get("FERRY_BIN", ROOT / "build/both/controller/cli/ferry")).resolve().parents[2]
    if not (build / "tests/verbs/verbs_pair").exists():
        pytest.skip(f"{build} has no verbs (FERRY_VERBS is OFF, or libibverbs is missing)")
    shared = tmp_path / "shared"
    shutil.copytree(ROOT / "scenarios", shared / "scenarios")
    for name, text in [("pair.yaml", SCENARIO), ("alone.sh", ALONE), ("steps.sh", STEPS)]:
        (shared / name).write_text(text)
        (shared / name).chmod(0o755)
    (console,) = run_machines([VERBS], tmp_path, [build / "hw_backend/ferry-rank"], 900)
    assert dict(re.findall(r"^STATUS (\w+) (\d+)", console, flags=re.M)) == {"pair": "0", "three": "0"}, console[-5000:]
    pair, three = tables(console)
    assert [(row["metric"], row["message_bytes"]) for row in pair] == [("latency", size) for size in ("1", "4096", "65536", "262144")]
    assert [(row["metric"], row["message_bytes"]) for row in three] == [("allreduce_latency", "8"), ("allreduce_latency", "32768")]
    assert all(float(row["value"]) > 0 for row in pair + three)
