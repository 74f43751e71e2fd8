"""The kind `links`."""

import json

import numpy as np
import pytest

import synthetic
from test_plot import assert_no_overlap
from ferry_analysis.load import InputError, open_folder
from ferry_analysis.plot import links


def drawn(folder):
    return links.picture(open_folder(folder))


def test_each_row_is_a_link_and_each_shade_what_it_carried(run):
    synthetic.add_links(run, {"host1 in": [0, 0.5, 0.25], "host0 out": [1, 0, 0.75, 0.1]})
    picture = drawn(run)
    axes = picture.figure.axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["host0 out", "host1 in"]
    # Nothing was sent in intervals that the table does not have.
    assert axes.images[0].get_array().tolist() == [[1, 0, 0.75, 0.1], [0, 0.5, 0.25, 0]]
    assert list(axes.images[0].get_extent()) == [0, 2, 1.5, -0.5]
    assert list(picture.data.drop_duplicates("row")["mean_utilisation"]) == [0.4625, 0.1875]
    assert {"46 %", "19 %"} <= {text.get_text() for text in axes.texts}


def test_only_the_most_loaded_links_are_drawn(run):
    usage = {f"host{index} out": [index / 100] for index in range(1, 61)}
    synthetic.add_links(run, usage)
    picture = drawn(run)
    assert picture.data["row"].max() == links.ROWS - 1
    assert picture.data["link"].iloc[0] == "host60 out"
    assert any("the 24 most loaded of 60" in text.get_text() for text in picture.figure.texts)


@pytest.mark.parametrize("count", [1, 2, 60])
def test_no_texts_overlap(run, count):
    random = np.random.default_rng(1)
    usage = {f"a-host-with-a-long-name{index} out": random.random(90).round(4) for index in range(count)}
    synthetic.add_links(run, usage)
    assert_no_overlap(drawn(run).figure)


def test_a_run_without_links_says_why(run, transports):
    with pytest.raises(InputError) as error:
        drawn(run)
    assert str(error.value) == (
        f"{run}: links were not recorded (outputs.links is false, or an older version ran); "
        "links needs a simulated run in which memory moves"
    )
    info = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps({**info, "world": "hw"}))
    with pytest.raises(InputError) as error:
        drawn(run)
    assert "what links carry is known in simulations only" in str(error.value)
    with pytest.raises(InputError) as error:
        drawn(transports)
    assert "is a study; links draws one run, such as" in str(error.value)
