"""Scores by hand, selection with ties, and what scoring must not see."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.fx import Proxy

from alutils.committee import STATISTICS, Committee, committee_statistics
from alutils.config import Recipe
from alutils.datasets import ImageDataset
from alutils.errors import ParameterError
from alutils.models import SplitModel, build_model
from alutils.models.unet_small import UnetSmall
from alutils.query import (
    QUERIES,
    SCORES,
    committee_maps,
    consensus_entropy,
    mean_over_image,
    score_images,
    top_k,
    vote_entropy,
)


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


def test_an_images_score_is_the_mean_over_its_pixels():
    assert mean_over_image(torch.tensor([[[0.0, 1.0], [2.0, 5.0]]])).tolist() == [2.0]
    assert mean_over_image(torch.tensor([3.0, 4.0])).tolist() == [3.0, 4.0]


def test_top_k_puts_the_highest_first():
    assert top_k(np.array([0.1, 3.0, 2.0, 5.0]), 3, np.random.default_rng(0)).tolist() == [3, 1, 2]


def test_equal_scores_come_in_random_order_fixed_by_the_generator():
    scores = np.zeros(100)
    orders = [top_k(scores, 10, np.random.default_rng(seed)).tolist() for seed in (0, 0, 1)]
    assert orders[0] == orders[1] != orders[2]
    assert max(orders[0]) > 20, "not simply the first ones"


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
    if name != "random":
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
