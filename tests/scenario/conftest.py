"""Runs the program on scenarios that tests make, and reads what it wrote."""

import csv
import json
import os
import re
import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]


class Loader(yaml.SafeLoader):
    """YAML 1.2's booleans: `on` is a key like any other."""


Loader.yaml_implicit_resolvers = {
    first: [(tag, rule) for tag, rule in rules if tag != "tag:yaml.org,2002:bool"]
    for first, rules in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile("^(true|false)$"), list("tf"))


def load_yaml(path):
    return yaml.load(Path(path).read_text(), Loader)


class Run:
    """One run folder."""

    def __init__(self, folder):
        self.folder = folder

    def table(self, name):
        with open(self.folder / f"{name}.csv", newline="") as file:
            return list(csv.DictReader(file))

    def csvs(self):
        return {path.name: path.read_bytes() for path in sorted(self.folder.glob("*.csv"))}

    def resolved(self):
        return load_yaml(self.folder / "resolved.yaml")


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
