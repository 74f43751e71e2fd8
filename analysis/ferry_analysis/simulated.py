"""Scenarios of measured runs, simulated with other constants."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from .load import PHASES, InputError, Run, open_folder, succeeded
from .moves import Move, read_moves

_APART = frozenset({"seed", "description", "outputs"})  # in which repetitions may differ
_SIMULATION_SECONDS = 300  # a simulated calibration run takes far less
_QUANTITIES: dict[str, tuple[str, ...]] = {
    "total": ("total",), "set_pre": (PHASES[0],), "unplug": PHASES[1:3], "migration": (PHASES[3],),
    "plug": PHASES[4:6], "set_post": (PHASES[6],),
}


@dataclass(frozen=True)
class Simulated:
    """A scenario with other constants: its moves, its makespan, the rows of migrations.csv."""

    makespan: float
    moves: list[Move]
    rows: pd.DataFrame


def simulate(run: Run, platform: dict[str, Any], ferry: str) -> Simulated:
    """The run's scenario with these constants; raises InputError if that cannot be simulated."""
    with tempfile.TemporaryDirectory(prefix="ferry-calibrate-") as folder:
        file = Path(folder) / "scenario.yaml"
        # JSON is YAML, and written a hundred times as fast.
        file.write_text(json.dumps(_scenario(run, platform), ensure_ascii=False),
                        encoding="utf-8")
        out = Path(folder) / "run"
        try:
            done = subprocess.run(
                [ferry, "run", str(file), "--on", "sim", "--quiet", "--out", str(out)],
                capture_output=True, text=True, timeout=_SIMULATION_SECONDS, check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise InputError(f"{run.path}: cannot be simulated: {error}") from None
        if not (out / "spans.csv").exists():
            raise InputError(f"{run.path}: cannot be simulated: {done.stderr.strip()}")
        simulated = open_folder(out)
        assert isinstance(simulated, Run)
        return Simulated(makespan(simulated), read_moves(simulated), quantities([simulated]))


def simulate_moves(moves: Sequence[Move], platform: dict[str, Any], ferry: str
                   ) -> list[tuple[Move, Move]]:
    """Each measured move with what became of it in simulation."""
    runs = list({id(move.run): move.run for move in moves}.values())
    pairs = []
    for same in by_scenario(runs):
        simulated = {(move.migration, move.vm): move
                     for move in simulate(same[0], platform, ferry).moves}
        pairs += [(move, simulated[move.migration, move.vm]) for move in moves
                  if any(move.run is run for run in same)
                  and (move.migration, move.vm) in simulated]
    return pairs


def by_scenario(runs: Sequence[Run]) -> list[list[Run]]:
    """Runs of one scenario together: repetitions of one measurement, whatever their seeds."""
    scenarios: dict[str, list[Run]] = {}
    for run in runs:
        same = {key: value for key, value in _scenario(run, None).items() if key not in _APART}
        scenarios.setdefault(json.dumps(same, sort_keys=True), []).append(run)
    return list(scenarios.values())


def quantities(runs: Sequence[Run]) -> pd.DataFrame:
    """One row a move that succeeded: seconds in total and by phase; both devices together, as
    which of them is ready last is chance."""
    moves = pd.concat([succeeded(run.migrations) for run in runs])
    return pd.DataFrame({name: sum(moves[f"{part}_seconds"] for part in parts)
                         for name, parts in _QUANTITIES.items()})


def makespan(run: Run) -> float:
    """Seconds from the first span's begin to the last one's end."""
    spans = run.spans
    return float(spans["end_seconds"].max() - spans["start_seconds"].min())


def _scenario(run: Run, platform: dict[str, Any] | None) -> dict[str, Any]:
    scenario = dict(run.resolved)
    scenario.pop("platform", None)
    if platform is not None:
        scenario["platform"] = {k: v for k, v in platform.items() if k != "ferry_platform"}
    return scenario
