import json

import pytest

import synthetic
from ferry_analysis.load import InputError, Run, Study, open_folder


def message(action) -> str:
    with pytest.raises(InputError) as caught:
        action()
    return str(caught.value)


def test_run_json_says_whether_a_folder_is_a_run_or_a_study(run, transports):
    assert isinstance(open_folder(run), Run)
    assert isinstance(open_folder(transports), Study)


def test_an_empty_field_is_no_value(tmp_path):
    row = synthetic.move("vm0") | {"downtime_seconds": ""}
    moves = open_folder(synthetic.write_run(tmp_path / "run", [row])).migrations
    assert moves["downtime_seconds"].isna().all()
    assert moves["total_seconds"].notna().all()


def test_a_vm_may_be_called_nan(tmp_path):
    moves = open_folder(synthetic.write_run(tmp_path / "run", [synthetic.move("NaN")])).migrations
    assert moves["vm"].tolist() == ["NaN"]


def test_the_varied_paths_stand_between_cell_and_repetition(multi_vm):
    assert open_folder(multi_vm).paths == ("schedule.order", "vms.vm.count")


def test_a_missing_folder_is_named(tmp_path):
    path = tmp_path / "none"
    assert message(lambda: open_folder(path)) == (
        f"{path}: no such folder; a run folder or a study folder would be right"
    )


def test_a_folder_without_run_json_is_no_run(tmp_path):
    assert message(lambda: open_folder(tmp_path)) == (
        f"{tmp_path}: has no run.json; a run folder or a study folder would be right"
    )


def test_broken_json_is_located(run):
    (run / "run.json").write_text('{"kind": "run",\n  oops}', encoding="utf-8")
    assert message(lambda: open_folder(run)) == (
        f"{run}/run.json:2:3: is not valid JSON; a file as ferry wrote it would be right"
    )


def test_an_unknown_kind_of_folder_is_refused(run):
    (run / "run.json").write_text(json.dumps({"kind": "walk"}), encoding="utf-8")
    assert message(lambda: open_folder(run)) == (
        f'{run}/run.json: kind: "walk" is not known; "run" or "study" would be right'
    )


def test_a_missing_file_is_named(run):
    (run / "spans.csv").unlink()
    assert message(lambda: open_folder(run).spans) == (
        f"{run}/spans.csv: no such file; a folder that ferry wrote has one"
    )


def test_an_empty_file_is_not_a_table(run):
    (run / "spans.csv").write_text("", encoding="utf-8")
    assert message(lambda: open_folder(run).spans) == (
        f"{run}/spans.csv: is empty; a header with the columns "
        "vm, phase, host, outcome, start_seconds, end_seconds would be right"
    )


def test_a_missing_column_is_named(run):
    (run / "spans.csv").write_text("vm,phase,host,outcome,end_seconds\n", encoding="utf-8")
    assert message(lambda: open_folder(run).spans) == (
        f"{run}/spans.csv:1: column start_seconds is missing; "
        "the file has vm, phase, host, outcome, end_seconds"
    )


@pytest.mark.parametrize("text", ["soon", "nan", "inf"])
def test_a_field_that_is_no_number_is_located(run, text):
    header = "vm,phase,host,start_seconds,end_seconds,outcome\n"
    (run / "spans.csv").write_text(
        f"{header}vm0,migration,host0,1,2,completed\nvm1,migration,host0,{text},2,completed\n",
        encoding="utf-8",
    )
    assert message(lambda: open_folder(run).spans) == (
        f'{run}/spans.csv:3: start_seconds: "{text}" is not a number; '
        "a number or an empty field would be right"
    )


@pytest.mark.parametrize("row", ["vm0,migration,host0", "vm0,migration,host0,1,2,completed,more"])
def test_a_row_with_the_wrong_number_of_fields_is_located(run, row):
    header = "vm,phase,host,start_seconds,end_seconds,outcome\n"
    (run / "spans.csv").write_text(f"{header}{row}\n", encoding="utf-8")
    assert message(lambda: open_folder(run).spans) == (
        f"{run}/spans.csv:2: has {len(row.split(','))} fields; 6, as in the header, would be right"
    )


def test_broken_yaml_is_located(run):
    (run / "resolved.yaml").write_text("a: [1, 2\nb: 3\n", encoding="utf-8")
    assert message(lambda: open_folder(run).resolved) == (
        f"{run}/resolved.yaml:2:2: is not valid YAML; "
        "the resolved scenario that ferry wrote would be right"
    )


def test_a_study_without_cells_is_refused(transports):
    header = (transports / "cells.csv").read_text(encoding="utf-8").splitlines()[0]
    (transports / "cells.csv").write_text(header + "\n", encoding="utf-8")
    assert message(lambda: open_folder(transports).cells) == (
        f"{transports}/cells.csv: has no rows; at least one finished cell would be right"
    )


def test_on_is_a_key_and_no_is_a_word(run):
    text = (run / "resolved.yaml").read_text() + "\nextra: {on: host0, fail: no, trace: true}\n"
    (run / "resolved.yaml").write_text(text)
    assert open_folder(run).resolved["extra"] == {"on": "host0", "fail": "no", "trace": True}
