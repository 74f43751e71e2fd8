"""A lab: a switch, hosts, guests, and the cluster file that tells Ferry of them.

Everything that runs belongs to one process, the first of a PID namespace: when it ends, all of it ends, and with it
the namespaces, mounts and links. That process ends by itself if the program that brings the lab up ends before the
lab is complete, or, for a lab that is not to be kept, at any time.
"""

import contextlib
import ipaddress
import json
import os
import random
import re
import shutil
import signal
import subprocess
import threading
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import yaml

from . import guest
from .accelerator import Accelerator, accelerator
from .domain import DATA_BRIDGE, FERRY_CHANNEL, IVSHMEM_ALIAS, VIRTUAL_FUNCTION_ALIAS, Vm, domain_xml, ivshmem_xml, network_xml
from .host import Host, run_ip
from .image import READY_MARKER, image, with_programs
from .problem import LabProblem
from .processes import Process, wait_until

STATE = "lab.json"
CLUSTER = "cluster.yaml"
LOG = "lab.log"
# Management networks of labs: a /24 each, the number is also in the name of the link to the controller.
NETWORKS = ipaddress.ip_network("10.77.0.0/16")
HOSTS_MAX = 250
READY_SECONDS = 240
STAND_INS = 8
# By how much of a guest's memory its zero pages may miss what was asked before it is told.
TOLERATED = 0.03
_READY = re.compile(READY_MARKER + r" \S+ [0-9.]+ nonzero (?P<nonzero>[0-9]+)\s")


@dataclass(frozen=True)
class HostPlan:
    """A host to be: as many VMs as ask for one get a virtual function's stand-in."""

    name: str
    virtual_functions: int = STAND_INS
    memory_limits: bool = False  # as Host's; these cgroups go with the machine, so only in an emulated one


