"""How far long work has come, for who watches it at a terminal: one line that is written over."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import TextIO

_EVERY_SECONDS = 0.1


class Progress:
    """`with Progress() as progress: progress.tell("...")`. Says nothing where nobody watches."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._watched = self._stream.isatty()
        self._last = -_EVERY_SECONDS
        self._drawn = False

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 where: TracebackType | None) -> None:
        if self._drawn:
            self._write("\r\x1b[K")

    def tell(self, text: str) -> None:
        """In place of what was said before; not more often than an eye can follow."""
        now = time.monotonic()
        if not self._watched or now - self._last < _EVERY_SECONDS:
            return
        self._last, self._drawn = now, True
        self._write(f"\r{text}\x1b[K")

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()
