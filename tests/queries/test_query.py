"""Queries by name."""

import re

import pytest
import torch

from alutils.errors import ParameterError
from alutils.paths import ROOT
from alutils.queries.committee import STATISTICS, committee_statistics
from alutils.queries.query import QUERIES, SUFFIXES_HELP, find_query
from alutils.queries.regions import Regions
from alutils.queries.scores import consensus_entropy, vote_entropy
from alutils.queries.selections import diverse


def test_two_members_who_disagree_by_hand():
    members = [torch.tensor([[0.9, 0.1]]).log(), torch.tensor([[0.1, 0.9]]).log()]
    stats = committee_statistics(members, STATISTICS)
    assert consensus_entropy(stats["mean_probability"]).item() == pytest.approx(1)
    assert vote_entropy(stats["vote_share"]).item() == pytest.approx(1)


def test_vote_entropy_of_three_to_one_by_hand():
    yes, no = torch.tensor([[2.0, 0.0]]), torch.tensor([[0.0, 2.0]])
    stats = committee_statistics([yes, yes, no, yes], STATISTICS)
    assert vote_entropy(stats["vote_share"]).item() == pytest.approx(0.8112781, abs=1e-6)


def test_members_who_agree_on_a_class_have_no_vote_entropy_but_some_consensus_entropy():
    stats = committee_statistics([torch.tensor([[0.6, 0.4]]).log()] * 3, STATISTICS)
    assert vote_entropy(stats["vote_share"]).item() == 0
    assert consensus_entropy(stats["mean_probability"]).item() == pytest.approx(0.9709506, abs=1e-6)


def test_suffixes_change_one_part_each():
    query = find_query("bald_balanced_top_0.1_ensemble_5_power_2_windows_3x4")
    assert query.score is QUERIES["bald"].score
    assert query.is_balanced
    assert query.reduction(torch.tensor([[0.0] * 9 + [5.0]])).tolist() == [5.0]
    assert query.ensemble == 5
    assert query.selection.keywords == {"beta": 2.0}  # type: ignore[attr-defined]
    assert query.regions == Regions(3, 4)
    assert find_query("strided_random") is QUERIES["strided_random"]
    assert find_query("margin_diverse_10").selection.func is diverse  # type: ignore[attr-defined]
    assert find_query("random_superpixels_50").regions == Regions(superpixels=50)


BAD = [
    ("bald_sum_top_0.1", "is 'bald_sum_top_0.1'; allowed: random, strided_random"),
    ("bald_power_1_sum", "after it, in this order: _balanced; _sum, _top_Q or _interior_W"),
    ("core_set_power_1", "is 'core_set_power_1'"),
    ("random_balanced", "is 'random_balanced'"),
    ("bald_", "is 'bald_'"),
    ("", "is ''"),
    ("bald_power_0", "^exponent after power_ is 0; allowed: 1e-06 to 1000"),
    ("bald_top_1.5", "^share of the pixels after top_ is 1.5; allowed: 1e-06 to 1"),
    ("bald_interior_0", "^pixels after interior_ is 0; allowed: 1 to 1000"),
    ("bald_diverse_0.5", "^factor after diverse_ is 0.5; allowed: 1 to 1000000"),
    ("bald_ensemble_1", "^networks of an ensemble is 1; allowed: 2 to 1000"),
    ("bald_mixture_0.5_0.1_0.1", "^shares after mixture_ sum to 0.7; allowed: 1"),
    ("bald_diverse_3_windows_2x2", "regions are chosen by their scores, allowed: top k, _power_B"),
    ("bald_interior_1_windows_2x2", "of regions allowed: the mean, _sum, _top_Q"),
]


@pytest.mark.parametrize(("name", "message"), BAD)
def test_a_name_that_cannot_be_is_one_line(name: str, message: str):
    with pytest.raises(ParameterError, match=message) as caught:
        find_query(name)
    assert "\n" not in str(caught.value)


def test_every_query_and_suffix_is_documented():
    page = (ROOT / "docs" / "queries.md").read_text()
    for name in QUERIES:
        assert f"| `{name}` |" in page, name
    for suffix in re.findall(r"_[a-z]+(?:_[A-Z]x?[A-Z]?)*", SUFFIXES_HELP):
        assert f"| `{suffix}` |" in page, suffix
