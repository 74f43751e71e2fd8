"""Calibration, from run folders that were made for it; no run is simulated."""

import json
import math
from types import SimpleNamespace

import pandas as pd
import pytest
import yaml

import synthetic
from ferry_analysis import calibrate, crowded
from ferry_analysis.fits import spread_fit
from ferry_analysis.load import open_folder
from ferry_analysis.moves import read_moves
from ferry_analysis.progress import Progress

PLATFORM = {
    "ferry_platform": 1, "name": "start",
    "hypervisor": {"serial": "0%", "prepare": "1s", "finish": "1s", "attach_vf": {"fixed": "1s", "per_gib": "0s"}},
    "streams": {"tcp": {"bandwidth": "1GB/s"}},
}
ROUNDS = [(800_000_000, 0.8), (10_000_000, 0.01)]  # 1 GB/s; what is last, in the pause


def write_lone(folder, rounds=ROUNDS, *, reason="", transport="tcp", downtime=0.06, **migration):
    """A run in which one VM moves."""
    resolved = synthetic.scenario(transport=transport, count=1)
    resolved["migrations"][0].update(migration)
    moves = [synthetic.move("vm0", transport) | {"reason": reason, "downtime_seconds": downtime}]
    synthetic.write_run(folder, moves, resolved=resolved)
    if rounds:
        synthetic.add_rounds(folder, {"vm0": rounds})
    return folder


def calibrated(monkeypatch, tmp_path, *runs):
    """What these runs determine, without a look at what that gives for them."""
    monkeypatch.setattr(calibrate, "_residuals", lambda *_: pd.DataFrame())
    platform = tmp_path / "start.yaml"
    platform.write_text(yaml.safe_dump(PLATFORM), encoding="utf-8")
    found = calibrate.calibrate([str(run) for run in runs], platform, "no program")
    return {fit.path: fit for fit in found.fits}, calibrate.report(found).splitlines()


def test_a_lone_stream_shows_its_bandwidth_and_what_a_migration_takes_beside_it(tmp_path, monkeypatch):
    fits, said = calibrated(monkeypatch, tmp_path, write_lone(tmp_path / "plain"))
    assert fits["streams.tcp.bandwidth"].value == pytest.approx(1e9)
    assert fits["hypervisor.finish"].value == pytest.approx(0.05)
    assert fits["hypervisor.prepare"].value == pytest.approx(0.9 + 0.72 - 0.8 - 0.06)
    assert not any("do not rest on" in line for line in said)


@pytest.mark.parametrize(("said", "asked"), [
    ("by post-copy", {"memory": {"mode": "postcopy"}}),
    ("by post-copy", {"memory": {"mode": "hybrid"}}),
    ("by post-copy", {"memory": {"mode": "precopy"}, "reason": "did not converge in 30 rounds: post-copy"}),
    ("with compression", {"memory": {"mode": "precopy", "compression": "zstd"}}),
    ("with several streams", {"memory": {"mode": "precopy", "streams": 4}}),
    ("with several streams", {"memory": {"streams": {"value": 4, "source": "a guess", "kind": "assumed"}}}),
    ("with device: vfio", {"device": "vfio"}),
    ("by rdma without pin_all", {"transport": "rdma", "memory": {"pin_all": False}}),
    ("without rounds of their own", {"rounds": []}),
])  # fmt: skip
def test_a_move_whose_rounds_tell_nothing_of_one_stream_counts_for_what_it_does_show(tmp_path, monkeypatch, said, asked):
    plain = write_lone(tmp_path / "plain")
    other = write_lone(tmp_path / "other", **{"rounds": [(100_000_000, 0.01), (900_000_000, 1.2)], **asked})
    fits, lines = calibrated(monkeypatch, tmp_path, plain, other)
    assert {path: fits[path].count for path in fits if path.startswith("streams")} == {"streams.tcp.bandwidth": 1}
    for name in ("finish", "prepare", "clean_up"):
        assert fits[f"hypervisor.{name}"].count == 1
    assert fits["hypervisor.detach_vf"].count == 2
    assert f"moves alone that streams, hypervisor.finish and hypervisor.prepare do not rest on: 1 {said}" in lines


def test_an_offline_move_sends_all_in_its_pause(tmp_path, monkeypatch):
    offline = write_lone(tmp_path / "offline", [(10_000_000, 0.01)], memory={"mode": "offline"})
    fits, _ = calibrated(monkeypatch, tmp_path, write_lone(tmp_path / "plain"), offline)
    assert fits["streams.tcp.bandwidth"].count == 1  # nothing is sent before the pause
    assert fits["hypervisor.finish"].count == 2 and fits["hypervisor.prepare"].count == 2
    assert fits["hypervisor.finish"].value == pytest.approx(0.05)


@pytest.mark.parametrize(("streams", "memory"), [(2, {}), (1, {"bandwidth_limit": "500MB/s"})])
def test_rounds_of_an_offline_move_are_no_part_of_its_pause_in_the_end(tmp_path, monkeypatch, streams, memory):
    # QEMU goes on in rounds though the guest stands still; a limit holds but for the last one.
    sending = 0.8 if streams == 2 else 1.6
    offline = write_lone(tmp_path / "offline", [(800_000_000, sending), (10_000_000, 0.01)], downtime=sending + 0.06,
                         memory={"mode": "offline"} | memory)  # fmt: skip
    fits, _ = calibrated(monkeypatch, tmp_path, write_lone(tmp_path / "plain"), offline)
    assert fits["streams.tcp.bandwidth"].count == streams
    assert fits["streams.tcp.bandwidth"].value == pytest.approx(1e9)
    assert fits["hypervisor.finish"].count == 2 and fits["hypervisor.finish"].value == pytest.approx(0.05)
    assert fits["hypervisor.prepare"].count == 2


