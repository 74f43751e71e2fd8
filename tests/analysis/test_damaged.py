"""Folders whose CSV files are damaged: one line that says which file and what is wrong, or a picture
of what is there; never a traceback."""

import csv
import io
import shutil

import pytest
from matplotlib.figure import Figure

import synthetic
from synthetic import TRANSPORT

# By which commands each file is read.
READERS = {
    "run/spans": "timeline compare", "run/migrations": "breakdown downtime_cdf compare",
    "run/rounds": "report", "run/jobs": "application compare", "run/ranks": "compare",
    "run/measurements": "latency", "run/summary": "report", "run/links": "links report",
    "run/link_usage": "links", "study/cells": "breakdown curve multi_vm overlap",
    "study/claims": "report", "study/sensitivity": "sensitivity",
    "study/cells/001-1/migrations": "downtime_cdf compare",
}


def write_tables(folder):
    """Every CSV file that a run may have."""
    synthetic.add_links(folder, {"host1 in": [0, 0.5, 0.25], "host0 out": [1, 0, 0.75, 0.1]})
    synthetic.add_rounds(folder, {"vm0": [(2**29, 0.5), (2**20, 0.1)], "vm1": [(2**29, 0.5)]})
    synthetic.add_jobs(folder, [synthetic.job("lu0"), synthetic.job("lu1")])
    synthetic.add_measurements(
        folder, [("lu0", "latency", size, 1e-6 * size) for size in (1, 2, 4)]
        + [("lu0", "latency_exposed", 4, 0.5)],
    )
    columns = ("job", "rank", "requested", "drained", "ready", "blocked_from", "blocked_to")
    synthetic.write_csv(
        folder / "ranks.csv", columns,
        [dict(zip(columns, ("lu0", rank, 1.0, 1.1, 1.2, 1.1, 2.0))) for rank in range(2)],
    )
    synthetic.write_csv(
        folder / "summary.csv", ("metric", "value", "unit", "reason"),
        [{"metric": "makespan_seconds", "value": 2.5, "unit": "s"}, {"metric": "migrations", "value": 2}],
    )
    return folder


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run and a study that have every file."""
    root = tmp_path_factory.mktemp("whole")
    write_tables(synthetic.write_run(root / "run"))
    study = synthetic.write_study(
        root / "study", {TRANSPORT: ["tcp", "rdma"], "vms.vm.count": ["2", "4"]}, repeat=2, runs=True
    )
    synthetic.add_overlap(study, lambda assignment: (0.3, 0.5, 2.0))
    synthetic.add_claims(study, [{"id": "T1"}, {"id": "T2", "holds": "no"}])
    synthetic.add_sensitivity(study, [
        ("T1", "makespan", constant, factor, 1, 3, "", 4, "yes", "")
        for constant, factor in (("", 1), ("platform.mpi.reconnect", 0.5), ("platform.mpi.reconnect", 2))
    ])
    return root


def rows_of(text):
    return list(csv.reader(io.StringIO(text)))


def text_of(rows):
    file = io.StringIO()
    csv.writer(file, lineterminator="\n").writerows(rows)
    return file.getvalue()


def damages(text):
    """Name and text of each way in which a file is damaged."""
    lines = text.splitlines(True)
    middle = len(lines) // 2
    yield "empty", ""
    yield "header cut", lines[0][: len(lines[0]) // 2]
    yield "last newline gone", text[:-1]
    yield "cut in the last field", text[:-2]
    yield "cut in the last field of a row", "".join(lines[: middle + 1])[:-1]
    yield "cut in a first field", "".join(lines[:middle]) + lines[middle][:2]
    yield "cut after the header", lines[0]
    yield "cut after a line", "".join(lines[: middle + 1])
    yield "last line gone", "".join(lines[:-1])
    yield "not text", "\x00\x01" + text
    rows = rows_of(text)
    for column, name in enumerate(rows[0]):
        yield f"without {name}", text_of([row[:column] + row[column + 1 :] for row in rows])
        for value in ("soon", ""):
            changed = [list(row) for row in rows]
            changed[len(rows) // 2][column] = value
            yield f"{name} is {value or 'empty'}", text_of(changed)


CUT = ("empty", "header cut", "last newline gone", "cut in the last field",
       "cut in the last field of a row", "cut in a first field", "not text")
TELLING = ("empty", "cut in a first field")  # through every command; the report reads all files


@pytest.mark.parametrize("file", READERS)
def test_no_damage_ends_in_a_traceback(whole, tmp_path, monkeypatch, command, file):
    monkeypatch.setattr(Figure, "savefig", lambda *_, **__: None)  # what is prepared matters here
    monkeypatch.setattr("ferry_analysis.report.figures.inline_svg", lambda *_: "")
    root, out = tmp_path / "damaged", tmp_path / "out"
    shutil.copytree(whole, root)
    folder, path = root / file.split("/")[0], root / f"{file}.csv"
    for name, text in damages(path.read_text()):
        path.write_text(text)
        kinds = READERS[file].split()
        if name in TELLING:
            kinds += ["report"] if "report" not in kinds else []
        elif name not in CUT:
            kinds = kinds[:1]
        for kind in kinds:
            if kind == "compare":
                command("compare", whole / folder.name, "--with", folder, "--plot", "--out", out)
            else:
                command("plot", folder, "--kind", kind, "--out", out)  # raises where it is a bug
            assert command.status in (0, 1, 2), name
            if name in CUT and kind in READERS[file].split():
                assert (command.status, f"{path}:" in command.errors) == (2, True), (name, kind)


def test_a_file_that_ends_in_the_middle_of_a_line_is_refused(run, command):
    path = run / "migrations.csv"
    text = path.read_text()
    path.write_text(text[:-3])  # as many fields as in the header, and another number
    command("plot", run, "--kind", "breakdown")
    assert command.status == 2
    assert command.errors == (
        f"{path}:3: ends in the middle of a line; a whole file as ferry wrote it would be right\n"
    )


@pytest.mark.parametrize("kind", ["links", "report"])
def test_links_that_are_not_in_both_files_are_named(run, command, kind):
    synthetic.add_links(run, {"host1 in": [0, 0.5, 0.25], "host0 out": [1, 0, 0.75, 0.1]})
    lines = (run / "links.csv").read_text().splitlines(True)
    (run / "links.csv").write_text("".join(lines[:-1]))
    command("plot", run, "--kind", kind)
    assert (command.status, command.output) == (2, "")
    assert command.errors == (
        f'{run}/links.csv: has no link "host1 in" of the network "ethernet", which link_usage.csv '
        "has; both files as ferry wrote them would be right\n"
    )


@pytest.mark.parametrize("kind", ["breakdown", "downtime_cdf", "report", "compare"])
def test_a_run_that_lacks_moves_is_refused(run, tmp_path, command, kind):
    write_tables(run)
    other = tmp_path / "other"
    shutil.copytree(run, other)
    path = run / "migrations.csv"
    path.write_text("".join(path.read_text().splitlines(True)[:-1]))  # cut at the end of a line
    if kind == "compare":
        command("compare", other, "--with", run)
    else:
        command("plot", run, "--kind", kind)
    assert (command.status, command.output) == (2, "")
    assert command.errors == (
        f"{path}: has 1 row, and summary.csv counts 2 migrations; one row a migration would be right\n"
    )


def test_a_run_without_a_summary_is_drawn(run, command):
    assert command("plot", run, "--kind", "breakdown").status == 0
