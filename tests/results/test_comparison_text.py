"""Tables of text and sentences, word by word."""

import math

import pandas as pd
import pytest
from conftest import comparison_of

from alutils.results.comparison import Comparison
from alutils.results.comparison_text import (
    gain_text,
    label_table,
    percent_text,
    read_gains,
    read_labels,
    read_near_duplicates,
    saved_text,
    score_table,
)

NAN, INF = math.nan, math.inf
RANDOM = {0: [0.2, 0.4, 0.6], 1: [0.2, 0.4, 0.5], 2: [0.2, 0.4, 0.7]}
BETTER = {seed: [start, middle + 0.1, end + 0.1] for seed, (start, middle, end) in RANDOM.items()}
MIXED = {0: [0.2, 0.55, 0.6], 1: [0.2, 0.3, 0.5], 2: [0.2, 0.4, 0.7]}
WORSE = {seed: [start, middle - 0.1 - seed / 100, end - 0.1] for seed, (start, middle, end) in RANDOM.items()}


@pytest.fixture(scope="module")
def rich() -> Comparison:
    """Return random choice beside a query that is better, one that is like it and one that is worse."""
    curves = {"random": RANDOM, "better": BETTER, "mixed": MIXED, "worse": WORSE}
    return comparison_of(curves, [0.6, 0.5, 0.7], clicks=lambda rows: 1000 * rows["labelled"])


@pytest.mark.parametrize(
    ("numbers", "text"),
    [
        ((0.1, 0.05, 0.15), "+0.1000 [+0.0500, +0.1500]"),
        ((-0.1, -0.25, 0.05), "-0.1000 [-0.2500, +0.0500]"),
        ((0.1, NAN, NAN), "+0.1000"),
        ((NAN, NAN, NAN), ""),
    ],
)
def test_a_gain_stands_with_its_interval(numbers: tuple[float, float, float], text: str):
    assert gain_text(*numbers) == text


@pytest.mark.parametrize(
    ("percent", "text"), [(12.345, "12.3"), (100, "100"), (INF, "not reached"), (-INF, "not reached"), (NAN, "")]
)
def test_percents_have_three_digits_or_say_that_nothing_is_reached(percent: float, text: str):
    assert percent_text(percent) == text


@pytest.mark.parametrize(
    ("saved", "text"),
    [
        ((4.6, 2, 5), "+4.6 [+2, +5]"),
        ((-4.6, -5, 2), "-4.6 [-5, +2]"),
        ((4.6, 2, INF), "+4.6 [+2, +inf]"),
        ((4.6, -INF, INF), "+4.6 [-inf, +inf]"),
        ((4.6, NAN, NAN), "+4.6"),
        ((INF, 2, INF), "random not reached"),
        ((-INF, -INF, 2), "not reached"),
        ((NAN, -INF, INF), "neither reached"),
        ((NAN, NAN, NAN), "neither reached"),
    ],
)
def test_labels_saved_say_who_did_not_reach(saved: tuple[float, float, float], text: str):
    assert saved_text("random", *saved) == text


def test_scores_have_a_row_a_query_and_text_in_each_cell(rich: Comparison):
    table = score_table(rich)
    assert list(table.columns) == [
        "seeds", "area", "gain [95 %]", "sign-flip p", "p, Holm", "verdict", "% of full at 30 %"
    ]  # fmt: skip
    assert list(table.index) == ["better", "mixed", "random", "worse"], "the largest area first"
    assert list(table.loc["better"]) == [
        "3", "0.6000", "+0.1000 [+0.1000, +0.1000]", "0.2500", "<0.0001", "ahead of random", "116.7",
    ]  # fmt: skip
    assert table.loc["mixed", "verdict"] == "undecided"
    assert list(table.loc["random"]) == ["3", "0.5000", "", "", "", "", "100.0"]


def test_scores_at_30_percent_stand_beside_those_of_the_last_round():
    longer = {"random": {seed: [*scores, 0.75] for seed, scores in RANDOM.items()}}
    table = score_table(comparison_of(longer, [0.8]))
    assert list(table.columns) == ["seeds", "area", "% of full at 30 %", "% of full at 40 %"]
    assert list(table.loc["random"]) == ["3", "0.5875", "75.0", "93.8"]


def test_labels_have_a_row_a_query_and_text_in_each_cell(rich: Comparison):
    table = label_table(rich)
    assert list(table.columns) == [
        "% of labels for 90 % of full", "saved [95 %], 90 %", "% of labels for 95 % of full", "saved [95 %], 95 %",
        "clicks for 90 %", "clicks for 95 %", "clicks in all", "seconds to choose", "seconds to train",
    ]  # fmt: skip
    assert list(table.loc["random"]) == ["27", "", "28.5", "", "27,000", "28,500", "30,000", "0.25", "1.50"]
    assert table.loc["worse", "clicks for 90 %"] == "not reached"
    assert list(table.loc["better"])[:2] == ["22", "+5 [+3.33, +6.67]"]
    assert list(table.loc["worse"])[:2] == ["not reached", "not reached"]


def test_gains_are_read_by_verdict(rich: Comparison):
    assert read_gains(rich) == (
        "By area, ahead of random: better (+0.1000 [+0.1000, +0.1000], p <0.0001);"
        " behind random: worse (-0.1050 [-0.1174, -0.0926], p 0.0015);"
        " undecided: mixed (+0.0083 [-0.1480, +0.1646], p 0.8399)."
        " p is corrected after Holm over these queries; as good as: the interval lies within ±0.005."
    )


def test_labels_are_read_where_their_interval_excludes_zero(rich: Comparison):
    assert read_labels(rich) == (
        "% of the labels for 90 % of the full-data result: random 27;"
        " saved: better +5 [+3.33, +6.67], worse not reached."
        " % of the labels for 95 % of the full-data result: random 28.5;"
        " saved: better +5 [+3.33, +8.33], worse not reached."
    )


def test_where_random_does_not_reach_the_labels_of_those_that_do_are_read():
    text = read_labels(comparison_of({"random": WORSE, "better": BETTER, "mixed": MIXED}, [0.7, 0.6, 0.8]))
    assert text.startswith(
        "% of the labels for 90 % of the full-data result: random not reached; reached by: better 26.5."
    )


def test_labels_that_are_not_told_apart_are_not_claimed():
    text = read_labels(comparison_of({"random": RANDOM, "mixed": MIXED}, [0.6, 0.5, 0.7]))
    assert text.count("saved: undecided.") == 2


@pytest.mark.parametrize("curves", [{"random": RANDOM}, {"other": RANDOM, "mixed": MIXED}])
def test_labels_saved_need_a_baseline_and_another_query(curves: dict[str, dict[int, list[float]]]):
    expected = (
        "Labels saved: not known without a full-data result (notebook 04 with query all)"
        " and a seed of the baseline and another query."
    )
    assert read_labels(comparison_of(curves, [0.6])) == expected


def test_near_duplicates_are_read_in_order(acquired: pd.DataFrame):
    text = read_near_duplicates(acquired)
    assert text == "Acquired images that look like one labelled before or with them: vote_entropy 1.0 %, random 4.0 %."
    assert read_near_duplicates(acquired[acquired["what"] == "classes"]) == "Near-duplicates: not sought."
