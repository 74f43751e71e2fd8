"""What `phase_load.py` makes of a run and of the machine's processor time. No lab is needed."""

import time

import pytest

import phase_load


def used(*samples):
    result = phase_load.ProcessorTime()
    result.times, result.used = map(list, zip(*samples))
    return result


def test_processor_time_between_samples_is_in_proportion():
    seen = used((10.0, 1.0), (10.1, 1.2), (10.3, 1.2))
    assert [seen.at(when) for when in (9.0, 10.05, 10.2, 11.0)] == pytest.approx([1.0, 1.1, 1.2, 1.2])


def test_steps_are_cores_and_half_a_core_is_busy():
    # Of five steps two with 1.6 cores, one with 0.5, and two with 0.1, which is what idles; the sixth is no whole one.
    seen = used((0.0, 0.0), (0.02, 0.032), (0.03, 0.037), (0.055, 0.0395))
    steps = phase_load.steps(seen, 0.0, 0.055, idle=0.1)
    assert steps == pytest.approx([1.5, 1.5, 0.4, 0.0, 0.0])
    assert phase_load.busy(steps) == "40% | 1.50"
    assert phase_load.busy([0.1, 0.2]) == "- | -"


def test_the_machine_counts_what_is_computed():
    with phase_load.ProcessorTime() as seen:
        begin = time.time()
        end = time.process_time() + 0.3
        while time.process_time() < end:
            pass
        took = time.time() - begin
    assert seen.at(begin + took) - seen.at(begin) >= 0.25


def test_phases_of_a_run_on_the_clock_of_the_machine(tmp_path):
    (tmp_path / "journal").write_text("1 3afecede controller 1 4749679 1795441875941078487\n2 702674ab wave 1 opens 5696521\n")
    (tmp_path / "spans.csv").write_text(
        "vm,phase,host,start_seconds,end_seconds,outcome\n"
        "vm0,detach_vf,host0,0.5,0.6,completed\n"
        "vm0,remove_ivshmem,host0,0.51,0.58,completed\n"
        "vm0,migration,host0,0.6,1.25,completed\n"
        "vm0,set_pre_migration,host1,3,3.125,completed\n"
        "vm0,migration,host1,3.5,4,completed\n"
    )
    assert phase_load.began(tmp_path) == pytest.approx(1795441875.936328808, abs=1e-6)
    assert phase_load.intervals(tmp_path) == {
        "set_pre": [(3.0, 3.125)], "unplug": [(0.5, 0.6)], "migration": [(0.6, 1.25), (3.5, 4.0)],
    }  # fmt: skip
