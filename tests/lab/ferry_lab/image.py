"""The guest image: Debian's kernel, unpacked and not installed, and an initramfs of a few programs.

Built once into build/lab/image, and anew when what it is made of changes.
"""

import fcntl
import hashlib
import lzma
import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from .problem import LabProblem

ROOT = Path(__file__).resolve().parents[3]
GUEST = Path(__file__).resolve().parents[1] / "guest"

KERNEL_PACKAGE = "linux-image-amd64"
MODULES = ["virtio_pci", "virtio_net", "virtio_console", "virtio_rng"]
# For verbs in the guest: an RDMA device in software on a NIC. Only in the images of labs that ask for it.
RDMA_MODULES = ["crc32_generic", "rdma_rxe"]
RDMA = Path("/usr/bin/rdma")
RDMA_PROVIDER = [Path("/usr/lib/x86_64-linux-gnu/libibverbs/librxe-rdmav34.so"), Path("/etc/libibverbs.d/rxe.driver")]
AGENT = Path("/usr/sbin/qemu-ga")
BUSYBOX = Path("/bin/busybox")
READY_MARKER = "FERRY-LAB-READY"


@dataclass(frozen=True)
class Image:
    """Files that QEMU starts a guest from."""

    folder: Path

    @property
    def kernel(self) -> Path:
        return self.folder / "vmlinux"

    @property
    def initramfs(self) -> Path:
        return self.folder / "initramfs.cpio"

    @property
    def rdma_modules(self) -> Path:
        """A folder with those modules that the initramfs does not have, and the file `order`."""
        return self.folder / "rdma"

    @property
    def release(self) -> str:
        """The kernel's release: 6.1.0-9-amd64."""
        return (self.folder / "release").read_text().strip()


def with_programs(image: Image, programs: list[Path], folder: Path, rdma: bool = False) -> Image:
    """The same image, in `folder`, with more programs in /usr/bin, and perhaps with RDMA in software: a second archive behind
    the initramfs."""
    folder.mkdir(parents=True)
    root = folder / "root"
    (root / "etc").mkdir(parents=True)
    (root / "etc/passwd").write_text("root:x:0:0::/:/bin/sh\n")
    (root / "etc/group").write_text("root:x:0:\n")
    (root / "usr/bin").mkdir(parents=True)
    for program in [*programs, *([RDMA] if rdma else [])]:
        shutil.copy(program, root / "usr/bin" / program.name)
        _copy_to_same_place(_libraries(program), root)
    if rdma:
        if lacking := [str(path) for path in [RDMA, *RDMA_PROVIDER] if not path.exists()]:
            raise LabProblem(f"{', '.join(lacking)}: missing (Debian: iproute2, ibverbs-providers)")
        _copy_to_same_place([*RDMA_PROVIDER, *_libraries(RDMA_PROVIDER[0])], root)
        shutil.copytree(image.rdma_modules, root / "lib/modules/rdma")
    made = Image(folder)
    os.link(image.kernel, made.kernel)
    shutil.copy(image.folder / "release", folder / "release")
    shutil.copy(image.initramfs, made.initramfs)
    _archive(root, made.initramfs, "ab")
    shutil.rmtree(root)
    return made


