"""Both selections against hand-worked picks, plain loops in float64, and the probabilities they should draw with."""

from collections import Counter
from itertools import permutations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from torch import Tensor

from alutils.errors import ParameterError
from alutils.queries import diversity
from alutils.queries.diversity import k_center_greedy, k_means_plus_plus

NOTHING = torch.empty(0, 2)
# Whole numbers, so that equal distances are equal in any arithmetic: ties and copies abound.
GRIDS = st.integers(1, 40).flatmap(lambda n: arrays(np.float32, (n, 2), elements=st.integers(-3, 3)))
LABELLED = st.integers(0, 3).flatmap(lambda n: arrays(np.float32, (n, 2), elements=st.integers(-3, 3)))


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def plain_k_center(features: Tensor, k: int, labelled: Tensor) -> list[int]:
    """Return what `k_center_greedy` should, a pick at a time, by differences in float64."""
    points, chosen = features.double().numpy(), list[int]()
    nearest = np.full(len(points), np.inf)
    for centre in labelled.double().numpy():
        nearest = np.minimum(nearest, np.square(points - centre).sum(axis=1))
    while len(chosen) < k:
        if chosen or len(labelled):
            chosen.append(int(nearest.argmax()))
        else:
            chosen.append(int(np.square(points - points.mean(axis=0)).sum(axis=1).round(9).argmin()))
        nearest = np.minimum(nearest, np.square(points - points[chosen[-1]]).sum(axis=1))
        nearest[chosen] = -1
    return chosen


def test_k_center_by_hand():
    features = torch.tensor([[0.0, 0], [10, 0], [4, 0], [0, 7], [11, 0]])
    assert k_center_greedy(features, 5, features[:1]).tolist() == [4, 3, 2, 1, 0]
    # From the mean (5, 1.4) the nearest is (4, 0); of that (0, 7) is 8.1 away, (11, 0) 7, (0, 0) 4; (10, 0) then 1.
    assert k_center_greedy(features, 5, NOTHING).tolist() == [2, 3, 4, 0, 1]


def test_of_equally_far_points_the_first_is_chosen():
    features = torch.tensor([[0.0, 1], [3, 0], [-3, 0], [0, 3]])
    assert k_center_greedy(features, 4, torch.zeros(1, 2)).tolist() == [1, 2, 3, 0]


@pytest.mark.parametrize("candidates", [1, 3, 768])
@settings(max_examples=60, deadline=None)
@given(features=GRIDS, labelled=LABELLED, share=st.floats(0, 1))
def test_k_center_equals_a_plain_loop_whatever_the_ties(
    candidates: int, features: np.ndarray, labelled: np.ndarray, share: float
):
    k = round(share * len(features))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(diversity, "CANDIDATES", candidates)
        found = k_center_greedy(torch.from_numpy(features), k, torch.from_numpy(labelled))
    assert found.tolist() == plain_k_center(torch.from_numpy(features), k, torch.from_numpy(labelled))


@pytest.mark.parametrize("offset", [0.0, 300.0])
@pytest.mark.parametrize(
    ("n", "dimensions", "k", "labels"), [(2500, 16, 150, 0), (1500, 64, 150, 900), (300, 3, 300, 5)]
)
def test_k_center_equals_a_plain_loop_on_clusters(n: int, dimensions: int, k: int, labels: int, offset: float):
    centres = 5 * torch.randn(10, dimensions, generator=seeded(1)) + offset
    points = centres.repeat(n + labels, 1)[: n + labels] + torch.randn(n + labels, dimensions, generator=seeded(2))
    features, labelled = points[:n], points[n:]
    found = k_center_greedy(features, k, labelled)
    assert found.tolist() == plain_k_center(features, k, labelled)
    assert found.dtype == torch.int64


def test_copies_come_last_and_by_position():
    distinct = torch.randn(50, 256, generator=seeded())
    features = distinct.repeat(40, 1)
    found = k_center_greedy(features, 2000, distinct[:0]).tolist()
    assert sorted(found[:50]) == list(range(50)), "of copies the first"
    assert found[50:] == list(range(50, 2000))


def test_k_means_draws_copies_only_when_nothing_else_is_left():
    distinct = torch.randn(50, 256, generator=seeded())
    features = distinct.repeat(40, 1)
    found = k_means_plus_plus(features, 2000, generator=seeded()).numpy()
    assert len(set(found[:50] % 50)) == 50
    assert sorted(found) == list(range(2000))
    assert abs(np.corrcoef(found[50:], np.arange(50, 2000))[0, 1]) < 0.1, "the rest in random order"


