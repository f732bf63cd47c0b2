"""Which images to label next: a score per pixel, reduced to one an image or region, and a selection of a batch.

`docs/queries.md` lists all with formula, source and cost.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from torch import Tensor

from alutils.errors import ParameterError, check_range
from alutils.queries.regions import Regions
from alutils.queries.scores import (
    consensus_entropy,
    interior_mean,
    least_confidence,
    margin,
    mean_over_image,
    mutual_information,
    statistics_of,
    sum_over_image,
    top_mean,
    variation_ratio,
    vote_entropy,
)
from alutils.queries.selections import badge, core_set, diverse, k_means, mixture, power, strided, top_k, typiclust


@dataclass(frozen=True)
class Query:
    """A recipe for choosing images: what is scored, how an image's score comes of it, how a batch is chosen.

    score : of committee statistics, (N, ...); `None`: no committee is asked, each image draws its score
    ensemble : the committee is that many networks without dropout, trained separately, 1 of them being a plain
        prediction; `None`: one network, its dropout left on
    is_balanced : a pixel's score is weighed by how rare its predicted class is among the labels so far
    regions : what is scored and labelled instead of images
    """

    score: Callable[..., Tensor] | None
    reduction: Callable[..., Tensor] = mean_over_image
    selection: Callable[..., np.ndarray] = top_k  # (scores, k, generator, candidates) to positions
    ensemble: int | None = None
    is_balanced: bool = False
    regions: Regions | None = None


QUERIES: dict[str, Query] = {
    "random": Query(None),
    "strided_random": Query(None, selection=strided),
    "consensus_entropy": Query(consensus_entropy),
    "vote_entropy": Query(vote_entropy),
    "bald": Query(mutual_information),
    "mean_kl": Query(mutual_information),  # the same by its other name
    "variation_ratio": Query(variation_ratio),
    "least_confidence": Query(least_confidence, ensemble=1),
    "margin": Query(margin, ensemble=1),
    "entropy": Query(consensus_entropy, ensemble=1),
    "core_set": Query(None, selection=core_set),
    "k_means": Query(None, selection=k_means),
    "badge": Query(None, selection=badge),
    "typiclust": Query(None, selection=typiclust),
}

NUMBER = r"(\d*\.?\d+)"


def _with_ensemble(query: Query, networks: str) -> Query:
    check_range("networks of an ensemble", int(networks), 2, 1000)
    return replace(query, ensemble=int(networks))


def _with_top(query: Query, share: str) -> Query:
    check_range("share of the pixels after top_", float(share), 1e-6, 1)
    return replace(query, reduction=partial(top_mean, share=float(share)))


def _with_interior(query: Query, width: str) -> Query:
    check_range("pixels after interior_", int(width), 1, 1000)
    return replace(query, reduction=partial(interior_mean, width=int(width)))


def _with_mixture(query: Query, *texts: str) -> Query:
    shares = [float(text) for text in texts]
    if abs(sum(shares) - 1) > 1e-9:
        raise ParameterError(f"shares after mixture_ sum to {sum(shares):g}; allowed: 1")
    return replace(query, selection=partial(mixture, shares=shares))


def _with_power(query: Query, beta: str) -> Query:
    check_range("exponent after power_", float(beta), 1e-6, 1000)
    return replace(query, selection=partial(power, beta=float(beta)))


def _with_diverse(query: Query, factor: str) -> Query:
    check_range("factor after diverse_", float(factor), 1, 1e6)
    return replace(query, selection=partial(diverse, factor=float(factor)))


# What may follow a query's name, one of each group, the groups in this order: its pattern, what it makes of the query.
REDUCTIONS: dict[str, Callable[..., Query]] = {
    "_sum": lambda query: replace(query, reduction=sum_over_image),
    f"_top_{NUMBER}": _with_top,
    r"_interior_(\d+)": _with_interior,
}
SELECTIONS: dict[str, Callable[..., Query]] = {
    f"_mixture_{NUMBER}_{NUMBER}_{NUMBER}": _with_mixture,
    f"_power_{NUMBER}": _with_power,
    f"_diverse_{NUMBER}": _with_diverse,
}
REGIONS: dict[str, Callable[..., Query]] = {
    r"_windows_(\d+)x(\d+)": lambda query, *sides: replace(query, regions=Regions(*map(int, sides))),
    r"_superpixels_(\d+)": lambda query, count: replace(query, regions=Regions(superpixels=int(count))),
}
SUFFIXES: list[dict[str, Callable[..., Query]]] = [
    {"_balanced": lambda query: replace(query, is_balanced=True)},
    REDUCTIONS,
    {r"_ensemble_(\d+)": _with_ensemble},
    SELECTIONS,
    REGIONS,
]
SUFFIXES_HELP = (
    "after it, in this order: _balanced; _sum, _top_Q or _interior_W; _ensemble_M; _mixture_A_B_C, _power_B or"
    " _diverse_F; _windows_RxC or _superpixels_N (docs/queries.md)"
)


def find_query(name: str, others: Sequence[str] = ()) -> Query:
    """Return the query called `name`, an entry of `QUERIES`, perhaps with suffixes that change a part of it.

    `vote_entropy_ensemble_5` asks five networks that are trained separately, instead of one with dropout;
    `bald_top_0.1_power_1` draws batches by the mean of each image's highest tenth. Raises `ParameterError` for a name
    that is none of these; it names `others`, which the caller knows, as well.
    """
    base = max((known for known in QUERIES if re.match(rf"{known}(_|$)", name)), key=len, default="")
    query, rest = QUERIES.get(base), name.removeprefix(base)
    for group in _suffixes_of(query) if query else []:
        for pattern, change in group.items():
            if query and (found := re.match(rf"{pattern}(?=_|$)", rest)):
                query, rest = change(query, *found.groups()), rest[found.end() :]
                break
    if query is None or rest:
        allowed = ", ".join([*others, *QUERIES])
        raise ParameterError(f"query is {name!r}; allowed: {allowed}; {SUFFIXES_HELP}")
    if query.regions:
        _check_regions(name, query)
    return query


def _suffixes_of(query: Query) -> list[dict[str, Callable[..., Query]]]:
    """Return what may follow a query: nothing where it has a selection of its own, no score where it has none."""
    if query.selection is not top_k:
        return []
    return SUFFIXES if query.score else [SELECTIONS, REGIONS]


def _check_regions(name: str, query: Query) -> None:
    """Refuse what is known of whole images only."""
    if getattr(query.selection, "func", query.selection) not in (top_k, power):
        raise ParameterError(f"query is {name!r}; regions are chosen by their scores, allowed: top k, _power_B")
    if len(statistics_of(query.reduction)) > 0:
        raise ParameterError(f"query is {name!r}; of regions allowed: the mean, _sum, _top_Q")
