"""Images of a round come in the order that was asked for."""

from dataclasses import replace

import numpy as np
import pytest
from explored import DIGITS, SCENES, opened

from alutils.errors import ParameterError
from alutils.explorer.ranking import (
    AS_CHOSEN,
    CHOSEN,
    ERROR,
    LABELLED,
    SHARE,
    TEST,
    UNLABELLED,
    facts,
    ordered,
    orders,
    where_wrong_and_right,
)
from alutils.queries.scores import SCORES

pytestmark = pytest.mark.usefixtures("quick_provenance")
of_tiny_scenes = pytest.mark.usefixtures("tiny_everywhere")


@of_tiny_scenes
def test_which_images_there_are():
    run = opened(SCENES)
    found = {which: ordered(run, 1, which) for which in (CHOSEN, LABELLED, UNLABELLED, TEST)}
    assert found[CHOSEN] == run.chosen(1)
    assert found[LABELLED] == run.labelled(1)
    assert {*found[LABELLED]} | {*found[UNLABELLED]} == {*range(12)}
    assert not {*found[LABELLED]} & {*found[UNLABELLED]}
    assert found[TEST] == [*range(12)]
    assert ordered(run, 2) == [], "after the last round nothing is chosen"


@of_tiny_scenes
def test_the_query_chose_what_its_score_puts_first():
    run = opened(SCENES)
    for number in range(2):
        assert ordered(run, number, UNLABELLED, "vote_entropy")[:3] == run.chosen(number)


@pytest.mark.parametrize("order", [ERROR, *SCORES])
@of_tiny_scenes
def test_the_largest_value_comes_first(order: str):
    run = opened(SCENES)
    values = [facts(run, 0, "test", index)[order] for index in ordered(run, 0, TEST, order)]
    assert values == sorted(values, reverse=True)
    assert len(set(values)) > 3


@of_tiny_scenes
def test_errors_and_scores_are_those_of_the_pixels():
    run = opened(SCENES)
    look, label = run.look(0, "train", 7), run.train_set.labels[7]
    wrong = (look.prediction != label)[label != 255].sum()
    found = facts(run, 0, "train", 7)
    assert found[ERROR] == pytest.approx(wrong / (label != 255).sum())
    assert found["margin"] == pytest.approx(run.score_map(look, "margin").mean())


@of_tiny_scenes
def test_a_class_leaves_out_images_without_it_and_its_share_orders_the_rest():
    run = opened(SCENES)
    shares = (run.train_set.labels == 1).mean(axis=(1, 2))
    found = ordered(run, 0, UNLABELLED, SHARE, "b")
    assert {*found} == {index for index in ordered(run, 0, UNLABELLED) if shares[index] > 0}
    assert shares[found].tolist() == sorted(shares[found], reverse=True)
    assert ordered(run, 0, UNLABELLED, AS_CHOSEN, "b") == sorted(found)


@of_tiny_scenes
def test_whoever_waits_is_told_how_far_it_is():
    told: list[tuple[int, int]] = []
    run = opened(replace(SCENES, query="random"))
    ordered(run, 0, TEST, ERROR, tell=lambda done, total: told.append((done, total)))
    assert told == [(number, 12) for number in range(12)]
    ordered(run, 0, TEST, AS_CHOSEN, tell=lambda done, total: pytest.fail("nobody has to be asked"))


@of_tiny_scenes
def test_unknown_words_are_one_line():
    run = opened(SCENES)
    with pytest.raises(ParameterError, match="which is 'tests'; did you mean test images"):
        ordered(run, 0, "tests")
    with pytest.raises(ParameterError, match="order is 'errors'; did you mean error"):
        ordered(run, 0, CHOSEN, "errors")
    with pytest.raises(ParameterError, match="class is 'd'; allowed: every class, a, b, c"):
        ordered(run, 0, CHOSEN, ERROR, "d")
    with pytest.raises(ParameterError, match="order is share of the class, with class is every class; allowed: with"):
        ordered(run, 0, CHOSEN, SHARE)


@of_tiny_scenes
def test_the_score_where_the_prediction_is_wrong_and_right():
    run = opened(SCENES)
    wrong, right = where_wrong_and_right(run, 0, "consensus_entropy", most=2)
    values: dict[bool, list[float]] = {True: [], False: []}
    for index in range(2):
        look, label = run.look(0, "test", index), run.test_set.labels[index]
        scores = run.score_map(look, "consensus_entropy")
        for at in np.argwhere(label != 255):
            values[bool(look.prediction[tuple(at)] != label[tuple(at)])].append(scores[tuple(at)])
    assert (wrong, right) == pytest.approx((np.mean(values[True]), np.mean(values[False])), rel=1e-4)


def test_digits_are_ordered_too():
    run = opened(DIGITS)
    found = ordered(run, 0, TEST, ERROR)
    wrong = [facts(run, 0, "test", index)[ERROR] for index in found]
    assert set(wrong) == {0.0, 1.0}
    assert wrong == sorted(wrong, reverse=True)
    threes = ordered(run, 0, TEST, AS_CHOSEN, "3")
    assert threes == np.flatnonzero(run.test_set.labels == 3).tolist()
    assert orders(run) == [AS_CHOSEN, ERROR, SHARE, *run.scores]
