"""--on hw, --cluster and doctor, as far as they go without libvirt or a host that answers."""

import pytest

NO_LIBVIRT = ("ferry: --on hw: this build has no libvirt backend (it was configured with FERRY_LIBVIRT=OFF, or "
              "libvirt's headers were not there); install libvirt-dev and build again with FERRY_LIBVIRT=ON\n")


@pytest.mark.parametrize("command", ["run", "sweep"])
def test_the_real_world_needs_a_cluster_file(ferry, command):
    result = ferry(command, "hw.yaml", "--on", "hw")
    assert result.returncode == 2
    assert result.stderr == "ferry: --on hw: needs to know the hosts; --cluster FILE would be right\n"
    assert ferry.names() == []


@pytest.mark.parametrize("command", ["run", "sweep"])
@pytest.mark.parametrize("world", [[], ["--on", "threads"]])
def test_a_cluster_file_is_for_the_real_world_alone(ferry, command, world):
    result = ferry(command, "hw.yaml", "--cluster", "cluster.yaml", *world)
    assert result.returncode == 2
    assert result.stderr == "ferry: --cluster cluster.yaml: is for --on hw; leave it out, or write --on hw\n"
    assert ferry.names() == []


@pytest.mark.parametrize("command", [["run"], ["sweep"], ["doctor"]])
def test_a_build_without_libvirt_says_how_to_get_it(ferry, has_libvirt, command):
    if has_libvirt:
        pytest.skip("this build has libvirt")
    world = [] if command == ["doctor"] else ["--on", "hw"]
    result = ferry(*command, "hw.yaml", *world, "--cluster", "cluster.yaml")
    assert result.returncode == 3
    assert result.stderr == NO_LIBVIRT
    assert ferry.names() == []


@pytest.mark.parametrize("command", [["run"], ["sweep"]])
def test_hosts_that_do_not_answer_are_no_world(ferry, has_libvirt, command):
    if not has_libvirt:
        pytest.skip("this build has no libvirt")
    result = ferry(*command, "hw.yaml", "--on", "hw", "--cluster", "cluster.yaml", "--yes")
    assert result.returncode == 3
    assert "host0" in result.stderr and "host1" in result.stderr
    assert "nothing was touched" in result.stderr
    assert ferry.names() == []


def test_every_error_of_a_cluster_file_is_said_before_anything_else(ferry):
    cluster = ferry.read_yaml("cluster.yaml")
    cluster["hosts"]["host0"]["libvirt"] = "node01"
    cluster["vms"]["vm1"] = {"domian": "hpc-08"}
    ferry.write_yaml("wrong.yaml", cluster)
    for command in (["run", "hw.yaml", "--on", "hw"], ["sweep", "hw.yaml", "--on", "hw"], ["doctor"]):
        result = ferry(*command, "--cluster", "wrong.yaml")
        assert result.returncode == 2
        assert result.stdout == ""
        first, second = result.stderr.splitlines()
        assert first.startswith("wrong.yaml:4:14: hosts.host0.libvirt: 'node01' is no libvirt URI; ")
        assert second == "wrong.yaml:25:5: vms.vm1.domian: unknown key; did you mean 'domain'?"
    assert [name for name in ferry.names() if name != "wrong.yaml"] == []


@pytest.mark.parametrize("command", ["run", "sweep"])
def test_a_scenario_that_does_not_fit_the_cluster_is_bad_input(ferry, command):
    result = ferry(command, "four.yaml", "--on", "hw", "--cluster", "cluster.yaml")
    assert result.returncode == 2
    errors = result.stderr.splitlines()
    assert "cluster.yaml:11:1: vms: the scenario's VM vm2 is not here; add `vm2: {domain: ...}`" in errors
    assert errors[-1] == ("four.yaml:19:51: jobs.lu.strategy: on hw a timed job has no ranks that answer a migration request; "
                          "write strategy: none for a job that does not cooperate, or a workload that sends messages, "
                          "with agents in its VMs")
    assert len(errors) == 6
    assert ferry.names() == []


