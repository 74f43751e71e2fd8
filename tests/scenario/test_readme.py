"""The commands and the examples of the READMEs work as they stand."""

import os
import re
import shutil
import subprocess

import pytest

from run_folders import ROOT


def blocks(path, language):
    found = re.findall(r"^```(\w*)\n(.*?)^```$", path.read_text(), flags=re.S | re.M)
    return [text for name, text in found if name == language]


@pytest.fixture
def workplace(ferry, tmp_path):
    """A folder with the example files of the READMEs, and `ferry` on the path."""
    scenario, study, cluster = blocks(ROOT / "scenarios/README.md", "yaml")
    shutil.copytree(ROOT / "scenarios/platforms", tmp_path / "platforms")
    (tmp_path / "my.yaml").write_text(scenario)
    (tmp_path / "drain-one-host.yaml").write_text(scenario)
    (tmp_path / "my-study.yaml").write_text(study)
    (tmp_path / "our-cluster.yaml").write_text(cluster)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/ferry").symlink_to(ferry)
    return tmp_path


def test_every_ferry_command_of_the_readme_runs(workplace):
    text = "".join(block for block in blocks(ROOT / "README.md", "sh") if "ferry " in block)
    commands = [line.split("#")[0].strip() for line in text.splitlines() if line.startswith("ferry ")]
    assert len(commands) >= 8
    environment = {**os.environ, "PATH": f"{workplace / 'bin'}:{os.environ['PATH']}", "FERRY_ANALYSIS": str(ROOT / "analysis")}
    names = {"RUN_OR_STUDY": "runs/drain-one-host-001", "compare A --with B": "compare runs/drain-one-host-001 --with runs/drain-one-host-001"}
    for command in commands:
        for placeholder, name in names.items():
            command = command.replace(placeholder, name)
        done = subprocess.run(command, shell=True, cwd=workplace, env=environment, capture_output=True, text=True)
        # A study's claims may be missed: the example's are made up.
        assert done.returncode in ((0, 1) if "sweep" in command else (0,)), f"{command}\n{done.stdout}{done.stderr}"


def test_the_cluster_file_of_the_readme_is_right(workplace, ferry):
    done = subprocess.run([ferry, "check", "our-cluster.yaml"], cwd=workplace, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "our-cluster.yaml: ok\n", "")


def test_the_outputs_shown_in_the_readme_are_what_the_program_prints(ferry, tmp_path):
    shown = [block.strip() for block in blocks(ROOT / "README.md", "") if " cells, 0 failed" in block]
    studies = {"paper/breakdown": [], "paper/multi_vm": [], "paper/rwth_memory": [], "studies/compute-slice": ["--no-sensitivity"]}
    assert len(shown) == len(studies)
    for (study, options), block in zip(studies.items(), shown):
        done = subprocess.run([ferry, "sweep", str(ROOT / f"scenarios/{study}.yaml"), "--out", str(tmp_path / study.replace("/", "-")), "--quiet", "--no-plots", *options],
                              capture_output=True, text=True)
        assert done.stdout.split("\nfolder:")[0].strip() == block