@dataclass
class Lab:
    folder: Path
    accelerator: Accelerator
    switch: Process
    link: str  # this machine's end of the link to the switch
    network: str
    hosts: dict[str, Host] = field(default_factory=dict)
    vms: dict[str, Vm] = field(default_factory=dict)
    plans: dict[str, HostPlan] = field(default_factory=dict)
    nonzero: dict[str, int] = field(default_factory=dict)  # bytes of each guest's memory when it got ready
    programs: list[str] = field(default_factory=list)  # in the guests, beside the image's: ferry-agent, then what ranks are
    guard: subprocess.Popen | None = None  # the lab ends when its standard input does

    def __enter__(self) -> "Lab":
        return self

    def __exit__(self, *_) -> None:
        self.down()

    @property
    def cluster_file(self) -> Path:
        return self.folder / CLUSTER

    def host(self, name: str) -> Host:
        return self.hosts[name]

    def host_of(self, vm: str) -> Host:
        """Where a VM is now. Raises LabProblem if it is nowhere, or at two places."""
        found = []
        for host in self.hosts.values():
            if host.first and any(guest.runs(process, self.vms[vm].domain) for process in host.guests()):
                found.append(host)
        if len(found) != 1:
            places = " and ".join(host.name for host in found)
            raise LabProblem(f"{vm} runs on {places}" if found else f"{vm} runs nowhere{self._last_words(vm)}")
        return found[0]

    def is_whole(self) -> bool:
        """Whether every VM runs somewhere."""
        running = [process for host in self.hosts.values() if host.first for process in host.guests()]
        return all(any(guest.runs(process, vm.domain) for process in running) for vm in self.vms.values())

    def _last_words(self, vm: str) -> str:
        """Of its QEMUs and its guest, where they were."""
        told = ""
        for host in self.hosts.values():
            for what, text in [("QEMU", host.qemu_log(self.vms[vm].domain)), ("guest", host.console(vm))]:
                last = text.splitlines()[-12:]
                told += "".join(f"\n  {host.name}, {what}: {line}" for line in last)
        return told

    @contextlib.contextmanager
    def domain(self, vm: str, host: Host | None = None):
        """The VM's virDomain of Python's libvirt, at the host where it is unless another is named."""
        connection = (host or self.host_of(vm)).connect()
        try:
            yield connection.lookupByName(self.vms[vm].domain)
        finally:
            connection.close()

    def start_vms(self, vms: list[Vm]) -> None:
        """Starts them all and returns when every guest is ready."""
        for vm in vms:
            self.vms[vm.name] = vm
        in_parallel(self._start_vm, vms)
        self.save()

    def set_dirty_rate(self, vm: str, bytes_per_second: int) -> None:
        with self.domain(vm) as domain:
            guest.run(domain, f"echo rate {int(bytes_per_second)} >{guest.DIRTY_CONTROL}")

    def dirty_status(self, vm: str) -> dict[str, float]:
        """What the guest's program says, in bytes: nonzero_asked and nonzero of the VM's memory, of which written_before
        it began; region that it wrote; working_set; dirtied in the last `seconds`, at a rate of so many a second."""
        with self.domain(vm) as domain:
            return guest.dirty_status(domain)

    def migrate(self, vm: str, to: str, flags: int = 0, **parameters) -> dict:
        """Live migration between the hosts' libvirts, as Ferry asks for it, without the other phases; IVShmem must have
        been removed. Returns the statistics of the completed job. Raises libvirtError."""
        import libvirt

        source, target = self.host_of(vm), self.hosts[to]
        with self.domain(vm, source) as domain:
            how = {libvirt.VIR_MIGRATE_PARAM_URI: f"tcp://{target.address}", **parameters}
            domain.migrateToURI3(target.uri, how, libvirt.VIR_MIGRATE_LIVE | libvirt.VIR_MIGRATE_PEER2PEER | flags)
        with self.domain(vm, target) as domain:
            return domain.jobStats(libvirt.VIR_DOMAIN_JOB_STATS_COMPLETED)

    def bring_home(self, vm: str, **parameters) -> dict | None:
        """Migrates a VM to the host where it started, with all its devices; as `migrate`. None: it was there."""
        start = self.vms[vm]
        if self.host_of(vm).name == start.host:
            return None
        self.remove_ivshmem(vm)
        statistics = self.migrate(vm, start.host, **parameters)
        self.give_back_devices(vm)
        return statistics

    def remove_ivshmem(self, vm: str) -> None:
        """Returns when it is gone; QEMU migrates no guest that has it."""
        import libvirt

        with self.domain(vm) as domain:
            if IVSHMEM_ALIAS in domain.XMLDesc():
                domain.detachDeviceAlias(IVSHMEM_ALIAS)
                try:
                    wait_until(f"{vm} has no {IVSHMEM_ALIAS}", 60, lambda: IVSHMEM_ALIAS not in domain.XMLDesc(), every=0.02)
                except libvirt.libvirtError as error:
                    raise LabProblem(f"{vm} went away while it lost {IVSHMEM_ALIAS}: {error}{self._last_words(vm)}") from error

    def give_back_devices(self, vm: str) -> None:
        """What the VM started with and does not have now."""
        start = self.vms[vm]
        with self.domain(vm) as domain:
            for alias, wanted, device in [(VIRTUAL_FUNCTION_ALIAS, start.virtual_function, network_xml),
                                          (IVSHMEM_ALIAS, start.ivshmem, ivshmem_xml)]:  # fmt: skip
                if wanted and alias not in domain.XMLDesc():
                    domain.attachDevice(device(start))

    def down(self) -> None:
        """Ends everything and removes the lab's files."""
        _end(self.folder, self.switch, self.link)
        if self.guard:
            self.guard.stdin.close()
            self.guard.stdout.close()
            self.guard.wait()

    def keep(self) -> None:
        """From now on the lab outlives this program."""
        self.guard.stdin.write(b"keep\n")
        self.guard.stdin.close()
        self.guard.stdout.close()
        self.guard = None

    def save(self) -> None:
        hosts = {
            host.name: {
                "number": host.number, "address": host.address, "bits": host.bits, "uuid": host.uuid,
                "virtual_functions": self.plans[host.name].virtual_functions,
            }
            for host in self.hosts.values()
        }  # fmt: skip
        _write_state(self.folder, {
            "accelerator": asdict(self.accelerator), "switch": self.switch.saved(), "link": self.link,
            "network": self.network, "hosts": hosts, "vms": {vm.name: asdict(vm) for vm in self.vms.values()},
        })  # fmt: skip

    def _start_vm(self, vm: Vm) -> None:
        host = self.hosts[vm.host]
        connection = host.connect()
        try:
            domain = connection.createXML(domain_xml(vm, self.accelerator), 0)
            line = wait_until(f"{vm.name} on {vm.host} is ready", READY_SECONDS, lambda: _READY.search(host.console(vm.name)))
            self.nonzero[vm.name] = int(line["nonzero"])
            guest.wait_for_agent(domain, READY_SECONDS)
        finally:
            connection.close()

    def off_the_mark(self) -> list[str]:
        """What to tell about guests that could not have as many zero pages as was asked, or as few."""
        told = []
        for vm in self.vms.values():
            got = self.nonzero.get(vm.name, vm.nonzero)
            if abs(got - vm.nonzero) > TOLERATED * vm.memory:
                told.append(f"{vm.name}: {1 - got / vm.memory:.0%} of its memory is zero, not {vm.zero:.0%}: "
                            f"{'its kernel alone writes more' if got > vm.nonzero else 'it needs room to run'}")  # fmt: skip
        return told

    def _write_cluster_file(self) -> None:
        hosts = {
            host.name: {
                "libvirt": host.uri, "peer": host.uri, "migrate": {"tcp": f"tcp://{host.address}"},
                "virtual_functions": [{"nic": "virtio", "bridge": DATA_BRIDGE, "count": self.plans[host.name].virtual_functions}]
                if self.plans[host.name].virtual_functions else [],
            }
            for host in self.hosts.values()
        }  # fmt: skip
        vms = {}
        for vm in self.vms.values():
            entry = vms[vm.name] = {"domain": vm.domain}
            if vm.virtual_function:
                entry["virtual_function"] = VIRTUAL_FUNCTION_ALIAS
            if vm.ivshmem:
                entry["ivshmem"] = IVSHMEM_ALIAS
            if self.programs:
                entry["agent"] = FERRY_CHANNEL
        content = {"ferry_cluster": 1, "hosts": hosts, "vms": vms, "storage": "none", "restore": "back"}
        if len(self.programs) > 1:
            content["rank"] = {"path": f"/usr/bin/{self.programs[1]}", "user": "root"}
        self.cluster_file.write_text(yaml.safe_dump(content, sort_keys=False))


