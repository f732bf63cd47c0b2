"""What scoring must not depend on, and what it refuses."""

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
from alutils.queries.committee import Committee
from alutils.queries.query import QUERIES, Entry, Query, parse_query
from alutils.queries.scoring import random_scores, score_images, score_maps
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


def dropout_committee(model: SplitModel) -> Committee:
    return Committee([model], 4, 0.5, seed=0)


def test_a_new_query_is_a_function_and_an_entry(tiny_scenes: ImageDataset, monkeypatch: pytest.MonkeyPatch):
    """As docs/queries.md says."""

    def mean_member_entropy(mean_entropy: Tensor) -> Tensor:
        return mean_entropy

    monkeypatch.setitem(QUERIES, "mean_member_entropy", Entry(mean_member_entropy))
    query, committee = parse_query("mean_member_entropy+top0.5"), dropout_committee(undecided_model())
    scores = score_images(query, committee, tiny_scenes, np.arange(12), RECIPE)
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
    committee = dropout_committee(undecided_model())
    score_images(Query("vote_entropy"), committee, tiny_scenes, np.arange(10), RECIPE)
    assert seen == [4, 4, 2]


@pytest.mark.parametrize("name", QUERIES)
def test_scores_are_the_same_for_any_labels_batch_and_rest_of_the_pool(name: str, tiny_scenes: ImageDataset):
    query, committee = Query(name), dropout_committee(undecided_model())

    def score(dataset: ImageDataset, indices: list[int], batch_size: int) -> np.ndarray:
        if not query.asks_committee:
            return random_scores(query, dataset, np.array(indices), generator=np.random.default_rng(0))
        return score_images(query, committee, dataset, np.array(indices), replace(RECIPE, batch_size=batch_size))

    scores = score(tiny_scenes, list(range(12)), 4)
    assert scores.shape == (12,)
    assert len(set(scores)) > 1
    unlabelled = replace(tiny_scenes, labels=np.full_like(tiny_scenes.labels, 255))
    np.testing.assert_array_equal(scores, score(unlabelled, list(range(12)), 4))
    np.testing.assert_allclose(scores, score(tiny_scenes, list(range(12)), 5), atol=1e-6)
    if query.asks_committee:
        np.testing.assert_allclose(scores[[7, 2]], score(tiny_scenes, [7, 2], 2), atol=1e-6)


def test_a_score_that_is_not_finite_is_refused(tiny_scenes: ImageDataset, monkeypatch: pytest.MonkeyPatch):
    committee = dropout_committee(build_model("unet_small", 3, seed=0))
    monkeypatch.setitem(QUERIES, "infinite", Entry(lambda mean_entropy: mean_entropy * float("inf")))
    with pytest.raises(ValueError, match="not finite"):
        score_images(Query("infinite"), committee, tiny_scenes, np.arange(12), RECIPE)


def test_a_score_of_something_unknown_is_refused(tiny_scenes: ImageDataset, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(QUERIES, "unknown", Entry(lambda votes: votes))
    allowed = "allowed: mean_probability, vote_share"
    with pytest.raises(ParameterError, match=rf"^a score's parameter is 'votes'; did you mean vote_share\? {allowed}"):
        score_images(Query("unknown"), dropout_committee(undecided_model()), tiny_scenes, np.arange(12), RECIPE)


def test_a_query_without_a_score_asks_no_committee(tiny_scenes: ImageDataset):
    with pytest.raises(ValueError, match="asks no committee"):
        score_images(Query("random"), dropout_committee(undecided_model()), tiny_scenes, np.arange(12), RECIPE)


def test_score_maps_have_the_images_size(tiny_scenes: ImageDataset):
    committee = dropout_committee(build_model("unet_small", 3, seed=0))
    names = ["vote_entropy", "margin", "consensus_entropy"]
    prediction, maps = score_maps(committee, tiny_scenes, 3, RECIPE, names)
    assert prediction.shape == (24, 32)
    assert {name: scores.shape for name, scores in maps.items()} == dict.fromkeys(names, (24, 32))
    assert maps["consensus_entropy"].max() <= np.log2(3) + 1e-6
