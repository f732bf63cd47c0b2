"""Scores of a pool's images or regions, and score maps of one image; none of them depends on a label of the pool."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from alutils.datasets import ImageDataset
from alutils.models.base import predicted_classes, resize_logits
from alutils.queries.committee import Committee, committee_statistics
from alutils.queries.query import Query
from alutils.queries.reductions import reduction_of
from alutils.queries.regions import divide, region_scores
from alutils.queries.scores import SCORES, applied, balanced, consensus_entropy, score_of, statistics_of
from alutils.training.feeding import feed
from alutils.training.loop import at_once, autocast, in_batches
from alutils.training.memory import keep_freed_memory
from alutils.training.recipe import Recipe


def random_scores(
    query: Query, dataset: ImageDataset, indices: np.ndarray, *, generator: np.random.Generator
) -> np.ndarray:
    """Return one random score for each image in `indices`, (N,), or for each of its regions, (N, K)."""
    return generator.random((len(indices), divide(dataset, query.regions)[1]) if query.regions else len(indices))


def score_images(
    query: Query,
    committee: Committee,
    dataset: ImageDataset,
    indices: np.ndarray,
    recipe: Recipe,
    class_weights: Tensor | None = None,
) -> np.ndarray:
    """Return the committee's scores of the images `indices`, float64; a higher score means "label this first".

    Returns (N,), or for a query of regions (N, K), where a region that an image does not have is NaN. The memory
    needed does not grow with the number of images. Raises `ValueError` if a score is not finite.

    query : a query that asks a committee; others take `random_scores`
    class_weights : (C,), for a balanced query
    """
    maps, count = divide(dataset, query.regions) if query.regions else (None, 1)
    score, reduction = score_of(query), reduction_of(query.reduce)
    if score is None:
        raise ValueError("a query without a score asks no committee")
    statistics = {*statistics_of(score, reduction), *(["mean_probability"] if query.balanced else [])}
    scored: list[Tensor] = []
    for asked in ask_committee(committee, dataset, indices, recipe, sorted(statistics)):
        values = applied(score, asked)
        if class_weights is not None:
            values = balanced(values, asked["mean_probability"], class_weights)
        if dataset.is_dense:
            asked = {name: enlarged(asked[name], dataset) for name in statistics_of(reduction)}
            values = enlarged(values, dataset)
        if maps is None:
            reduced = applied(reduction, asked, values)
        else:
            of_batch = indices[len(scored) * at_once(dataset, recipe) :][: len(values)]
            reduced = region_scores(values, maps[of_batch], count, reduction)
        scored.append(reduced.double().cpu())
    scores = torch.cat(scored).numpy()
    broken = ~np.isfinite(scores) if maps is None else np.isinf(scores)
    if broken.any():
        raise ValueError(f"{broken.sum()} of {scores.size} scores are not finite")
    return scores


@torch.inference_mode()
def ask_committee(
    committee: Committee, dataset: ImageDataset, indices: np.ndarray, recipe: Recipe, names: Sequence[str]
) -> Iterator[dict[str, Tensor]]:
    """Yield the committee statistics `names` of the images `indices`, a batch at a time.

    Those of scenes have the height and width of the images, or of the logits for networks that are `at_own_size`.
    """
    keep_freed_memory()
    committee = committee.for_inference()
    batches = in_batches(indices, at_once(dataset, recipe), f"asking the committee about {len(indices)}")
    at_own_size = any(network.at_own_size for network in committee.networks)
    for images, _ in feed(dataset, batches, committee.device):
        with autocast(recipe.precision, committee.device):
            size = None if at_own_size or not dataset.is_dense else images.shape[2:]
            yield committee_statistics(committee.logits(images), names, size)


def enlarged(maps: Tensor, dataset: ImageDataset) -> Tensor:
    """Return maps (N, h, w) or (N, C, h, w), enlarged bilinearly to the size of the images; (N,) unchanged."""
    size = dataset.images.shape[2:]
    return resize_logits(maps[:, None], size)[:, 0] if maps.ndim == 3 else resize_logits(maps, size)


def score_maps(
    committee: Committee, dataset: ImageDataset, index: int, recipe: Recipe, names: Sequence[str]
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Return the first network's prediction for one image (H, W), and by name the maps (H, W) of some `SCORES`."""

    def ask(asked: Committee, *scores: Callable[..., Tensor]) -> dict[str, Tensor]:
        (statistics,) = ask_committee(asked, dataset, np.array([index]), recipe, statistics_of(*scores))
        return statistics

    plain = enlarged(ask(Committee(committee.networks[:1]), consensus_entropy)["mean_probability"], dataset)
    statistics = ask(committee, *(SCORES[name] for name in names))
    maps = {name: enlarged(applied(SCORES[name], statistics), dataset)[0].cpu().numpy() for name in names}
    return predicted_classes(plain)[0].cpu().numpy(), maps
