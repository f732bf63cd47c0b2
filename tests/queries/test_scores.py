"""Scores by hand, against modAL, baal and scikit-activeml, and properties that hold for any committee."""

import math
from collections.abc import Callable
from functools import partial
from types import SimpleNamespace

import modAL.disagreement
import modAL.uncertainty
import numpy as np
import pytest
import skactiveml.pool
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from alutils.errors import ParameterError
from alutils.queries.committee import LN2, STATISTICS, committee_statistics
from alutils.queries.query import QUERIES, Query
from alutils.queries.reductions import interior_mean, mean_over_image
from alutils.queries.scores import SCORES, applied, balanced, largest, mutual_information, score_of, statistics_of

SCORED = [name for name, entry in QUERIES.items() if entry.score]
OF_MEMBERS = ("consensus_entropy", "vote_entropy", "bald", "variation_ratio", "drop_query")
HIGHEST: dict[str, Callable[[int, int], float]] = {  # of C classes and T members
    "consensus_entropy": lambda c, t: math.log2(c),
    "entropy": lambda c, t: math.log2(c),
    "vote_entropy": lambda c, t: math.log2(min(c, t)),
    "bald": lambda c, t: math.log2(min(c, t)),
    "variation_ratio": lambda c, t: 1 - 1 / min(c, t),
    "drop_query": lambda c, t: 1 - 1 / min(c, t),
    "least_confidence": lambda c, t: 1 - 1 / c,
    "margin": lambda c, t: 1,
}


def score(name: str, members: Tensor) -> Tensor:
    """Return a score (N, ...) of a committee's probabilities (T, N, C, ...)."""
    function = score_of(Query(name))
    assert function
    return applied(function, committee_statistics(members.clamp_min(1e-30).log(), STATISTICS))


def committee(*rows: list[float]) -> Tensor:
    """Return the members' probabilities of one image, (T, 1, C)."""
    return torch.tensor(rows, dtype=torch.float64)[:, None]


DISAGREE = committee([0.9, 0.1], [0.1, 0.9])
ALIKE = committee([0.6, 0.4], [0.6, 0.4], [0.6, 0.4])
THREE_TO_ONE = committee([0.7, 0.2, 0.1], [0.7, 0.2, 0.1], [0.2, 0.7, 0.1], [0.6, 0.2, 0.2])
BY_HAND = [
    ("bald", DISAGREE, 1 - 0.4689955936),  # 1 bit less the entropy of 0.9, 0.1
    ("bald", DISAGREE, 0.9 * math.log2(0.9 / 0.5) + 0.1 * math.log2(0.1 / 0.5)),
    ("variation_ratio", DISAGREE, 0.5),
    ("least_confidence", DISAGREE, 0.5),
    ("margin", DISAGREE, 1.0),
    ("entropy", DISAGREE, 1.0),
    ("bald", ALIKE, 0.0),
    ("variation_ratio", ALIKE, 0.0),
    ("least_confidence", ALIKE, 0.4),
    ("margin", ALIKE, 0.8),
    ("entropy", ALIKE, 0.9709505945),
    ("vote_entropy", THREE_TO_ONE, 0.8112781245),
    ("variation_ratio", THREE_TO_ONE, 0.25),
    ("least_confidence", THREE_TO_ONE, 1 - 0.55),
    ("margin", THREE_TO_ONE, 1 - (0.55 - 0.325)),
]


@pytest.mark.parametrize(("name", "members", "expected"), BY_HAND)
def test_scores_by_hand(name: str, members: Tensor, expected: float):
    assert score(name, members).item() == pytest.approx(expected, abs=1e-9)


@st.composite
def committees(draw: st.DrawFn) -> Tensor:
    """Return probabilities (T, N, C), some of them certain."""
    members, images, classes = (draw(st.integers(low, high)) for low, high in ((1, 6), (1, 5), (2, 7)))
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    concentration = draw(st.sampled_from([0.01, 0.3, 1.0, 30.0]))
    return torch.from_numpy(generator.dirichlet([concentration] * classes, (members, images)))


