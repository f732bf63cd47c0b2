"""The pictures that explain a committee say what the scores say."""

import numpy as np
from matplotlib.figure import Figure

from alutils.results.figures.committee import committee_cases, pixel_cases

SURE, UNSURE = [0.98, 0.01, 0.01], [0.4, 0.3, 0.3]
NAMES = ["car", "road", "sky"]


def titles(figure: Figure) -> list[list[str]]:
    """Return the titles of each column."""
    texts = [axes.get_title() for axes in figure.axes]
    columns = len(texts) // 3
    return [texts[column::columns] for column in range(columns)]


def test_entropies_are_those_worked_out_by_hand():
    cases = {"agree": np.array([SURE, SURE]), "differ": np.array([[1.0, 0, 0], [0, 1.0, 0]])}
    agree, differ = titles(committee_cases(cases, NAMES))
    assert agree == ["agree", "consensus entropy: 0.16 bits", "vote entropy: 0.00 bits"]
    assert differ == ["differ", "consensus entropy: 1.00 bits", "vote entropy: 1.00 bits"]


def test_votes_are_bold_and_only_the_most_probable_classes_are_shown():
    members = np.array([[0.05, 0.6, 0.3, 0.05], [0.05, 0.1, 0.8, 0.05]])
    figure = committee_cases({"case": members}, ["a", "b", "c", "d"])
    assert [label.get_text() for label in figure.axes[0].get_xticklabels()] == ["a", "b", "c"]
    bold = [text.get_text() for text in figure.axes[0].texts if text.get_fontweight() == "bold"]
    assert bold == ["0.60", "0.80"]


def test_three_telling_pixels_are_found():
    pixels = [np.array([SURE, SURE]), np.array([UNSURE, UNSURE]), np.array([SURE, SURE[::-1]])]
    probabilities = np.stack(pixels, axis=2)
    sure, alike, differ = titles(pixel_cases(probabilities, NAMES))
    assert sure[1:] == ["consensus entropy: 0.16 bits", "vote entropy: 0.00 bits"]
    assert alike[1:] == ["consensus entropy: 1.57 bits", "vote entropy: 0.00 bits"]
    assert differ[2] == "vote entropy: 1.00 bits"
