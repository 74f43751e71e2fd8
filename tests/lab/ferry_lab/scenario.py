"""The part of a scenario file that says which hosts and VMs there are.

Only fixed values: a VM of the lab has one memory size. `ferry check` finds the other mistakes.
"""

import re
from pathlib import Path

import yaml

from .domain import Vm
from .lab import HostPlan
from .problem import LabProblem
from .quantities import NoQuantity, read_bandwidth, read_bytes, read_share

_PART = re.compile(r"(?P<name>[^\[\],]+)(?:\[(?P<numbers>[0-9,\s-]+)\])?")


class _Loader(yaml.SafeLoader):
    """YAML 1.2, as ferry reads it: `on` is a key and no truth value."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:bool"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def read_scenario(file: Path, changes: list[str] = ()) -> tuple[list[HostPlan], list[Vm]]:
    """The hosts and VMs of a scenario, or of the scenario of a study. `changes`: PATH=VALUE, as of `ferry run --set`."""
    try:
        content = yaml.load(Path(file).read_text(), Loader=_Loader)
    except (OSError, yaml.YAMLError) as problem:
        raise LabProblem(f"{file}: {problem}") from None
    if isinstance(content, dict) and "scenario" in content:
        inner = content["scenario"]
        if isinstance(inner, str):
            return read_scenario(Path(file).parent / inner, changes)
        content = inner
    try:
        for change in changes:
            _apply(content, change)
        return _read(content)
    except NoQuantity as problem:
        raise LabProblem(f"{file}: {problem}; the lab needs fixed values") from None
    except (KeyError, TypeError, AttributeError) as problem:
        raise LabProblem(f"{file}: not a scenario that the lab understands: {problem!r}; `ferry check` says more") from None


def _read(content: dict) -> tuple[list[HostPlan], list[Vm]]:
    hosts = [
        HostPlan(name, int(_plain(group.get("virtual_functions", 0))))
        for group in content["cluster"]["hosts"]
        for name in _names(group)
    ]
    groups = content["vms"]
    busy = {name for job in content.get("jobs", []) for name in _resolve(job["on"]["vms"], groups)}
    vms = []
    for group in groups:
        places = _resolve(group["on"], content["cluster"]["hosts"])
        if group.get("spread", "round_robin") != "round_robin":
            raise NoQuantity(f"spread: {group['spread']}")
        pages = group["pages"]
        for i, name in enumerate(_names(group)):
            idle = read_bandwidth(_plain(pages.get("idle_dirty_rate", 0)))
            working = read_bandwidth(_plain(pages.get("dirty_rate", 0))) if name in busy else 0
            vm = Vm(
                name=name, host=places[i % len(places)], memory=read_bytes(_plain(group["memory"])),
                vcpus=int(_plain(group.get("vcpus", 1))),
                virtual_function=int(_plain(group.get("virtual_functions", 1))) > 0,
                ivshmem=read_bytes(_plain(group.get("ivshmem", 0))), zero=read_share(_plain(pages["zero"])),
                working_set=read_bytes(_plain(pages.get("working_set", 0))), dirty_rate=idle + working, number=len(vms),
            )  # fmt: skip
            vms.append(vm)
    return hosts, vms


def _plain(value):
    """`{value: 1GiB, source: ..., kind: ...}` is 1GiB."""
    return value["value"] if isinstance(value, dict) and "value" in value else value


def _names(group: dict) -> list[str]:
    if "count" not in group:
        return [group["name"]]
    return [f"{group['name']}{i}" for i in range(int(_plain(group["count"])))]


def _resolve(reference: str, groups: list[dict]) -> list[str]:
    """`host`, `host1`, `host[0-3]`, `host[0,2]`, `*`, or several of them with commas between."""
    everything = [name for group in groups for name in _names(group)]
    found: list[str] = []
    for part in re.split(r",(?![^\[]*\])", str(reference)):
        part = part.strip()
        match = _PART.fullmatch(part)
        if part == "*":
            found += everything
        elif match and match["numbers"]:
            found += [f"{match['name']}{number}" for number in _numbers(match["numbers"])]
        elif part in [group["name"] for group in groups]:
            found += next(_names(group) for group in groups if group["name"] == part)
        else:
            found.append(part)
    for name in found:
        if name not in everything:
            raise LabProblem(f"{reference!r} names {name}, which is not there; there are: {', '.join(everything)}")
    return found


def _numbers(text: str) -> list[int]:
    numbers: list[int] = []
    for piece in text.split(","):
        first, _, last = piece.partition("-")
        numbers += range(int(first), int(last or first) + 1)
    return numbers


def _apply(content: dict, change: str) -> None:
    path, equals, value = change.partition("=")
    if not equals:
        raise LabProblem(f"{change!r} changes nothing; write PATH=VALUE, as in vms.vm.count=4")
    *way, last = path.split(".")
    place = content
    for step in way:
        place = _step(place, step, path)
    if not isinstance(place, dict):
        raise LabProblem(f"{path} is nothing that can be set")
    place[last] = yaml.load(value, Loader=_Loader)


def _step(place, step: str, path: str):
    if isinstance(place, list):
        for item in place:
            if item.get("name") == step:
                return item
    elif isinstance(place, dict) and step in place:
        return place[step]
    raise LabProblem(f"{path} matches nothing: there is no {step}")
