"""Which images to label next: a score per pixel, reduced to one an image, and a selection of a batch."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from inspect import signature

import numpy as np
import torch
from torch import Tensor

from alutils.committee import STATISTICS, Committee, committee_statistics, entropy_bits
from alutils.config import Recipe
from alutils.datasets import ImageDataset
from alutils.errors import ParameterError, check_choice, check_range
from alutils.feeding import feed
from alutils.models import SplitModel
from alutils.models.base import inference_copy
from alutils.selection import mixture, top_k
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


# A score is a function of committee statistics; its parameters' names say which (`committee.STATISTICS`).
SCORES: dict[str, Callable[..., Tensor]] = {
    "consensus_entropy": consensus_entropy,
    "vote_entropy": vote_entropy,
}


@dataclass(frozen=True)
class Query:
    """A recipe for choosing images: what is scored, how an image's score comes of it, how a batch is chosen.

    score : of committee statistics, (N, ...); `None`: no committee is asked, each image draws its score
    ensemble : the committee is that many networks, trained separately; `None`: one network, its dropout left on
    """

    score: Callable[..., Tensor] | None
    reduction: Callable[[Tensor], Tensor] = mean_over_image
    selection: Callable[..., np.ndarray] = top_k  # (scores, k, generator, features) to positions
    ensemble: int | None = None


QUERIES: dict[str, Query] = {
    "random": Query(None),
    **{name: Query(score) for name, score in SCORES.items()},
}

SHARE = r"(\d*\.?\d+)"
VARIANTS = re.compile(rf"(\w+?)(?:_ensemble_(\d+))?(?:_mixture_{SHARE}_{SHARE}_{SHARE})?")
VARIANTS_HELP = "; after it _ensemble_M (M networks), _mixture_A_B_C (shares by cluster, overall, at random)"


def find_query(name: str, others: Sequence[str] = ()) -> Query:
    """Return the query called `name`, an entry of `QUERIES`, perhaps with another committee or selection.

    `vote_entropy_ensemble_5` asks five networks that are trained separately, instead of one with dropout;
    `vote_entropy_mixture_0.6_0.2_0.2` mixes each batch (`selection.mixture`); both together in this order.
    Raises `ParameterError` for a name that is none of these; it names `others`, which the caller knows, as well.
    """
    found = VARIANTS.fullmatch(name)
    base, ensemble, *shares_text = found.groups() if found else (None, None)
    if base not in QUERIES or (ensemble and QUERIES[base].score is None):
        raise ParameterError(f"query is {name!r}; allowed: {', '.join([*others, *QUERIES])}{VARIANTS_HELP}")
    query = QUERIES[base]
    if ensemble:
        check_range(f"networks in {name}", int(ensemble), 2, 1000)
        query = replace(query, ensemble=int(ensemble))
    if shares_text[-1]:
        shares = [float(share) for share in shares_text]
        if abs(sum(shares) - 1) > 1e-9:
            raise ParameterError(f"shares in {name} sum to {sum(shares):g}; allowed: 1")
        query = replace(query, selection=partial(mixture, shares=shares))
    return query


def score_images(
    query: Query,
    models: Sequence[SplitModel],
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
        for statistics in ask_committee(committee, models, dataset, indices, recipe, statistics_of(query.score))
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
    model: SplitModel, dataset: ImageDataset, index: int, recipe: Recipe, committee: Committee
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Return one image's prediction without dropout (H, W), and each score's map (H, W) in bits."""

    def ask(committee: Committee, *scores: Callable[..., Tensor]) -> dict[str, Tensor]:
        (statistics,) = ask_committee(committee, [model], dataset, np.array([index]), recipe, statistics_of(*scores))
        return statistics

    plain = ask(Committee(1, 0.0, 0), consensus_entropy)["mean_probability"]
    statistics = ask(committee, *SCORES.values())
    maps = {
        name: score(**{given: statistics[given] for given in statistics_of(score)})[0].cpu().numpy()
        for name, score in SCORES.items()
    }
    return plain.argmax(dim=1)[0].cpu().numpy(), maps
