"""Talking to a guest through its agent."""

import base64
import json
import time
from pathlib import Path

from .problem import LabProblem
from .processes import Process

DIRTY_STATUS = "/run/dirty_memory.status"
DIRTY_CONTROL = "/run/dirty_memory.control"


def ask(domain, request: str, arguments: dict | None = None, seconds: int = 30):
    """One request of the QEMU guest agent's protocol; its `return`."""
    import libvirt_qemu

    text = json.dumps({"execute": request, **({"arguments": arguments} if arguments else {})})
    return json.loads(libvirt_qemu.qemuAgentCommand(domain, text, seconds, 0))["return"]


def run(domain, script: str, seconds: float = 60) -> str:
    """Runs a shell script in the guest and returns its output; raises LabProblem if it fails."""
    arguments = {"path": "/bin/sh", "arg": ["-c", script], "capture-output": True}
    started = ask(domain, "guest-exec", arguments)["pid"]
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        status = ask(domain, "guest-exec-status", {"pid": started})
        if status["exited"]:
            said = base64.b64decode(status.get("out-data", "")).decode(errors="replace")
            if status.get("exitcode") != 0:
                errors = base64.b64decode(status.get("err-data", "")).decode(errors="replace")
                raise LabProblem(f"{domain.name()}: {script!r} failed: {(errors or said).strip()}")
            return said
        time.sleep(0.05)
    raise LabProblem(f"{domain.name()}: {script!r} did not end in {seconds:.0f} s")


def wait_for_agent(domain, seconds: float) -> None:
    import libvirt

    deadline = time.monotonic() + seconds
    while True:
        try:
            ask(domain, "guest-ping", seconds=5)
            return
        except libvirt.libvirtError as failure:
            if time.monotonic() > deadline:
                raise LabProblem(f"{domain.name()}: no answer from its agent: {failure}") from None
            time.sleep(0.1)


def dirty_status(domain) -> dict[str, float]:
    # The program renames a finished file into place.
    said = run(domain, f"rm -f {DIRTY_STATUS}; echo status >{DIRTY_CONTROL};"
                       f" until [ -e {DIRTY_STATUS} ]; do usleep 20000; done; cat {DIRTY_STATUS}")  # fmt: skip
    return {name: float(value) for name, value in (line.split() for line in said.splitlines())}


def runs(process: Process, domain: str) -> bool:
    """Is this QEMU process the one of a domain?"""
    try:
        words = Path(f"/proc/{process.pid}/cmdline").read_bytes().split(b"\0")
    except (FileNotFoundError, ProcessLookupError):
        return False
    return any(word.startswith(f"guest={domain},".encode()) for word in words)
