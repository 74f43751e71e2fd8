"""Machines emulated by QEMU: a lab in there has what this one lacks, PCI functions that libvirt can assign or an RDMA device.
Their files are this machine's /usr and /etc, read-only, and a folder with the lab."""

import json
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from .image import BUSYBOX, ROOT, Image, _extract_vmlinux, _modules, _unpack_kernel
from .processes import wait_until

IN_MACHINE = ROOT / "tests/lab/machine"
MODULES = ["virtio_pci", "9p", "9pnet_virtio", "overlay", "kvm-amd", "veth", "bridge", "tun"]
MEMORY = "1536M"


@dataclass(frozen=True)
class Machine:
    """Its devices are made by tests/lab/machine/NAME.sh, and NAME.py is what is done there."""

    name: str
    modules: tuple[str, ...]
    kernel_words: str
    devices: tuple[str, ...] = ()  # options of QEMU


HOSTDEV = Machine(
    "hostdev", ("nvme", "vfio-pci", "vfio_iommu_type1"), "intel_iommu=on iommu=pt",
    ("-device", "intel-iommu,intremap=off,device-iotlb=on",
     "-device", "pcie-root-port,id=port0,chassis=1,slot=1", "-device", "nvme-subsys,id=subsystem0",
     "-device", "nvme,bus=port0,serial=ferry,subsys=subsystem0,sriov_max_vfs=2,sriov_vq_flexible=4,sriov_vi_flexible=2,"
                "max_ioqpairs=6,msix_qsize=5"),
)  # fmt: skip
RDMA = Machine("rdma", ("dummy", "crc32_generic", "rdma_rxe", "rdma_ucm"), "")


def run_machine(machine: Machine, folder: Path, image: Image, ferry: Path, seconds: float) -> str:
    """Starts it; it does its steps and switches itself off. Returns what it wrote to its console."""
    tree = _unpack_kernel(folder / "package")
    release = next((tree / "lib/modules").iterdir()).name
    _extract_vmlinux(tree / f"boot/vmlinuz-{release}", folder / "vmlinux")
    _pack(machine, tree, release, folder / "root", folder / "initramfs.cpio")
    shared = folder / "shared"
    for part in ["tests/lab", "scenarios"]:
        shutil.copytree(ROOT / part, shared / part)
    shutil.copytree(image.folder, shared / "image")
    shutil.copy(ferry, shared / "ferry")
    console = folder / "console.log"
    emulator = subprocess.Popen(_command(machine, folder, shared, console), stdin=subprocess.DEVNULL, start_new_session=True)
    try:
        wait_until("the machine switches itself off", seconds, lambda: emulator.poll() is not None, every=0.5)
    finally:
        emulator.kill()
        emulator.wait()
    return console.read_text(errors="replace")


def steps_told(console: str) -> dict[str, dict]:
    """What the machine's steps found, by step; the order is theirs."""
    told = [json.loads(line[line.index("{"):]) for line in console.splitlines() if line.startswith("STEP {")]
    return {step["step"]: step for step in told}


def _command(machine: Machine, folder: Path, shared: Path, console: Path) -> list[str]:
    command = [
        "qemu-system-x86_64", "-accel", "tcg,thread=multi", "-machine", "q35,kernel-irqchip=off", "-smp", "2", "-m", MEMORY,
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
