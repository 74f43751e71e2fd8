"""Help, versions, wrong arguments and wrong files."""

import json

import pytest

COMMANDS = ["check", "plan", "run", "resume", "status", "cancel", "sweep", "compare", "calibrate",
            "explain", "plot", "doctor", "schema"]


def test_help_lists_the_commands_of_this_version_with_examples(ferry):
    result = ferry("--help")
    assert result.returncode == 0
    for command in COMMANDS:
        assert f"\n  {command}" in result.stdout
    assert "Examples:" in result.stdout
    assert result.stderr == ""


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(ferry, command):
    result = ferry(command, "--help")
    assert result.returncode == 0
    assert "xample" in result.stdout
    assert f"ferry {command}" in result.stdout


def test_version_names_the_worlds(ferry):
    result = ferry("--version")
    assert result.returncode == 0
    assert result.stdout.startswith("ferry 0.")
    assert "threads" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["rnu", "four.yaml"], "ferry: rnu is not a command; did you mean run?\n"),
        (["frobnicate"], "ferry: frobnicate is not a command; one of check, plan, explain, run, resume, "
                         "status, cancel, sweep, compare, calibrate, plot, doctor, schema would be right\n"),
        ([], "ferry: A subcommand is required; --help shows what is right\n"),
        (["run"], "ferry: scenario is required; --help shows what is right\n"),
        (["run", "four.yaml", "--set", "seed"],
         "ferry: --set seed: is not PATH=VALUE; vms.vm.count=8 would be right\n"),
        (["run", "four.yaml", "--seed", "-1"],
         "ferry: --seed: '-1' is negative; write a whole number from 0 to 18446744073709551615; --help shows what "
         "is right\n"),
        (["plan", "four.yaml", "--seed=-1"], None),
        (["sweep", "study.yaml", "--list", "--seed", "18446744073709551616"],
         "ferry: --seed: '18446744073709551616' is too large; write a whole number from 0 to 18446744073709551615; "
         "--help shows what is right\n"),
        (["check", "four.yaml", "--seed", "1.5"],
         "ferry: --seed: '1.5' is not a whole number; write a whole number from 0 to 18446744073709551615; --help "
         "shows what is right\n"),
        (["run", "four.yaml", "--speed", "5"],
         "ferry: --speed: only a rehearsal has a speed; leave it out, or write --on threads\n"),
        (["sweep", "study.yaml", "--on", "hw", "--cluster", "cluster.yaml", "--speed", "5"],
         "ferry: --speed: only a rehearsal has a speed; leave it out, or write --on threads\n"),
        (["sweep", "study.yaml", "--speed", "1", "--list"], None),
        (["compare", "a", "--with", "b", "--tolerance", "-5%"],
         "ferry: --tolerance -5%: is not a percentage that is zero or more; 5% would be right\n"),
        (["compare", "a", "--with", "b", "--tolerance=--plot"],
         "ferry: --tolerance --plot: is not a percentage that is zero or more; 5% would be right\n"),
        (["compare", "a", "--with", "b", "--tolerance", "5"],
         "ferry: --tolerance 5: is not a percentage that is zero or more; 5% would be right\n"),
        (["sweep", "study.yaml", "--cell-timeout", "5"], None),
        (["sweep", "study.yaml", "--jobs", "0"], None),
        (["run", "four.yaml", "--on", "moon"], None),
        (["run", "four.yaml", "--speed", "0"], None),
    ],
)
def test_wrong_arguments_end_with_2_and_one_line(ferry, arguments, message):
    result = ferry(*arguments)
    assert result.returncode == 2
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1
    if message:
        assert result.stderr == message
    assert ferry.names() == []


def test_check_says_ok(ferry):
    result = ferry("check", "four.yaml", "study.yaml", "platform.yaml")
    assert result.stderr == ""
    assert result.stdout == "four.yaml: ok\nstudy.yaml: ok\nplatform.yaml: ok\n"
    assert result.returncode == 0


def test_check_lists_every_constant_with_its_source(ferry):
    result = ferry("check", "platform.yaml", "--sources")
    assert result.returncode == 0
    line = next(text for text in result.stdout.splitlines() if "hypervisor.prepare" in text)
    assert "100ms" in line and "fitted to T2" in line and "platform.yaml:5" in line