@settings(max_examples=60, deadline=None)
@given(GRIDS, st.integers(0, 2**32))
def test_k_means_draws_no_point_twice_and_no_copy_too_early(features: np.ndarray, seed: int):
    found = k_means_plus_plus(torch.from_numpy(features), len(features), generator=seeded(seed)).numpy()
    distinct = len(np.unique(features, axis=0))
    assert sorted(found) == list(range(len(features)))
    assert len(np.unique(features[found[:distinct]], axis=0)) == distinct


def exact_probabilities(features: np.ndarray, k: int) -> dict[tuple[int, ...], float]:
    """Return how probable each ordered draw of `k` points is."""
    squared = np.square(features[:, None] - features).sum(axis=2)
    probabilities = {}
    for draw in permutations(range(len(features)), k):
        probability = 1 / len(features)
        for drawn in range(1, k):
            weights = squared[list(draw[:drawn])].min(axis=0)
            probability *= weights[draw[drawn]] / weights.sum()
        probabilities[draw] = probability
    return probabilities


@pytest.mark.slow
@pytest.mark.parametrize("candidates", [2, 16])
def test_k_means_draws_with_exactly_the_probabilities_of_squared_distances(
    candidates: int, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(diversity, "CANDIDATES", candidates)
    features, generator, draws = torch.tensor([[0.0, 0], [1, 0], [0, 2], [3, 3], [3, 4]]), seeded(), 4000
    counts = Counter(tuple(k_means_plus_plus(features, 3, generator=generator).tolist()) for _ in range(draws))
    expected = {draw: draws * p for draw, p in exact_probabilities(features.numpy(), 3).items()}
    assert sum(expected.values()) == pytest.approx(draws)
    chi_square = sum((counts[draw] - mean) ** 2 / mean for draw, mean in expected.items())
    assert chi_square < 59 + 4 * (2 * 59) ** 0.5, "60 ordered triples: mean 59, four standard deviations above"


def test_k_means_depends_on_the_generator_only():
    features = torch.randn(900, 8, generator=seeded())
    first, again, other = (k_means_plus_plus(features, 100, generator=seeded(s)).tolist() for s in (1, 1, 2))
    assert first == again
    assert first != other
    assert len(set(first)) == 100


def test_choosing_nothing_and_from_nothing():
    for features in (torch.zeros(3, 2), torch.zeros(0, 2)):
        assert k_center_greedy(features, 0, NOTHING).shape == (0,)
        assert k_means_plus_plus(features, 0, generator=seeded()).shape == (0,)


BAD = [
    (torch.zeros(3, 2), 4, r"k is 4; allowed: 0 to 3"),
    (torch.zeros(3, 2), -1, r"k is -1; allowed: 0 to 3"),
    (torch.zeros(3), 1, r"features has shape \(3,\); allowed: \(vectors, dimensions\)"),
    (
        torch.tensor([[0.0, torch.nan]]),
        1,
        r"features has values not finite or too large; allowed: .* shorter than 1e\+18",
    ),
    (torch.tensor([[0.0, -torch.inf]]), 1, r"features has values not finite"),
    (torch.tensor([[0.0, 1e30]]), 1, r"features has values not finite or too large"),
]


@pytest.mark.parametrize(("features", "k", "message"), BAD)
def test_impossible_values_are_refused(features: Tensor, k: int, message: str):
    with pytest.raises(ParameterError, match=f"^{message}"):
        k_center_greedy(features, k, NOTHING)
    with pytest.raises(ParameterError, match=f"^{message}"):
        k_means_plus_plus(features, k, generator=seeded())


def test_labelled_features_are_checked_too():
    with pytest.raises(ParameterError, match=r"^labelled has shape \(4, 3\); allowed: \(vectors, 2\)$"):
        k_center_greedy(torch.zeros(3, 2), 1, torch.zeros(4, 3))
    with pytest.raises(ParameterError, match=r"^labelled has values not finite"):
        k_center_greedy(torch.zeros(3, 2), 1, torch.full((1, 2), torch.nan))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_chooses_the_same():
    features = torch.randn(3000, 32, generator=seeded())
    on_gpu = features.cuda()
    for labelled in (features[:0], features[:100]):
        found = k_center_greedy(on_gpu, 200, labelled.cuda())
        assert found.is_cuda
        assert found.tolist() == k_center_greedy(features, 200, labelled).tolist()
    for generator in (seeded(), torch.Generator("cuda").manual_seed(0)):
        drawn = k_means_plus_plus(on_gpu, 200, generator=generator)
        assert drawn.is_cuda
        assert len(set(drawn.tolist())) == 200
