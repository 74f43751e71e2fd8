#!/usr/bin/python3
"""The verbs channel beside perftest, over one RDMA device in software (rxe) in an emulated machine: in turns, two ranks or
perftest's two sides as processes of one guest. Prints ratios, ours by theirs, and appends them to bench.tsv. Emulated
processors and rxe make every figure tens of times what an adapter has, and much noisier: look at the ratios of several runs.

    tests/lab/bench_verbs.py --build build/both
    tests/lab/bench_verbs.py --build build/both --instructions --turns 3

As perftest does, our sides sleep for each message where latency is measured, and poll for bandwidth.

With --instructions the machine has one processor, whose clock counts instructions: figures are what both sides of a message
and the kernel between them have to do, whatever else this machine does; two runs differ by less than 1 %.
"""

import argparse
import re
import statistics
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from ferry_lab.machine import VERBS, run_machines  # noqa: E402

# 900 and 3900: with what an MPI packet says besides its body (88 bytes) these still fit into as many packets of the network
# (an MTU of 1024 bytes) as perftest's; 1024 and 4096 do where packets go without their heads.
LATENCIES = [2, 900, 1024, 3900, 4096]
BANDWIDTHS = [1024, 4096, 8192, 65536, 1 << 20]
STEPS = """
peer() { timeout 60 "$@" >/dev/null 2>&1 & sleep 0.7; echo "PEER $*"; timeout 60 "$@" 10.78.0.1 2>/dev/null | grep -A1 '#bytes' | tail -1; wait; }
ours() {
  echo "OURS $*"
  /lab/verbs_speed 1 10.78.0.1:7000 10.78.0.1:7001 "$@" & other=$!
  timeout 60 /lab/verbs_speed 0 10.78.0.1:7000 10.78.0.1:7001 "$@" || kill $other
  wait
}
for turn in $(seq TURNS); do
  for size in LATENCIES; do
    peer ib_send_lat -e -d rxe0 -x 1 -F -s $size -n ROUNDS
    ours latency $size ROUNDS sleeping
  done
  for size in BANDWIDTHS; do
    peer ib_write_bw -d rxe0 -x 1 -F -s $size -n 300 -Q 1
    peer ib_send_bw -d rxe0 -x 1 -F -s $size -n 300 -Q 1
    ours bandwidth $size 300 polling
  done
done
"""


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=Path, default=Path("build/both"), help="build folder with tests/verbs/verbs_speed")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=300, help="of ping-pong in a turn")
    parser.add_argument("--instructions", action="store_true", help="the machine's clock counts instructions")
    return parser.parse_args()


def figures(console):
    """By what was measured: lists of theirs and ours, one for each turn; and what ours took of the device."""
    theirs, ours, took = {}, {}, {}
    lines = console.splitlines()
    for line, following in zip(lines, lines[1:]):
        if peer := re.match(r"PEER ib_(\w+) .*-s (\d+)", line):
            values = following.split()
            if len(values) < 4 or not re.fullmatch(r"[\d.]+", values[3]):
                continue  # it failed
            if peer[1] == "send_lat":
                theirs.setdefault(f"latency {peer[2]} B, quickest", []).append(float(values[2]))
                theirs.setdefault(f"latency {peer[2]} B, median", []).append(float(values[4]))
            else:
                theirs.setdefault(f"bandwidth {peer[2]} B ({peer[1]})", []).append(float(values[3]))
        elif own := re.match(r"latency (\d+) B: quickest ([\d.]+) us, median ([\d.]+) us", line):
            ours.setdefault(f"latency {own[1]} B, quickest", []).append(float(own[2]))
            ours.setdefault(f"latency {own[1]} B, median", []).append(float(own[3]))
            took[f"latency {own[1]} B"] = following
        elif own := re.match(r"bandwidth (\d+) B: ([\d.]+) MB/s", line):
            for verb in ["write_bw", "send_bw"]:
                # perftest's MB have 2^20 bytes.
                ours.setdefault(f"bandwidth {own[1]} B ({verb})", []).append(float(own[2]) * 1e6 / (1 << 20))
            took[f"bandwidth {own[1]} B"] = following
    return theirs, ours, took


def main():
    options = arguments()
    own = options.build / "tests/verbs/verbs_speed"
    if not own.exists():
        sys.exit(f"bench_verbs: {own} is not built; `cmake --build {options.build} --target verbs_speed` builds it")
    steps = STEPS.replace("TURNS", str(options.turns))
    for word, sizes in [("LATENCIES", LATENCIES), ("BANDWIDTHS", BANDWIDTHS)]:
        steps = steps.replace(word, " ".join(map(str, sizes)))
    machine = replace(VERBS, counts_instructions=options.instructions)
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder, "steps.sh")
        script.write_text(steps.replace("ROUNDS", str(options.rounds)))
        (console,) = run_machines([machine], Path(folder), [own, script], 1800)
    theirs, ours, took = figures(console)
    if not theirs or theirs.keys() != ours.keys():
        lacking = ", ".join(theirs.keys() ^ ours.keys())
        sys.exit(f"bench_verbs: the machine did not measure everything ({lacking}):\n" + console[-3000:])
    print(f"{'':42}{'ours':>12}{'perftest':>12}{'ratio':>8}{'ratios of turns':>18}")
    with open("bench.tsv", "a") as table:
        for name, values in theirs.items():
            best = min if "quickest" in name else statistics.median
            own, peer = best(ours[name]), best(values)
            unit = "us" if name.startswith("latency") else "MiB/s"
            ratios = [one / other for one, other in zip(ours[name], values)]
            spread = f"{min(ratios):.2f} to {max(ratios):.2f}"
            print(f"{name + ', ' + unit:42}{own:12.1f}{peer:12.1f}{own / peer:8.2f}{spread:>18}")
            print(f"verbs {name}", own, peer, f"{own / peer:.3f}", unit, sep="\t", file=table)
    for name, line in took.items():
        print(f"{name}: {line}")
    print("perftest takes for each message 1 send doorbell, 1 receive doorbell, 2 completions (ib_send_lat), 1 and 1 (*_bw -Q 1)")


if __name__ == "__main__":
    main()
