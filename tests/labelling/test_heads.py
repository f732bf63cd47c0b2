"""A cross-validation committee: each head sees all folds but one, and nobody's label leaks into its own prediction."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from alutils.datasets import IGNORE_INDEX, ImageDataset, load_dataset
from alutils.labelling import heads
from alutils.labelling.heads import guess, subset, train_heads
from alutils.models import DEFAULT_ENCODER
from alutils.models.encoders import encoded

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def scenes() -> ImageDataset:
    """Return 40 drawn scenes with an encoder's maps."""
    return encoded(load_dataset("streets_tiny", "train", 64, 128), DEFAULT_ENCODER, None, CPU)


@pytest.fixture(autouse=True)
def _few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heads, "RECIPE", replace(heads.RECIPE, steps=8))


def test_each_head_sees_all_folds_but_one(scenes: ImageDataset, monkeypatch: pytest.MonkeyPatch):
    left_out, train = list[np.ndarray](), heads.Trainer.train

    def watched(self: heads.Trainer, *what: Any, **how: Any) -> None:
        left_out.extend(how["left_out"])
        train(self, *what, **how)

    monkeypatch.setattr(heads.Trainer, "train", watched)
    labelled = np.array([1, 4, 7, 9, 12, 20, 33])
    found = train_heads(scenes, labelled)
    assert len(found.networks) == len(left_out) == 5
    assert sorted(np.concatenate(left_out).tolist()) == labelled.tolist(), "each once"
    assert {*found.confusions} == {scenes.item_names[index] for index in labelled}
    known = {name: (scenes.labels[scenes.item_names.index(name)] != IGNORE_INDEX).sum() for name in found.confusions}
    assert {name: of.sum() for name, of in found.confusions.items()} == known, "all its labelled pixels are counted"


def test_a_photographs_own_label_does_not_change_the_network_that_predicts_it(scenes: ImageDataset):
    labelled = np.arange(6)
    labels = np.array(scenes.labels)
    labels[2] = 3
    first, second = (train_heads(replace(scenes, labels=of), labelled) for of in (scenes.labels, labels))
    name = scenes.item_names[2]
    predicted = [of.confusions[name].sum(axis=0) for of in (first, second)]
    is_counted = labels[2] != IGNORE_INDEX
    assert is_counted.all()
    void = (scenes.labels[2] == IGNORE_INDEX).sum()
    assert abs(predicted[0] - predicted[1]).sum() <= void, "the same prediction; only void counts anew"
    weights = [[of.state_dict() for of in found.networks] for found in (first, second)]
    are_alike = [all(torch.equal(one[name], other[name]) for name in one) for one, other in zip(*weights, strict=True)]
    assert sum(are_alike) == 1, "all heads but one learn from it"


@pytest.mark.parametrize(
    ("labelled", "networks", "scored"), [([], 0, 0), ([5], 1, 0), ([5, 6], 2, 2), ([0, 1, 2], 3, 3)]
)
def test_few_labels_make_fewer_heads(labelled: list[int], networks: int, scored: int, scenes: ImageDataset):
    found = train_heads(scenes, np.array(labelled, int))
    assert (len(found.networks), len(found.confusions)) == (networks, scored)


def test_a_label_that_is_void_everywhere_teaches_nothing(scenes: ImageDataset):
    labels = np.array(scenes.labels)
    labels[5] = IGNORE_INDEX
    assert train_heads(replace(scenes, labels=labels), np.array([5])).networks == []


def test_the_same_seed_gives_the_same_heads(scenes: ImageDataset):
    first, second, other = (train_heads(scenes, np.arange(4), seed=seed) for seed in (0, 0, 1))
    for name, of in first.confusions.items():
        assert np.array_equal(of, second.confusions[name])
    assert any((of != other.confusions[name]).any() for name, of in first.confusions.items())


def test_a_subset_is_the_images_at_these_positions(scenes: ImageDataset):
    part = subset(scenes, np.array([7, 3]))
    assert part.item_names == [scenes.item_names[7], scenes.item_names[3]]
    assert np.array_equal(part.images, scenes.images[[7, 3]])
    assert part.features is not None
    assert scenes.features is not None
    for level, whole in zip(part.features.levels, scenes.features.levels, strict=True):
        assert np.array_equal(level, whole[[7, 3]])


def test_a_guess_is_the_most_probable_class_where_it_is_sure():
    probability = torch.tensor([[[0.9, 0.4]], [[0.1, 0.6]]])  # (C, h, w) of two classes, two pixels
    assert (
        guess(probability, (2, 4)).tolist() == [[0, 0, 0, 1]] * 2
        or guess(probability, (2, 4)).tolist() == [[0, 0, 1, 1]] * 2
    )
    sure = guess(probability, (1, 2), surest=0.75)
    assert sure.tolist() == [[0, IGNORE_INDEX]]
    assert guess(probability, (1, 2)).tolist() == [[0, 1]]
