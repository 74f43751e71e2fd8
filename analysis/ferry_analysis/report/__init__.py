"""One HTML page about a run or a study, which needs no other file to be read."""

from __future__ import annotations

from pathlib import Path

from ..load import Folder, InputError, Run
from .run_page import run_page
from .study_page import study_page

FILE = "report.html"


def write(folder: Folder, out: Path) -> Path:
    """Writes report.html into the folder `out`; returns its path."""
    path = out / FILE
    text = run_page(folder, out) if isinstance(folder, Run) else study_page(folder, out)
    try:
        out.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputError(
            f"{error.filename or out}: cannot be written: {error.strerror}; "
            "--out with a folder that can be written would be right"
        ) from None
    return path


__all__ = ["FILE", "write"]
