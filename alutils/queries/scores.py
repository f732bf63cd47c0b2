"""How much the label of a pixel (or digit) would teach, computed from committee statistics.

A score is a function whose parameters are names of committee statistics (`committee.STATISTICS`), each (N, C, ...) or
(N, ...). It returns (N, ...); a higher score means "label this first".
"""

from collections.abc import Callable, Mapping
from inspect import Parameter, signature
from math import log2
from typing import Any

from torch import Tensor

from alutils.errors import check_choice
from alutils.models.base import predicted_classes
from alutils.queries.committee import STATISTICS, entropy_bits
from alutils.queries.query import Query


def consensus_entropy(mean_probability: Tensor) -> Tensor:
    """Return the entropy of the members' mean softmax, (N, ...) in bits: 0 (all sure) to log2 C."""
    return entropy_bits(mean_probability)


def vote_entropy(vote_share: Tensor) -> Tensor:
    """Return the entropy of the members' votes, (N, ...) in bits: 0 (all vote alike) to log2 min(C, T)."""
    return entropy_bits(vote_share)


def mutual_information(mean_probability: Tensor, mean_entropy: Tensor) -> Tensor:
    """Return the mutual information, what the members disagree on, (N, ...) in bits: 0 (all alike) to log2 min(C, T).

    It is the entropy of the mean minus the mean of the entropies (BALD; Houlsby et al. 2011, Gal et al. 2017). It
    equals the mean Kullback-Leibler divergence of the members from their consensus (McCallum & Nigam 1998).
    """
    return (entropy_bits(mean_probability) - mean_entropy).clamp_(min=0)


def variation_ratio(vote_share: Tensor) -> Tensor:
    """Return the share of members that vote against the majority, (N, ...): 0 to 1 - 1/min(C, T). Freeman 1965."""
    return 1 - vote_share.amax(dim=1)


def least_confidence(mean_probability: Tensor) -> Tensor:
    """Return 1 minus the highest probability, (N, ...): 0 to 1 - 1/C. Lewis & Gale 1994."""
    return 1 - mean_probability.amax(dim=1)


def margin(mean_probability: Tensor) -> Tensor:
    """Return 1 minus the difference of the two highest probabilities, (N, ...): 0 to 1. Scheffer et al. 2001."""
    first, second = mean_probability.topk(2, dim=1).values.unbind(dim=1)
    return 1 - (first - second)


SCORES: dict[str, Callable[..., Tensor]] = {
    "consensus_entropy": consensus_entropy,
    "vote_entropy": vote_entropy,
    "mutual_information": mutual_information,
    "variation_ratio": variation_ratio,
    "least_confidence": least_confidence,
    "margin": margin,
}


def largest(name: str, classes: int, members: int) -> float:
    """Return the largest value that a score of `SCORES` can have; one member never disagrees, 0 then."""
    options = min(classes, members)
    of_votes = {"vote_entropy": log2(options), "mutual_information": log2(options), "variation_ratio": 1 - 1 / options}
    return {"consensus_entropy": log2(classes), "least_confidence": 1 - 1 / classes, "margin": 1.0, **of_votes}[name]


def score_of(query: Query) -> Callable[..., Tensor] | None:
    """Return the function that scores pixels for a query; `None` for a query that draws scores at random."""
    score = query.entry.score
    return SCORES[score] if isinstance(score, str) else score


def statistics_of(*functions: Callable[..., Tensor]) -> list[str]:
    """Return the names of the committee statistics that scores and reductions take as parameters."""
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
    """Return a score's or reduction's value; it is given `scores` and those of the `statistics` that it takes."""
    return function(*scores, **{name: statistics[name] for name in statistics_of(function)})


def balanced(scores: Tensor, mean_probability: Tensor, class_weights: Tensor) -> Tensor:
    """Return scores (N, ...), each multiplied by the weight of the class predicted there; class_weights (C,)."""
    return scores * class_weights.to(scores.device)[predicted_classes(mean_probability)]
