"""The kind `report`: one page, parsed as a browser would."""

import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

import synthetic
from synthetic import HERE, TRANSPORT
from ferry_analysis.intervals import mean_interval
from ferry_analysis.load import open_folder
from ferry_analysis.report.html import Html, joined, tag
from ferry_analysis.report.moves import move_table, slowest, why

COUNT = "vms.vm.count"
EMPTY = {"br", "col", "hr", "meta"}


class Page(HTMLParser):
    """What a page has: elements with their attributes, texts by heading, tables."""

    def __init__(self, path: Path) -> None:
        super().__init__(convert_charrefs=True)
        self.text = path.read_text(encoding="utf-8")
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.open: list[str] = []
        self.sections: dict[str, str] = {}
        self.tables: dict[str, list[list[list[str]]]] = {}
        self._heading: list[str] | None = None
        self._section = ""
        self.feed(self.text)
        self.close()
        assert self.open == [], "every element is closed"

    def handle_starttag(self, name, attributes):
        self.elements.append((name, dict(attributes)))
        if name not in EMPTY:
            self.open.append(name)
        if name == "h2":
            self._heading = []
        elif name == "table":
            self.tables.setdefault(self._section, []).append([])
        elif name == "tr":
            self.tables[self._section][-1].append([])
        elif name in ("td", "th"):
            self.tables[self._section][-1][-1].append("")

    def handle_startendtag(self, name, attributes):
        self.elements.append((name, dict(attributes)))

    def handle_endtag(self, name):
        assert self.open.pop() == name, "elements nest"
        if name == "h2":
            self._section = "".join(self._heading)
            self._heading = None

    def handle_data(self, data):
        if self._heading is not None:
            self._heading.append(data)
        elif "svg" not in self.open and "script" not in self.open and "style" not in self.open:
            self.sections[self._section] = self.sections.get(self._section, "") + data
        if ("td" in self.open or "th" in self.open) and "svg" not in self.open:
            self.tables[self._section][-1][-1][-1] += data

    def rows(self, section: str, index: int = 0) -> list[dict[str, str]]:
        head, *body = self.tables[section][index]
        return [dict(zip(head, row)) for row in body]

    def attributes(self, name: str) -> list[str]:
        return [found[name] for _, found in self.elements if found.get(name)]


def page_of(folder: Path, command) -> Page:
    command("plot", folder, "--kind", "report")
    assert command.status == 0, command.errors
    assert command.output == f"{folder}/plots/report.html\n"
    return Page(folder / "plots" / "report.html")


@pytest.fixture
def hundred(tmp_path):
    """A hundred VMs, of which vm7 is eight times larger, and vm8 failed."""
    moves = [synthetic.move(f"vm{index}", memory_gib=8 if index == 7 else 1) for index in range(100)]
    moves[8].update(outcome="rolled_back", reason="<the> cable & vm8's port")
    resolved = {
        **synthetic.scenario(name="hundred", count=100), "description": "racks <empty> & refill",
        "platform": {
            "name": "bed", "hypervisor": {
                "prepare": {"value": "450ms", "source": "a <slide>", "kind": "fitted", "to": ["C2"]},
                "finish": {"value": "20ms", "source": "a guess", "kind": "assumed"},
            },
        },
    }
    folder = synthetic.write_run(tmp_path / "run", moves, name="hundred", resolved=resolved)
    synthetic.add_links(folder, {"host0 out": [1, 1, 0.9], "host4 in": [0.2, 0.1, 0]})
    gib = synthetic.GIB
    synthetic.add_rounds(folder, {
        f"vm{index}": [(gib * (6 if index == 7 else 1), 5.4 if index == 7 else 1.2)] for index in range(100)
    })
    return folder


@pytest.fixture
def study(tmp_path):
    folder = synthetic.write_study(
        tmp_path / "study", {TRANSPORT: ["tcp", "rdma"], COUNT: ["2", "4", "8"]}, repeat=2, runs=True
    )
    synthetic.add_claims(folder, [
        {"id": "C1", "text": "under 3 s", "basis": "fitted"},
        {"id": "C2", "holds": "not reproduced", "reason": "another adapter", "robust": "no: platform.a halved"},
    ])
    for cell in sorted((folder / "cells").iterdir()):
        synthetic.add_links(cell, {"host0 out": [0.5, 1], "host1 in": [0.1, 0.2]})
    return folder


