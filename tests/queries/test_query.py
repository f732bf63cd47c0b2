"""Queries by name, and what scoring must not see."""

import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.fx import Proxy

from alutils.datasets import ImageDataset
from alutils.errors import ParameterError
from alutils.models import SplitModel, build_model
from alutils.models.unet import UnetSmall
from alutils.paths import ROOT
from alutils.queries.committee import STATISTICS, Committee, committee_statistics
from alutils.queries.query import QUERIES, SUFFIXES_HELP, Query, find_query
from alutils.queries.regions import Regions
from alutils.queries.scores import SCORES, consensus_entropy, vote_entropy
from alutils.queries.scoring import committee_maps, score_images
from alutils.queries.selections import diverse
from alutils.training.recipe import Recipe


def undecided_model() -> SplitModel:
    """Return an untrained network with strong random weights, whose members vote differently."""
    model = build_model("unet_small", 3, seed=0)
    torch.nn.init.normal_(model.get_parameter("head.1.weight"), std=5, generator=torch.manual_seed(0))
    return model


RECIPE = Recipe(
    epochs=1, steps=None, batch_size=4, learning_rate=0.01, weight_decay=0, class_weights=True, void_class=False,
    augmentation="flip", precision="float32",
)  # fmt: skip
COMMITTEE = Committee(4, 0.5, seed=0)


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


def test_a_new_query_is_a_function_and_an_entry(tiny_scenes: ImageDataset, monkeypatch: pytest.MonkeyPatch):
    """As docs/queries.md says."""

    def mean_member_entropy(mean_entropy: Tensor) -> Tensor:
        return mean_entropy

    monkeypatch.setitem(QUERIES, "mean_member_entropy", Query(mean_member_entropy))
    query, generator = find_query("mean_member_entropy_top_0.5"), np.random.default_rng(0)
    scores = score_images(query, [undecided_model()], tiny_scenes, np.arange(12), RECIPE, COMMITTEE, generator)
    assert scores.shape == (12,)
    assert len(set(scores)) > 1


def test_the_model_encodes_each_image_once_for_all_members(tiny_scenes: ImageDataset, monkeypatch: pytest.MonkeyPatch):
    seen: list[int] = []
    encode = UnetSmall.encode

    def spy(model: UnetSmall, images: Tensor) -> Tensor:
        if not isinstance(images, Proxy):  # else it is being traced
            seen.append(len(images))
        return encode(model, images)

    monkeypatch.setattr(UnetSmall, "encode", spy)
    generator = np.random.default_rng(0)
    score_images(QUERIES["vote_entropy"], [undecided_model()], tiny_scenes, np.arange(10), RECIPE, COMMITTEE, generator)
    assert seen == [4, 4, 2]


@pytest.mark.parametrize("name", QUERIES)
def test_scores_are_the_same_for_any_labels_batch_and_rest_of_the_pool(name: str, tiny_scenes: ImageDataset):
    model = undecided_model()

    def score(dataset: ImageDataset, indices: list[int], batch_size: int) -> np.ndarray:
        recipe, generator = replace(RECIPE, batch_size=batch_size), np.random.default_rng(0)
        return score_images(QUERIES[name], [model], dataset, np.array(indices), recipe, COMMITTEE, generator)

    scores = score(tiny_scenes, list(range(12)), 4)
    assert scores.shape == (12,)
    assert len(set(scores)) > 1
    unlabelled = replace(tiny_scenes, labels=np.full_like(tiny_scenes.labels, 255))
    np.testing.assert_array_equal(scores, score(unlabelled, list(range(12)), 4))
    np.testing.assert_allclose(scores, score(tiny_scenes, list(range(12)), 5), atol=1e-6)
    if QUERIES[name].score:
        np.testing.assert_allclose(scores[[7, 2]], score(tiny_scenes, [7, 2], 2), atol=1e-6)


def test_a_score_that_is_not_finite_is_refused(tiny_scenes: ImageDataset):
    model = build_model("unet_small", 3, seed=0)
    query = replace(QUERIES["vote_entropy"], score=lambda mean_entropy: mean_entropy * float("inf"))
    with pytest.raises(ValueError, match="not finite"):
        score_images(query, [model], tiny_scenes, np.arange(12), RECIPE, COMMITTEE, np.random.default_rng(0))


def test_a_score_of_something_unknown_is_refused(tiny_scenes: ImageDataset):
    query = replace(QUERIES["vote_entropy"], score=lambda votes: votes)
    with pytest.raises(ParameterError, match=r"^a score's parameter is 'votes'; allowed: mean_probability, vote_share"):
        score_images(
            query, [undecided_model()], tiny_scenes, np.arange(12), RECIPE, COMMITTEE, np.random.default_rng(0)
        )


def test_committee_maps_have_the_images_size(tiny_scenes: ImageDataset):
    model = build_model("unet_small", 3, seed=0)
    prediction, maps = committee_maps(model, tiny_scenes, 3, RECIPE, COMMITTEE)
    assert prediction.shape == (24, 32)
    assert {name: scores.shape for name, scores in maps.items()} == dict.fromkeys(SCORES, (24, 32))
    assert maps["consensus_entropy"].max() <= np.log2(3) + 1e-6
