"""Scores of a pool's images or regions, and one image's score maps; no label is read."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from alutils.datasets import ImageDataset
from alutils.models import SplitModel
from alutils.models.base import inference_copy
from alutils.queries.committee import Committee, committee_statistics
from alutils.queries.query import Query
from alutils.queries.reductions import reduction_of
from alutils.queries.regions import divide, region_scores
from alutils.queries.scores import SCORES, applied, balanced, consensus_entropy, score_of, statistics_of
from alutils.training.feeding import feed
from alutils.training.loop import autocast, in_batches
from alutils.training.recipe import Recipe


def score_images(
    query: Query,
    models: Sequence[SplitModel],
    dataset: ImageDataset,
    indices: np.ndarray,
    recipe: Recipe,
    committee: Committee,
    generator: np.random.Generator,
    class_weights: Tensor | None = None,
) -> np.ndarray:
    """Return one float64 score for each image in `indices`, higher meaning "label this first".

    class_weights : (C,), of a query that is balanced

    (N,), or of regions (N, K), NaN for one that an image does not have. No label is read. Memory does not depend on the
    number of images. Raises `ValueError` for a score that is not finite.
    """
    maps, count = divide(dataset, query.regions) if query.regions else (None, 1)
    score, reduction = score_of(query), reduction_of(query.reduce)
    if score is None:
        return generator.random(len(indices) if maps is None else (len(indices), count))
    statistics = {*statistics_of(score, reduction), *(["mean_probability"] if query.balanced else [])}
    scored: list[Tensor] = []
    for asked in ask_committee(committee, models, dataset, indices, recipe, sorted(statistics)):
        values = applied(score, asked)
        if class_weights is not None:
            values = balanced(values, asked["mean_probability"], class_weights)
        if maps is None:
            reduced = applied(reduction, asked, values)
        else:
            of_batch = indices[len(scored) * recipe.batch_size :][: len(values)]
            reduced = region_scores(values, maps[of_batch], count, reduction)
        scored.append(reduced.double().cpu())
    scores = torch.cat(scored).numpy()
    broken = ~np.isfinite(scores) if maps is None else np.isinf(scores)
    if broken.any():
        raise ValueError(f"{broken.sum()} of {scores.size} scores are not finite")
    return scores


@torch.inference_mode()
def ask_committee(
    committee: Committee,
    models: Sequence[SplitModel],
    dataset: ImageDataset,
    indices: np.ndarray,
    recipe: Recipe,
    statistics: Sequence[str],
) -> Iterator[dict[str, Tensor]]:
    """Yield what the committee says of the images `indices`, a batch at a time: the `statistics` by name."""
    device, models = next(models[0].parameters()).device, [inference_copy(model) for model in models]
    batches = in_batches(indices, recipe.batch_size, f"asking the committee about {len(indices)}")
    for images, _ in feed(dataset, batches, device):
        with autocast(recipe.precision, device):
            members = committee.logits(models, images)
            yield committee_statistics(members, statistics, images.shape[2:] if dataset.is_dense else ())


def committee_maps(
    model: SplitModel,
    dataset: ImageDataset,
    index: int,
    recipe: Recipe,
    committee: Committee,
    names: Sequence[str],
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Return one image's prediction without dropout (H, W), and the maps (H, W) of the `SCORES` called `names`."""

    def ask(committee: Committee, *scores: Callable[..., Tensor]) -> dict[str, Tensor]:
        (statistics,) = ask_committee(committee, [model], dataset, np.array([index]), recipe, statistics_of(*scores))
        return statistics

    plain = ask(Committee(1, 0.0, 0), consensus_entropy)["mean_probability"]
    statistics = ask(committee, *(SCORES[name] for name in names))
    maps = {name: applied(SCORES[name], statistics)[0].cpu().numpy() for name in names}
    return plain.argmax(dim=1)[0].cpu().numpy(), maps