def test_a_file_that_is_no_cluster_file_is_one_error(ferry):
    result = ferry("run", "hw.yaml", "--on", "hw", "--cluster", "hw.yaml")
    assert result.returncode == 2
    assert result.stderr == ("hw.yaml:2:1: ferry_cluster: this is no cluster file; one begins with "
                             "`ferry_cluster: 1`\n")


def test_doctor_needs_a_cluster_file(ferry):
    result = ferry("doctor", "hw.yaml")
    assert result.returncode == 2
    assert result.stderr == "ferry: --cluster is required; --help shows what is right\n"


def test_doctor_shows_what_the_files_tell(ferry):
    result = ferry("doctor", "hw.yaml", "--cluster", "cluster.yaml")
    assert result.returncode in (1, 3)  # the hosts cannot be reached, or libvirt is not there
    lines = result.stdout.splitlines()
    assert lines[0].split() == ["check", "result", "what", "was", "found"]
    assert "  ok  " in lines[1] and lines[1].endswith("2 hosts, 2 VMs, 8 virtual functions")
    assert lines[2].startswith("scenario fits") and lines[2].endswith("2 VMs, 2 moves")


def test_doctor_shows_every_misfit_with_what_would_put_it_right(ferry):
    result = ferry("doctor", "four.yaml", "--cluster", "cluster.yaml")
    assert result.returncode in (1, 3)
    assert "cluster.yaml:11: vms: the scenario's VM vm2 is not here" in result.stdout
    assert "\nscenario fits: add `vm2: {domain: ...}`\n" in result.stdout
    assert result.stdout.count("scenario fits: write virtual_functions: 4 in the scenario") == 1
    assert "6 failed" in result.stdout or "failed\n" in result.stdout


def test_doctor_reports_a_scenario_without_a_plan(ferry):
    result = ferry("doctor", "full.yaml", "--cluster", "cluster.yaml")
    assert result.returncode in (1, 3)
    assert "vm2 fits on none of its destinations" in result.stdout


def test_check_reads_cluster_files(ferry):
    result = ferry("check", "cluster.yaml")
    assert (result.returncode, result.stdout, result.stderr) == (0, "cluster.yaml: ok\n", "")


def test_a_scenario_is_swept_as_the_study_of_its_one_cell(ferry):
    result = ferry("sweep", "hw.yaml", "--on", "threads", "--speed", "50", "--repeat", "2", "--quiet")
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("exchange: 2 cells, 0 failed\n")
    assert ferry.names() == ["runs"]
    assert (ferry.folder / "runs/exchange-001/cells/cell-0001/run.json").exists()


def test_repetitions_need_something_random_in_simulation_only(ferry, simulation):
    result = ferry("sweep", "hw.yaml", "--repeat", "2")
    assert result.returncode == 2
    assert result.stderr.startswith("--repeat:1:1: repeat: nothing is random in this scenario")
    assert ferry("sweep", "hw.yaml", "--repeat", "2", "--on", "threads", "--list").returncode == 0
    assert ferry("sweep", "hw.yaml", "--repeat", "0").returncode == 2
    assert ferry.names() == []


def test_repeat_overrides_the_study(ferry):
    def cells(*options):
        return len(ferry("sweep", "study.yaml", "--list", *options).stdout.splitlines()) - 1

    assert (cells(), cells("--repeat", "1"), cells("--repeat", "3")) == (8, 4, 12)


def test_check_says_where_repetitions_make_sense(ferry):
    study = {"ferry": 1, "study": "again", "scenario": "hw.yaml", "repeat": 5}
    ferry.write_yaml("again.yaml", study)
    result = ferry("check", "again.yaml")
    assert result.returncode == 0
    assert result.stdout == ("again.yaml: ok; nothing is random, so only a sweep --on hw or threads can repeat its "
                             "cells\n")
