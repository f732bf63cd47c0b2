"""Heads on a frozen encoder's maps, trained in seconds on what is labelled so far: a cross-validation committee.

Each head leaves one fold of the labelled photographs out. So the heads are a committee whose members differ by what
they have seen (Parmanto et al. 1996), and they tell at no further cost what a network reaches on photographs that it
has not seen.
"""

from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch

from alutils.datasets import IGNORE_INDEX, ImageDataset
from alutils.models import build_model
from alutils.models.base import SplitModel
from alutils.models.frozen import join, take_apart
from alutils.queries.committee import enlarged_pieces
from alutils.seeds import derive_seed, numpy_generator
from alutils.training.loop import Trainer, predict
from alutils.training.metrics import confusion_matrix
from alutils.training.recipe import Recipe

MODEL = "frozen_small"
FOLDS = 5
RECIPE = Recipe(
    epochs=1,  # not used: steps is given
    steps=250,
    batch_size=4,
    learning_rate=0.003,
    weight_decay=0.0,
    class_weights=True,
    void_class=False,
    augmentation="none",
    precision="bfloat16",
)


class Heads(NamedTuple):
    """Trained heads, and what they reach on photographs that they have not seen.

    confusions : the confusion matrix (C, C) of each labelled photograph, by name, by the head that left it out
    """

    networks: list[SplitModel]
    confusions: dict[str, np.ndarray]


def train_heads(dataset: ImageDataset, labelled: np.ndarray, *, seed: int = 0) -> Heads:
    """Return heads that are trained as one on the photographs at `labelled`, each without one fold of them.

    Photographs whose label is void everywhere teach nothing and are left out. With one photograph, or none that is
    left, there is one head, or none.
    """
    useful = np.array([index for index in labelled if (dataset.labels[index] != IGNORE_INDEX).any()], int)
    if not len(useful):
        return Heads([], {})
    folds = np.array_split(numpy_generator(seed, "folds").permutation(useful), min(FOLDS, len(useful)))
    left_out = folds if len(folds) > 1 else [useful[:0]]
    seeds = [derive_seed(seed, "head", number) for number in range(len(folds))]
    networks = [build_model(MODEL, dataset.num_classes, seed=of, features=dataset.features) for of in seeds]
    trainer = Trainer(join(networks, dataset.features), RECIPE)
    trainer.train(dataset, useful, seed=derive_seed(seed, "training"), left_out=left_out)
    networks = [network.eval() for network in take_apart(trainer.network, networks)]
    confusions = dict[str, np.ndarray]()
    for network, fold in zip(networks, left_out, strict=True):
        unseen = subset(dataset, fold)
        confusions |= dict(zip(unseen.item_names, _confusions(network, unseen), strict=True))
    return Heads(networks, confusions)


def _confusions(network: SplitModel, dataset: ImageDataset) -> list[np.ndarray]:
    """Return the confusion matrix (C, C) of each image."""
    return [
        confusion_matrix(prediction, label, dataset.num_classes).cpu().numpy()
        for predictions, labels in predict(network, dataset, RECIPE)
        for prediction, label in zip(predictions, labels, strict=True)
    ]


def subset(dataset: ImageDataset, indices: np.ndarray) -> ImageDataset:
    """Return a data set of these images only."""
    features = dataset.features
    if features is not None:
        features = features._replace(levels=tuple(level[indices] for level in features.levels))
    names = [dataset.item_names[index] for index in indices]
    labels = dataset.labels[indices]
    return replace(dataset, images=dataset.images[indices], labels=labels, item_names=names, features=features)


def guess(probability: torch.Tensor, size: tuple[int, int], surest: float = 0.0) -> np.ndarray:
    """Return the most probable class of each pixel of a photograph, (H, W) uint8, from probabilities (C, h, w).

    size : the height and width of the photograph
    surest : where no class has this probability, the pixel is void
    """
    found = np.empty(size, np.uint8)
    for (_, _, rows, _), piece in enlarged_pieces(probability[None].float(), size):
        highest, classes = piece[0].max(dim=0)
        found[rows] = torch.where(highest >= surest, classes, IGNORE_INDEX).to(torch.uint8).cpu().numpy()
    return found
