"""A batch of images: the highest scores, chance beside them, clusters, or diverse images whatever their score.

Every selection takes scores (N,) of the unlabelled images, the size `k` of the batch, a generator and the `Candidates`
themselves, and returns k positions in (N,), in the order chosen.
"""

import warnings
from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch

from alutils.queries.diversity import k_center_greedy, k_means_plus_plus
from alutils.queries.embeddings import Candidates

CLUSTERS = 20  # of a mixture, as in the thesis
MOST_CLUSTERS = 500  # of TypiClust, as in its paper
NEIGHBOURS = 20  # that an image's typicality is the mean distance to, as in its paper


def top_k(
    scores: np.ndarray, k: int, generator: np.random.Generator, candidates: Candidates | None = None
) -> np.ndarray:
    """Return the positions of the `k` highest scores, highest first; equal scores in random order."""
    return np.lexsort((generator.random(len(scores)), -scores))[:k]


def power(
    scores: np.ndarray, k: int, generator: np.random.Generator, candidates: Candidates | None = None, *, beta: float
) -> np.ndarray:
    """Return `k` positions drawn without replacement, each with a probability in proportion to score ** `beta`.

    The highest of log score + Gumbel noise / beta; a score of 0 is drawn last. PowerBALD is that of BALD with beta 1
    (Kirsch et al. 2023).
    """
    with np.errstate(divide="ignore"):
        return top_k(beta * np.log(scores) + generator.gumbel(size=len(scores)), k, generator)


def mixture(
    scores: np.ndarray, k: int, generator: np.random.Generator, candidates: Candidates, *, shares: Sequence[float]
) -> np.ndarray:
    """Return the positions of a batch of `k`: by clusters, then the highest of all others, then random ones.

    shares : of the batch that is taken from clusters, overall and at random; they sum to 1. By clusters means
        from each of `CLUSTERS` k-means clusters of the features in turn the image with the highest score.

    The thesis's mixed batches, for example 0.6, 0.2, 0.2.
    """
    by_cluster, overall, _ = np.diff(np.rint(k * np.cumsum([0, *shares])).astype(int))
    ranked = top_k(scores, len(scores), generator)
    chosen = ranked[:0]
    if by_cluster:
        clusters, _ = _k_means(candidates.features(candidates.unlabelled), CLUSTERS, generator)
        chosen = ranked[np.argsort(_turns(clusters[ranked]), kind="stable")][:by_cluster]
    others = ranked[~np.isin(ranked, chosen)]
    return np.concatenate([chosen, others[:overall], generator.permutation(others[overall:])])[:k]


def diverse(
    scores: np.ndarray, k: int, generator: np.random.Generator, candidates: Candidates, *, factor: float
) -> np.ndarray:
    """Return of the `factor` x `k` highest scores those nearest to the centres of `k` clusters.

    k-means on the network's embeddings, each image weighing its score. Zhdanov 2019.
    """
    likely = np.sort(top_k(scores, round(factor * k), generator))
    weights = scores[likely] - min(scores[likely].min(), 0) + np.finfo(np.float32).tiny
    chosen = _nearest_to_centres(candidates.embeddings(candidates.unlabelled[likely]), k, generator, weights)
    return likely[chosen]


def k_means(scores: np.ndarray, k: int, generator: np.random.Generator, candidates: Candidates) -> np.ndarray:
    """Return the images nearest to the centres of `k` clusters of all unlabelled ones, whatever their score."""
    return _nearest_to_centres(candidates.embeddings(candidates.unlabelled), k, generator)


def core_set(scores: np.ndarray, k: int, generator: np.random.Generator, candidates: Candidates) -> np.ndarray:
    """Return `k` images each the farthest from all labelled and chosen ones, whatever their score.

    Greedy k-center on the network's embeddings. Sener & Savarese 2018.
    """
    unlabelled, labelled = (
        torch.from_numpy(candidates.embeddings(indices)) for indices in (candidates.unlabelled, candidates.labelled)
    )
    return k_center_greedy(unlabelled, k, labelled.reshape(-1, unlabelled.shape[1])).numpy()


def badge(scores: np.ndarray, k: int, generator: np.random.Generator, candidates: Candidates) -> np.ndarray:
    """Return `k` images by k-means++ on `gradient_embeddings`: uncertain ones are long, like ones are near.

    Ash et al. 2020; for scenes an image's embedding is the gradient of its mean loss over pixels.
    """
    seeded = torch.Generator().manual_seed(int(generator.integers(2**63)))
    gradients = torch.from_numpy(candidates.gradients(candidates.unlabelled))
    return k_means_plus_plus(gradients, k, generator=seeded).numpy()


def typiclust(scores: np.ndarray, k: int, generator: np.random.Generator, candidates: Candidates) -> np.ndarray:
    """Return the most typical image of each of the largest clusters that hold the fewest labels.

    As many k-means clusters of the features as there will be labels, `MOST_CLUSTERS` at most. Typicality is the inverse
    of the mean distance to `NEIGHBOURS` images of the cluster. Hacohen et al. 2022, made for the first batch.
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
    """Return every (N / k)-th unlabelled image in the data set's order, from a random one on: spread out in time."""
    return np.floor((np.arange(k) + generator.random()) * len(scores) / k).astype(int)


def _turns(clusters: np.ndarray) -> np.ndarray:
    """Return how many images of its cluster come before each one, (N,)."""
    return pd.Series(clusters).groupby(clusters).cumcount().to_numpy()


def _nearest_to_centres(
    features: np.ndarray, k: int, generator: np.random.Generator, weights: np.ndarray | None = None
) -> np.ndarray:
    """Return of each of `k` clusters the point nearest to its centre; copies, of which no cluster is made, fill up."""
    clusters, distances = _k_means(features, k, generator, weights)
    by_distance = np.argsort(distances, kind="stable")
    return by_distance[np.argsort(_turns(clusters[by_distance]), kind="stable")][:k]


def _k_means(
    features: np.ndarray, clusters: int, generator: np.random.Generator, weights: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return each image's cluster and its distance to that one's centre, both (N,).

    By one thread, whose sums do not depend on which thread ends first.
    """
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning
    from threadpoolctl import threadpool_limits

    estimator = KMeans(min(clusters, len(features)), n_init=1, random_state=int(generator.integers(2**31)))
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # of fewer distinct images than clusters
        found = estimator.fit_predict(features, sample_weight=weights)
    return found, np.linalg.norm(features - estimator.cluster_centers_[found], axis=1)


def _distances_to_neighbours(features: np.ndarray, clusters: np.ndarray) -> np.ndarray:
    """Return each image's mean distance to the nearest `NEIGHBOURS` others of its cluster, (N,); alone in it: inf."""
    from sklearn.neighbors import NearestNeighbors

    means = np.full(len(features), np.inf)
    for cluster in np.unique(clusters):
        members = np.flatnonzero(clusters == cluster)
        neighbours = min(NEIGHBOURS, len(members) - 1)
        if neighbours:
            distances, _ = NearestNeighbors(n_neighbors=neighbours).fit(features[members]).kneighbors()
            means[members] = distances.mean(axis=1)
    return means
