"""A host of the lab: namespaces with a root file system of their own, and a libvirtd in them."""

import contextlib
import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import uuid
from dataclasses import dataclass, field
from pathlib import Path

from .accelerator import EMULATOR
from .image import Image
from .problem import LabProblem
from .processes import Process, in_pid_namespace_of

SET_UP = Path(__file__).with_name("host_root.sh")
LIBVIRTD = "/usr/sbin/libvirtd"
LIBVIRTD_PORT = 16509
PID_FILE = "run/libvirtd.pid"

# Inside every host.
KERNEL = "/boot/vmlinux"
INITRAMFS = "/boot/initramfs.cpio"
CONSOLES = "/var/log/guests"
REAL_EMULATOR = "/opt/bin/qemu-system-x86_64"  # QEMU looks for its firmware in ../share
OTHER_EMULATOR = "/opt/other-emulator"
CGROUP = "/sys/fs/cgroup/host"  # of what is no guest, where domains may have limits

LIBVIRTD_CONF = """\
host_uuid = "{uuid}"
listen_tls = 0
listen_tcp = 1
listen_addr = "{address}"
auth_tcp = "none"
auth_unix_ro = "none"
auth_unix_rw = "none"
log_outputs = "3:file:/var/log/libvirt/libvirtd.log"
"""

# Guests run as root: they are as far from the machine as the host's namespaces. Nothing else confines them.
QEMU_CONF = """\
user = "root"
group = "root"
security_driver = "none"
cgroup_controllers = [{controllers}]
namespaces = []
stdio_handler = "file"
remember_owner = 0
migration_host = "{address}"
cgroup_device_acl = [{devices}]
"""
# What libvirt lets every QEMU open if nothing else is said.
QEMU_DEVICES = ["/dev/null", "/dev/full", "/dev/zero", "/dev/random", "/dev/urandom", "/dev/ptmx", "/dev/kvm"]


