"""Puts the package and the generator of folders on the path, and builds the folders tests share."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
sys.dont_write_bytecode = True
sys.path[:0] = [str(HERE), str(HERE.parents[1] / "analysis")]

import synthetic  # noqa: E402
from ferry_analysis.__main__ import main  # noqa: E402

TRANSPORT = synthetic.TRANSPORT


class Command:
    """Runs the command line; keeps its exit status, output lines and error text."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def __call__(self, *arguments: object) -> "Command":
        self._capsys.readouterr()
        try:
            self.status = main([str(argument) for argument in arguments])
        except SystemExit as end:
            self.status = end.code
        captured = self._capsys.readouterr()
        self.output, self.errors = captured.out, captured.err
        return self


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Command:
    return Command(capsys)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Two VMs that move with TCP."""
    return synthetic.write_run(tmp_path / "run")


@pytest.fixture
def transports(tmp_path: Path) -> Path:
    """A study of three transports with five repetitions and all its run folders."""
    return synthetic.write_study(
        tmp_path / "transports", {TRANSPORT: ["tcp", "ipoib", "rdma"]}, repeat=5, runs=True
    )


@pytest.fixture
def multi_vm(tmp_path: Path) -> Path:
    """Two to sixteen VMs, in two orders; the values are not in numerical order."""
    vary = {"schedule.order": ["parallel", "sequential"], "vms.vm.count": ["16", "2", "8", "4"]}
    return synthetic.write_study(tmp_path / "multi_vm", vary, plots=["breakdown", "multi_vm"])
