"""How much of the machine's processors something that was measured could not have: other work had it, or, where the machine is
virtual, its host kept it (steal: also while it finds memory that it had taken back)."""

import mmap
import os
import threading
import time
from pathlib import Path

_EVERY_SECONDS = 0.25  # a process that ends takes the time since its last sample with it: it counts as others'
_TICKS = os.sysconf("SC_CLK_TCK")


class OthersShare:
    """`with OthersShare([pid, ...]) as others: ...; others.share`: of all processors' time the part that went to processes
    which do not descend from these, or to nobody although somebody wanted it, 0 to 1."""

    def __init__(self, roots: list[int]) -> None:
        self._roots = set(roots)
        self._ended = threading.Event()
        self._own: dict[tuple[int, int], int] = {}  # ticks by id and start time
        self._before: dict[tuple[int, int], int] = {}
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self.share = 0.0

    def __enter__(self) -> "OthersShare":
        self._before = self._descendants()
        self._busy, self._began = _busy_ticks(), time.monotonic()
        self._thread.start()
        return self

    def __exit__(self, *_) -> None:
        self._ended.set()
        self._thread.join()
        self._own.update(self._descendants())
        all_ticks = (time.monotonic() - self._began) * _TICKS * len(os.sched_getaffinity(0))
        self.share = max(0.0, (_busy_ticks() - self._busy) / all_ticks - self.own_seconds() * _TICKS / all_ticks)

    def own_seconds(self) -> float:
        """Processor time of the descendants that was seen since the begin."""
        return sum(ticks - self._before.get(key, 0) for key, ticks in dict(self._own).items()) / _TICKS

    def _sample(self) -> None:
        while not self._ended.wait(_EVERY_SECONDS):
            self._own.update(self._descendants())

    def _descendants(self) -> dict[tuple[int, int], int]:
        parents, ticks = {}, {}
        for entry in os.listdir("/proc"):
            if not entry.isdigit():
                continue
            try:
                fields = Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split()
            except (FileNotFoundError, ProcessLookupError):
                continue
            parents[int(entry)] = int(fields[1])
            ticks[int(entry)] = (int(fields[19]), int(fields[11]) + int(fields[12]))
        return {(pid, start): used for pid, (start, used) in ticks.items() if self._is_ours(pid, parents)}

    def _is_ours(self, pid: int, parents: dict[int, int]) -> bool:
        while pid and pid not in self._roots:
            pid = parents.get(pid, 0)
        return pid != 0


def hold_memory(size: int) -> mmap.mmap:
    """So many bytes of the machine's memory, until it is closed: what the others get is then not memory that has long been
    free, which a virtual machine's host may have taken back and is slow to give again."""
    held = mmap.mmap(-1, size)
    for place in range(0, size, mmap.PAGESIZE):
        held[place] = 1
    return held


def _busy_ticks() -> int:
    """Of all processors since the machine's start: all but idle and waiting for disks."""
    line = Path("/proc/stat").read_text().split("\n", 1)[0]
    user, nice, system, _idle, _disk, irq, soft, steal = map(int, line.split()[1:9])
    return user + nice + system + irq + soft + steal
