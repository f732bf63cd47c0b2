"""1,000 of 20,000 feature vectors of 256: k-center and k-means++ at least 10x faster than others, memory linear.

The others are what scikit-activeml offers, scikit-learn's own k-means++ and, for k-center, a plain loop over
scikit-learn's distances to the newest centre. They get the same values in float64, in which they are faster than in
float32. All run on the CPU. Memory is read from /proc, which Linux has.
"""

import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import sklearn
import torch
from measure import Goal, Result, run, time_sides
from skactiveml.classifier import ParzenWindowClassifier
from skactiveml.pool import Badge, k_greedy_center
from sklearn.cluster import kmeans_plusplus
from sklearn.metrics import pairwise_distances_argmin_min
from sklearn.metrics.pairwise import euclidean_distances
from sklearn.utils.extmath import row_norms
from torch import Tensor

from alutils.queries.diversity import CANDIDATES, k_center_greedy, k_means_plus_plus

DIMENSIONS, CLUSTERS, LABELLED = 256, 100, 100


def measure(quick: bool) -> Result:
    """Time all sides on the same features, and compare what they chose."""
    n, k = (500, 20) if quick else (20_000, 1000)
    features = clustered(n + LABELLED)
    chosen: dict[str, Sequence[int]] = {}
    seconds = time_sides(sides(features[:n], k, features[n:], chosen), rounds=1 if quick else 3)
    ours = {name: seconds.pop(name) for name in ("k_center", "k_means_pp")}
    product, unchecked = seconds.pop("product"), seconds.pop("k_center_sklearn_unchecked")
    del seconds["pause"]
    faster = {name: min(s for rival, s in seconds.items() if rival.startswith(name)) / ours[name] for name in ours}
    quality = compare(features.double().numpy(), n, chosen)
    peaks = [in_new_process(memory_growth, size, k) for size in (n, 2 * n)]
    return Result(
        f"{k:,} of {n:,} vectors of {DIMENSIONS} by k-center, {LABELLED} being labelled, and {k:,} by k-means++",
        ours_s=sum(ours.values()),
        floor_s=2 * product,
        rivals_s=seconds,
        goals=[
            Goal("selection: k-center, times faster than the fastest other", faster["k_center"], at_least=10),
            Goal("... k-means++, times faster than the fastest other", faster["k_means_pp"], at_least=10),
            Goal("... k-center, covering radius, by the plain loop's", quality["radius_ratio"], at_most=1 + 1e-5),
            Goal("... memory at twice the pool, times", peaks[1] / peaks[0], at_most=2.1),
        ],
        details={f"{name}_s": s for name, s in ours.items()}
        | {"k_center_sklearn_unchecked_s": unchecked, "peak_mb": peaks[0], "peak_mb_twice_the_pool": peaks[1]}
        | quality,
    )


def clustered(n: int) -> Tensor:
    """Return features (n, 256) float32, as far from their centre, one of 100, as that is from the origin."""
    generator = torch.Generator().manual_seed(0)
    centres = torch.randn(CLUSTERS, DIMENSIONS, generator=generator)
    members = torch.randint(CLUSTERS, (n,), generator=generator)
    return centres[members] + torch.randn(n, DIMENSIONS, generator=generator)


def sides(pool: Tensor, k: int, labelled: Tensor, chosen: dict[str, Sequence[int]]) -> dict[str, Callable[[], object]]:
    """Return what is timed, by name; each leaves in `chosen` what it chose."""
    points, centres = pool.double().numpy(), labelled.double().numpy()
    selections: dict[str, Callable[[], Sequence[int]]] = {
        "k_center": lambda: k_center_greedy(pool, k, labelled).tolist(),
        "k_means_pp": lambda: k_means_plus_plus(pool, k, generator=torch.Generator().manual_seed(0)).tolist(),
        "k_center_sklearn_loop": lambda: k_center_loop(points, k, centres),
        "k_center_sklearn_unchecked": lambda: k_center_unchecked(points, k, centres),
        "k_center_skactiveml": lambda: k_center_skactiveml(points, k, centres),
        "k_means_pp_sklearn": lambda: kmeans_plusplus(points, k, n_local_trials=1, random_state=0)[1].tolist(),
        "k_means_pp_skactiveml": lambda: k_means_badge(points, k),
    }

    def kept(name: str) -> Callable[[], None]:
        return lambda: chosen.update({name: selections[name]()})

    return {
        "pause": lambda: time.sleep(0.5),  # threads that NumPy left spin for a while, at the cost of whoever is next
        **{name: kept(name) for name in selections},
        "product": lambda: pool @ pool[:k].T,  # of all with as many as are chosen, in float32
    }


