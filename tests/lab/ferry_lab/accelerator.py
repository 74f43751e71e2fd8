"""Does KVM run a guest here? Asked by starting one: a machine may have /dev/kvm and hang in the guest's kernel."""

import json
import os
import platform
import selectors
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from .image import READY_MARKER, Image

EMULATOR = "/usr/bin/qemu-system-x86_64"
# A guest under KVM is ready in one or two seconds.
PATIENCE_SECONDS = 8


@dataclass(frozen=True)
class Accelerator:
    name: str  # kvm or tcg
    reason: str  # one sentence: why this one

    @property
    def domain_type(self) -> str:
        return "kvm" if self.name == "kvm" else "qemu"


def accelerator(image: Image) -> Accelerator:
    """KVM where a guest gets ready with it, TCG otherwise. The answer is kept beside the image and holds
    for this boot of this machine."""
    if not os.path.exists("/dev/kvm"):
        return Accelerator("tcg", "this machine has no /dev/kvm")
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return Accelerator("tcg", "/dev/kvm may not be opened by this user")
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    memory = image.folder / "accelerator.json"
    try:
        known = json.loads(memory.read_text())
        if known["boot"] == boot:
            return Accelerator(known["name"], known["reason"])
    except (FileNotFoundError, ValueError, KeyError):
        pass  # never asked, or an interrupted write
    found = _try_kvm(image)
    memory.write_text(json.dumps({"boot": boot, "name": found.name, "reason": found.reason}) + "\n")
    return found


def _try_kvm(image: Image) -> Accelerator:
    command = [
        EMULATOR, "-accel", "kvm", "-machine", "q35", "-cpu", "host", "-m", "160", "-nodefaults", "-nographic",
        "-no-reboot", "-serial", "stdio", "-kernel", image.kernel, "-initrd", image.initramfs,
        "-append", "console=ttyS0 panic=-1 quiet mitigations=off",
    ]  # fmt: skip
    guest = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True
    )
    try:
        started = time.monotonic()
        said = b""
        with selectors.DefaultSelector() as ready:
            ready.register(guest.stdout, selectors.EVENT_READ)
            while (left := started + PATIENCE_SECONDS - time.monotonic()) > 0:
                if not ready.select(left):
                    break
                piece = os.read(guest.stdout.fileno(), 65536)
                if not piece:
                    last = said.decode(errors="replace").strip().splitlines()[-1:]
                    return Accelerator("tcg", f"QEMU ends with KVM: {' '.join(last) or 'without a word'}")
                said += piece
                if READY_MARKER.encode() in said:
                    seconds = time.monotonic() - started
                    return Accelerator("kvm", f"a guest on Linux {platform.release()} was ready in {seconds:.1f} s")
        return Accelerator("tcg", f"/dev/kvm is here, but a guest was not ready after {PATIENCE_SECONDS} s")
    finally:
        guest.kill()
        guest.wait()
        guest.stdout.close()
