"""The studies that ship beside the paper's."""

import csv
import re
import subprocess

import pytest

from run_folders import ROOT


def table(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def test_rolling_maintenance_brings_every_vm_back(ferry, tmp_path):
    done = subprocess.run([ferry, "sweep", str(ROOT / "scenarios/studies/rolling-maintenance.yaml"), "--out", str(tmp_path / "out"), "--quiet", "--no-sensitivity", "--no-plots"],
                          capture_output=True, text=True)
    assert done.returncode in (0, 1), done.stderr
    claims = {row["id"]: row for row in table(tmp_path / "out/claims.csv")}
    assert claims["M1"]["holds"] == claims["M2"]["holds"] == claims["M4"]["holds"] == "yes"
    cells = table(tmp_path / "out/cells.csv")
    assert len(cells) == 16 and {row["failed"] for row in cells} == {"0"}
    # Nobody moves before the calendar says so.
    spans = table(tmp_path / "out/cells/cell-0000/spans.csv")
    first = {vm: min(float(row["start_seconds"]) for row in spans if row["vm"] == vm) for vm in ("a_small0", "b_small0", "c_small0", "d_small0")}
    assert list(first.values()) == sorted(first.values())
    assert first["a_small0"] < 1200 <= first["b_small0"] < 2400 <= first["c_small0"] < 3600 <= first["d_small0"]


def test_convergence_says_which_policies_let_a_busy_guest_arrive(ferry, tmp_path):
    done = subprocess.run([ferry, "sweep", str(ROOT / "scenarios/studies/convergence.yaml"), "--out", str(tmp_path / "out"), "--quiet", "--no-sensitivity"],
                          capture_output=True, text=True)
    assert done.returncode == 1, done.stderr  # some policies fail: that is the answer
    assert {row["id"]: row["holds"] for row in table(tmp_path / "out/claims.csv")} == {"V1": "yes", "V2": "yes", "V3": "yes", "V4": "yes"}
    cells = table(tmp_path / "out/cells.csv")
    assert len(cells) == 84
    failed = [row for row in cells if row["outcome"] != "completed"]
    # Only those fail that neither throttle nor leave anything to post-copy.
    assert {re.sub(r"\W+", " ", row["migrations.leave.memory"]).strip() for row in failed} == {
        "mode precopy", "compression xbzrle", "compression zstd streams 8"}
    assert all("has not converged" in row["reason"] for row in failed)
    slowest = {row["vms.vm.pages.dirty_rate"] for row in failed}
    assert "50MB/s" not in slowest and "3200MB/s" in slowest


def test_compute_slice_says_from_which_slice_on_a_migration_is_hidden(ferry, tmp_path):
    done = subprocess.run([ferry, "sweep", str(ROOT / "scenarios/studies/compute-slice.yaml"), "--out", str(tmp_path / "out"), "--quiet", "--no-sensitivity"],
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "out/plots/overlap.png").stat().st_size > 1000
    for cell in table(tmp_path / "out/cells.csv"):
        if cell["migrations.leave.when"] == "communicating":
            assert float(cell["exposed_seconds"]) == pytest.approx(float(cell["total_seconds"]), rel=0.05)


def test_the_cells_of_a_paired_study_share_the_seeds_of_their_repetitions(ferry, tmp_path):
    folder = ROOT / "scenarios/studies/evacuate-1000-mpi.yaml"
    done = subprocess.run([ferry, "sweep", str(folder), "--list"], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    rows = [line.split() for line in done.stdout.splitlines() if line.startswith("cell-")]
    assert len(rows) == 40
    seeds = {row[-2]: {other[-1] for other in rows if other[-2] == row[-2]} for row in rows}
    assert len(seeds) == 5 and all(len(found) == 1 for found in seeds.values())