def k_center_loop(pool: np.ndarray, k: int, labelled: np.ndarray) -> list[int]:
    """Return the picks of greedy k-center, by scikit-learn's distances to the newest."""
    lengths = row_norms(pool, squared=True)[:, None]
    nearest = euclidean_distances(pool, labelled, squared=True, X_norm_squared=lengths).min(axis=1)
    chosen: list[int] = []
    while len(chosen) < k:
        chosen.append(int(nearest.argmax()))
        newest = euclidean_distances(pool, pool[chosen[-1:]], squared=True, X_norm_squared=lengths)
        nearest = np.minimum(nearest, newest[:, 0])
    return chosen


def k_center_unchecked(pool: np.ndarray, k: int, labelled: np.ndarray) -> list[int]:
    """Return the same, with scikit-learn told not to look for values that are not finite."""
    with sklearn.config_context(assume_finite=True):
        return k_center_loop(pool, k, labelled)


def k_center_skactiveml(pool: np.ndarray, k: int, labelled: np.ndarray) -> list[int]:
    """Return the picks of scikit-activeml's core-set."""
    labels = np.concatenate([np.full(len(pool), np.nan), np.zeros(len(labelled))])
    return k_greedy_center(np.concatenate([pool, labelled]), labels, k, random_state=0)[0].tolist()


class PassesOn(ParzenWindowClassifier):
    """A classifier that makes the gradient embeddings, from which BADGE draws, the features themselves."""

    def predict_proba(self, X: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the features, and for each a "probability" whose difference from 1, BADGE's factor, is 1."""
        return np.full((len(X), 1), 2.0), X


def k_means_badge(pool: np.ndarray, k: int) -> list[int]:
    """Return the draws of scikit-activeml's BADGE."""
    unlabelled = np.full(len(pool), np.nan)
    return Badge(random_state=0).query(pool, unlabelled, PassesOn(classes=[0, 1]), fit_clf=False, batch_size=k)


def compare(features: np.ndarray, n: int, chosen: dict[str, Sequence[int]]) -> dict[str, float]:
    """Return how good our choices among the first `n` features are; the others are labelled."""

    def distances(name: str, *others: np.ndarray) -> np.ndarray:
        return pairwise_distances_argmin_min(features[:n], np.concatenate([features[chosen[name]], *others]))[1]

    radii = [distances(name, features[n:]).max() for name in ("k_center", "k_center_sklearn_loop")]
    potentials = [np.square(distances(name)).sum() for name in ("k_means_pp", "k_means_pp_sklearn")]
    same = np.equal(chosen["k_center"], chosen["k_center_sklearn_loop"]).mean()
    return {
        "same_picks_share": float(same),
        "radius_ratio": float(radii[0] / radii[1]),
        "potential_ratio": float(potentials[0] / potentials[1]),
    }


def memory_growth(n: int, k: int) -> float:
    """Return by how many MB this process grows, at most, for `n` features and both selections from them."""
    select_both(2 * CANDIDATES, k)  # what does not depend on the pool
    before = memory("VmRSS")
    select_both(n, k)
    return memory("VmHWM") - before


def select_both(n: int, k: int) -> None:
    """Select `k` of `n` features each way."""
    features = torch.randn(n, DIMENSIONS, generator=torch.Generator().manual_seed(0))
    k_center_greedy(features, k, features[:LABELLED])
    k_means_plus_plus(features, k, generator=torch.Generator().manual_seed(0))


def memory(name: str) -> float:
    """Return this process's memory in MB: "VmRSS" now, "VmHWM" at its highest."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(name))


def in_new_process(function: Callable[..., float], *arguments: object) -> float:
    """Return what `function` returns in a process of its own."""
    os.environ["MALLOC_MMAP_THRESHOLD_"] = "1000000"  # so that what it frees of more bytes goes back to the system
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as executor:
        return executor.submit(function, *arguments).result()


if __name__ == "__main__":
    run(measure, __file__)
