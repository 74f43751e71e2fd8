"""Runs the program on scenarios that tests make."""

import json
import os
import subprocess

import pytest

from run_folders import Run


@pytest.fixture
def ferry():
    program = os.environ.get("FERRY_BIN")
    if not program:
        pytest.skip("FERRY_BIN does not name the program")
    return program


@pytest.fixture
def run(ferry, tmp_path):
    """Runs a scenario given as a mapping; `statuses` are the exit statuses that are right."""
    count = iter(range(1000))

    def start(scenario, statuses=(0,), arguments=()):
        folder = tmp_path / f"run{next(count)}"
        folder.mkdir()
        path = folder / "scenario.yaml"
        path.write_text(json.dumps(scenario, indent=1))  # JSON is YAML, and quotes `on`
        done = subprocess.run([ferry, "run", str(path), "--out", str(folder / "run"), "--quiet", *arguments],
                              capture_output=True, text=True)
        assert done.returncode in statuses, done.stdout + done.stderr
        return Run(folder / "run")

    return start