ANY_SCORE = pytest.mark.parametrize("name", SCORED)


@ANY_SCORE
@settings(max_examples=40, deadline=None)
@given(members=committees(), seed=st.integers(0, 1000))
def test_the_order_of_members_and_images_does_not_matter(name: str, members: Tensor, seed: int):
    generator = torch.Generator().manual_seed(seed)
    by_member, by_image = (torch.randperm(n, generator=generator) for n in members.shape[:2])
    found = score(name, members)
    torch.testing.assert_close(score(name, members[by_member]), found, atol=1e-9, rtol=0)
    torch.testing.assert_close(score(name, members[:, by_image]), found[by_image], atol=1e-9, rtol=0)


@ANY_SCORE
@settings(max_examples=40, deadline=None)
@given(members=committees())
def test_scores_stay_within_their_bounds(name: str, members: Tensor):
    found = score(name, members)
    assert (found >= 0).all()
    assert (found <= HIGHEST[name](members.shape[2], len(members)) + 1e-9).all()


@ANY_SCORE
@settings(max_examples=20, deadline=None)
@given(classes=st.integers(2, 7), members=st.integers(1, 6))
def test_certainty_is_zero_and_the_bound_is_reached(name: str, classes: int, members: int):
    certain = torch.eye(classes, dtype=torch.float64)
    assert score(name, certain[:1].expand(members, 1, classes)).item() == pytest.approx(0, abs=1e-9)
    each_its_own = certain[torch.arange(members) % min(members, classes)][:, None]
    undecided = torch.full((members, 1, classes), 1 / classes, dtype=torch.float64)
    reached = max(score(name, each_its_own).item(), score(name, undecided).item())
    if members % min(members, classes) == 0 or name not in OF_MEMBERS:
        assert reached == pytest.approx(HIGHEST[name](classes, members), abs=1e-9)


@settings(max_examples=40, deadline=None)
@given(members=committees())
def test_members_who_agree_have_nothing_to_disagree_on(members: Tensor):
    alike = members[:1].expand_as(members)
    for name in ("vote_entropy", "bald", "variation_ratio"):
        assert score(name, alike).abs().max() < 1e-9


def test_rounding_makes_no_information_negative():
    alike = torch.randn(1000, 7, generator=torch.manual_seed(0))
    found = applied(mutual_information, committee_statistics([alike] * 3, STATISTICS))
    assert found.max() < 1e-5
    assert found.min() == 0


@ANY_SCORE
@settings(max_examples=40, deadline=None)
@given(members=committees(), share=st.floats(0.05, 1))
def test_a_step_towards_not_knowing_never_scores_lower(name: str, members: Tensor, share: float):
    """Of a plain prediction; what members disagree on may well shrink when each knows less."""
    plain = members[:1]
    blurred = (1 - share) * plain + share / plain.shape[2]
    if name not in OF_MEMBERS or name == "consensus_entropy":
        assert (score(name, blurred) >= score(name, plain) - 1e-9).all()


@settings(max_examples=40, deadline=None)
@given(members=committees())
def test_scores_are_those_of_modal(members: Tensor):
    probabilities = members.numpy()
    votes = probabilities.argmax(axis=2).T
    fake = SimpleNamespace(
        classes_=np.arange(members.shape[2]),
        vote=lambda _: votes,
        predict_proba=lambda _: probabilities.mean(axis=0),
    )
    fake_committee = type("Fake", (SimpleNamespace,), {"__len__": lambda _: len(members)})(**vars(fake))
    images = np.zeros((members.shape[1], 1))
    theirs = {
        "vote_entropy": modAL.disagreement.vote_entropy(fake_committee, images) / LN2,
        "consensus_entropy": modAL.disagreement.consensus_entropy(fake_committee, images) / LN2,
        "entropy": modAL.uncertainty.classifier_entropy(fake, images) / LN2,
        "least_confidence": modAL.uncertainty.classifier_uncertainty(fake, images),
        "margin": 1 - modAL.uncertainty.classifier_margin(fake, images),
    }
    for name, expected in theirs.items():
        np.testing.assert_allclose(score(name, members), expected, atol=1e-9, err_msg=name)


