"""Which images to label next: a score per pixel, reduced to one an image, and a selection of a batch."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from alutils.committee import Committee, CommitteeStats, entropy_bits
from alutils.config import Recipe
from alutils.datasets import ImageDataset
from alutils.models import SplitModel
from alutils.training import autocast, in_batches, load_images


def consensus_entropy(stats: CommitteeStats) -> Tensor:
    """Return the entropy of the members' mean softmax, (N, ...) in bits: 0 (all sure) to log2 C."""
    return entropy_bits(stats.mean_probability)


def vote_entropy(stats: CommitteeStats) -> Tensor:
    """Return the entropy of the members' votes, (N, ...) in bits: 0 (all vote alike) to log2 min(C, T)."""
    return entropy_bits(stats.vote_share)


def mean_over_image(scores: Tensor) -> Tensor:
    """Reduce scores (N, ...) to (N,): the mean over an image's pixels, void not treated apart."""
    return scores.flatten(1).mean(dim=1) if scores.ndim > 1 else scores


def top_k(scores: np.ndarray, k: int, generator: np.random.Generator) -> np.ndarray:
    """Return the positions of the `k` highest scores, highest first; equal scores in random order."""
    return np.lexsort((generator.random(len(scores)), -scores))[:k]


SCORES: dict[str, Callable[[CommitteeStats], Tensor]] = {
    "consensus_entropy": consensus_entropy,
    "vote_entropy": vote_entropy,
}


@dataclass(frozen=True)
class Query:
    """A recipe for choosing images: what is scored, how an image's score comes of it, how a batch is chosen.

    score : of the committee's statistics, (N, ...); `None`: no committee is asked, each image draws its score
    """

    score: Callable[[CommitteeStats], Tensor] | None
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
    batches = in_batches(indices, recipe.batch_size, f"asking the committee about {len(indices)}")
    scores = np.concatenate([_score_batch(query, model, dataset, b, recipe, committee) for b in batches])
    if not np.isfinite(scores).all():
        raise ValueError(f"{np.isnan(scores).sum()} of {len(scores)} scores are not finite")
    return scores


def _score_batch(
    query: Query,
    model: SplitModel,
    dataset: ImageDataset,
    batch: np.ndarray,
    recipe: Recipe,
    committee: Committee,
) -> np.ndarray:
    assert query.score is not None
    stats = committee_stats(model, dataset, batch, recipe, committee)
    return query.reduction(query.score(stats)).double().cpu().numpy()


@torch.inference_mode()
def committee_stats(
    model: SplitModel, dataset: ImageDataset, indices: np.ndarray, recipe: Recipe, committee: Committee
) -> CommitteeStats:
    """Return what the committee says of the images `indices`, N of them at once."""
    images = load_images(dataset, indices, next(model.parameters()).device)
    with autocast(recipe.precision, images.device):
        return CommitteeStats.from_members(committee.logits(model, images))


def committee_maps(
    model: SplitModel, dataset: ImageDataset, index: int, recipe: Recipe, committee: Committee
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Return one image's prediction without dropout (H, W), and each score's map (H, W) in bits."""
    indices = np.array([index])
    plain = committee_stats(model, dataset, indices, recipe, Committee(1, 0.0, 0))
    stats = committee_stats(model, dataset, indices, recipe, committee)
    maps = {name: score(stats)[0].cpu().numpy() for name, score in SCORES.items()}
    return plain.mean_probability.argmax(dim=1)[0].cpu().numpy(), maps
