"""`ferry sweep`: cells, claims, resuming, failures and Ctrl-C."""

import csv
import json
import os
import random
import shutil
import signal
import time

import pytest

pytestmark = pytest.mark.usefixtures("simulation")
OPTIONS = ["--out", "out", "--quiet", "--no-sensitivity", "--no-plots"]


def rows(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def tables(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*.csv"))
    }


def change(ferry, name, **keys):
    ferry.write_yaml(name, {**ferry.read_yaml(name), **keys})


def test_a_sweep_writes_a_run_folder_for_every_cell_and_a_table_over_them(ferry):
    result = ferry("sweep", "study.yaml", *OPTIONS)
    assert result.returncode == 0, result.stderr
    out = ferry.folder / "out"
    assert {p.name for p in out.iterdir()} == {
        "cells", "cells.csv", "claims.csv", "study.yaml", "run.json"
    }
    cells = rows(out / "cells.csv")
    header = (out / "cells.csv").read_text().splitlines()[0].split(",")
    assert header[:6] == ["cell", "migrations.leave.transport", "vms.vm.count", "repetition",
                          "seed", "makespan_seconds"]
    assert header[-2:] == ["outcome", "reason"]
    assert len(cells) == 8
    assert {c["migrations.leave.transport"] for c in cells} == {"tcp", "rdma"}
    assert len({c["seed"] for c in cells}) == 8
    for cell in cells:
        assert cell["outcome"] == "completed"
        folder = out / "cells" / cell["cell"]
        for row in rows(folder / "summary.csv"):
            assert cell[row["metric"]] == row["value"]
        info = json.loads((folder / "run.json").read_text())
        assert str(info["seed"]) == cell["seed"]
        assert info["cell"]["assignment"]["vms.vm.count"] == cell["vms.vm.count"]
    info = json.loads((out / "run.json").read_text())
    assert info["kind"] == "study" and info["name"] == "small-study" and info["cells"] == 8


def test_the_number_of_jobs_changes_no_table(ferry):
    for jobs in ("1", "2"):
        result = ferry("sweep", "study.yaml", "--out", jobs, "--jobs", jobs, "--quiet",
                       "--no-plots")
        assert result.returncode == 0, result.stderr
    assert tables(ferry.folder / "1") == tables(ferry.folder / "2")


def test_list_shows_the_cells_and_does_nothing(ferry):
    result = ferry("sweep", "study.yaml", "--list")
    assert result.returncode == 0
    lines = result.stdout.splitlines()
    assert len(lines) == 9
    assert lines[0].split() == ["cell", "migrations.leave.transport", "vms.vm.count",
                                "repetition", "seed"]
    assert ferry.names() == []


def test_another_seed_gives_other_draws(ferry):
    first = ferry("sweep", "study.yaml", "--list").stdout
    assert ferry("sweep", "study.yaml", "--list", "--seed", "7").stdout == first  # the file's own
    assert ferry("sweep", "study.yaml", "--list", "--seed", "8").stdout != first


def test_claims_say_what_holds_on_which_basis_and_whether_it_is_robust(ferry):
    result = ferry("sweep", "study.yaml", "--out", "out", "--quiet", "--no-plots")
    assert result.returncode == 0, result.stderr
    assert "2 of 2 claims hold" in result.stdout
    table = rows(ferry.folder / "out" / "claims.csv")
    assert list(table[0]) == ["id", "text", "source", "expected", "got", "holds", "basis",
                              "robust", "reason"]
    assert [(r["id"], r["holds"], r["basis"], r["robust"]) for r in table] == [
        ("T1", "yes", "predicted", "yes"), ("T2", "yes", "fitted", "yes")
    ]


def test_a_missed_claim_ends_with_1_and_its_constant_is_named(ferry):
    # Just above what rdma needs, so that half or double of an assumed constant decides.
    assert ferry("sweep", "study.yaml", *OPTIONS).returncode == 0
    cells = rows(ferry.folder / "out" / "cells.csv")
    slowest = max(float(c["total_seconds"]) for c in cells)
    change(ferry, "study.yaml", claims=[
        {"id": "T3", "text": "fast", "source": "chosen", "metric": "total_seconds",
         "every_cell": {"below": f"{slowest + 0.01:.3f}s"}},
        {"id": "T4", "text": "too fast", "source": "chosen", "metric": "total_seconds",
         "every_cell": {"below": "10ms"}, "note": "it is not"},
    ])
    result = ferry("sweep", "study.yaml", "--out", "again", "--quiet", "--no-plots")
    assert result.returncode == 1
    first, second = rows(ferry.folder / "again" / "claims.csv")
    assert first["holds"] == "yes"
    assert first["robust"].startswith("no: ") and "hypervisor.clean_up doubled" in first["robust"]
    assert second["holds"] == "not reproduced" and second["robust"] == "yes"
    assert second["reason"].startswith("it is not (")


def test_an_existing_folder_is_refused_unless_it_is_resumed(ferry):
    assert ferry("sweep", "study.yaml", *OPTIONS).returncode == 0
    before = tables(ferry.folder / "out")
    result = ferry("sweep", "study.yaml", *OPTIONS)
    assert result.returncode == 2
    assert "out: exists already" in result.stderr
    assert tables(ferry.folder / "out") == before


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() if path.is_file() else None
            for path in folder.rglob("*")}