@settings(max_examples=40, deadline=None)
@given(members=committees())
def test_scores_are_those_of_scikit_activeml(members: Tensor):
    probabilities = members.numpy()
    votes, classes = probabilities.argmax(axis=2).T, members.shape[2]
    mean = probabilities.mean(axis=0)
    theirs = {
        "vote_entropy": skactiveml.pool.vote_entropy(votes, np.arange(classes)) / LN2,
        "variation_ratio": skactiveml.pool.variation_ratios(votes),
        "bald": skactiveml.pool.average_kl_divergence(probabilities, eps=1e-12) / LN2,
        "least_confidence": skactiveml.pool.uncertainty_scores(mean, method="least_confident"),
        "margin": skactiveml.pool.uncertainty_scores(mean, method="margin_sampling"),
        "entropy": skactiveml.pool.uncertainty_scores(mean, method="entropy") / LN2,
    }
    for name, expected in theirs.items():
        np.testing.assert_allclose(score(name, members), expected, atol=1e-6, err_msg=name)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # as it is loaded
def test_scores_are_those_of_baal_on_maps():
    from baal.active.heuristics import BALD, Certainty, Entropy, Margin

    logits = torch.randn(6, 4, 5, 3, 2, generator=torch.manual_seed(0), dtype=torch.float64)
    members = logits.softmax(dim=2)  # (T, N, C, H, W)
    predictions = members.permute(1, 2, 3, 4, 0).numpy()
    plain = predictions.mean(axis=-1, keepdims=True)
    theirs = {
        "bald": BALD().compute_score(predictions) / LN2,
        "entropy": Entropy().compute_score(plain) / LN2,
        "least_confidence": 1 - Certainty().compute_score(plain),
        "margin": 1 - Margin().compute_score(plain),
    }
    for name, expected in theirs.items():
        np.testing.assert_allclose(score(name, members), expected.squeeze(), atol=1e-9, err_msg=name)


def test_rare_classes_weigh_more():
    probability = torch.tensor([[[[0.9, 0.2]], [[0.1, 0.8]]]])  # (N, C, H, W)
    assert balanced(torch.full((1, 1, 2), 0.5), probability, torch.tensor([1.0, 6.0])).tolist() == [[[0.5, 3.0]]]


def test_the_dict_holds_every_score_by_its_functions_name():
    assert {name: function.__name__ for name, function in SCORES.items()} == {name: name for name in SCORES}
    assert {entry.score for entry in QUERIES.values() if entry.score} == {*SCORES}
    assert score_of(Query("random")) is None


def test_only_what_is_asked_for_is_computed():
    assert statistics_of(SCORES["mutual_information"]) == ["mean_entropy", "mean_probability"]
    assert statistics_of(mean_over_image, partial(interior_mean, width=3)) == ["mean_probability"]
    allowed = "allowed: mean_probability, vote_share"
    with pytest.raises(ParameterError, match=rf"^a score's parameter is 'votes'; did you mean vote_share\? {allowed}"):
        statistics_of(lambda votes: votes)


@pytest.mark.parametrize("name", SCORES)
@pytest.mark.parametrize(("classes", "members"), [(2, 1), (3, 2), (3, 3), (4, 7)])
def test_no_score_is_larger_than_the_largest_and_some_committee_reaches_it(name: str, classes: int, members: int):
    generator = torch.Generator().manual_seed(0)
    one_vote_each = 50 * torch.eye(classes)[torch.arange(members) % classes][:, None]  # (T, 1, C)
    undecided = torch.zeros(members, 1, classes)
    drawn = 4 * torch.randn(members, 200, classes, generator=generator)
    scores = [
        applied(SCORES[name], committee_statistics(iter(logits), STATISTICS)).max().item()
        for logits in (drawn, one_vote_each, undecided)
    ]
    assert max(scores) <= largest(name, classes, members) + 1e-4
    if members % classes == 0 or members < classes:
        assert max(scores) == pytest.approx(largest(name, classes, members), abs=1e-3)
