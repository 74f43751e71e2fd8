"""Processes by id: which ones are ours, and stopping them. A process is its id and its start time, since ids come back."""

import os
import select
import signal
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from .problem import LabProblem


@dataclass(frozen=True)
class Process:
    pid: int  # as this process sees it, not as its own namespace does
    start: int  # clock ticks since the machine's boot

    @staticmethod
    def of(pid: int) -> "Process":
        """Raises ProcessLookupError if there is none (a zombie is none)."""
        try:
            stat = Path(f"/proc/{pid}/stat").read_text()
        except (FileNotFoundError, ProcessLookupError):
            raise ProcessLookupError(pid) from None
        fields = stat.rpartition(")")[2].split()
        if fields[0] in "ZX":
            raise ProcessLookupError(pid)
        return Process(pid, int(fields[19]))

    def alive(self) -> bool:
        try:
            return Process.of(self.pid) == self
        except ProcessLookupError:
            return False

    def signal(self, number: int) -> None:
        """Nothing, if it has ended."""
        try:
            handle = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return
        try:
            # The handle is of whatever had the id just now: only then is the start time worth comparing.
            if self.alive():
                signal.pidfd_send_signal(handle, number)
        except ProcessLookupError:
            pass
        finally:
            os.close(handle)

    def kill(self, patience: float = 30) -> None:
        """Ends it and waits for its end. The first process of a PID namespace takes all others with it."""
        try:
            handle = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return
        try:
            if not self.alive():
                return
            signal.pidfd_send_signal(handle, signal.SIGKILL)
            if not select.select([handle], [], [], patience)[0]:
                raise LabProblem(f"process {self.pid} does not end {patience:.0f} s after SIGKILL")
        except ProcessLookupError:
            pass
        finally:
            os.close(handle)

    def saved(self) -> dict:
        return asdict(self)


def in_pid_namespace_of(first: Process) -> list[tuple[Process, int]]:
    """The processes in the PID namespace of `first`, each with its id in there; none if it has ended."""
    try:
        namespace = os.readlink(f"/proc/{first.pid}/ns/pid")
    except (FileNotFoundError, ProcessLookupError):
        return []
    found = []
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            if os.readlink(f"/proc/{entry}/ns/pid") != namespace:
                continue
            process = Process.of(int(entry))
            for line in Path(f"/proc/{entry}/status").read_text().splitlines():
                if line.startswith("NSpid:"):
                    found.append((process, int(line.split()[-1])))
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue  # ended meanwhile
    return found


def wait_until(what: str, seconds: float, test, every: float = 0.05):
    """The first true answer of `test`; raises LabProblem when the time is over."""
    deadline = time.monotonic() + seconds
    while True:
        answer = test()
        if answer:
            return answer
        if time.monotonic() > deadline:
            raise LabProblem(f"{what}: not after {seconds:.0f} s")
        time.sleep(every)
