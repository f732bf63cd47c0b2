"""How much the label of a pixel (or digit) would teach, from committee statistics; an image's score from its pixels'.

A score is a function of committee statistics (N, C, ...) or (N, ...), named as its parameters are
(`committee.STATISTICS`), to (N, ...): higher means "label this first". A reduction makes (N,) of it; it may ask for
statistics, too.
"""

import math
from collections.abc import Callable, Mapping
from inspect import Parameter, signature
from typing import Any

from torch import Tensor
from torch.nn import functional as F

from alutils.errors import check_choice
from alutils.queries.committee import STATISTICS, entropy_bits


def consensus_entropy(mean_probability: Tensor) -> Tensor:
    """Return the entropy of the members' mean softmax, (N, ...) in bits: 0 (all sure) to log2 C."""
    return entropy_bits(mean_probability)


def vote_entropy(vote_share: Tensor) -> Tensor:
    """Return the entropy of the members' votes, (N, ...) in bits: 0 (all vote alike) to log2 min(C, T)."""
    return entropy_bits(vote_share)


def mutual_information(mean_probability: Tensor, mean_entropy: Tensor) -> Tensor:
    """Return what the members disagree on, (N, ...) in bits: 0 (all alike) to log2 min(C, T).

    Entropy of the mean less the mean of the entropies (BALD; Houlsby et al. 2011, Gal et al. 2017), which is the mean
    Kullback-Leibler divergence of the members to their consensus (McCallum & Nigam 1998).
    """
    return (entropy_bits(mean_probability) - mean_entropy).clamp_(min=0)


def variation_ratio(vote_share: Tensor) -> Tensor:
    """Return the share of members that do not vote with the most, (N, ...): 0 to 1 - 1/min(C, T). Freeman 1965."""
    return 1 - vote_share.amax(dim=1)


def least_confidence(mean_probability: Tensor) -> Tensor:
    """Return 1 less the highest probability, (N, ...): 0 to 1 - 1/C. Lewis & Gale 1994."""
    return 1 - mean_probability.amax(dim=1)


def margin(mean_probability: Tensor) -> Tensor:
    """Return 1 less the highest probability's lead over the second, (N, ...): 0 to 1. Scheffer et al. 2001."""
    first, second = mean_probability.topk(2, dim=1).values.unbind(dim=1)
    return 1 - (first - second)


# Maps that notebook 05 shows; what queries are made of is `query.QUERIES`.
SCORES: dict[str, Callable[..., Tensor]] = {
    "consensus_entropy": consensus_entropy,
    "vote_entropy": vote_entropy,
}


def mean_over_image(scores: Tensor) -> Tensor:
    """Reduce scores (N, ...) to (N,): the mean over an image's pixels, void not treated apart."""
    return scores.flatten(1).mean(dim=1) if scores.ndim > 1 else scores


def sum_over_image(scores: Tensor) -> Tensor:
    """Reduce scores (N, ...) to (N,): the sum over an image's pixels; ranks like the mean if all have one size."""
    return scores.flatten(1).sum(dim=1) if scores.ndim > 1 else scores


def top_mean(scores: Tensor, *, share: float) -> Tensor:
    """Reduce scores (N, ...) to (N,): the mean of the highest `share` (0 to 1) of an image's pixels."""
    if scores.ndim == 1:
        return scores
    flat = scores.flatten(1)
    return flat.topk(max(1, math.ceil(share * flat.shape[1])), dim=1).values.mean(dim=1)


def interior_mean(scores: Tensor, mean_probability: Tensor, *, width: int) -> Tensor:
    """Reduce scores (N, ...) to (N,): the mean over pixels farther than `width` from any other predicted class.

    Along outlines a score is high in every image. Of an image that is all outlines the mean over all pixels is taken.
    """
    if scores.ndim == 1:
        return scores
    predicted = mean_probability.argmax(dim=1, keepdim=True).float()
    highest, lowest = (F.max_pool2d(sign * predicted, 2 * width + 1, 1, width) for sign in (1, -1))
    inside = highest == -lowest
    inside = inside[:, 0] | ~inside.flatten(1).any(dim=1)[:, None, None]
    return (scores * inside).flatten(1).sum(dim=1) / inside.flatten(1).sum(dim=1)


def statistics_of(*functions: Callable[..., Tensor]) -> list[str]:
    """Return the names of the committee statistics that scores and reductions are functions of."""
    names = {
        name
        for function in functions
        for name, parameter in signature(function).parameters.items()
        if name != "scores" and parameter.default is Parameter.empty
    }
    for name in sorted(names):
        check_choice("a score's parameter", name, STATISTICS)
    return sorted(names)


def applied(function: Callable[..., Tensor], statistics: Mapping[str, Tensor], *scores: Any) -> Tensor:
    """Return a score, or of `scores` a reduction, given those of the `statistics` that it is a function of."""
    return function(*scores, **{name: statistics[name] for name in statistics_of(function)})


def balanced(scores: Tensor, mean_probability: Tensor, class_weights: Tensor) -> Tensor:
    """Return scores (N, ...) times the weight of the class predicted there; class_weights (C,)."""
    return scores * class_weights.to(scores.device)[mean_probability.argmax(dim=1)]
