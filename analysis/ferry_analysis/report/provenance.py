"""Where the figures of a page come from: scenario, versions, constants, commands."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..load import Folder, Run, world_text
from ..metrics import bytes_text
from ..quantities import seconds_text
from .html import Html, joined, tag
from .tables import pairs, table

_KINDS = ("measured", "documented", "fitted", "assumed")
_KIND_MEANINGS = {
    "measured": "taken from runs", "documented": "taken from a document",
    "fitted": "chosen so that figures agree with a source", "assumed": "nobody says so",
}
_LONGEST_SCENARIO = 200_000  # characters of resolved.yaml in the page


@dataclass(frozen=True)
class Constant:
    """One value of the scenario or its platform that says where it comes from."""

    path: str
    value: str
    kind: str
    source: str
    fitted_to: tuple[str, ...]


def run_facts(folder: Folder) -> Html:
    """What the process said of itself: command, versions, times."""
    info = folder.info
    versions = info.get("versions")
    return pairs([
        ("World", world_text(folder) or folder.world),
        ("Seed", info.get("seed")),
        ("Started", info.get("started_at")),
        ("Host", info.get("host")),
        ("Cluster file", info.get("cluster")),
        ("Versions", ", ".join(f"{name} {version}" for name, version in versions.items())
         if isinstance(versions, dict) else None),
        ("Took", _took(info)),
        ("Interrupted", "yes: what had begun was finished" if info.get("interrupted") else None),
        ("Command", tag("code", command_text(info.get("command")))),
    ])


def command_text(command: object) -> str:
    """The command as it would be typed."""
    if isinstance(command, list) and command:
        words = [str(word) for word in command]
        return shlex.join([Path(words[0]).name, *words[1:]])
    return str(command or "not known")


def scenario_facts(run: Run) -> Html:
    """The scenario in a few lines; the whole of it is in resolved.yaml."""
    scenario = run.resolved
    cluster = _mapping(scenario.get("cluster"))
    networks = cluster.get("networks") or _mapping(scenario.get("platform")).get("networks") or []
    platform = _mapping(scenario.get("platform"))
    return pairs([
        ("Scenario", scenario.get("name")),
        ("Description", scenario.get("description")),
        ("Platform", _with_note(platform.get("name"), platform.get("description"))),
        ("Hosts", _lines(_host_text(item) for item in _items(cluster.get("hosts")))),
        ("Networks", _lines(_network_text(item) for item in _items(networks))),
        ("VMs", _lines(_vm_text(item) for item in _items(scenario.get("vms")))),
        ("Jobs", _lines(_job_text(item) for item in _items(scenario.get("jobs")))),
        ("Migrations", _lines(_migration_text(item) for item in _items(scenario.get("migrations")))),
        ("Schedule", _flat(_mapping(scenario.get("schedule")))),
        ("Constraints", _lines(_flat(item) for item in _items(scenario.get("constraints")))),
        ("Faults", _lines(_flat(item) for item in _items(scenario.get("faults")))),
    ])


def whole_scenario(run: Run) -> Html:
    """resolved.yaml, folded away."""
    try:
        text = (run.path / "resolved.yaml").read_text(encoding="utf-8")
    except OSError:
        return joined(None)
    if len(text) > _LONGEST_SCENARIO:
        return tag("p", f"The scenario with every default is long: see {run.path}/resolved.yaml.",
                   class_="note")
    return tag("details", tag("summary", "The scenario with every default written out"),
               tag("pre", text))


def constants_of(run: Run) -> list[Constant]:
    """Every constant of resolved.yaml that says where it comes from."""
    return list(_walk(run.resolved, ""))


def constants_section(constants: list[Constant]) -> Html:
    """How many constants are of which kind, and all of them."""
    counts = {kind: sum(one.kind == kind for one in constants) for kind in _KINDS}
    text = ", ".join(f"{count} {kind}" for kind, count in counts.items() if count)
    meaning = "; ".join(f"{kind}: {_KIND_MEANINGS[kind]}" for kind in _KINDS if counts[kind])
    return joined([
        tag("p", f"{len(constants)} constants say where they come from: {text}. ({meaning}.)"),
        table(
            ["constant", "value", "kind", "source"],
            [(tag("code", one.path), one.value,
              one.kind + (f" to {', '.join(one.fitted_to)}" if one.fitted_to else ""), one.source)
             for one in constants],
        ),
    ])


def relative(path: Path, out: Path) -> str:
    """The path of a file of the folder as a link of a page in `out`."""
    return Path(os.path.relpath(path, out)).as_posix()


def file_link(path: Path, out: Path) -> Html:
    """A link to a file, with its name."""
    return tag("a", tag("code", path.name), href=relative(path, out))


def _walk(node: Any, path: str) -> Iterator[Constant]:
    if isinstance(node, dict):
        if node.get("kind") in _KINDS and "value" in node:
            fitted_to = node.get("to")
            yield Constant(path, str(node["value"]), str(node["kind"]), str(node.get("source", "")),
                           tuple(map(str, fitted_to)) if isinstance(fitted_to, list) else ())
            return
        for key, value in node.items():
            yield from _walk(value, f"{path}.{key}" if path else str(key))
    elif isinstance(node, list):
        for index, value in enumerate(node):
            name = value.get("name") if isinstance(value, dict) else None
            yield from _walk(value, f"{path}.{index if name is None else name}")


def _took(info: dict[str, Any]) -> str:
    parts = []
    if isinstance(info.get("wall_seconds"), (int, float)):
        parts.append(f"{seconds_text(info['wall_seconds'], 3)} of real time")
    if isinstance(info.get("peak_memory_bytes"), (int, float)):
        parts.append(f"at most {bytes_text(info['peak_memory_bytes'])} of memory")
    return ", ".join(parts)


def _mapping(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _items(value: object) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _lines(texts: Iterator[str]) -> Html | None:
    lines = [tag("div", text) for text in texts]
    if len(lines) > 12:
        lines = [*lines[:12], tag("div", f"and {len(lines) - 12} more", class_="note")]
    return joined(lines) or None


def _with_note(name: object, note: object) -> str:
    return ": ".join(str(part) for part in (name, note) if part)


def _value(value: object) -> str:
    """A value as text, also if it says where it comes from or is drawn."""
    if isinstance(value, dict):
        return str(value["value"]) if "value" in value else _flat(value)
    return str(value)


def _flat(mapping: dict[str, Any]) -> str:
    """`{order: parallel, limits: {host_out: 2}}` as `order: parallel, limits: (host_out: 2)`."""
    parts = []
    for key, value in mapping.items():
        if isinstance(value, dict) and "value" not in value:
            parts.append(f"{key}: ({_flat(value)})")
        elif isinstance(value, list):
            parts.append(f"{key}: {', '.join(_value(item) for item in value)}")
        else:
            parts.append(f"{key}: {_value(value)}")
    return ", ".join(parts)


def _count(item: dict[str, Any]) -> str:
    count = item.get("count")
    return f"{count} x {item.get('name')}" if count else str(item.get("name"))


def _host_text(item: dict[str, Any]) -> str:
    return _facts(_count(item), [
        (item.get("cores"), "{} cores"), (item.get("memory"), "{}"),
        (item.get("virtual_functions"), "{} virtual functions"),
    ])


def _network_text(item: dict[str, Any]) -> str:
    link = _mapping(item.get("link"))
    topology = item.get("topology")
    shape = topology if isinstance(topology, str) else _flat(_mapping(topology))
    carries = item.get("carries")
    return _facts(str(item.get("name")), [
        (shape, "{}"), (link.get("bandwidth"), "links of {}"),
        (", ".join(carries) if isinstance(carries, list) else None, "for {}"),
    ])


def _vm_text(item: dict[str, Any]) -> str:
    pages = _mapping(item.get("pages"))
    return _facts(_count(item), [
        (item.get("on"), "on {}"), (item.get("memory"), "memory {}"),
        (pages.get("working_set"), "working set {}"), (pages.get("dirty_rate"), "dirties {}"),
    ])


def _job_text(item: dict[str, Any]) -> str:
    return _facts(_count(item), [
        (_flat(_mapping(item.get("on"))), "on {}"), (item.get("ranks"), "ranks: {}"),
        (item.get("strategy"), "{}"),
    ])


def _migration_text(item: dict[str, Any]) -> str:
    what = item.get("vms") or (f"what is on {item['evacuate']}" if item.get("evacuate") else "")
    where = item.get("to") or (f"in exchange with {item['swap_with']}" if item.get("swap_with") else "")
    memory = _mapping(item.get("memory"))
    return _facts(str(item.get("name")), [
        (what, "{}"), (where, "to {}"), (item.get("at"), "at {}"), (item.get("transport"), "over {}"),
        (memory.get("mode"), "{}"),
    ])


def _facts(name: str, facts: list[tuple[object, str]]) -> str:
    texts = [form.format(_value(value)) for value, form in facts if value not in (None, "", {})]
    return f"{name}: {', '.join(texts)}" if texts else name
