"""The built program, in a folder of its own for each test."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

DATA = Path(__file__).resolve().parent / "data"
ROOT = Path(__file__).resolve().parents[2]


def program() -> Path:
    given = os.environ.get("FERRY_BIN")
    found = Path(given) if given else ROOT / "build" / "both" / "controller" / "cli" / "ferry"
    if not found.exists():
        pytest.fail(f"{found} is not there; build it, or name another one with FERRY_BIN")
    return found.resolve()


class _Loader(yaml.SafeLoader):
    """YAML 1.2 as ferry reads it: `on` is a key and no truth value."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:bool"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


class Ferry:
    """Runs the program in a temporary folder that holds the files of tests/cli/data."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.program = program()
        for file in DATA.iterdir():
            shutil.copy(file, folder)

    def __call__(self, *arguments, environment=None, timeout=120):
        return subprocess.run(
            [self.program, *map(str, arguments)], cwd=self.folder, text=True,
            capture_output=True, timeout=timeout, stdin=subprocess.DEVNULL,
            env={**os.environ, **(environment or {})},
        )

    def start(self, *arguments):
        """Without waiting; in a process group of its own, as a shell would."""
        return subprocess.Popen(
            [self.program, *map(str, arguments)], cwd=self.folder, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL,
            start_new_session=True,
        )

    def read_yaml(self, name):
        return yaml.load((self.folder / name).read_text(), Loader=_Loader)

    def write_yaml(self, name, content):
        (self.folder / name).write_text(yaml.safe_dump(content, sort_keys=False))

    def names(self):
        """What is in the folder beside the files of the tests."""
        given = {file.name for file in DATA.iterdir()}
        return sorted(entry.name for entry in self.folder.iterdir() if entry.name not in given)


@pytest.fixture
def ferry(tmp_path):
    return Ferry(tmp_path)


@pytest.fixture(scope="session")
def worlds():
    """What `ferry --version` says of them."""
    return subprocess.run([program(), "--version"], text=True, capture_output=True).stdout.split("worlds:")[1]


@pytest.fixture(scope="session")
def has_simulation(worlds):
    return "sim" in worlds


@pytest.fixture(scope="session")
def has_libvirt(worlds):
    return "hw (libvirt" in worlds


@pytest.fixture
def simulation(has_simulation):
    if not has_simulation:
        pytest.skip("this build has no simulated world")


@pytest.fixture(scope="session")
def ferry_host():
    """The program for hosts, in a build or where it is installed."""
    for found in (program().parents[2] / "hw_backend/ferry-host", program().parent / "ferry-host"):
        if found.exists():
            return found
    pytest.fail("ferry-host is not there; build it")