def test_the_page_needs_nothing_else_and_may_load_nothing(hundred, study, command):
    for folder in (hundred, study):
        page = page_of(folder, command)
        policies = [found for _, found in page.elements if found.get("http-equiv")]
        assert policies[0]["content"].startswith("default-src 'none'; img-src data:;")
        names = {name for name, _ in page.elements}
        assert not names & {"link", "iframe", "object", "embed", "base"}
        assert all(value.startswith("data:") for value in page.attributes("src"))
        for value in page.attributes("xlink:href"):
            assert value.startswith(("#", "data:")), value
        for value in page.attributes("href"):
            assert not re.match(r"[a-z]+:|//", value) or value.startswith("data:"), value
        assert "@import" not in page.text
        assert all(found.startswith("#") for found in re.findall(r"url\(([^)]*)\)", page.text))


def test_every_id_is_there_once_and_every_reference_leads_somewhere(study, command):
    page = page_of(study, command)
    ids = page.attributes("id")
    assert len(ids) == len(set(ids))
    references = [*page.attributes("xlink:href"), *page.attributes("href")]
    wanted = {value[1:] for value in references if value.startswith("#")}
    wanted |= set(re.findall(r"url\(#([^)]*)\)", page.text))
    assert wanted and wanted <= set(ids)


def test_links_to_files_lead_to_files_wherever_the_page_is(hundred, study, tmp_path, command):
    for folder, out in ((hundred, hundred / "plots"), (study, tmp_path / "else" / "where")):
        command("plot", folder, "--kind", "report", "--out", out)
        files = [value for value in Page(out / "report.html").attributes("href") if value[0] != "#"]
        assert files
        for value in files:
            assert (out / value).exists(), value


def test_headings_have_anchors_that_the_contents_list(hundred, command):
    page = page_of(hundred, command)
    headings = [found["id"] for name, found in page.elements if name == "h2"]
    assert headings == ["phases", "over-time", "downtime", "slowest-vms", "links", "failures",
                        "what-was-run", "constants", "how-to-repeat-it"]
    listed = [value[1:] for value in page.attributes("href") if value[0] == "#"]
    assert all(listed.count(heading) == 2 for heading in headings)  # contents, and itself


def test_only_the_slowest_are_listed_and_the_file_with_the_rest_is_named(hundred, command):
    page = page_of(hundred, command)
    rows = page.rows("Slowest VMs")
    assert len(rows) == 20
    assert rows[0]["VM"] == "vm7"
    assert "The 20 longest of 100 moves; all of them are in migrations.csv" in page.sections["Slowest VMs"]


def test_a_slow_move_is_explained_by_what_it_sent_and_how_fast(hundred):
    run = open_folder(hundred)
    moves = move_table(run)
    first = slowest(moves).to_dict("records")[0]
    # 0.9 s + 0.72 s for each GiB: 6.66 s against 1.62 s; 8 GiB against 1; 8 GiB in 5.4 s against 1 in 1.2 s
    assert why(first, moves, run.links) == (
        "migration took 6.660 s (4.1 × the median); 8.59 GB sent (8 × the median); at 1.59 GB/s; "
        "of which 2.15 GB again, dirtied meanwhile; host0 out was full for 1.00 s of the run"
    )
    ordinary = moves[moves["vm"] == "vm1"].to_dict("records")[0]
    assert why(ordinary, moves, run.links).startswith("hardly longer than the others (median ")


def test_a_slow_move_may_have_had_little_bandwidth(tmp_path):
    moves = [synthetic.move(f"vm{index}") for index in range(9)]
    moves[3]["migration_seconds"] = 10.0
    moves[3]["total_seconds"] += 8.38
    folder = synthetic.write_run(tmp_path / "run", moves)
    synthetic.add_rounds(folder, {
        f"vm{index}": [(synthetic.GIB, 9.0 if index == 3 else 1.2)] for index in range(9)
    })
    run = open_folder(folder)
    table = move_table(run)
    assert why(slowest(table).to_dict("records")[0], table, run.links) == (
        "migration took 10.00 s (6.2 × the median); 1.07 GB sent; at 119 MB/s (0.13 × the median)"
    )


