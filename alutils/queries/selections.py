"""A batch of images, chosen by their scores, by chance, by clusters, or by how different they are.

Every selection takes the scores (N,) of the unlabelled images, the size `k` of the batch, a generator and the
`Candidates`, and returns k positions in (N,), in the order chosen. Some selections do not look at the scores.
"""

import warnings
from collections.abc import Callable
from dataclasses import asdict
from functools import partial

import numpy as np
import pandas as pd
import torch

from alutils.queries.diversity import k_center_greedy, k_means_plus_plus
from alutils.queries.embeddings import Candidates
from alutils.queries.parts import Diverse, Mixture, PerImage, Power
from alutils.queries.query import Query

CLUSTERS = 20  # of a mixture, as in the thesis
MOST_CLUSTERS = 500  # of TypiClust, as in its paper
NEIGHBOURS = 20  # of TypiClust: typicality is the mean distance to so many images, as in its paper


def top_k(
    scores: np.ndarray, k: int, generator: np.random.Generator, candidates: Candidates | None = None
) -> np.ndarray:
    """Return the positions of the `k` highest scores, highest first; equal scores in random order."""
    return np.lexsort((generator.random(len(scores)), -scores))[:k]


def power(
    scores: np.ndarray, k: int, generator: np.random.Generator, candidates: Candidates | None = None, *, beta: float
) -> np.ndarray:
    """Return `k` positions drawn without replacement, each with a probability in proportion to score ** `beta`.

    The draws are the highest values of log score + Gumbel noise / beta. A score of 0 is drawn last. With BALD scores
    and beta 1 this is PowerBALD (Kirsch et al. 2023).
    """
    with np.errstate(divide="ignore"):
        return top_k(beta * np.log(scores) + generator.gumbel(size=len(scores)), k, generator)


def mixture(
    scores: np.ndarray,
    k: int,
    generator: np.random.Generator,
    candidates: Candidates,
    *,
    by_cluster: float,
    highest: float,
    random: float,
) -> np.ndarray:
    """Return the positions of a batch of `k`, mixed of three shares that sum to 1.

    by_cluster : this share is taken from the `CLUSTERS` k-means clusters of the features, from each cluster in turn
        the image with the highest score
    highest : this share has the highest scores of all other images
    random : this share is drawn at random from what is left then

    The thesis mixes its batches so, for example with 0.6, 0.2, 0.2.
    """
    clustered, overall, _ = np.diff(np.rint(k * np.cumsum([0, by_cluster, highest, random])).astype(int))
    ranked = top_k(scores, len(scores), generator)
    chosen = ranked[:0]
    if clustered:
        clusters, _ = _k_means(candidates.features(candidates.unlabelled), CLUSTERS, generator)
        chosen = ranked[np.argsort(_turns(clusters[ranked]), kind="stable")][:clustered]
    others = ranked[~np.isin(ranked, chosen)]
    return np.concatenate([chosen, others[:overall], generator.permutation(others[overall:])])[:k]


def diverse(
    scores: np.ndarray, k: int, generator: np.random.Generator, candidates: Candidates, *, factor: float
) -> np.ndarray:
    """Return the positions of the images nearest to the centres of `k` clusters of the likely images.

    The likely images have the `factor` x `k` highest scores. k-means clusters their embeddings by the network; each
    image's weight is its score. Zhdanov 2019.
    """
    likely = np.sort(top_k(scores, round(factor * k), generator))
    weights = scores[likely] - min(scores[likely].min(), 0) + np.finfo(np.float32).tiny
    chosen = _nearest_to_centres(candidates.embeddings(candidates.unlabelled[likely]), k, generator, weights)
    return likely[chosen]


def per_image(
    scores: np.ndarray, k: int, generator: np.random.Generator, candidates: Candidates, *, regions: int
) -> np.ndarray:
    """Return the positions of the `k` highest scores, but first at most `regions` of each image, then as many again."""
    ranked = top_k(scores, len(scores), generator)
    turns = _turns(candidates.unlabelled[ranked]) // regions
    return ranked[np.argsort(turns, kind="stable")][:k]


def k_means(scores: np.ndarray, k: int, generator: np.random.Generator, candidates: Candidates) -> np.ndarray:
    """Return the positions of the images nearest to the centres of `k` clusters of all unlabelled images."""
    return _nearest_to_centres(candidates.embeddings(candidates.unlabelled), k, generator)


