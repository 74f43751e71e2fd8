"""The studies that ship beside the paper's."""

import csv
import re
import subprocess

from run_folders import ROOT


def table(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


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
