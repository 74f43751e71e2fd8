"""Machines emulated by QEMU: a lab in there has what this one lacks, PCI functions that libvirt can assign or an RDMA device.
Their files are this machine's /usr and /etc, read-only, and a folder with the lab."""

import json
import shutil
import subprocess
from dataclasses import dataclass, replace
from pathlib import Path

from .image import BUSYBOX, ROOT, Image, _extract_vmlinux, _modules, _unpack_kernel
from .processes import wait_until

IN_MACHINE = ROOT / "tests/lab/machine"
MODULES = ["virtio_pci", "9p", "9pnet_virtio", "overlay", "kvm-amd", "veth", "bridge", "tun"]


@dataclass(frozen=True)
class Machine:
    """Its devices are made by tests/lab/machine/NAME.sh, and NAME.py is what is done there."""

    name: str
    modules: tuple[str, ...]
    kernel_words: str
    devices: tuple[str, ...] = ()  # options of QEMU
    memory: str = "1536M"
    needs: tuple[Path, ...] = ()  # sockets of machines that are started before it
    counts_instructions: bool = False  # one processor, and a clock that stands still while it waits: times repeat


HOSTDEV = Machine(
    "hostdev", ("nvme", "vfio-pci", "vfio_iommu_type1"), "intel_iommu=on iommu=pt",
    ("-device", "intel-iommu,intremap=off,device-iotlb=on",
     "-device", "pcie-root-port,id=port0,chassis=1,slot=1", "-device", "nvme-subsys,id=subsystem0",
     "-device", "nvme,bus=port0,serial=ferry,subsys=subsystem0,sriov_max_vfs=2,sriov_vq_flexible=4,sriov_vi_flexible=2,"
                "max_ioqpairs=6,msix_qsize=5"),
)  # fmt: skip
RDMA = Machine("rdma", ("dummy", "crc32_generic", "rdma_rxe", "rdma_ucm"), "")
VERBS = Machine("verbs", ("dummy", "virtio_net", "crc32_generic", "rdma_rxe"), "", memory="1280M")


def joined_by_a_cable(folder: Path) -> list[Machine]:
    """Two of VERBS, with an RDMA device each on the NIC that leads to the other; they are numbered from 0."""
    cable = folder / "cable"
    return [
        replace(VERBS, kernel_words=f"verbs_rank={number}", memory="512M", needs=(cable,) if number else (), devices=(
            "-netdev", f"stream,id=cable,server={'off' if number else 'on'},addr.type=unix,addr.path={cable}",
            "-device", f"virtio-net-pci,netdev=cable,mac=52:54:00:00:00:0{number}",
        ))
        for number in range(2)
    ]  # fmt: skip


def run_machine(machine: Machine, folder: Path, image: Image, ferry: Path, seconds: float) -> str:
    """Starts it; it does its steps and switches itself off. Returns what it wrote to its console."""
    shared = folder / "shared"
    shutil.copytree(ROOT / "scenarios", shared / "scenarios")
    shutil.copytree(image.folder, shared / "image")
    for_hosts = Path(ferry).resolve().parents[2] / "hw_backend/ferry-host"
    (console,) = run_machines([machine], folder, [ferry, *([for_hosts] if for_hosts.exists() else [])], seconds)
    return console


def run_machines(machines: list[Machine], folder: Path, programs: list[Path], seconds: float) -> list[str]:
    """Starts them, of one kind, with the programs in /lab; each does its steps and switches itself off. Returns what they
    wrote to their consoles."""
    tree = _unpack_kernel(folder / "package")
    release = next((tree / "lib/modules").iterdir()).name
    _extract_vmlinux(tree / f"boot/vmlinuz-{release}", folder / "vmlinux")
    _pack(machines[0], tree, release, folder / "root", folder / "initramfs.cpio")
    shared = folder / "shared"
    shutil.copytree(ROOT / "tests/lab", shared / "tests/lab")
    for program in programs:
        shutil.copy(program, shared / program.name)
    consoles = [folder / f"console{i}.log" for i in range(len(machines))]
    emulators = []
    try:
        for machine, console in zip(machines, consoles, strict=True):
            wait_until("the machine before is there", seconds, lambda needs=machine.needs: all(path.exists() for path in needs))
            command = _command(machine, folder, shared, console)
            emulators.append(subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True))
        wait_until("the machines switch themselves off", seconds, lambda: all(e.poll() is not None for e in emulators), every=0.2)
    finally:
        for emulator in emulators:
            emulator.kill()
            emulator.wait()
    return [console.read_text(errors="replace") for console in consoles]


def steps_told(console: str) -> dict[str, dict]:
    """What the machine's steps found, by step; the order is theirs."""
    told = [json.loads(line[line.index("{"):]) for line in console.splitlines() if line.startswith("STEP {")]
    return {step["step"]: step for step in told}


def _command(machine: Machine, folder: Path, shared: Path, console: Path) -> list[str]:
    counts = machine.counts_instructions
    command = [
        "qemu-system-x86_64", "-accel", f"tcg,thread={'single' if counts else 'multi'}", "-smp", "1" if counts else "2",
        *(["-icount", "shift=1,sleep=off"] if counts else []), "-machine", "q35,kernel-irqchip=off", "-m", machine.memory,
        "-cpu", "qemu64,+svm,+npt,+ssse3,+sse4.1,+sse4.2,+popcnt", "-nodefaults", "-nographic", "-no-reboot",
        "-serial", f"file:{console}", "-kernel", folder / "vmlinux", "-initrd", folder / "initramfs.cpio",
        "-append", f"console=ttyS0 panic=-1 quiet mitigations=off ferry_machine={machine.name} {machine.kernel_words}",
        *machine.devices,
    ]  # fmt: skip
    for tag, path in [("usr", "/usr"), ("etc", "/etc"), ("lab", shared)]:
        command += ["-virtfs", f"local,path={path},mount_tag={tag},security_model=none,readonly=on"]
    return [str(word) for word in command]


def _pack(machine: Machine, tree: Path, release: str, root: Path, out: Path) -> None:
    for name in ["bin", "dev", "devices", "lib/modules", "proc", "sys"]:
        (root / name).mkdir(parents=True)
    shutil.copy(BUSYBOX, root / "bin/busybox")
    for applet in subprocess.check_output([BUSYBOX, "--list"], text=True).split():
        if applet != "busybox":
            (root / "bin" / applet).symlink_to("busybox")
    modules = _modules(tree, release, [*MODULES, *machine.modules])
    for module in modules:
        shutil.copy(module, root / "lib/modules" / module.name)
    (root / "lib/modules/order").write_text("".join(module.name + "\n" for module in modules))
    shutil.copy(IN_MACHINE / f"{machine.name}.sh", root / "devices")
    shutil.copy(IN_MACHINE / "init", root / "init")
    (root / "init").chmod(0o755)
    names = "".join(f"{path.relative_to(root)}\n" for path in sorted(root.rglob("*")))
    with open(out, "wb") as archive:
        subprocess.run(["cpio", "-o", "-H", "newc", "--quiet"], cwd=root, input=names.encode(), stdout=archive, check=True)