def test_a_limited_move_shows_nothing_of_what_a_stream_can(tmp_path):
    runs = [write_lone(tmp_path / "plain"),
            write_lone(tmp_path / "limited", [(800_000_000, 8.0), (10_000_000, 0.01)], memory={"bandwidth_limit": "100MB/s"})]  # fmt: skip
    plain, limited = (read_moves(open_folder(run)) for run in runs)
    platform = PLATFORM | {"processors": {}}
    assert crowded._most_work(plain + limited, "tcp") == pytest.approx(crowded.GIBI / 1e9)
    assert crowded.stream_that_shares(plain + limited, platform) == "tcp"
    assert crowded.stream_that_shares(limited, platform) == ""


def test_without_rounds_nothing_is_said_of_what_a_migration_takes_beside_them(tmp_path, monkeypatch):
    fits, lines = calibrated(monkeypatch, tmp_path, write_lone(tmp_path / "other", rounds=[]))
    assert {"hypervisor.finish", "hypervisor.prepare", "hypervisor.clean_up"}.isdisjoint(fits)
    for name in ("finish", "prepare"):
        assert f"hypervisor.{name}: kept, no move that ran alone shows it" in lines


def test_what_takes_longer_on_larger_guests_is_no_chance(tmp_path):
    sizes = {"small0": 1, "small1": 1, "large0": 4, "large1": 4}
    resolved = synthetic.scenario() | {
        "vms": [{"name": "small", "count": 2, "memory": "1GiB"}, {"name": "large", "count": 2, "memory": "4GiB"}],
    }
    moves = [synthetic.move(vm, memory_gib=size) for vm, size in sizes.items()]
    run = synthetic.write_run(tmp_path / "run", moves, starts=[0, 100, 200, 300], resolved=resolved)
    alone = read_moves(open_folder(run))
    assert [move.phases["attach_vf"] for move in alone] == pytest.approx([0.24, 0.24, 0.60, 0.60])
    assert spread_fit("hypervisor.variation", crowded.operation_times(alone)).value == pytest.approx(0)


# Moves that overlap


@pytest.fixture
def together(tmp_path):
    """A run of two moves that overlap; its makespan is 2.255 s."""
    run = open_folder(synthetic.write_run(tmp_path / "run", starts=[0.0, 0.1]))
    assert crowded.makespan(run) == pytest.approx(2.255)
    return run


def fitted(monkeypatch, run, simulated):
    """What `fit_crowded` makes of a run; `simulated` gives makespan and completed moves at a value of `serial`."""
    rows = crowded.quantities([run])

    def simulate(_, platform, __):
        makespan, moves = simulated(float(platform["hypervisor"]["serial"].removesuffix("%")) / 100)
        return SimpleNamespace(makespan=makespan, moves=[], rows=rows.head(moves))

    monkeypatch.setattr(crowded, "simulate", simulate)
    return crowded.fit_crowded([run], [], json.loads(json.dumps(PLATFORM)), "no program", Progress())


@pytest.mark.parametrize("broken", [(2.255, 0), (2.255, 1), (math.nan, 2), (0.0, 2)])
def test_a_simulation_that_fails_or_shows_nothing_is_no_match(together, monkeypatch, broken):
    # Nearest to what was measured where it ends: at 0.5, from where on it is broken.
    found = fitted(monkeypatch, together, lambda serial: broken if serial > 0.5 else (1.5 + serial, 2))
    (serial,) = (fit for fit in found.fits if fit.path == "hypervisor.serial")
    assert serial.value == pytest.approx(0.5, abs=2e-3)


def test_a_constant_is_kept_if_no_value_of_it_can_be_simulated(together, monkeypatch):
    found = fitted(monkeypatch, together, lambda serial: (2.255, 0))
    assert found.fits == []
    assert found.untouched == [
        ("hypervisor.serial", "no value was found with which the measured moves complete in simulation")
    ]


def test_a_run_that_completed_fewer_moves_than_another_is_matched_by_as_few(together, tmp_path, monkeypatch):
    moves = [synthetic.move("vm0"), synthetic.move("vm1") | {"outcome": "rolled_back"}]
    other = open_folder(synthetic.write_run(tmp_path / "other", moves, starts=[0.0, 0.1]))
    rows = crowded.quantities([together])
    monkeypatch.setattr(crowded, "simulate", lambda *_: SimpleNamespace(makespan=2.255, moves=[], rows=rows.head(1)))
    found = crowded.fit_crowded([together, other], [], PLATFORM, "no program", Progress())
    assert found.untouched == []


def test_a_search_that_knows_where_to_begin_leaves_what_cannot_be_simulated():
    def error(value):
        return math.inf if value < 0.5 else (value - 0.7)**2

    assert crowded._least(error, 1.0, lambda tried: None, near=0.2) == pytest.approx(0.7, abs=2e-3)