def missing() -> str:
    """Why there can be no lab here, in one sentence; empty if there can."""
    lacks = []
    if os.geteuid() != 0:
        lacks.append("it is not run by root (it needs namespaces)")
    for program, package in [
        ("/usr/sbin/libvirtd", "libvirt-daemon"),
        ("/usr/lib/x86_64-linux-gnu/libvirt/connection-driver/libvirt_driver_qemu.so", "libvirt-daemon-driver-qemu"),
        ("/usr/bin/qemu-system-x86_64", "qemu-system-x86"),
        ("/usr/sbin/qemu-ga", "qemu-guest-agent"),
        ("/bin/busybox", "busybox-static"),
        ("/usr/bin/cpio", "cpio"),
        ("/usr/sbin/modprobe", "kmod"),
        ("/usr/sbin/ip", "iproute2"),
        ("/usr/bin/apt-get", "apt"),
    ]:
        if not os.path.exists(program):
            lacks.append(f"{program} is missing (Debian: {package})")
    refused = subprocess.run(["unshare", "--fork", "--pid", "--net", "--mount", "--uts", "--ipc", "true"],
                             capture_output=True, text=True)  # fmt: skip
    if not lacks and refused.returncode != 0:
        lacks.append(f"this machine gives it no namespaces ({refused.stderr.strip()})")
    try:
        import libvirt  # noqa: F401
        import libvirt_qemu  # noqa: F401
    except ImportError:
        lacks.append("Python has no libvirt (Debian: python3-libvirt, with /usr/bin/python3)")
    return "; ".join(lacks)