def test_check_prints_every_error_with_its_place_and_reads_on(ferry):
    result = ferry("check", "bad.yaml", "four.yaml")
    assert result.returncode == 2
    assert result.stdout == "four.yaml: ok\n"
    errors = result.stderr.splitlines()
    assert len(errors) >= 3
    assert all(line.startswith("bad.yaml:") for line in errors)
    assert any(line.startswith("bad.yaml:5:") and "memory" in line for line in errors)
    assert any("colour" in line for line in errors)
    assert any("pigeon" in line for line in errors)


@pytest.mark.parametrize("command", [["check"], ["plan"], ["run", "--on", "threads"]])
def test_a_plan_that_is_impossible_is_bad_input(ferry, command):
    result = ferry(*command, "full.yaml")
    assert result.returncode == 2
    assert result.stdout == ""
    assert result.stderr == (
        "full.yaml: migration leave: vm2 fits on none of its destinations: "
        "target0 has 2 cores free, not 4; target1 has 2 cores free, not 4\n")
    assert ferry.names() == []


@pytest.mark.parametrize("command", ["run", "plan"])
def test_bad_input_ends_with_2_and_writes_nothing(ferry, command):
    result = ferry(command, "bad.yaml")
    assert result.returncode == 2
    assert result.stdout == ""
    assert result.stderr.count("bad.yaml:") >= 3
    assert ferry.names() == []


def test_a_missing_file_is_bad_input(ferry):
    for command in ("run", "plan", "check", "sweep"):
        result = ferry(command, "none.yaml")
        assert result.returncode == 2
        assert "none.yaml" in result.stderr
    assert ferry.names() == []


def test_a_setting_that_matches_nothing_is_bad_input(ferry):
    result = ferry("run", "four.yaml", "--set", "vms.mv.count=2")
    assert result.returncode == 2
    assert "vms.mv.count" in result.stderr
    assert ferry.names() == []


def test_a_bad_study_is_bad_input(ferry):
    result = ferry("sweep", "study.yaml", "--set", "vms.vm.memory=1")
    assert result.returncode == 2
    assert ferry.names() == []


def test_plan_shows_every_move_and_touches_nothing(ferry):
    result = ferry("plan", "four.yaml", "--set", "schedule.order=sequential")
    assert result.returncode == 0
    assert result.stdout.startswith("four-vms: 4 moves in 4 waves, one after the other\n")
    rows = [line.split() for line in result.stdout.splitlines()[3:7]]
    assert [row[:6] for row in rows] == [
        [str(i + 1), f"vm{i}", "host0", "host1", "rdma", "1.000"] for i in range(4)
    ]
    assert all(float(row[6]) > 0.5 for row in rows)
    assert ferry.names() == []


@pytest.mark.parametrize("kind", ["scenario", "study", "platform"])
def test_schema_is_a_json_schema(ferry, kind):
    result = ferry("schema", kind)
    assert result.returncode == 0
    assert json.loads(result.stdout)["$schema"].startswith("https://json-schema.org/")


def test_schema_of_a_scenario_is_the_default(ferry):
    assert ferry("schema").stdout == ferry("schema", "scenario").stdout


def test_without_python_plots_are_refused_in_one_sentence(ferry):
    for arguments in (["plot", "x"], ["compare", "x", "--with", "y"]):
        result = ferry(*arguments, environment={"FERRY_PYTHON": "/nowhere/python3"})
        assert result.returncode == 3
        assert result.stderr.startswith("ferry: /nowhere/python3 is not there, and plots")
        assert result.stderr.count("\n") == 1


def test_a_wrong_place_for_the_analysis_is_said(ferry):
    result = ferry("plot", "x", environment={"FERRY_ANALYSIS": "/nowhere"})
    assert result.returncode == 3
    assert result.stderr == ("ferry: FERRY_ANALYSIS=/nowhere: no folder ferry_analysis in it; "
                             "the folder above it would be right\n")


def test_a_scenario_of_a_million_vms_is_checked(ferry):
    (ferry.folder / "million.yaml").write_text("""\
ferry: 1
name: million
platform: platform.yaml
cluster:
  hosts: [{name: host, count: 100000, cores: 16, memory: 1GiB}]
vms:
  - {name: vm, count: 1000000, on: host, memory: 1MiB, virtual_functions: 0, pages: {zero: 0%}}
migrations:
  - {name: leave, vms: vm, to: any, at: 1s}
""")
    result = ferry("check", "million.yaml")
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout == "million.yaml: ok\n"
