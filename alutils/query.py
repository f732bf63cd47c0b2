"""Which images to label next: a score per pixel, reduced to one an image, and a selection of a batch."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from alutils.committee import Committee, CommitteeStats, entropy_bits
from alutils.datasets import ImageDataset
from alutils.models import SplitModel
from alutils.training import Recipe, autocast, in_batches, load_images


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


@torch.inference_mode()
def _score_batch(
    query: Query,
    model: SplitModel,
    dataset: ImageDataset,
    batch: np.ndarray,
    recipe: Recipe,
    committee: Committee,
) -> np.ndarray:
    assert query.score is not None
    device = next(model.parameters()).device
    images = load_images(dataset, batch, device)
    with autocast(recipe.precision, device):
        stats = CommitteeStats.from_members(committee.logits(model, images))
    return query.reduction(query.score(stats)).double().cpu().numpy()
