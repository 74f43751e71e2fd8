"""Journals of runs that are at work, as a test watches them."""

import time
from pathlib import Path


def records(journal: Path) -> list[str]:
    """The texts of the whole records, without numbers and checksums; empty while there is no journal."""
    try:
        lines = journal.read_text().split("\n")[:-1]
    except FileNotFoundError:
        return []
    return [line.split(" ", 2)[2] for line in lines]


def wait_for_record(process, journal: Path, number: int, seconds: float = 120.0) -> bool:
    """Waits until record `number` (the first is 1) is written; False if the process ended before."""
    end = time.monotonic() + seconds
    while len(records(journal)) < number:
        if process.poll() is not None:
            return len(records(journal)) >= number
        if time.monotonic() > end:
            raise TimeoutError(f"{journal}: has {len(records(journal))} records, not {number}")
        time.sleep(0.001)
    return True


def kill_at_record(process, journal: Path, number: int) -> bool:
    """SIGKILL as soon as record `number` is written; False if the process ended by itself before. A few
    more records may follow before the signal arrives."""
    if not wait_for_record(process, journal, number):
        return False
    process.kill()
    process.wait()
    return True
