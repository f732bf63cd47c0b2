"""Selections by hand and as properties: of the size asked for, no image twice, the same for the same generator."""

from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from alutils.queries import selections as selection
from alutils.queries.embeddings import Candidates
from alutils.queries.parts import Diverse, Mixture, PerImage, Power, Windows
from alutils.queries.query import QUERIES, Query
from alutils.queries.selections import (
    badge,
    core_set,
    diverse,
    drop_query,
    k_means,
    mixture,
    per_image,
    power,
    selection_of,
    strided,
    top_k,
    typiclust,
)


class Known(Candidates):
    """Candidates that have nothing but vectors, the same for every purpose."""

    def __init__(self, vectors: np.ndarray, labelled: int = 0):
        unlabelled = np.arange(labelled, len(vectors))
        super().__init__(None, None, None, unlabelled, np.arange(labelled))  # type: ignore[arg-type]
        object.__setattr__(self, "vectors", np.asarray(vectors, np.float32))

    def features(self, indices: np.ndarray) -> np.ndarray:
        return self.vectors[indices] if len(indices) else np.empty((0, 0), np.float32)  # type: ignore[attr-defined]

    embeddings = gradients = features


def seeded(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


SELECTIONS: dict[str, Callable[..., np.ndarray]] = {
    "top_k": top_k,
    "power": partial(power, beta=1.0),
    "mixture": partial(mixture, by_cluster=0.6, highest=0.2, random=0.2),
    "diverse": partial(diverse, factor=3.0),
    "k_means": k_means,
    "core_set": core_set,
    "badge": badge,
    "drop_query": drop_query,
    "typiclust": typiclust,
    "strided": strided,
    "per_image": partial(per_image, regions=2),
}


def test_a_query_selects_by_its_part_or_by_its_name():
    assert {name: selection_of(Query(name)) for name in QUERIES if selection_of(Query(name)) is not top_k} == {
        "strided_random": strided, "core_set": core_set, "k_means": k_means, "badge": badge,
        "drop_query": drop_query, "typiclust": typiclust,
    }  # fmt: skip
    chosen = [selection_of(Query("bald", select=part)) for part in (Mixture(0.6, 0.2, 0.2), Power(2), Diverse(3))]
    chosen.append(selection_of(Query("bald", select=PerImage(2), regions=Windows(2, 2))))
    assert [(one.func, one.keywords) for one in chosen] == [  # type: ignore[attr-defined]
        (mixture, {"by_cluster": 0.6, "highest": 0.2, "random": 0.2}), (power, {"beta": 2}), (diverse, {"factor": 3}),
        (per_image, {"regions": 2}),
    ]  # fmt: skip


@pytest.mark.parametrize("name", SELECTIONS)
@given(st.integers(1, 40), st.integers(0, 1000), st.booleans(), st.integers(0, 5))
@settings(deadline=None, max_examples=15)
def test_a_batch_is_of_the_size_asked_for_and_holds_no_image_twice(
    name: str, k: int, seed: int, with_copies: bool, labelled: int
):
    scores, vectors = seeded(seed).random(40), seeded(seed).random((40 + labelled, 3))
    candidates = Known(vectors.round() if with_copies else vectors, labelled)
    chosen = SELECTIONS[name](scores, k, seeded(seed), candidates)
    assert len(set(chosen.tolist())) == len(chosen) == k
    assert np.arange(40)[chosen].tolist() == chosen.tolist(), "positions"
    assert chosen.tolist() == SELECTIONS[name](scores, k, seeded(seed), candidates).tolist()


@pytest.mark.parametrize(
    "name", sorted(set(SELECTIONS) - {"top_k", "power", "mixture", "diverse", "drop_query", "per_image"})
)
def test_some_do_not_look_at_scores(name: str):
    candidates = Known(seeded().random((30, 3)), labelled=3)
    one, other = (SELECTIONS[name](scores, 5, seeded(), candidates).tolist() for scores in (np.ones(27), np.arange(27)))
    assert one == other


@pytest.mark.parametrize("beta", [1.0, 2.0])
def test_power_draws_in_proportion_to_the_score(beta: float):
    scores, generator, draws = np.array([0.0, 1, 2, 5]), seeded(), 3000
    orders = np.array([power(scores, 4, generator, beta=beta) for _ in range(draws)])
    shares = scores**beta / (scores**beta).sum()
    for image in range(1, 4):
        allowed = 4 * (shares[image] * (1 - shares[image]) / draws) ** 0.5
        assert (orders[:, 0] == image).mean() == pytest.approx(shares[image], abs=allowed)
    after_5 = orders[orders[:, 0] == 3, 1]  # without what is drawn, the others keep their proportion
    share = 2**beta / (1 + 2**beta)
    assert (after_5 == 2).mean() == pytest.approx(share, abs=4 * (share * (1 - share) / len(after_5)) ** 0.5)
    assert (orders[:, 3] == 0).all(), "what scores nothing comes last"


def test_a_high_exponent_is_as_good_as_the_highest():
    scores = seeded().random(50)
    assert power(scores, 10, seeded(), beta=1e6).tolist() == top_k(scores, 10, seeded()).tolist()


TWO_CLUSTERS = Known(np.repeat([[0.0, 0.0], [9.0, 9.0]], 5, axis=0))


def test_a_mixture_by_hand(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(selection, "CLUSTERS", 2)
    scores = np.array([10.0, 9, 8, 7, 6, 5, 4, 3, 2, 1])  # cluster 0 holds the five highest
    chosen = mixture(scores, 8, seeded(), TWO_CLUSTERS, by_cluster=0.5, highest=0.25, random=0.25).tolist()
    assert chosen[:4] == [0, 5, 1, 6], "each cluster's highest, then each one's second"
    assert chosen[4:6] == [2, 3], "the highest of the others"
    assert set(chosen[6:]) < {4, 7, 8, 9}
    assert len(set(chosen)) == 8


def plain_mixture(scores: np.ndarray, clusters: np.ndarray, by_cluster: int, highest: int) -> list[int]:
    """Return what a mixture takes before it draws at random, a pick at a time."""
    left, taken = np.argsort(-scores).tolist(), list[int]()
    while len(taken) < by_cluster:
        seen: set[int] = set()
        for image in [*left]:  # one of each cluster that has some left
            if clusters[image] not in seen and len(taken) < by_cluster:
                seen.add(clusters[image])
                taken.append(image)
                left.remove(image)
    return taken + left[:highest]


@pytest.mark.parametrize("k", [1, 4, 7, 8, 13, 30])
@pytest.mark.parametrize("tenths", [(6, 2, 2), (2, 6, 2), (0, 3, 7), (3, 3, 4), (7, 0, 3), (1, 9, 0), (10, 0, 0)])
def test_a_mixture_has_its_shares_to_the_nearest_image(k: int, tenths: tuple[int, int, int]):
    clustered, up_to = ((2 * k * end + 10) // 20 for end in (tenths[0], tenths[0] + tenths[1]))
    scores, clusters = seeded(k).permutation(40).astype(float), seeded(k).permutation(40) % 20
    candidates = Known(100 * clusters[:, None] + seeded().random((40, 1)))
    shares = {name: number / 10 for name, number in zip(("by_cluster", "highest", "random"), tenths, strict=True)}
    batches = [mixture(scores, k, seeded(n), candidates, **shares).tolist() for n in range(5)]
    expected = plain_mixture(scores, clusters, clustered, up_to - clustered)
    assert [batch[:up_to] for batch in batches] == [expected] * 5
    assert all(len({*batch}) == len(batch) == k for batch in batches)
    if up_to < k:
        assert len({batch[up_to] for batch in batches}) > 1, "the rest is drawn"


def test_a_small_cluster_runs_out(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(selection, "CLUSTERS", 2)
    candidates = Known(np.array([[0.0], [0.0], [0.0], [9.0]]))
    assert mixture(np.array([4.0, 3, 2, 1]), 4, seeded(), candidates, by_cluster=1, highest=0, random=0).tolist() == [
        0,
        3,
        1,
        2,
    ]


def test_a_mixture_without_clusters_asks_for_no_features(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delattr(Known, "features")
    monkeypatch.delattr(Candidates, "features")
    assert mixture(np.arange(10.0), 3, seeded(), TWO_CLUSTERS, by_cluster=0, highest=1, random=0).tolist() == [9, 8, 7]


def test_diverse_takes_each_of_the_likely_clusters_once():
    places = Known(np.array([[0.0], [0.1], [0.2], [5.0], [5.1], [9.0], [20.0]]))
    scores = np.array([9.0, 9, 9, 8, 8, 7, 0])
    assert sorted(diverse(scores, 3, seeded(), places, factor=2.0)) in ([1, 3, 5], [1, 4, 5]), "20 is unlikely"
    heavy = np.array([1.0, 1, 1, 1, 100, 1, 0])
    assert 4 in diverse(heavy, 3, seeded(), places, factor=2.0), "the centre lies where the score is"


@pytest.mark.parametrize(
    ("scores", "chosen"),
    [
        ([1.0, 1, 2], 1),  # the centre is at 5.25
        ([0.1, 0.1, 1], 2),  # 8.4
        ([-3.0, -3, -2], 2),  # 10: below 0, scores weigh as much as they are above the lowest
        ([-3.0, -1, -3], 1),  # 1
        ([0.0, 0, 0], 1),  # 3.7: all weigh the same
    ],
)
def test_diverse_weighs_by_score(scores: list[float], chosen: int):
    assert diverse(np.array(scores), 1, seeded(), Known(np.array([[0.0], [1], [10]])), factor=3.0).tolist() == [chosen]


def test_diverse_fills_up_with_images_that_score_nothing():
    places = Known(np.array([[0.0], [1], [20], [21], [40], [41]]))
    scores = np.array([0.0, 0, 3, 0, 5, 0])
    for seed in range(5):
        chosen = diverse(scores, 3, seeded(seed), places, factor=2.0).tolist()
        assert len(set(chosen)) == 3
        assert {2, 4} < set(chosen)


def test_k_means_takes_the_middle_of_each_cluster():
    places = Known(np.array([[0.0], [1.0], [2.0], [10.0], [11.0], [12.0]]))
    assert sorted(k_means(np.zeros(6), 2, seeded(), places)) == [1, 4]


def test_what_is_nearest_to_a_centre_comes_first():
    """Of 20 clusters of three, each as wide as another number says: the second one of each is nearest to 0."""
    off = seeded().permutation(20) / 10 + 0.1
    places = np.stack([-2.5 * off, off, 1.5 * off], axis=1) + 1000 * np.arange(20)[:, None]
    chosen = k_means(np.zeros(60), 20, seeded(), Known(places.reshape(-1, 1)))
    assert chosen.tolist() == (3 * np.argsort(off) + 1).tolist()


def test_where_clusters_are_in_doubt_chance_decides():
    places = Known(seeded().random((60, 2)))
    assert len({tuple(k_means(np.zeros(60), 9, seeded(seed), places)) for seed in range(5)}) > 1


def test_core_set_keeps_away_from_what_is_labelled():
    places = Known(np.array([[0.0], [1.0], [5.0], [9.0], [10.0]]), labelled=1)
    assert core_set(np.zeros(4), 2, seeded(), places).tolist() == [3, 1], "10, then 5"


def test_badge_prefers_long_gradients_apart():
    generator = torch.Generator().manual_seed(0)
    vectors = torch.randn(60, 4, generator=generator).numpy() * 0.01
    vectors[[7, 23]] = [[9, 0, 0, 0], [0, 9, 0, 0]]
    chosen = [badge(np.zeros(60), 3, seeded(seed), Known(vectors)).tolist() for seed in range(20)]
    assert all({7, 23} <= set(batch) for batch in chosen)
    assert len({tuple(batch) for batch in chosen}) > 1


def test_drop_query_by_hand():
    places = np.array([[0], [1], [2], [10], [11], [12], [20], [21]])
    scores = np.array([6, 9, 7, 1, 8, 2, 0, 0], float)
    assert sorted(drop_query(scores, 2, seeded(), Known(places)).tolist()) == [1, 4], "0, 1, 2 and 4 score highest"
    assert sorted(drop_query(scores, 8, seeded(), Known(places)).tolist()) == [*range(8)]


def test_per_image_by_hand():
    known = Known(np.empty((0, 1)))
    object.__setattr__(known, "unlabelled", np.array([0, 0, 0, 1, 1, 2]))
    scores = np.array([9, 8, 7, 6, 1, 2], float)
    assert per_image(scores, 5, seeded(), known, regions=1).tolist() == [0, 3, 5, 1, 4], "then one more of each"
    assert per_image(scores, 4, seeded(), known, regions=2).tolist() == [0, 1, 3, 5]
    assert per_image(scores, 6, seeded(), known, regions=9).tolist() == [0, 1, 2, 3, 5, 4]


def test_typiclust_by_hand():
    ring = [[x, y] for x in (-1, 0, 1) for y in (-1, 0, 1)]  # its middle is the most typical
    places = np.array([*ring, *(np.array(ring[:5]) + 50), [200.0, 0], [201.0, 0]])
    first = typiclust(np.zeros(16), 3, seeded(), Known(places)).tolist()
    assert first[0] == 4, "the largest cluster's middle"
    assert first[1] in range(9, 14)
    assert first[2] in (14, 15)
    labelled = np.concatenate([places[4:5], places])
    again = typiclust(np.zeros(16), 2, seeded(), Known(labelled, labelled=1)).tolist()
    assert again[0] in range(9, 14), "the largest one without a label comes first"
    assert again[1] in (14, 15)


def test_typicality_is_of_the_20_nearest_in_the_cluster():
    """By a plain loop over one cluster of 30 images, far from another one."""
    features = np.concatenate([seeded().normal(size=(30, 2)), 100 + seeded(1).normal(size=(5, 2))])
    own = features[:30]
    means = [np.sort(np.linalg.norm(own - image, axis=1))[1:21].mean() for image in own]
    assert typiclust(np.zeros(35), 2, seeded(), Known(features))[0] == np.argmin(means)
    distances = selection._distances_to_neighbours(features, np.repeat([0, 1], [30, 5]))
    np.testing.assert_allclose(distances[:30], means)


@pytest.mark.parametrize(("labelled", "k", "clusters"), [(0, 3, 3), (7, 5, 12), (400, 99, 499), (450, 80, 500)])
def test_typiclust_makes_a_cluster_for_each_label_up_to_500(
    labelled: int, k: int, clusters: int, monkeypatch: pytest.MonkeyPatch
):
    asked: list[int] = []

    def spy(features: np.ndarray, count: int, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        asked.append(count)
        return np.arange(len(features)) % count, np.zeros(len(features))

    monkeypatch.setattr(selection, "_k_means", spy)
    chosen = typiclust(np.zeros(100), k, seeded(), Known(seeded().random((100 + labelled, 2)), labelled))
    assert asked == [clusters]
    assert len(set(chosen.tolist())) == k


@settings(deadline=None)
@given(st.integers(1, 60), st.integers(0, 100))
def test_strides_are_even(k: int, seed: int):
    gaps = np.diff(strided(np.zeros(60), k, seeded(seed), TWO_CLUSTERS))
    assert np.isin(gaps, [60 // k, -(-60 // k)]).all()


def test_equal_scores_come_in_random_order_fixed_by_the_generator():
    orders = [top_k(np.zeros(100), 10, seeded(seed)).tolist() for seed in (0, 0, 1)]
    assert orders[0] == orders[1] != orders[2]
    assert max(orders[0]) > 20, "not simply the first ones"


def test_top_k_puts_the_highest_first():
    assert top_k(np.array([0.1, 3.0, 2.0, 5.0]), 3, seeded()).tolist() == [3, 1, 2]