def _copy_to_same_place(files: list[Path], root: Path) -> None:
    for file in files:
        target = root / file.relative_to("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, target)


def default_folder() -> Path:
    return Path(os.environ.get("FERRY_LAB_IMAGE", ROOT / "build" / "lab" / "image"))


def image(folder: Path | None = None) -> Image:
    """The image in `folder`; built if it is missing or made of other things. Labs that come up at
    the same time wait for one another."""
    folder = (folder or default_folder()).resolve()
    folder.parent.mkdir(parents=True, exist_ok=True)
    with open(folder.parent / (folder.name + ".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        wanted = _ingredients()
        stamp = folder / "ingredients"
        if not stamp.exists() or stamp.read_text() != wanted:
            _build(folder, wanted)
    return Image(folder)


def _ingredients() -> str:
    """What the image is made of, as text: packages by version, own files by content."""
    lines = [f"kernel {KERNEL_PACKAGE}"]
    for package in ["busybox-static", "qemu-guest-agent"]:
        version = subprocess.run(["dpkg-query", "-W", "-f", "${Version}", package], text=True, capture_output=True)
        if version.returncode != 0:
            raise LabProblem(f"the package {package} is not installed; `make deps` installs it")
        lines.append(f"{package} {version.stdout}")
    for file in sorted([*GUEST.iterdir(), Path(__file__)]):
        lines.append(f"{file.name} {hashlib.sha256(file.read_bytes()).hexdigest()}")
    return "\n".join(lines) + "\n"


def _kernel_package() -> str:
    """The package with the kernel that the metapackage depends on."""
    answer = subprocess.run(["apt-cache", "depends", KERNEL_PACKAGE], text=True, capture_output=True).stdout
    for line in answer.splitlines():
        words = line.split()
        if words[:1] == ["Depends:"]:
            return words[1]
    return KERNEL_PACKAGE  # the lists of packages are not there (yet)


def _build(folder: Path, ingredients: str) -> None:
    work = Path(tempfile.mkdtemp(prefix=folder.name + "-", dir=folder.parent))
    try:
        unpacked = _unpack_kernel(work / "package")
        result = work / "image"
        result.mkdir()
        release = (unpacked / "lib" / "modules").iterdir().__next__().name
        (result / "release").write_text(release + "\n")
        _extract_vmlinux(unpacked / "boot" / f"vmlinuz-{release}", result / "vmlinux")
        _pack_initramfs(unpacked, release, work / "root", result / "initramfs.cpio")
        usual = _modules(unpacked, release, MODULES)
        _keep_modules([module for module in _modules(unpacked, release, RDMA_MODULES) if module not in usual], result / "rdma")
        (result / "ingredients").write_text(ingredients)
        shutil.rmtree(folder, ignore_errors=True)
        result.rename(folder)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _unpack_kernel(folder: Path) -> Path:
    folder.mkdir()
    download = ["apt-get", "-q", "-o", "APT::Sandbox::User=root", "download"]
    try:
        _run([*download, _kernel_package()], cwd=folder)
    except LabProblem:
        # The lists of packages may be older than the archive.
        _run(["apt-get", "-q", "update"])
        _run([*download, _kernel_package()], cwd=folder)
    (package,) = folder.glob("*.deb")
    _run(["dpkg-deb", "-x", package, folder / "tree"])
    package.unlink()
    release = next((folder / "tree" / "lib" / "modules").iterdir()).name
    _run(["depmod", "-b", folder / "tree", release])
    return folder / "tree"


def _extract_vmlinux(vmlinuz: Path, vmlinux: Path) -> None:
    """QEMU starts the ELF kernel by PVH: no decompression in an emulated guest."""
    packed = vmlinuz.read_bytes()
    start = packed.find(b"\xfd7zXZ\x00")
    if start < 0:
        raise LabProblem(f"{vmlinuz.name} holds no xz stream: it is packed in a way that the lab does not know")
    vmlinux.write_bytes(lzma.LZMADecompressor().decompress(packed[start:]))


def _pack_initramfs(unpacked: Path, release: str, root: Path, out: Path) -> None:
    for name in ["bin", "dev", "lib/modules", "proc", "run", "sys", "tmp", "usr/bin", "var"]:
        (root / name).mkdir(parents=True)
    (root / "var/run").symlink_to("/run")
    shutil.copy(BUSYBOX, root / "bin/busybox")
    for applet in subprocess.check_output([BUSYBOX, "--list"], text=True).split():
        if applet != "busybox":
            (root / "bin" / applet).symlink_to("busybox")
    shutil.copy(AGENT, root / "usr/bin/qemu-ga")
    _copy_to_same_place(_libraries(AGENT), root)
    _run(["cc", "-O2", "-static", "-Wall", "-Wextra", "-Werror", "-o", root / "bin/dirty_memory", GUEST / "dirty_memory.c"])
    _keep_modules(_modules(unpacked, release, MODULES), root / "lib/modules")
    for script, place in [("init", "init"), ("nics", "bin/nics")]:
        shutil.copy(GUEST / script, root / place)
        (root / place).chmod(0o755)
    _archive(root, out, "wb")


def _keep_modules(order: list[Path], folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    for module in order:
        shutil.copy(module, folder / module.name)
    (folder / "order").write_text("".join(module.name + "\n" for module in order))


def _archive(root: Path, out: Path, mode: str) -> None:
    names = "".join(f"{path.relative_to(root)}\n" for path in sorted(root.rglob("*")))
    with open(out, mode) as archive:
        subprocess.run(["cpio", "-o", "-H", "newc", "--quiet"], cwd=root, input=names.encode(), stdout=archive, check=True)


def _libraries(program: Path) -> list[Path]:
    """The shared libraries of a program and its loader."""
    found = []
    for line in subprocess.check_output(["ldd", program], text=True).splitlines():
        paths = [word for word in line.split() if word.startswith("/")]
        found += [Path(path) for path in paths[:1]]
    return found


def _modules(unpacked: Path, release: str, wanted: list[str]) -> list[Path]:
    """The modules in the order in which they must be loaded; what is built in is left out."""
    order: dict[Path, None] = {}
    for module in wanted:
        lines = subprocess.check_output(["modprobe", "-d", unpacked, "-S", release, "--show-depends", module], text=True)
        for line in lines.splitlines():
            if line.startswith("insmod "):
                order[Path(line.split()[1])] = None
    return list(order)


def _run(command, **options) -> None:
    done = subprocess.run([str(word) for word in command], text=True, capture_output=True, **options)
    if done.returncode != 0:
        tail = "\n".join((done.stdout + done.stderr).splitlines()[-10:])
        raise LabProblem(f"{' '.join(map(str, command))} failed:\n{tail}")