def up(folder: Path, hosts: list[HostPlan], vms: list[Vm], devices: list[str] = (), programs: list[Path] = (),
       rdma: bool = False) -> Lab:
    """A lab in `folder`, complete: hosts answer, guests are ready, the cluster file is written. The hosts also have these
    devices of this machine's /dev. The guests also have these programs: ferry-agent first, then what ranks are; with `rdma`
    an RDMA device in software on their virtual function's stand-in, and a NIC that they keep. It ends with this program
    unless `keep` is called. What a lab left in the folder that did not come up or was not ended is cleared."""
    if lacks := missing():
        raise LabProblem(f"there can be no lab here: {lacks}")
    if not 1 <= len(hosts) <= HOSTS_MAX:
        raise LabProblem(f"{len(hosts)} hosts; a lab has 1 to {HOSTS_MAX}")
    _quiet_libvirt()
    guests_from = image()
    faster = accelerator(guests_from)
    folder = folder.resolve()
    _claim(folder)
    guard = switch = None
    try:
        if programs or rdma:
            guests_from = with_programs(guests_from, programs, folder / "image", rdma)
        if rdma:
            vms = [replace(vm, kept_nic=True) for vm in vms]
        guard, switch = _start_switch(folder)
        link, network = _link_to(switch, folder)
        lab = Lab(folder, faster, switch, link, str(network), guard=guard, programs=[program.name for program in programs])
        for bridge in ["mgmt", "data", "guests"]:
            run_ip(switch, "link", "add", bridge, "type", "bridge")
            run_ip(switch, "link", "set", bridge, "up")
        run_ip(switch, "link", "set", "ctl", "master", "mgmt", "up")
        names = {plan.name: str(network[i + 1]) for i, plan in enumerate(hosts)}
        for i, plan in enumerate(hosts):
            place = folder / "hosts" / plan.name
            host = Host(plan.name, i + 1, place, names[plan.name], network.prefixlen, switch, faster.name == "kvm",
                        tuple(devices), plan.memory_limits)  # fmt: skip
            lab.hosts[plan.name], lab.plans[plan.name] = host, plan
            host.prepare(guests_from, names)
        in_parallel(Host.power_on, list(lab.hosts.values()))
        lab.start_vms(vms)
        lab._write_cluster_file()
        return lab
    except BaseException:
        _end(folder, switch, (_read_state(folder) or {}).get("link", ""))
        if guard:
            guard.stdin.close()
            guard.wait()
        raise


def load(folder: Path) -> Lab:
    """The lab that is up in a folder."""
    folder = folder.resolve()
    state = _read_state(folder)
    if not state or "switch" not in state:
        raise LabProblem(f"there is no lab in {folder}")
    _quiet_libvirt()
    switch = Process(**state["switch"])
    lab = Lab(folder, Accelerator(**state["accelerator"]), switch, state["link"], state["network"])
    for name, saved in state["hosts"].items():
        host = Host(name, saved["number"], folder / "hosts" / name, saved["address"], saved["bits"], switch,
                    lab.accelerator.name == "kvm", uuid=saved["uuid"])  # fmt: skip
        host.find_first()
        lab.hosts[name], lab.plans[name] = host, HostPlan(name, saved["virtual_functions"])
    lab.vms = {name: Vm(**saved) for name, saved in state["vms"].items()}
    return lab


def down(folder: Path) -> bool:
    """Ends the lab in a folder, complete or not, and removes its files. False: there was none."""
    folder = folder.resolve()
    state = _read_state(folder)
    if state is None:
        return False
    starter = Process(**state["starter"]) if "starter" in state else None
    if starter and starter.alive() and starter.pid != os.getpid():
        starter.signal(signal.SIGTERM)
        wait_until(f"the program {starter.pid} that brings up the lab ends", 60, lambda: not starter.alive())
        state = _read_state(folder) or state
    _end(folder, Process(**state["switch"]) if "switch" in state else None, state.get("link", ""))
    return True


def in_parallel(action, items: list) -> None:
    """The action on each item, in a thread each; then the first of their exceptions, if any."""
    failures: list[BaseException] = []

    def attempt(item):
        try:
            action(item)
        except BaseException as failure:  # noqa: BLE001: raised again below, in the caller's thread
            failures.append(failure)

    threads = [threading.Thread(target=attempt, args=(item,), daemon=True) for item in items]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


def _claim(folder: Path) -> None:
    state = _read_state(folder)
    if state:
        switch = Process(**state["switch"]) if "switch" in state else None
        starter = Process(**state["starter"]) if "starter" in state else None
        if starter and starter.alive():
            raise LabProblem(f"process {starter.pid} is bringing up a lab in {folder}; take another folder")
        if switch and switch.alive():
            raise LabProblem(f"a lab is up in {folder}; end it with `down`, or take another folder")
        _end(folder, switch, state.get("link", ""))
    is_new = not folder.exists()
    if not is_new and any(folder.iterdir()):
        raise LabProblem(f"{folder} holds other things; a lab needs a folder of its own")
    folder.mkdir(parents=True, exist_ok=True)
    _write_state(folder, {"starter": Process.of(os.getpid()).saved(), "remove_folder": is_new})


