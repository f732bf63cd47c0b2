"""Which images to label next: a score per pixel, reduced to one an image, and a selection of a batch."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from inspect import signature

import numpy as np
import torch
from torch import Tensor

from alutils.committee import STATISTICS, Committee, committee_statistics, entropy_bits
from alutils.config import Recipe
from alutils.datasets import ImageDataset
from alutils.errors import check_choice
from alutils.feeding import feed
from alutils.models import SplitModel
from alutils.models.base import inference_copy
from alutils.training import autocast, in_batches


def consensus_entropy(mean_probability: Tensor) -> Tensor:
    """Return the entropy of the members' mean softmax, (N, ...) in bits: 0 (all sure) to log2 C."""
    return entropy_bits(mean_probability)


def vote_entropy(vote_share: Tensor) -> Tensor:
    """Return the entropy of the members' votes, (N, ...) in bits: 0 (all vote alike) to log2 min(C, T)."""
    return entropy_bits(vote_share)


def mean_over_image(scores: Tensor) -> Tensor:
    """Reduce scores (N, ...) to (N,): the mean over an image's pixels, void not treated apart."""
    return scores.flatten(1).mean(dim=1) if scores.ndim > 1 else scores


def top_k(scores: np.ndarray, k: int, generator: np.random.Generator) -> np.ndarray:
    """Return the positions of the `k` highest scores, highest first; equal scores in random order."""
    return np.lexsort((generator.random(len(scores)), -scores))[:k]


# A score is a function of committee statistics; its parameters' names say which (`committee.STATISTICS`).
SCORES: dict[str, Callable[..., Tensor]] = {
    "consensus_entropy": consensus_entropy,
    "vote_entropy": vote_entropy,
}


@dataclass(frozen=True)
class Query:
    """A recipe for choosing images: what is scored, how an image's score comes of it, how a batch is chosen.

    score : of committee statistics, (N, ...); `None`: no committee is asked, each image draws its score
    """

    score: Callable[..., Tensor] | None
    reduction: Callable[[Tensor], Tensor] = mean_over_image
    selection: Callable[[np.ndarray, int, np.random.Generator], np.ndarray] = top_k


QUERIES: dict[str, Query] = {
    "random": Query(None),
    **{name: Query(score) for name, score in SCORES.items()},
}


def score_images(
    query: Query,
    model: SplitModel,
    dataset: ImageDataset,
    indices: np.ndarray,
    recipe: Recipe,
    committee: Committee,
    generator: np.random.Generator,
) -> np.ndarray:
    """Return one float64 score for each image in `indices`, higher meaning "label this first".

    No label is read. Memory does not depend on the number of images. Raises `ValueError` for a score that is
    not finite.
    """
    if query.score is None:
        return generator.random(len(indices))
    scored = [
        query.reduction(query.score(**statistics)).double().cpu()
        for statistics in ask_committee(committee, model, dataset, indices, recipe, statistics_of(query.score))
    ]
    scores = torch.cat(scored).numpy()
    if not np.isfinite(scores).all():
        raise ValueError(f"{(~np.isfinite(scores)).sum()} of {len(scores)} scores are not finite")
    return scores


def statistics_of(*scores: Callable[..., Tensor]) -> list[str]:
    """Return the names of the committee statistics that `scores` are functions of."""
    names = sorted({name for score in scores for name in signature(score).parameters})
    for name in names:
        check_choice("a score's parameter", name, STATISTICS)
    return names


@torch.inference_mode()
def ask_committee(
    committee: Committee,
    model: SplitModel,
    dataset: ImageDataset,
    indices: np.ndarray,
    recipe: Recipe,
    statistics: Sequence[str],
) -> Iterator[dict[str, Tensor]]:
    """Yield what the committee says of the images `indices`, a batch at a time: the `statistics` by name."""
    device, model = next(model.parameters()).device, inference_copy(model)
    batches = in_batches(indices, recipe.batch_size, f"asking the committee about {len(indices)}")
    for images, _ in feed(dataset, batches, device):
        with autocast(recipe.precision, device):
            members = committee.logits(model, model.encode(images))
            yield committee_statistics(members, statistics, images.shape[2:] if dataset.is_dense else ())


def committee_maps(
    model: SplitModel, dataset: ImageDataset, index: int, recipe: Recipe, committee: Committee
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Return one image's prediction without dropout (H, W), and each score's map (H, W) in bits."""

    def ask(committee: Committee, *scores: Callable[..., Tensor]) -> dict[str, Tensor]:
        (statistics,) = ask_committee(committee, model, dataset, np.array([index]), recipe, statistics_of(*scores))
        return statistics

    plain = ask(Committee(1, 0.0, 0), consensus_entropy)["mean_probability"]
    statistics = ask(committee, *SCORES.values())
    maps = {
        name: score(**{given: statistics[given] for given in statistics_of(score)})[0].cpu().numpy()
        for name, score in SCORES.items()
    }
    return plain.argmax(dim=1)[0].cpu().numpy(), maps
