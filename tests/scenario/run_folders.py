"""What tests of whole scenarios share: reading YAML as Ferry does, and run folders."""

import csv
import re
from pathlib import Path

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