def _start_switch(folder: Path) -> tuple[subprocess.Popen, Process]:
    """The lab's first process, in PID, network and IPC namespaces of its own."""
    script = (
        'read -r pid rest </proc/self/stat; echo "$pid"\n'
        'read -r word && [ "$word" = keep ] && exec env --ignore-signal=CHLD sleep infinity >/dev/null 2>&1\n'
    )
    with open(folder / LOG, "wb") as log:
        guard = subprocess.Popen(
            ["unshare", "--fork", "--pid", "--net", "--ipc", "sh", "-c", script],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, start_new_session=True,
        )  # fmt: skip
    try:
        switch = Process.of(int(guard.stdout.readline()))
    except (ValueError, ProcessLookupError):
        guard.stdin.close()
        guard.wait()
        said = (folder / LOG).read_text().strip()
        raise LabProblem(f"no namespaces (a container may forbid them): {said or 'unshare ended'}") from None
    run_ip(switch, "link", "set", "lo", "up")
    return guard, switch


def _link_to(switch: Process, folder: Path):
    """A veth from this machine to the switch, and the network that goes with its number. The name is the claim."""
    subnets = list(NETWORKS.subnets(new_prefix=24))
    taken = [ipaddress.ip_network(route["dst"]) for route in json.loads(run_ip(None, "-json", "route"))
             if route["dst"] != "default"]  # fmt: skip
    numbers = list(range(len(subnets)))
    random.shuffle(numbers)
    for number in numbers:
        if any(subnets[number].overlaps(network) for network in taken):
            continue
        link = f"ferry-lab{number}"
        with _undisturbed():  # so that no link is there that the state does not name
            try:
                run_ip(None, "link", "add", link, "type", "veth", "peer", "name", "ctl", "netns", switch.pid)
            except LabProblem:
                if Path("/sys/class/net", link).exists():
                    continue  # another lab's
                raise
            state = _read_state(folder)
            _write_state(folder, {**state, "switch": switch.saved(), "link": link})
        run_ip(None, "addr", "add", f"{subnets[number][-2]}/24", "dev", link)
        run_ip(None, "link", "set", link, "up")
        return link, subnets[number]
    raise LabProblem(f"every network of {NETWORKS} is in use on this machine")


def _end(folder: Path, switch: Process | None, link: str) -> None:
    """In this order: what runs, the link (it would go by itself, somewhat later), the files."""
    with _undisturbed():
        if switch:
            switch.kill()
        if link:
            with contextlib.suppress(LabProblem):
                run_ip(None, "link", "del", link)
            wait_until(f"the link {link} is gone", 30, lambda: not Path("/sys/class/net", link).exists())
        state = _read_state(folder)
        if state is None:
            return
        _check_no_mounts(folder)
        for name in ["hosts", "image", CLUSTER, LOG]:
            path = folder / name
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
        (folder / STATE).unlink()
        if state.get("remove_folder"):
            with contextlib.suppress(OSError):  # somebody put something into it
                folder.rmdir()


def _check_no_mounts(folder: Path) -> None:
    """Before files are removed: a host's mounts must not be seen out here."""
    inside = f"{folder}/"
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        if line.split()[4].startswith(inside):
            raise LabProblem(f"{line.split()[4]} is still mounted; its files are not removed")


@contextlib.contextmanager
def _undisturbed():
    """Ctrl-C waits until the clean-up is done."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    signals = {signal.SIGINT, signal.SIGTERM}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _read_state(folder: Path) -> dict | None:
    try:
        return json.loads((folder / STATE).read_text())
    except FileNotFoundError:
        return None


def _write_state(folder: Path, state: dict) -> None:
    before = _read_state(folder) or {}
    if "remove_folder" in before:
        state = {"remove_folder": before["remove_folder"], **state}
    temporary = folder / f"{STATE}.new"
    temporary.write_text(json.dumps(state, indent=1) + "\n")
    temporary.rename(folder / STATE)


def _quiet_libvirt() -> None:
    """Its errors are exceptions; it need not print them too."""
    import libvirt

    libvirt.registerErrorHandler(lambda *_: None, None)
