"""Which photographs, or regions of them, to label next."""

from typing import NamedTuple

import numpy as np

from alutils.datasets import IGNORE_INDEX, ImageDataset
from alutils.datasets.duplicates import near_duplicates, thumbnails
from alutils.errors import DataError, ParameterError, check_range, shortened
from alutils.labelling.heads import MODEL, RECIPE, Heads
from alutils.labelling.photos import Photos
from alutils.models import build_model
from alutils.models.base import SplitModel
from alutils.queries.committee import Committee
from alutils.queries.embeddings import Candidates
from alutils.queries.parts import Dropout, Ensemble, form_of, words_of
from alutils.queries.query import Query, parse_query
from alutils.queries.regions import Pieces
from alutils.queries.scoring import random_scores, score_images
from alutils.queries.selections import selection_of
from alutils.seeds import derive_seed, numpy_generator
from alutils.training.loop import class_loss_weights, default_device

FIRST = "typiclust"  # without labels: typical photographs, each of another kind
DEFAULT = "vote_entropy+diverse4"
DEFAULT_OF_REGIONS = "vote_entropy+perimage1"
TOGETHER = 2  # members of each head, if a query asks with dropout


class Choice(NamedTuple):
    """What to label next, in this order.

    positions : (B,), of the photographs
    regions : (B,), the region of each; `None` for whole photographs
    scores : (B,), in the score's unit; NaN if the query has no score
    ranks : (B,), the place of each by its score among all that could be chosen, from 1 on; it tells nothing without one
    stands_for : (B,), how many unlabelled photographs look more like this one than like any other chosen one, itself
        included
    left_out : how many photographs were left out because they look like one that is labelled or chosen
    """

    query: Query
    positions: np.ndarray
    regions: np.ndarray | None
    scores: np.ndarray
    ranks: np.ndarray
    stands_for: np.ndarray
    left_out: int


def query_for(text: str, regions: str, *, has_labels: bool) -> Query:
    """Return the query to ask: `text`, or what suits what is labelled so far, with `regions` to label.

    Raises `ParameterError` for a query that cannot be asked so.
    """
    if regions:
        check_regions(regions)
    if not has_labels:
        if regions or text not in ("", FIRST, "random", "k_means", "core_set", "strided_random"):
            asked = f"{text or 'a query'}{'+' if regions else ''}{regions}"
            raise ParameterError(
                f"nothing is labelled yet, so {asked} has no network to ask; allowed: {FIRST}, random, k_means,"
                " core_set, strided_random, for whole photographs"
            )
        return parse_query(text or FIRST)
    query = parse_query(
        "+".join(filter(None, [text or (DEFAULT_OF_REGIONS if regions else DEFAULT), regions]))
    ).loaded()
    if isinstance(query.committee, Ensemble):
        raise ParameterError(f"query is {query}; the heads are an ensemble already; allowed: a query without ensemble")
    return query


def check_regions(text: str) -> None:
    """Raise `ParameterError` for a text that names no regions."""
    try:
        is_regions = parse_query(f"random+{text}").regions is not None
    except ParameterError:
        is_regions = False
    if not is_regions or "+" in text:
        allowed = ", ".join(map(form_of, words_of("regions")))
        raise ParameterError(f"regions is {shortened(repr(text), 60)}; allowed: {allowed}, such as windows8x8")


class Left(NamedTuple):
    """The photographs or regions of a pool, and the numbers of those that have no label."""

    pieces: Pieces
    free: np.ndarray


def left_to_label(photos: Photos, query: Query, k: int) -> Left:
    """Return what a query can choose from.

    Raises `DataError` if nothing is left to label, `ParameterError` if less than `k` is.
    """
    pieces = Pieces(photos.dataset, query.regions)
    free = _unlabelled(photos, pieces)
    if not len(free):
        raise DataError(f"{photos.description.name} {photos.split}: all {len(photos.files)} photographs have labels")
    check_range("k", k, 1, len(free))
    return Left(pieces, free)


