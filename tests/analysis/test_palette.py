from itertools import combinations

import numpy as np
import pytest
from matplotlib.colors import to_rgb

import synthetic
from ferry_analysis import plot
from ferry_analysis.compare import compare
from ferry_analysis.load import PHASES, open_folder
from ferry_analysis.palette import PHASE_COLOURS, SERIES_COLOURS, line_style
from ferry_analysis.plot import compare as compare_plot

# Machado, Oliveira and Fernandes (2009), severity 1, for linear RGB.
VISION = {
    "normal": np.eye(3),
    "protanopia": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216],
         [-0.003882, -0.048116, 1.051998]]
    ),
    "deuteranopia": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413],
         [-0.011820, 0.042940, 0.968881]]
    ),
}
JUST_NOTICEABLE = 2.3  # in CIE L*a*b*


def lab(colour: str, vision: np.ndarray) -> np.ndarray:
    """CIE L*a*b* (D65) of a colour as seen with a vision deficiency."""
    encoded = np.array(to_rgb(colour))
    linear = np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)
    seen = np.clip(vision @ linear, 0, 1)
    to_xyz = np.array(
        [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    )
    ratio = to_xyz @ seen / (to_xyz @ np.ones(3))
    f = np.where(ratio > 0.008856, np.cbrt(ratio), 7.787 * ratio + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def distance(left: str, right: str, vision: np.ndarray) -> float:
    return float(np.linalg.norm(lab(left, vision) - lab(right, vision)))


def test_every_phase_has_a_colour():
    assert tuple(PHASE_COLOURS) == PHASES


@pytest.mark.parametrize("vision", VISION.values(), ids=VISION)
def test_phases_are_told_apart_with_any_colour_vision(vision):
    nearest = min(distance(a, b, vision) for a, b in combinations(PHASE_COLOURS.values(), 2))
    assert nearest > 7 * JUST_NOTICEABLE


@pytest.mark.parametrize("vision", VISION.values(), ids=VISION)
def test_phases_that_touch_in_a_stack_contrast_clearly(vision):
    colours = list(PHASE_COLOURS.values())
    assert min(distance(a, b, vision) for a, b in zip(colours, colours[1:])) > 20 * JUST_NOTICEABLE


def test_a_series_never_has_the_colour_of_a_phase():
    assert not set(SERIES_COLOURS) & set(PHASE_COLOURS.values())


def test_twenty_four_lines_differ_from_each_other():
    assert len({str(line_style(index)) for index in range(24)}) == 24


def test_a_phase_keeps_its_colour_in_every_plot(run, tmp_path):
    folder = open_folder(run)
    other = synthetic.write_run(tmp_path / "other")
    expected = {phase: to_rgb(colour) for phase, colour in PHASE_COLOURS.items()}

    bars = plot.KINDS["breakdown"](folder).figure.axes[0].containers
    drawn = {bar.get_label(): bar.patches[0].get_facecolor()[:3] for bar in bars
             if bar.get_label() in expected}
    assert drawn == expected

    spans = plot.KINDS["timeline"](folder).figure.axes[0].collections
    assert {span.get_label(): tuple(span.get_facecolor()[0][:3]) for span in spans} == expected

    differences = compare([run], [other], 0.05).differences
    stacks, panel = compare_plot.picture(differences, "name", ("A", "B"), 0.05).figure.axes[:2]
    stacked = {to_rgb(bar.get_facecolor()) for bar in stacks.patches}
    assert stacked >= {colour for phase, colour in expected.items() if phase in drawn}
    names = [label.get_text() for label in panel.get_yticklabels()]
    dots = {names[round(line.get_ydata()[0])]: to_rgb(line.get_markerfacecolor())
            for line in panel.lines if line.get_marker() == "o"}
    assert {phase: dots[phase] for phase in PHASES} == expected
