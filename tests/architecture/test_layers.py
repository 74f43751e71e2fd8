"""Includes point one way, and core stays world-free."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# What each folder may include from the project. A folder may always include itself.
ALLOWED = {
    "core/units": set(),
    "core/ports": {"core/units"},
    "core/scenario": {"core/units", "core/ports"},
    "core/topology": {"core/units", "core/ports", "core/scenario"},
    "core/channel": {"core/units", "core/ports", "core/scenario", "core/topology"},
    "core/mpi": {"core/units", "core/ports", "core/scenario", "core/topology", "core/channel"},
    "core/faults": {"core/units", "core/ports", "core/scenario"},
    "core/memory": {"core/units", "core/ports", "core/scenario"},
    "core/migration": {"core/units", "core/ports", "core/scenario", "core/memory", "core/topology"},
    "core/record": {"core/units", "core/ports", "core/scenario"},
    "core/mpi/workloads": {"core/units", "core/ports", "core/scenario", "core/mpi"},
    "sim_backend": {"core"},
    "hw_backend": {"core"},
    "controller": {"core", "sim_backend", "hw_backend"},
    "tests": {"core", "sim_backend", "hw_backend", "controller"},
}

# Which folders (or files) may include which libraries.
LIBRARIES = {
    r"simgrid/|xbt/": ["sim_backend/", "tests/bench/", "tests/unit/sim_backend/"],
    r"libvirt/": ["hw_backend/libvirt/", "tests/unit/hw_backend/"],
    r"libxml/": ["hw_backend/libvirt/xml_tree"],
    r"infiniband/": ["hw_backend/verbs/"],
    r"boost/context": ["sim_backend/", "tests/bench/"],
    r"yaml-cpp/": ["core/scenario/yaml_tree", "tests/bench/"],
    r"hwloc\.h": ["core/scenario/host_layout", "hw_backend/host/machine_layout"],
    r"CLI/": ["controller/cli/", "hw_backend/ranks/main", "hw_backend/host/main"],
}


def sources():
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.hpp", "*.cpp"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout.split()
    return [name for name in listed if (ROOT / name).exists()]


def folder_of(path):
    for folder in sorted(ALLOWED, key=len, reverse=True):
        if path.startswith(folder + "/"):
            return folder
    raise AssertionError(f"{path} is in no folder that the layout knows")


def includes_of(name):
    text = (ROOT / name).read_text()
    return re.findall(r'^\s*#\s*include\s+[<"]([^>"]+)[>"]', text, flags=re.M)


def test_includes_point_inward():
    wrong = []
    for name in sources():
        folder = folder_of(name)
        for include in includes_of(name):
            if not re.match(r"(core|sim_backend|hw_backend|controller|tests)/", include):
                continue
            target = folder_of(include)
            if target == folder or target in ALLOWED[folder] or target.split("/")[0] in ALLOWED[folder]:
                continue
            wrong.append(f"{name} includes {include}")
    assert not wrong, "\n".join(wrong)


def test_libraries_stay_in_their_folders():
    wrong = []
    for name in sources():
        for include in includes_of(name):
            for pattern, places in LIBRARIES.items():
                if re.match(pattern, include) and not any(name.startswith(p) for p in places):
                    wrong.append(f"{name} includes <{include}>; only {', '.join(places)} may")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    "pattern, why",
    [
        (r"std::(recursive_)?mutex|std::condition_variable", "core waits on ports only"),
        (r"std::(jthread|thread|this_thread|async)\b", "core spawns tasks through the executor"),
        (r"\bthread_local\b", "tasks of a simulation share their thread"),
        (r"catch\s*\(\s*\.\.\.\s*\)", "it swallows the end of a task"),
        (r"is_?simulated|#\s*if(def)?\b.*(SIM|HW)\b", "core never asks which world it is in"),
        (r"std::unordered_", "no decision may depend on the order of a hash"),
    ],
)
def test_core_does_without(pattern, why):
    wrong = []
    for name in sources():
        if not name.startswith("core/"):
            continue
        for number, line in enumerate((ROOT / name).read_text().splitlines(), 1):
            code = line.split("//")[0]
            if re.search(pattern, code):
                wrong.append(f"{name}:{number}: {line.strip()} ({why})")
    assert not wrong, "\n".join(wrong)


def test_headers_are_included_once_and_lines_are_short():
    wrong = []
    for name in sources():
        text = (ROOT / name).read_text()
        if name.endswith(".hpp") and "#pragma once" not in text:
            wrong.append(f"{name}: no #pragma once")
        wrong += [f"{name}:{n}: {len(line)} columns" for n, line in enumerate(text.splitlines(), 1) if len(line) > 120]
    assert not wrong, "\n".join(wrong)


def test_every_source_folder_has_a_readme():
    folders = {str(Path(name).parent) for name in sources() if not name.startswith("tests/")}
    missing = [folder for folder in sorted(folders) if not (ROOT / folder / "README.md").exists()]
    assert not missing, f"no README.md in {missing}"