def test_texts_of_users_are_escaped(hundred, command):
    page = page_of(hundred, command)
    assert "<empty>" not in page.text and "<the>" not in page.text and "<slide>" not in page.text
    assert "racks <empty> & refill" in page.sections[""]
    assert page.rows("Failures")[0]["reason (of the first)"] == "<the> cable & vm8's port"


def test_constants_stand_with_their_origin(hundred, command):
    page = page_of(hundred, command)
    assert "2 constants say where they come from: 1 fitted, 1 assumed." in page.sections["Constants"]
    assert page.rows("Constants") == [
        {"constant": "platform.hypervisor.finish", "value": "20ms", "kind": "assumed",
         "source": "a guess"},
        {"constant": "platform.hypervisor.prepare", "value": "450ms", "kind": "fitted to C2",
         "source": "a <slide>"},
    ]


def test_the_bottleneck_is_named_with_what_it_needs_at_least(hundred, command):
    page = page_of(hundred, command)
    # 2.9 intervals of half a second at full bandwidth
    assert ("host0 out (ethernet) was 97 % full from the first transfer to the last: in whatever "
            "order, what passed over it takes 1.450 s at least.") in page.sections["Links"]
    assert [row["link"] for row in page.rows("Links")] == ["host0 out", "host4 in"]


def test_a_run_without_links_says_so(run, command):
    assert "Not known: links were not recorded" in page_of(run, command).sections["Links"]


def test_failures_that_differ_in_numbers_alone_are_one_row(tmp_path, command):
    moves = [synthetic.move(f"vm{index}") for index in range(12)]
    for index in range(9):
        moves[index].update(outcome="rolled_back", reason=f"sent {index}.5 MB/s of vm{index}")
    moves[10].update(outcome="lost", reason="gone")
    page = page_of(synthetic.write_run(tmp_path / "run", moves), command)
    assert [(row["how many"], row["end"], row["VMs"]) for row in page.rows("Failures")] == [
        ("9", "rolled_back", "vm0, vm1, vm2, vm3, vm4, vm5, vm6, vm7 and 1 more"), ("1", "lost", "vm10"),
    ]
    assert "10 of 12 moves did not complete." in page.sections["Failures"]


def test_a_run_in_which_nothing_moves_has_a_page(tmp_path, command):
    page = page_of(synthetic.write_run(tmp_path / "run", []), command)
    assert "nothing moved" in page.sections[""]
    assert "Slowest VMs" not in page.sections


def test_a_study_lists_claims_with_their_basis_and_every_cell(study, command):
    page = page_of(study, command)
    first, second = page.rows("Claims")
    assert (first["verdict"], first["basis"], first["robust"]) == ("holds", "fitted", "yes")
    assert (second["verdict"], second["reason"]) == ("not reproduced", "another adapter")
    assert second["robust"] == "no: a halved"
    cells = page.rows("Cells")
    assert len(cells) == 6 and {row["repetitions"] for row in cells} == {"2"}
    table = open_folder(study).cells
    both = table[(table[TRANSPORT] == "tcp") & (table[COUNT] == "2")]["makespan_seconds"]
    mean, low, _ = mean_interval(both)
    assert cells[0]["makespan"] == f"{mean:.3f} s ± {1000 * (mean - low):.0f} ms"
    assert cells[0]["count"] == "2" and cells[0]["transport"] == "TCP"
    assert cells[0]["busiest link, over time"] == "host0 out, 75 %"
    assert "1 of 2 claims hold" in page.sections[""]


def test_a_study_draws_what_fits_it(study, command):
    labels = page_of(study, command).attributes("aria-label")
    assert {"makespan by number of VMs", "makespan over an axis", "time by phase",
            "downtime of the VMs"} < set(labels)
    assert "sensitivity of the claims" not in labels


def test_failed_cells_are_gathered_by_reason(tmp_path, command):
    folder = synthetic.write_study(tmp_path / "s", {COUNT: ["2", "4"]})
    text = (folder / "cells.csv").read_text().replace("completed,", "failed,was killed by signal 11", 1)
    (folder / "cells.csv").write_text(text)
    page = page_of(folder, command)
    assert [row["cells"] for row in page.rows("Failures")] == ["000-0 (count 2)"]
    assert "1 of 2 cells with failures" in page.sections[""]