def choose(photos: Photos, heads: Heads, query: Query, left: Left, k: int, *, seed: int = 0) -> Choice:
    """Return the `k` photographs or regions that a query would have labelled next, of those that are `left`.

    A photograph that looks like a labelled one, or like one with a higher score, is chosen only if no others are left.
    """
    dataset, generator = photos.dataset, numpy_generator(seed, "choice", len(photos.labelled))
    pieces, free = left
    network = heads.networks[0] if heads.networks else _untrained(dataset)
    scores = _scores(photos, heads, query, pieces, free, generator)
    others = _unlike(photos, pieces.images[free], scores) if query.regions is None else np.ones(len(free), bool)
    if others.sum() < k:
        others[np.flatnonzero(~others)[np.argsort(-scores[~others], kind="stable")][: k - others.sum()]] = True
    candidates = Candidates(network, dataset, RECIPE, pieces.images[free[others]], photos.labelled)
    chosen = np.flatnonzero(others)[selection_of(query)(scores[others], k, generator, candidates)]
    ranks = 1 + np.argsort(np.argsort(-scores, kind="stable"))
    positions = pieces.images[free[chosen]]
    return Choice(
        query,
        positions,
        None if query.regions is None else pieces.regions[free[chosen]],
        scores[chosen] if query.asks_committee else np.full(k, np.nan),
        ranks[chosen],
        _stands_for(candidates, photos.unlabelled, positions),
        int((~others).sum()),
    )


def _unlabelled(photos: Photos, pieces: Pieces) -> np.ndarray:
    """Return the pieces to choose from: photographs without a label file, or regions without a labelled pixel."""
    if pieces.maps is None:
        return photos.unlabelled
    has_label = np.zeros(len(pieces.sizes), bool)
    for image in photos.labelled:
        touched = np.unique(pieces.maps[image][photos.dataset.labels[image] != IGNORE_INDEX])
        has_label[pieces.numbers(np.full(len(touched), image), touched)] = True
    return np.flatnonzero(~has_label)


def _untrained(dataset: ImageDataset) -> SplitModel:
    return build_model(MODEL, dataset.num_classes, seed=0, features=dataset.features).to(default_device())


def _scores(
    photos: Photos, heads: Heads, query: Query, pieces: Pieces, free: np.ndarray, generator: np.random.Generator
) -> np.ndarray:
    """Return the scores of the pieces `free`."""
    dataset, images = photos.dataset, np.unique(pieces.images[free])
    if query.asks_committee:
        weights = class_loss_weights(dataset, photos.labelled) if query.balanced else None
        of_images = score_images(query, committee_of(heads, query), dataset, images, RECIPE, weights)
    else:
        of_images = random_scores(query, dataset, images, generator=generator)
    places = np.searchsorted(images, pieces.images[free])
    return of_images[places] if pieces.maps is None else of_images[places, pieces.regions[free]]


def committee_of(heads: Heads, query: Query) -> Committee:
    """Return the heads as a committee, with dropout if the query asks so."""
    if isinstance(query.committee, Dropout):
        return Committee(heads.networks, TOGETHER, query.committee.rate, derive_seed(0, "committee"))
    return Committee(heads.networks)


def _unlike(photos: Photos, images: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Return which of `images` look neither like a labelled photograph nor like one of them with a higher score."""
    alike = near_duplicates(thumbnails(photos.dataset.images))
    taken = np.zeros(len(photos.files), bool)
    taken[photos.labelled] = True
    is_unlike = np.zeros(len(images), bool)
    for place in np.argsort(-scores, kind="stable"):
        if not taken[alike[images[place]].indices].any():
            is_unlike[place] = taken[images[place]] = True
    return is_unlike


def _stands_for(candidates: Candidates, unlabelled: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """Return for each chosen photograph how many of `unlabelled` look more like it than like any other chosen one."""
    from sklearn.neighbors import NearestNeighbors

    of_chosen = NearestNeighbors(n_neighbors=1).fit(candidates.embeddings(positions))
    nearest = of_chosen.kneighbors(candidates.embeddings(unlabelled), return_distance=False)
    return np.bincount(nearest[:, 0], minlength=len(positions))