def test_no_sweep_goes_on_in_the_folder_of_a_run(ferry):
    assert ferry("run", "four.yaml", "--out", "out", "--quiet").returncode == 0
    before = contents(ferry.folder / "out")
    result = ferry("sweep", "study.yaml", *OPTIONS, "--resume")
    assert result.returncode == 2
    assert result.stderr == ("ferry: out: is no folder of a sweep: it is the folder of a run; nothing is ever "
                             "overwritten, --out names another folder\n")
    assert contents(ferry.folder / "out") == before


@pytest.mark.parametrize(("files", "why"), [
    ({"cells.csv": "x,y\n1,2\n", "claims.csv": "mine\n"}, "it has neither run.json nor cells/"),
    ({"notes.txt": "mine"}, "it has neither run.json nor cells/"),
    ({"run.json": "{}"}, "its run.json is not one of a study"),
    ({"run.json": "[1"}, "its run.json is not one of a study"),
    ({"cells": "mine"}, "it has neither run.json nor cells/"),
    ({"cells/blood.csv": "mine"}, "cells/blood.csv is no cell"),
    ({"cells/cell-0000/a": "", "cells.csv": "x,y\n1,2\n"}, "its cells.csv is not as ferry writes it"),
    ({"cells/cell-0000/a": "", "claims.csv": ""}, "its claims.csv is not as ferry writes it"),
])
def test_no_sweep_goes_on_in_a_folder_that_ferry_did_not_make(ferry, files, why):
    out = ferry.folder / "out"
    for name, text in files.items():
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).write_text(text)
    before = contents(out)
    result = ferry("sweep", "study.yaml", *OPTIONS, "--resume")
    assert result.returncode == 2
    assert result.stderr.startswith(f"ferry: out: is no folder of a sweep: {why}; ")
    assert contents(out) == before


@pytest.mark.parametrize("left", [
    [],  # the folder was made
    ["cells"],
    ["cells", "cells/cell-0003.partial"],
    ["cells", "study.yaml", "cells.csv.partial"],  # all cells failed
])
def test_what_an_early_kill_left_is_gone_on_with(ferry, left):
    out = ferry.folder / "out"
    out.mkdir()
    for name in left:
        (out / name).mkdir() if name.startswith("cells") and "csv" not in name else (out / name).write_text("")
    result = ferry("sweep", "study.yaml", *OPTIONS, "--resume")
    assert result.returncode == 0, result.stderr
    assert len(rows(out / "cells.csv")) == 8


