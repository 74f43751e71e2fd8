"""`ferry plan`: what it says of moves that nothing can help, and of files that are no scenario."""

import pytest


def test_a_plan_says_which_moves_will_not_complete(ferry):
    calm = ferry("plan", "four.yaml")
    assert calm.returncode == 0, calm.stderr
    assert "will not complete" not in calm.stdout
    busy = ferry("plan", "four.yaml", "--set", "vms.vm.pages.idle_dirty_rate=100GB/s",
                 "--set", "vms.vm.pages.working_set=200MiB",
                 "--set", "migrations.*.memory.downtime_limit=5ms")
    assert busy.returncode == 0, busy.stderr
    assert "vm0 will not complete: alone, too, it does not converge in 30 rounds.\n" in busy.stdout
    late = ferry("plan", "four.yaml", "--set", "migrations.*.timeouts.migration=1ms")
    assert "longer than timeouts.migration.\n" in late.stdout
    switched = ferry("plan", "four.yaml", "--set", "migrations.*.timeouts.migration=1ms",
                     "--set", "migrations.*.transport=tcp", "--set", "migrations.*.memory.mode=postcopy",
                     "--set", "platform.hypervisor.postcopy_switch=15ms")
    assert (switched.returncode, "will not complete" in switched.stdout) == (0, False), switched.stderr


@pytest.mark.parametrize(("content", "message"), [
    ("ferry: 1\nstudy: a\nscenario: four.yaml\n",
     "other.yaml:2:1: study: this file is a study; write `ferry sweep FILE`, or the scenario that it varies\n"),
    ("ferry_platform: 1\nname: a\n",
     "other.yaml:1:1: ferry_platform: this file is a platform; write a scenario, which names it by `platform: FILE`\n"),
    ("ferry_cluster: 1\nhosts: {}\n",
     "other.yaml:1:1: ferry_cluster: this file tells a real cluster's hosts; write a scenario, and this one after "
     "--cluster\n"),
])
@pytest.mark.parametrize("command", ["plan", "run"])
def test_a_file_of_another_kind_is_told_in_one_line(ferry, command, content, message):
    (ferry.folder / "other.yaml").write_text(content)
    result = ferry(command, "other.yaml")
    assert (result.returncode, result.stdout, result.stderr) == (2, "", message)