def test_numbers_sort_by_their_value_and_not_by_their_text(hundred, command):
    page = page_of(hundred, command)
    totals = [float(found["data-v"]) for name, found in page.elements
              if name == "td" and found.get("class") == "number" and found.get("data-v")]
    assert max(totals) > 1e9  # bytes, shown as GB
    heads = [name for name, found in page.elements if name == "button" and found["type"] == "button"]
    assert len(heads) == sum(name == "th" for name, _ in page.elements)


def test_the_colours_of_pictures_follow_the_page(hundred, command):
    page = page_of(hundred, command)
    pictures = re.findall(r"<svg[^>]*class=\"plot\".*?</svg>", page.text, re.DOTALL)
    assert len(pictures) == 4
    for picture in pictures:
        assert "var(--ink)" in picture and "#222222" not in picture and "#ffffff" not in picture
    assert "prefers-color-scheme: dark" in page.text and "@media print" in page.text
    used = set(re.findall(r"var\((--[a-z0-9]+)\)", page.text))
    defined = set(re.findall(r"(--[a-z0-9]+):", page.text))
    assert used <= defined


def test_the_same_run_gives_the_same_page(hundred, tmp_path):
    path = [str(HERE.parents[1] / "analysis"), str(HERE)]
    for out in ("first", "other"):
        subprocess.run(
            [sys.executable, "-B", "-m", "ferry_analysis", "plot", hundred, "--kind", "report",
             "--out", tmp_path / out],
            check=True, env={"PYTHONPATH": ":".join(path), "HOME": str(tmp_path)},
            stdout=subprocess.DEVNULL,
        )
    assert (tmp_path / "first/report.html").read_bytes() == (tmp_path / "other/report.html").read_bytes()


def test_a_page_that_cannot_be_written_is_an_error(run, command):
    (run / "plots").write_text("a file")
    command("plot", run, "--kind", "report")
    assert command.status == 2
    assert command.errors == (
        f"{run}/plots: cannot be written: File exists; "
        "--out with a folder that can be written would be right\n"
    )


def test_elements_escape_texts_and_keep_markup():
    assert tag("p", "a < b & c", tag("b", 'say "x"')) == '<p>a &lt; b &amp; c<b>say "x"</b></p>'
    assert tag("td", 1, class_="number", data_v='"', hidden=True, title=None) == (
        '<td class="number" data-v="&quot;" hidden>1</td>'
    )
    assert tag("br") == "<br>"
    assert joined(["<", [Html("<i>"), None], 2]) == "&lt;<i>2"


def test_a_run_in_which_everything_failed_has_a_page_with_the_reasons(tmp_path, command):
    moves = [synthetic.move("vm0"), synthetic.move("vm1")]
    moves[0].update(outcome="rolled_back", reason="no cable", downtime_seconds="", rounds="")
    seconds = [name for name in moves[1] if name.endswith("_seconds")]
    moves[1].update(dict.fromkeys([*seconds, "bytes", "rounds"], ""), outcome="not_started", reason="no room")
    folder = synthetic.write_run(tmp_path / "run", moves[:1])
    synthetic.write_csv(folder / "migrations.csv", synthetic.MIGRATION_COLUMNS, moves)
    page = page_of(folder, command)
    assert [row["reason (of the first)"] for row in page.rows("Failures")] == ["no cable", "no room"]
    assert [(row["VM"], row["why"]) for row in page.rows("Slowest VMs")] == [("vm0", "no cable")]
    assert "2 of 2 moves failed" in page.sections[""]
    assert "time by phase: not drawn: " in page.sections["Phases"]


@pytest.mark.parametrize("world, text", [("threads", "run on threads"), ("hw", "measured on node01")])
def test_runs_of_other_worlds_have_pages(tmp_path, command, world, text):
    page = page_of(synthetic.write_run(tmp_path / "run", world=world), command)
    assert text in page.sections[""]
    assert "Not known: what links carry is known in simulations only" in page.sections["Links"]