def test_resuming_runs_what_is_missing_and_gives_the_same_tables(ferry):
    assert ferry("sweep", "study.yaml", *OPTIONS).returncode == 0
    before = tables(ferry.folder / "out")
    kept = ferry.folder / "out" / "cells" / "cell-0001" / "run.json"
    stamp = kept.read_bytes()
    cells = sorted(path.name for path in (ferry.folder / "out" / "cells").iterdir())
    shutil.rmtree(ferry.folder / "out" / "cells" / cells[-1])
    (ferry.folder / "out" / "cells" / f"{cells[-1]}.partial").mkdir()
    (ferry.folder / "out" / "cells.csv").unlink()
    result = ferry("sweep", "study.yaml", *OPTIONS, "--resume")
    assert result.returncode == 0, result.stderr
    assert "7 kept from before" in result.stdout
    assert tables(ferry.folder / "out") == before
    assert kept.read_bytes() == stamp


def test_resuming_another_study_is_refused(ferry):
    assert ferry("sweep", "study.yaml", *OPTIONS).returncode == 0
    before = tables(ferry.folder / "out")
    result = ferry("sweep", "study.yaml", *OPTIONS, "--resume", "--seed", "99")
    assert result.returncode == 2
    assert "another seed" in result.stderr
    result = ferry("sweep", "study.yaml", *OPTIONS, "--resume", "--set", "vms.vm.vcpus=1")
    assert result.returncode == 2
    assert "another scenario or platform" in result.stderr
    assert tables(ferry.folder / "out") == before


def slow_study(ferry, repeat, jobs=2):
    """Cells on threads take about half a second each, so there is time to interrupt."""
    change(ferry, "study.yaml", vary={"vms.vm.count": [1]}, repeat=repeat, claims=[])
    return ["sweep", "study.yaml", *OPTIONS, "--on", "threads", "--speed", "5", "--jobs",
            str(jobs)]


def finished(ferry):
    folder = ferry.folder / "out" / "cells"
    return [p for p in folder.glob("cell-*") if p.suffix == ""] if folder.exists() else []


def wait_until(condition):
    for _ in range(1500):
        if condition():
            return
        time.sleep(0.02)
    pytest.fail("waited in vain")


def group_is_gone(process):
    try:
        os.killpg(process.pid, 0)
    except ProcessLookupError:
        return True
    return False


def test_a_killed_sweep_leaves_no_process_and_can_be_resumed(ferry):
    command = slow_study(ferry, 6)
    process = ferry.start(*command)
    wait_until(lambda: len(finished(ferry)) >= 2)
    process.kill()
    process.communicate()
    wait_until(lambda: group_is_gone(process))
    assert not (ferry.folder / "out" / "run.json").exists()
    for folder in finished(ferry):
        assert (folder / "run.json").exists()
    result = ferry(*command, "--resume")
    assert result.returncode == 0, result.stderr
    assert "kept from before" in result.stdout
    assert len(finished(ferry)) == 6
    assert not list((ferry.folder / "out" / "cells").glob("*.partial"))


