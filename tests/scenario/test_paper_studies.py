"""The shipped studies: their cells against golden files, their claims, and how many constants are fitted."""

import csv
import re
import subprocess

import pytest

from run_folders import ROOT, load_yaml

STUDIES = ["breakdown", "multi_vm", "rwth_memory"]
GOLDEN = ROOT / "tests/scenario/golden"


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    """Each study swept once, without the runs that halve and double constants."""
    import os

    program = os.environ.get("FERRY_BIN")
    if not program:
        pytest.skip("FERRY_BIN does not name the program")
    folders = {}
    for study in STUDIES:
        folder = tmp_path_factory.mktemp(study) / "out"
        done = subprocess.run([program, "sweep", str(ROOT / f"scenarios/paper/{study}.yaml"), "--out", str(folder), "--quiet", "--no-sensitivity"],
                              capture_output=True, text=True)
        assert done.returncode in (0, 1), done.stderr
        folders[study] = folder
    return folders


def table(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("name", STUDIES)
@pytest.mark.parametrize("part", ["cells", "claims"])
def test_a_shipped_study_gives_what_it_gave(swept, name, part, request):
    got = (swept[name] / f"{part}.csv").read_text()
    golden = GOLDEN / f"{name}.{part}.csv"
    if request.config.getoption("--update-golden"):
        GOLDEN.mkdir(exist_ok=True)
        golden.write_text(got)
    assert got == golden.read_text(), f"{golden.name} differs; if that is meant, run pytest with --update-golden"


@pytest.mark.parametrize("name", STUDIES)
def test_every_picture_that_a_study_names_is_drawn(swept, name):
    for plot in load_yaml(ROOT / f"scenarios/paper/{name}.yaml")["plots"]:
        for kind in ("png", "svg"):
            assert (swept[name] / "plots" / f"{plot}.{kind}").stat().st_size > 1000


def test_the_other_sizes_are_predicted_within_six_percent(swept):
    claims = {row["id"]: row for row in table(swept["rwth_memory"] / "claims.csv")}
    predicted = [row for row in claims.values() if row["basis"] == "predicted"]
    assert len(predicted) == 8
    assert all(row["holds"] == "yes" for row in predicted)


def fitted(node, path=""):
    if isinstance(node, dict):
        if node.get("kind") == "fitted":
            yield path, node.get("to")
        else:
            for key, child in node.items():
                yield from fitted(child, f"{path}.{key}" if path else key)


def test_fitted_constants_are_few_name_their_claims_and_live_in_platform_files():
    found = {}
    for platform in sorted((ROOT / "scenarios/platforms").glob("*.yaml")):
        for path, claims in fitted(load_yaml(platform)):
            assert claims, f"{platform.name}: {path} does not say which claims it was fitted to"
            found[f"{platform.stem}: {path}"] = claims
    for study in (ROOT / "scenarios").glob("*/*.yaml"):
        if study.parent.name != "platforms":
            assert not list(fitted(load_yaml(study))), study
    # The lab's platform serves no paper study.
    of_papers = [name for name in found if not name.startswith("lab-tcg")]
    words = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
    told = re.search(r"Over all paper studies (\w+) constants are \*fitted\*", (ROOT / "README.md").read_text())
    assert told and words.index(told[1]) == len(of_papers), of_papers


@pytest.mark.parametrize("kind", ["scenario", "study", "platform", "cluster"])
def test_the_shipped_schema_is_what_the_program_prints(ferry, kind):
    printed = subprocess.run([ferry, "schema", kind], capture_output=True, text=True, check=True).stdout
    assert (ROOT / f"scenarios/schema/{kind}.json").read_text() == printed
