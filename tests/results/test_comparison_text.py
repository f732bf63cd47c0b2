"""Tables of text and sentences, word by word."""

import math

import numpy as np
import pandas as pd
import pytest
from conftest import comparison_of

from alutils.results.comparison import Comparison
from alutils.results.comparison_text import (
    gain_text,
    label_table,
    percent_text,
    read_class_factors,
    read_classes,
    read_costs,
    read_curves,
    read_gains,
    read_labels,
    read_near_duplicates,
    read_overlaps,
    read_penalties,
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
    assert list(table.columns) == ["seeds", "area", "gain [95 %]", "sign-flip p", "verdict", "% of full at 30 %"]
    assert list(table.index) == ["better", "mixed", "random", "worse"], "the largest area first"
    assert list(table.loc["better"]) == [
        "3", "0.4750", "+0.0750 [+0.0750, +0.0750]", "0.2500", "ahead of random", "116.7",
    ]  # fmt: skip
    assert table.loc["mixed", "verdict"] == "not distinguishable"
    assert list(table.loc["random"]) == ["3", "0.4000", "", "", "", "100.0"]


def test_scores_at_30_percent_stand_beside_those_of_the_last_round():
    longer = {"random": {seed: [*scores, 0.75] for seed, scores in RANDOM.items()}}
    table = score_table(comparison_of(longer, [0.8]))
    assert list(table.columns) == ["seeds", "area", "% of full at 30 %", "% of full at 40 %"]
    assert list(table.loc["random"]) == ["3", "0.4917", "75.0", "93.8"]


def test_labels_have_a_row_a_query_and_text_in_each_cell(rich: Comparison):
    table = label_table(rich)
    assert list(table.columns) == [
        "% of labels for 90 % of full", "saved [95 %], 90 %", "% of labels for 95 % of full", "saved [95 %], 95 %",
        "s a query", "s a training", "clicks",
    ]  # fmt: skip
    assert list(table.loc["random"]) == ["27", "", "28.5", "", "0.25", "1.50", "30,000"]
    assert list(table.loc["better"])[:2] == ["22", "+5 [+3.33, +6.67]"]
    assert list(table.loc["worse"])[:2] == ["not reached", "not reached"]


def test_curves_are_read_at_the_last_budget(rich: Comparison):
    expected = "With 30 % of the labels, mean IoU goes from 0.5000 (worse) to 0.7000 (better); all labels give 0.6000."
    assert read_curves(rich) == expected
    assert read_curves(comparison_of({"random": RANDOM})).endswith("from 0.6000 (random) to 0.6000 (random).")


def test_gains_are_read_by_verdict(rich: Comparison):
    assert read_gains(rich) == (
        "By area, ahead of random: better (+0.0750 [+0.0750, +0.0750], p 0.2500);"
        " behind random: worse (-0.0800 [-0.0924, -0.0676], p 0.2500);"
        " not distinguishable: mixed (+0.0083 [-0.1480, +0.1646], p 1.0000)."
        " Were there no differences, 0.15 of 3 would be told apart by chance."
    )


def test_labels_are_read_where_their_interval_excludes_zero(rich: Comparison):
    assert read_labels(rich) == (
        "% of the labels for 90 % of the full-data result: random 27;"
        " saved: better +5 [+3.33, +6.67], worse not reached."
        " % of the labels for 95 % of the full-data result: random 28.5;"
        " saved: better +5 [+3.33, +8.33], worse not reached."
    )


def test_labels_that_are_not_told_apart_are_not_claimed():
    text = read_labels(comparison_of({"random": RANDOM, "mixed": MIXED}, [0.6, 0.5, 0.7]))
    assert text.count("saved: not distinguishable from nothing.") == 2


@pytest.mark.parametrize("curves", [{"random": RANDOM}, {"other": RANDOM, "mixed": MIXED}])
def test_labels_saved_need_a_baseline_and_another_query(curves: dict[str, dict[int, list[float]]]):
    expected = "Labels saved: not known without a full-data result and a seed of the baseline and another query."
    assert read_labels(comparison_of(curves, [0.6])) == expected


def test_penalties_name_who_beats_whom():
    curves = {
        "random": RANDOM,
        "better": BETTER,
        "once": {seed: [*RANDOM[seed][:2], BETTER[seed][2]] for seed in RANDOM},
    }
    assert read_penalties(comparison_of(curves)) == (
        "Of the budgets, better beats random at 100 %, once beats random at 50 %, better beats once at 50 %."
        " Beaten by none: better."
    )


def test_penalties_name_five_pairs_and_count_the_others():
    curves = {str(place): {seed: [0.2, 0.3 + place / 10] for seed in range(2)} for place in range(4)}
    text = read_penalties(comparison_of(curves))
    assert text.count(" beats ") == 5
    assert text.endswith(" at 100 % and 1 more such pairs. Beaten by none: 3.")


def test_who_was_not_tested_is_not_called_unbeaten():
    curves = {"random": RANDOM, "better": BETTER, "alone": {0: [0.2, 0.9, 0.9]}}
    assert read_penalties(comparison_of(curves)).endswith(" Beaten by none: better.")


def test_all_may_be_beaten():
    crossing = {seed: [0.2, 0.5, end - 0.1] for seed, (_, _, end) in RANDOM.items()}
    assert read_penalties(comparison_of({"random": RANDOM, "crossing": crossing})) == (
        "Of the budgets, random beats crossing at 50 %, crossing beats random at 50 %. Beaten by none: no query."
    )


def test_penalties_without_wins_or_tests_say_so():
    text = read_penalties(comparison_of({"random": RANDOM, "mixed": MIXED}))
    assert text == "No query beats another at any budget: not distinguishable."
    text = read_penalties(comparison_of({"random": {0: RANDOM[0]}, "better": BETTER}))
    assert text == "No test is possible: it needs two queries that share two seeds."


def test_classes_are_counted_and_the_ends_named():
    def car(rows: pd.DataFrame) -> np.ndarray:
        return np.where((rows["query"] == "better") & (rows["round"] > 0), 0.1 - rows["seed"] / 100, 0.3)

    comparison = comparison_of({"random": RANDOM, "better": BETTER}, iou_road=lambda rows: rows["miou"], iou_car=car)
    assert read_classes(comparison) == (
        "Of 2 intervals 1 lie above zero and 1 below; were there no differences, 0.1 would lie apart from it."
        " The ends: road by better +0.0750 [+0.0750, +0.0750] and car by better -0.1575 [-0.1761, -0.1389]."
    )


def test_costs_are_read_from_the_quickest_to_the_slowest():
    def seconds(rows: pd.DataFrame) -> pd.Series:
        return rows["query"].map({"random": 0.01, "better": 12.345})

    text = read_costs(comparison_of({"random": RANDOM, "better": BETTER}, seconds_query=seconds))
    assert text == "A query takes from 0.01 s (random) to 12.35 s (better); a training 1.50 s."
    assert read_costs(comparison_of({"random": {0: [0.2]}})) == "No round queried."


def test_what_was_acquired_is_read_class_by_class(acquired: pd.DataFrame):
    assert read_class_factors(acquired) == (
        "Against its share of the pool, class car was acquired most by vote_entropy (2.00 times), road least by"
        " vote_entropy (0.75 times)."
    )


def test_overlaps_are_read_beside_chance(acquired: pd.DataFrame):
    assert read_overlaps(acquired) == (
        "Most alike: vote_entropy and random, 30 % in common with the same start (chance: 25 %)."
        " Of one query's seeds: vote_entropy has most in common, 50 % (chance: 10 %)."
    )


def test_overlaps_of_one_query_are_of_its_seeds_and_of_one_run_not_known(acquired: pd.DataFrame):
    of_one = acquired[acquired["query"].isin(["random", "pool", "chance"]) & (acquired["name"] != "vote_entropy")]
    assert read_overlaps(of_one) == "Of one query's seeds: random has most in common, 12 % (chance: 10 %)."
    of_run = of_one[(of_one["what"] != "overlap") | (of_one["query"] == "chance")]
    assert read_overlaps(of_run) == "Overlap: not known of one run alone."


def test_near_duplicates_are_read_in_order(acquired: pd.DataFrame):
    text = read_near_duplicates(acquired)
    assert text == "Acquired images that look like one labelled before or with them: vote_entropy 1.0 %, random 4.0 %."
    assert read_near_duplicates(acquired[acquired["what"] == "classes"]) == "Near-duplicates: not sought."