@pytest.mark.parametrize("seed", range(4))
def test_killed_at_random_moments_and_resumed_it_gives_the_tables_of_an_undisturbed_sweep(ferry, seed):
    # Faults among it, so that cells have more to tell than that all went well.
    change(ferry, "four.yaml", faults=[{"at": "100ms", "slow_link": "host0", "factor": "50%"},
                                       {"journal": 9, "controller_down": "1s", "last_record": "torn"}])
    change(ferry, "study.yaml", repeat=3)
    command = ["sweep", "study.yaml", "--quiet", "--no-plots", "--jobs", "2"]
    begun = time.monotonic()
    undisturbed = ferry(*command, "--out", "undisturbed")
    took = time.monotonic() - begun
    assert undisturbed.returncode in (0, 1), undisturbed.stderr
    expected = tables(ferry.folder / "undisturbed")
    moments = random.Random(seed)
    for _ in range(3):
        process = ferry.start(*command, "--out", "out", "--resume")
        time.sleep(moments.uniform(0, took))
        if moments.random() < 0.5:
            process.kill()  # its workers find out
        else:
            try:
                os.killpg(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass  # it had ended
        process.communicate()
        wait_until(lambda: group_is_gone(process))
    result = ferry(*command, "--out", "out", "--resume")
    assert result.returncode == undisturbed.returncode, result.stderr
    assert tables(ferry.folder / "out") == expected
    assert not list((ferry.folder / "out").rglob("*.partial"))


@pytest.mark.parametrize("ended_by", [signal.SIGKILL, signal.SIGINT])
def test_tables_of_the_cells_are_there_before_constants_are_halved_and_doubled(ferry, ended_by):
    change(ferry, "study.yaml", repeat=10)
    command = ["sweep", "study.yaml", "--out", "out", "--no-plots", "--jobs", "1"]
    out = ferry.folder / "out"
    process = ferry.start(*command)
    wait_until(lambda: (out / "claims.csv").exists())
    os.killpg(process.pid, ended_by)
    _, errors = process.communicate(timeout=60)
    assert not (out / "sensitivity.csv").exists()
    assert (out / "run.json").exists() == (ended_by == signal.SIGINT)
    assert len(rows(out / "cells.csv")) == 40
    assert [(row["id"], row["holds"], row["robust"]) for row in rows(out / "claims.csv")] == [
        ("T1", "yes", ""), ("T2", "yes", "")]
    wait_until(lambda: group_is_gone(process))
    result = ferry(*command, "--resume")
    assert result.returncode == 0, result.stderr
    assert "40 kept from before" in result.stdout
    assert "runs with assumed constants halved and doubled" in result.stderr
    assert {row["robust"] for row in rows(out / "claims.csv")} == {"yes"}
    assert (out / "sensitivity.csv").exists() and (out / "run.json").exists()


def test_after_the_first_interrupt_running_cells_finish(ferry):
    command = slow_study(ferry, 20)
    process = ferry.start(*command)
    wait_until(lambda: len(finished(ferry)) >= 1)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the whole group
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "--resume --out out" in output
    cells = rows(ferry.folder / "out" / "cells.csv")
    complete = [c for c in cells if c["outcome"] == "completed"]
    assert len(cells) == 20
    assert 1 <= len(complete) < 20
    assert {c["outcome"] for c in cells} == {"completed", "not_started"}
    assert len(finished(ferry)) == len(complete)
    assert not list((ferry.folder / "out" / "cells").glob("*.partial"))


def test_after_the_second_interrupt_running_cells_are_given_up(ferry):
    command = slow_study(ferry, 20)
    process = ferry.start(*command, "--set", "migrations.leave.at=600s")
    partial = lambda: list((ferry.folder / "out" / "cells").glob("*.partial"))
    wait_until(lambda: len(partial()) == 2)
    os.killpg(process.pid, signal.SIGINT)
    time.sleep(0.3)
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert group_is_gone(process)
    outcomes = [c["outcome"] for c in rows(ferry.folder / "out" / "cells.csv")]
    assert outcomes.count("cancelled") == 2
    assert partial() == []


def test_a_cell_whose_migration_fails_does_not_stop_the_others(ferry):
    migration = {**ferry.read_yaml("four.yaml")["migrations"][0], "vms": "vm0"}
    change(ferry, "four.yaml", migrations=[migration],
           faults=[{"phase": "attach_vf", "vm": "vm0", "fail": "always"}])
    change(ferry, "study.yaml", vary={"vms.vm.count": [2, 3]}, repeat=1, claims=[])
    result = ferry("sweep", "study.yaml", *OPTIONS)
    assert result.returncode == 1
    cells = rows(ferry.folder / "out" / "cells.csv")
    assert len(cells) == 2
    for cell in cells:
        assert cell["outcome"] not in ("", "completed") and cell["reason"] != ""
        assert (ferry.folder / "out" / "cells" / cell["cell"] / "run.json").exists()


def test_a_cell_whose_job_fails_is_no_completed_one(ferry):
    scenario = ferry.read_yaml("four.yaml")
    change(ferry, "four.yaml",
           cluster={"hosts": [{**scenario["cluster"]["hosts"][0], "count": 3}]},
           vms=[{**scenario["vms"][0], "count": 2, "on": "host[0-1]"}],
           jobs=[{"name": "lu", "on": {"vms": "vm"}, "ranks": 1, "strategy": "progress_engine",
                  "workload": {"type": "iterate", "compute": "100ms", "collective": "allreduce", "message": "8B",
                               "iterations": 1000}}],
           migrations=[{**scenario["migrations"][0], "vms": "vm0", "to": "host2"}],
           faults=[{"at": "30s", "host_down": "host1"}])
    change(ferry, "study.yaml", vary={"migrations.leave.transport": ["tcp", "rdma"]}, repeat=1, claims=[])
    result = ferry("sweep", "study.yaml", *OPTIONS)
    assert result.returncode == 1, result.stdout + result.stderr
    for cell in rows(ferry.folder / "out" / "cells.csv"):
        assert cell["outcome"] == "failed"
        assert cell["reason"].startswith("lu: ")
        assert rows(ferry.folder / "out" / "cells" / cell["cell"] / "migrations.csv")[0]["outcome"] == "completed"


def test_a_cell_that_takes_too_long_is_given_up_and_the_others_run(ferry):
    change(ferry, "study.yaml", vary={"migrations.leave.at": ["10ms", "600s"]}, repeat=1, claims=[])
    result = ferry("sweep", "study.yaml", *OPTIONS, "--on", "threads", "--speed", "20",
                   "--cell-timeout", "3s", "--jobs", "2", "--set", "vms.vm.count=1")
    assert result.returncode == 1
    first, second = rows(ferry.folder / "out" / "cells.csv")
    assert first["outcome"] == "completed"
    assert second["outcome"] == "failed"
    assert second["reason"] == "the cell's process took longer than it may"
    assert second["total_seconds"] == ""
    assert [p.name for p in finished(ferry)] == [first["cell"]]
    # Resuming tries the failed cell again and keeps the other.
    result = ferry("sweep", "study.yaml", *OPTIONS, "--on", "threads", "--speed", "20", "--resume",
                   "--cell-timeout", "1s", "--set", "vms.vm.count=1")
    assert "1 kept from before" in result.stdout


def test_a_cell_killed_by_a_signal_is_said(ferry):
    command = slow_study(ferry, 2, jobs=1)
    process = ferry.start(*command, "--set", "migrations.leave.at=600s")
    wait_until(lambda: list((ferry.folder / "out" / "cells").glob("*.partial")))
    children = open(f"/proc/{process.pid}/task/{process.pid}/children").read().split()
    os.kill(int(children[0]), signal.SIGSEGV)
    wait_until(lambda: (ferry.folder / "out" / "cells" / "cell-0001.partial").exists())
    os.killpg(process.pid, signal.SIGINT)
    time.sleep(0.3)
    os.killpg(process.pid, signal.SIGINT)
    process.communicate(timeout=60)
    first = rows(ferry.folder / "out" / "cells.csv")[0]
    assert first["outcome"] == "failed"
    assert first["reason"] == "the cell's process was killed by signal 11 (Segmentation fault)"


def test_plots_of_the_study_are_drawn(ferry):
    change(ferry, "study.yaml", plots=["breakdown"])
    result = ferry("sweep", "study.yaml", "--out", "out", "--quiet", "--no-sensitivity")
    assert result.returncode == 0, result.stderr
    assert (ferry.folder / "out" / "plots" / "breakdown.png").exists()


def test_sensitivity_has_each_claim_as_it_is_and_at_half_and_double_of_each_constant(ferry):
    result = ferry("sweep", "study.yaml", "--out", "out", "--quiet", "--no-plots")
    assert result.returncode == 0, result.stderr
    table = rows(ferry.folder / "out" / "sensitivity.csv")
    assert list(table[0]) == ["claim", "quantity", "constant", "factor", "low", "high", "least",
                              "greatest", "holds", "reason"]
    cells = rows(ferry.folder / "out" / "cells.csv")
    first = table[0]
    assert (first["claim"], first["constant"], first["factor"]) == ("T1", "", "1")
    assert float(first["high"]) == pytest.approx(max(float(c["total_seconds"]) for c in cells))
    assert (first["least"], first["greatest"]) == ("", "60")
    rest = [row for row in table if row["claim"] == "T1"][1:]
    assert {row["factor"] for row in rest} == {"0.5", "2"}
    finish = {row["factor"]: float(row["high"]) for row in rest
              if row["constant"] == "platform.hypervisor.finish"}
    assert finish["0.5"] < float(first["high"]) < finish["2"]
    assert all(row["reason"] for row in table if row["holds"] == "")


def test_without_sensitivity_there_is_no_such_table(ferry):
    assert ferry("sweep", "study.yaml", *OPTIONS).returncode == 0
    assert not (ferry.folder / "out" / "sensitivity.csv").exists()


def test_curves_sensitivity_and_the_page_of_a_study_are_drawn(ferry):
    change(ferry, "study.yaml", plots=["curve", "sensitivity", "report"])
    result = ferry("sweep", "study.yaml", "--out", "out", "--quiet")
    assert result.returncode == 0, result.stderr
    plots = ferry.folder / "out" / "plots"
    assert {path.name for path in plots.iterdir()} == {
        "curve.png", "curve.svg", "sensitivity.png", "sensitivity.svg", "report.html"}
    page = (plots / "report.html").read_text()
    assert "small-study" in page and "sensitivity of the claims" in page
    result = ferry("plot", "out", "--kind", "curve", "--x", "vms.vm.count", "--y", "bytes", "--by",
                   "transport", "--data", "--out", "elsewhere")
    assert result.returncode == 0, result.stderr
    drawn = rows(ferry.folder / "elsewhere" / "curve.csv")
    assert [(row["migrations.leave.transport"], row["x"]) for row in drawn] == [
        ("tcp", "1.0"), ("tcp", "2.0"), ("rdma", "1.0"), ("rdma", "2.0")]
    assert all(float(row["low"]) <= float(row["mean"]) <= float(row["high"]) for row in drawn)


def test_a_run_has_a_page_that_knows_its_links(ferry):
    assert ferry("run", "four.yaml", "--out", "run", "--quiet").returncode == 0
    result = ferry("plot", "run", "--kind", "report,links")
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines()[0] == "run/plots/report.html"
    page = (ferry.folder / "run/plots/report.html").read_text()
    assert "host0 out (infiniband)" in page and "not drawn" not in page


def test_without_python_a_sweep_still_ends_well(ferry):
    change(ferry, "study.yaml", plots=["breakdown"])
    result = ferry("sweep", "study.yaml", "--out", "out", "--quiet", "--no-sensitivity",
                   environment={"FERRY_PYTHON": "/nowhere/python3"})
    assert result.returncode == 0
    assert result.stderr.startswith("ferry: no plots: /nowhere/python3 is not there")


def test_two_runs_are_compared(ferry):
    for name in ("a", "b"):
        assert ferry("run", "four.yaml", "--out", name, "--quiet").returncode == 0
    result = ferry("compare", "a", "--with", "b")
    assert result.returncode == 0, result.stderr
    assert "total" in result.stdout
