#!/usr/bin/python3
"""The lab's command line; `lab.py --help` tells what it can do."""

import argparse
import json
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from ferry_lab import lab as labs
from ferry_lab.accelerator import accelerator
from ferry_lab.domain import Vm
from ferry_lab.image import image
from ferry_lab.problem import LabProblem
from ferry_lab.quantities import read_bandwidth, read_bytes, read_share
from ferry_lab.scenario import read_scenario


def main() -> int:
    arguments = _parser().parse_args()
    # The usual way of ending a program should also clear away what it has begun.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        return arguments.do(arguments)
    except LabProblem as problem:
        print(f"lab: {problem}", file=sys.stderr)
        return 3
    except KeyboardInterrupt:
        print("lab: interrupted; nothing is left behind", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="lab.py", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    up = commands.add_parser("up", help="bring up hosts and guests; prints the cluster file's path")
    up.add_argument("--dir", type=Path, required=True, help="the lab's folder, new or empty")
    up.add_argument("--scenario", type=Path, help="a scenario or study: its hosts and VMs, instead of the following")
    up.add_argument("--set", action="append", default=[], metavar="PATH=VALUE", help="changes the scenario: vms.vm.count=8")
    up.add_argument("--hosts", type=int, default=2)
    up.add_argument("--vms", type=int, default=2, help="in turn on the hosts")
    up.add_argument("--memory", type=read_bytes, default=read_bytes("160MiB"))
    up.add_argument("--vcpus", type=int, default=1)
    up.add_argument("--ivshmem", type=read_bytes, default=read_bytes("4MiB"), help="0B: none")
    up.add_argument("--zero", type=read_share, default=read_share("40%"), help="share of the memory never written")
    up.add_argument("--working-set", type=read_bytes, default=0)
    up.add_argument("--dirty-rate", type=read_bandwidth, default=0)
    up.add_argument("--program", type=Path, action="append", default=[], help="in the guests: first ferry-agent, then ferry-rank")
    up.add_argument("--rdma", action="store_true", help="Soft-RoCE in the guests, and a NIC that they keep through moves")
    up.set_defaults(do=_up)

    down = commands.add_parser("down", help="end the lab of a folder and remove its files")
    down.add_argument("--dir", type=Path, required=True)
    down.set_defaults(do=_down)

    home = commands.add_parser("home", help="migrate every VM to the host where it started, with all its devices")
    home.add_argument("--dir", type=Path, required=True)
    home.set_defaults(do=_home)

    status = commands.add_parser("status", help="what runs where")
    status.add_argument("--dir", type=Path, required=True)
    status.set_defaults(do=_status)

    build = commands.add_parser("image", help="build the guest image if need be; prints its folder and the accelerator")
    build.set_defaults(do=_image)
    return parser


def _up(arguments) -> int:
    if arguments.scenario:
        hosts, vms = read_scenario(arguments.scenario, arguments.set)
    else:
        hosts = [labs.HostPlan(f"host{i}") for i in range(arguments.hosts)]
        vms = [
            Vm(name=f"vm{i}", host=f"host{i % arguments.hosts}", memory=arguments.memory, vcpus=arguments.vcpus,
               ivshmem=arguments.ivshmem, zero=arguments.zero, working_set=arguments.working_set,
               dirty_rate=arguments.dirty_rate, number=i)
            for i in range(arguments.vms)
        ]  # fmt: skip
    lab = labs.up(arguments.dir, hosts, vms, programs=arguments.program, rdma=arguments.rdma)
    lab.keep()
    print(f"{len(hosts)} hosts, {len(vms)} guests, accelerator {lab.accelerator.name}: {lab.accelerator.reason}", file=sys.stderr)
    for told in lab.off_the_mark():
        print(f"lab: {told}", file=sys.stderr)
    print(lab.cluster_file)
    return 0


def _down(arguments) -> int:
    if not labs.down(arguments.dir):
        print(f"lab: there is no lab in {arguments.dir}", file=sys.stderr)
    return 0


def _home(arguments) -> int:
    lab = labs.load(arguments.dir)
    for vm in lab.vms:
        lab.bring_home(vm)
    return 0


def _status(arguments) -> int:
    lab = labs.load(arguments.dir)
    print(f"accelerator: {lab.accelerator.name} ({lab.accelerator.reason})")
    for host in lab.hosts.values():
        libvirtd = host.libvirtd()
        here = [vm for vm in lab.vms if any(labs.guest.runs(process, lab.vms[vm].domain) for process in host.guests())]
        state = "off" if not host.first else f"libvirtd {libvirtd.pid}" if libvirtd else "no libvirtd"
        print(f"{host.name}: {host.address}, {state}, guests: {' '.join(here) or 'none'}")
    print(f"cluster file: {lab.cluster_file}")
    return 0


def _image(arguments) -> int:
    if lacks := labs.missing():
        raise LabProblem(f"there can be no lab here: {lacks}")
    built = image()
    which = accelerator(built)
    print(json.dumps({"folder": str(built.folder), "kernel": built.release, "accelerator": which.name, "reason": which.reason}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