def drop_query(scores: np.ndarray, k: int, generator: np.random.Generator, candidates: Candidates) -> np.ndarray:
    """Return the positions of the images nearest to the centres of `k` clusters of the half that scores highest.

    Unlike in `diverse`, neither the batch's size nor the scores within this half matter. Gupte et al. 2024 take the
    images whose class changes under dropout; scenes have pixels of both kinds, so here it is the half that changes
    most.
    """
    likely = np.sort(top_k(scores, max(k, len(scores) // 2), generator))
    return likely[_nearest_to_centres(candidates.embeddings(candidates.unlabelled[likely]), k, generator)]


def core_set(scores: np.ndarray, k: int, generator: np.random.Generator, candidates: Candidates) -> np.ndarray:
    """Return the positions of `k` images; each one is the farthest from all labelled and all chosen images.

    This is greedy k-center on the network's embeddings. Sener & Savarese 2018.
    """
    unlabelled, labelled = (
        torch.from_numpy(candidates.embeddings(indices)) for indices in (candidates.unlabelled, candidates.labelled)
    )
    return k_center_greedy(unlabelled, k, labelled.reshape(-1, unlabelled.shape[1])).numpy()


def badge(scores: np.ndarray, k: int, generator: np.random.Generator, candidates: Candidates) -> np.ndarray:
    """Return the positions of `k` images that k-means++ draws by their `gradient_embeddings`.

    An uncertain image has a long embedding, and similar images have close ones. A scene's embedding is the gradient of
    its mean loss over pixels. Ash et al. 2020.
    """
    seeded = torch.Generator().manual_seed(int(generator.integers(2**63)))
    gradients = torch.from_numpy(candidates.gradients(candidates.unlabelled))
    return k_means_plus_plus(gradients, k, generator=seeded).numpy()


def typiclust(scores: np.ndarray, k: int, generator: np.random.Generator, candidates: Candidates) -> np.ndarray:
    """Return the positions of typical images from clusters with few labels; of those, large clusters come first.

    k-means makes as many clusters of the features as there will be labels, but at most `MOST_CLUSTERS`. Typicality is
    the inverse of the mean distance to `NEIGHBOURS` images of the cluster. Hacohen et al. 2022 made it for the first
    batch.
    """
    labelled = len(candidates.labelled)
    features = candidates.features(np.concatenate([candidates.labelled, candidates.unlabelled]))
    clusters, _ = _k_means(features, min(labelled + k, MOST_CLUSTERS), generator)
    distances = _distances_to_neighbours(features, clusters)[labelled:]
    known, clusters = np.bincount(clusters[:labelled], minlength=clusters.max() + 1), clusters[labelled:]
    typical = np.argsort(distances, kind="stable")
    turns = _turns(clusters[typical]) + known[clusters[typical]]
    return typical[np.lexsort((-np.bincount(clusters)[clusters[typical]], turns))][:k]


def strided(scores: np.ndarray, k: int, generator: np.random.Generator, candidates: Candidates) -> np.ndarray:
    """Return the positions of every (N / k)-th unlabelled image, from a random one on: they are spread in time."""
    return np.floor((np.arange(k) + generator.random()) * len(scores) / k).astype(int)


SELECTIONS: dict[str, Callable[..., np.ndarray]] = {
    "top_k": top_k,
    "strided": strided,
    "core_set": core_set,
    "k_means": k_means,
    "badge": badge,
    "drop_query": drop_query,
    "typiclust": typiclust,
}
BY_SCORE: dict[type, Callable[..., np.ndarray]] = {
    Mixture: mixture,
    Power: power,
    Diverse: diverse,
    PerImage: per_image,
}


def selection_of(query: Query) -> Callable[..., np.ndarray]:
    """Return the function (scores, k, generator, candidates) that chooses a query's batch."""
    if query.select is not None:
        return partial(BY_SCORE[type(query.select)], **asdict(query.select))
    selection = query.entry.selection
    return SELECTIONS[selection] if isinstance(selection, str) else selection


def _turns(clusters: np.ndarray) -> np.ndarray:
    """Return for each image how many images of its cluster come before it, (N,)."""
    return pd.Series(clusters).groupby(clusters).cumcount().to_numpy()


def _nearest_to_centres(
    features: np.ndarray, k: int, generator: np.random.Generator, weights: np.ndarray | None = None
) -> np.ndarray:
    """Return the position of the point nearest to each of `k` centres; where points coincide, copies fill the batch."""
    clusters, distances = _k_means(features, k, generator, weights)
    by_distance = np.argsort(distances, kind="stable")
    return by_distance[np.argsort(_turns(clusters[by_distance]), kind="stable")][:k]


def _k_means(
    features: np.ndarray, clusters: int, generator: np.random.Generator, weights: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return each image's cluster and its distance to the cluster's centre, both (N,).

    It runs in one thread: with several, sums depend on which thread ends first.
    """
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning
    from threadpoolctl import threadpool_limits

    estimator = KMeans(min(clusters, len(features)), n_init=1, random_state=int(generator.integers(2**31)))
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # there are fewer distinct images than clusters
        found = estimator.fit_predict(features, sample_weight=weights)
    return found, np.linalg.norm(features - estimator.cluster_centers_[found], axis=1)


def _distances_to_neighbours(features: np.ndarray, clusters: np.ndarray) -> np.ndarray:
    """Return each image's mean distance to the nearest `NEIGHBOURS` others of its cluster, (N,); inf without others."""
    from sklearn.neighbors import NearestNeighbors

    means = np.full(len(features), np.inf)
    for cluster in np.unique(clusters):
        members = np.flatnonzero(clusters == cluster)
        neighbours = min(NEIGHBOURS, len(members) - 1)
        if neighbours:
            distances, _ = NearestNeighbors(n_neighbors=neighbours).fit(features[members]).kneighbors()
            means[members] = distances.mean(axis=1)
    return means