@dataclass
class Host:
    name: str
    number: int  # from 1; its place in the networks
    folder: Path  # its root file system is folder/root; nothing of another host is in there
    address: str  # in the management network
    bits: int
    switch: Process  # the first process of the lab's own namespaces, in which the bridges are
    has_kvm: bool  # False where KVM runs no guest: nobody should be told that it does
    devices: tuple[str, ...] = ()  # of this machine's /dev, beyond what every host has
    memory_limits: bool = False  # may its domains have a hard_limit? It needs this machine's cgroups, version 2
    first: Process | None = None  # its own first process; None: not on
    uuid: str = field(default_factory=lambda: str(uuid.uuid4()))

    @property
    def root(self) -> Path:
        return self.folder / "root"

    @property
    def uri(self) -> str:
        """Of its libvirtd, as the controller and the other hosts reach it."""
        return f"qemu+tcp://{self.address}/system"

    @property
    def _first_file(self) -> Path:
        """Tells other programs which process its first one is."""
        return self.folder / "first.json"

    # On and off.

    def find_first(self) -> None:
        """Looks whether it is on: for a host that another program switched on."""
        try:
            first = Process(**json.loads(self._first_file.read_text()))
        except FileNotFoundError:
            first = None
        self.first = first if first and first.alive() else None

    def prepare(self, image: Image, names: dict[str, str]) -> None:
        """Writes its root file system. `names`: the lab's hosts and their addresses."""
        etc = self.root / "etc"
        (etc / "libvirt").mkdir(parents=True)
        for folder in ["boot", "opt/bin", "var/lock", "var/lib/libvirt", "var/log/libvirt", "var/cache/libvirt", CONSOLES[1:]]:
            (self.root / folder).mkdir(parents=True)
        (self.root / "var/run").symlink_to("/run")
        for folder in ["share", "lib"]:
            (self.root / "opt" / folder).symlink_to(f"/usr/{folder}")
        for file in ["ld.so.cache", "alternatives", "libibverbs.d", "services", "protocols"]:
            found = Path("/etc", file)
            if found.is_dir():
                shutil.copytree(found, etc / file, symlinks=True)
            elif found.exists():
                shutil.copy(found, etc / file)
        # libvirt's QEMU driver looks these up when it starts.
        (etc / "passwd").write_text("root:x:0:0::/root:/bin/sh\nlibvirt-qemu:x:64055:64055::/nonexistent:/bin/false\n")
        (etc / "group").write_text("root:x:0:\ntty:x:5:\nkvm:x:64054:\nlibvirt-qemu:x:64055:\n")
        (etc / "nsswitch.conf").write_text("passwd: files\ngroup: files\nhosts: files\n")
        (etc / "hosts").write_text("127.0.0.1 localhost\n" + "".join(f"{address} {name}\n" for name, address in names.items()))
        (etc / "libvirt/libvirtd.conf").write_text(LIBVIRTD_CONF.format(uuid=self.uuid, address=self.address))
        controllers = '"memory"' if self.memory_limits else ""
        # With cgroups of version 2 libvirt has the devices' controller in any case.
        devices = ", ".join(f'"{device}"' for device in [*QEMU_DEVICES, *self._extra_devices()])
        (etc / "libvirt/qemu.conf").write_text(
            QEMU_CONF.format(address=self.address, controllers=controllers, devices=devices)
        )
        _link_or_copy(image.kernel, self.root / KERNEL[1:])
        _link_or_copy(image.initramfs, self.root / INITRAMFS[1:])

    def _extra_devices(self) -> list[str]:
        places = [Path("/dev", name) for name in self.devices]
        return [str(file) for place in places for file in ([place] if not place.is_dir() else sorted(place.iterdir()))
                if file.is_char_device()]  # fmt: skip

    def power_on(self) -> None:
        """Namespaces, file system, links to the lab's bridges; then libvirtd."""
        with open(self.folder / "set-up.log", "wb") as log:
            # The shell in between ends at once: the host belongs to the lab's first process, not to this one.
            starter = subprocess.Popen(
                ["nsenter", "--target", str(self.switch.pid), "--pid", "--net", "--ipc", "sh", "-c",
                 'exec 3<&0; unshare --fork --pid --mount --net --uts --ipc --propagation private'
                 ' sh -c \'read -r pid rest </proc/self/stat; echo "$pid"; read -r go && [ "$go" = go ] && exec "$@"\' sh "$@" <&3 &',
                 "sh", "sh", SET_UP, self.root, self.name, f"{self.address}/{self.bits}",
                 " ".join([*(["kvm"] if self.has_kvm else []), *self.devices]), "memory" if self.memory_limits else ""],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True, start_new_session=True,
            )  # fmt: skip
        with starter:
            try:
                self.first = Process.of(int(starter.stdout.readline()))
                for bridge, letter in [("mgmt", "m"), ("data", "d"), ("guests", "g")]:
                    port = f"{letter}{self.number}"
                    # A host that is switched on again has its old address: others may still have it in their tables.
                    mac = f"52:54:00:fd:{ord(letter):02x}:{self.number:02x}"
                    self._in_switch("link", "add", port, "type", "veth",
                                    "peer", "name", bridge, "address", mac, "netns", self.first.pid)  # fmt: skip
                    self._in_switch("link", "set", port, "master", bridge, "up")
                starter.stdin.write("go\n")
                starter.stdin.flush()
                ready = starter.stdout.readline().strip() == "ready"
            except (ValueError, ProcessLookupError, BrokenPipeError):
                ready = False
        if not ready:
            said = (self.folder / "set-up.log").read_text().strip()
            raise LabProblem(f"{self.name} could not be set up: {said or 'its first process ended'}")
        self._first_file.write_text(json.dumps(self.first.saved()))
        self.start_libvirtd()

    def power_off(self) -> None:
        """As if the plug were pulled: libvirtd and guests end at once. Its disk keeps what it had."""
        if self.first:
            self.first.kill()
        self.first = None
        self._first_file.unlink(missing_ok=True)
        for letter in "mdg":  # they would go by themselves, somewhat later
            with contextlib.suppress(LabProblem):
                self._in_switch("link", "del", f"{letter}{self.number}")

    # libvirtd.

    def start_libvirtd(self) -> None:
        """Returns when it answers."""
        enter = ["sh", "-c", f'echo 0 >{CGROUP}/cgroup.procs; exec "$@"', "sh"] if self.memory_limits else []
        started = subprocess.run(
            self._inside(*enter, LIBVIRTD, "--daemon", "--listen", "--pid-file", "/" + PID_FILE),
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        if started.returncode != 0:
            raise LabProblem(f"libvirtd of {self.name} did not start: {started.stderr.strip()}\n{self.libvirtd_log()}")

    def libvirtd(self) -> Process | None:
        """None: it does not run."""
        if not self.first:
            return None
        try:
            inside = int(Path(f"/proc/{self.first.pid}/root/{PID_FILE}").read_text())
        except (FileNotFoundError, ProcessLookupError, ValueError):
            return None
        for process, number in in_pid_namespace_of(self.first):
            if number == inside and _command(process) == "libvirtd":
                return process
        return None

    def kill_libvirtd(self) -> None:
        """SIGKILL; the guests run on."""
        if running := self.libvirtd():
            running.kill()

    def freeze_libvirtd(self) -> None:
        """It answers nobody, and its connections stay open."""
        if running := self.libvirtd():
            running.signal(signal.SIGSTOP)

    def thaw_libvirtd(self) -> None:
        if running := self.libvirtd():
            running.signal(signal.SIGCONT)

    def libvirtd_log(self, lines: int = 20) -> str:
        try:
            return "\n".join((self.root / "var/log/libvirt/libvirtd.log").read_text().splitlines()[-lines:])
        except FileNotFoundError:
            return ""

    def reachable(self) -> bool:
        """Does its kernel take connections for libvirtd?"""
        try:
            with socket.create_connection((self.address, LIBVIRTD_PORT), timeout=2):
                return True
        except OSError:
            return False

    def connect(self):
        """A connection of Python's libvirt; the caller closes it."""
        import libvirt

        return libvirt.open(self.uri)

    # QEMU.

    def guests(self) -> list[Process]:
        """The QEMU processes that run here."""
        if not self.first:
            return []
        return [process for process, _ in in_pid_namespace_of(self.first) if _command(process).startswith("qemu-system")]

    def refuse_qemu(self, message: str = "refused by the lab") -> None:
        """From now on a QEMU that is to take a migrating guest ends with this message. Others start as before:
        libvirt asks the emulator what it can do, and would not try one that cannot answer."""
        self._replace_emulator(
            f'for word in "$@"; do [ "$word" != -incoming ] || {{ echo "qemu: "{shlex.quote(message)} >&2; exit 1; }}; done\n'
            f'exec {REAL_EMULATOR} "$@"\n'
        )

    def start_qemu_in(self, network: str) -> None:
        """From now on a QEMU runs in the network namespace of this file. RDMA devices in software serve the machine's own
        network only; NICs of guests stay in the host's, since libvirt opens them. It gets no capabilities by it."""
        self._replace_emulator(
            f'exec nsenter --net={network} setpriv --inh-caps=-all --bounding-set=-all {REAL_EMULATOR} "$@"\n'
        )

    def accept_qemu(self) -> None:
        """Ends refuse_qemu. Guests that started meanwhile run on."""
        self.run("umount", EMULATOR)
        self.run("umount", "--lazy", REAL_EMULATOR)

    def _replace_emulator(self, script: str) -> None:
        file = self.root / OTHER_EMULATOR[1:]
        file.write_text("#!/bin/sh\n" + script)
        file.chmod(0o755)
        (self.root / REAL_EMULATOR[1:]).touch()
        self.run("mount", "--bind", EMULATOR, REAL_EMULATOR)
        self.run("mount", "--bind", OTHER_EMULATOR, EMULATOR)

    def refuse_nics(self) -> None:
        """From now on no NIC can be attached here: the bridge that it would be plugged into is not there. NICs that
        are plugged in stay so, without a network."""
        self.run("ip", "link", "set", "br0", "down")
        self.run("ip", "link", "set", "br0", "name", "br0-away")

    def accept_nics(self) -> None:
        """Ends refuse_nics."""
        self.run("ip", "link", "set", "br0-away", "name", "br0")
        self.run("ip", "link", "set", "br0", "up")

    # Network.

    def link_down(self) -> None:
        """Off the management network: neither the controller nor another host reaches it."""
        self._in_switch("link", "set", f"m{self.number}", "down")

    def link_up(self) -> None:
        self._in_switch("link", "set", f"m{self.number}", "up")

    # Anything else.

    def run(self, *command, check: bool = True) -> str:
        """Runs a command in the host and returns what it printed."""
        done = subprocess.run(self._inside(*command), stdin=subprocess.DEVNULL, capture_output=True, text=True)
        if check and done.returncode != 0:
            raise LabProblem(f"{self.name}: {' '.join(map(str, command))} failed: {(done.stderr or done.stdout).strip()}")
        return done.stdout

    def console(self, vm: str) -> str:
        """What a guest wrote to its console while it ran here."""
        try:
            return (self.root / CONSOLES[1:] / f"{vm}.log").read_text(errors="replace")
        except FileNotFoundError:
            return ""

    def qemu_log(self, domain: str) -> str:
        """What libvirt and QEMU wrote about a domain while it ran here."""
        try:
            return (self.root / f"var/log/libvirt/qemu/{domain}.log").read_text(errors="replace")
        except FileNotFoundError:
            return ""

    def _inside(self, *command) -> list[str]:
        if not self.first:
            raise LabProblem(f"{self.name} is off")
        return ["nsenter", "--target", str(self.first.pid), "--all", "--wd=/", *map(str, command)]

    def _in_switch(self, *arguments) -> None:
        run_ip(self.switch, *arguments)


def run_ip(inside: Process | None, *arguments) -> str:
    """ip(8) in the network of a process, or in this one's."""
    enter = ["nsenter", "--target", str(inside.pid), "--net"] if inside else []
    done = subprocess.run([*enter, "ip", *map(str, arguments)], stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode != 0:
        raise LabProblem(f"ip {' '.join(map(str, arguments))}: {done.stderr.strip()}")
    return done.stdout


def _command(process: Process) -> str:
    try:
        return os.path.basename(os.readlink(f"/proc/{process.pid}/exe"))
    except (FileNotFoundError, ProcessLookupError):
        return ""


def _link_or_copy(file: Path, target: Path) -> None:
    try:
        os.link(file, target)
    except OSError:  # another file system
        shutil.copy(file, target)
