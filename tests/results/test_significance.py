"""Areas, intervals, tests and labels saved: by hand, against statsmodels, full enumerations and plain loops.

Then whole simulated experiments: of queries that are equal, as many may seem different as the level says.
"""

import math
from collections.abc import Callable, Sequence
from itertools import combinations, product

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import auc
from statsmodels.stats.weightstats import DescrStatsW

from alutils.results import significance
from alutils.results.comparison import area_gains
from alutils.results.significance import (
    area_under_curve,
    holm,
    labels_needed,
    labels_saved,
    paired_p,
    penalty_matrix,
    resampled,
    sign_flip_p,
    smallest_gain,
    t_interval,
    verdict,
    with_interval,
)

# Cross-fertilised less self-fertilised maize, 15 pairs, in eighths of an inch (Darwin 1876; tested by Fisher 1935).
DARWIN = [49, -67, 8, 16, 6, 23, 28, 41, 14, 29, 56, 24, 75, 60, -48]
SAMPLES = st.lists(st.integers(-5, 5), min_size=2, max_size=8)  # small whole numbers: ties and zeros abound


def drawn(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape)


# The sign-flip test


def enumerated_p(differences: Sequence[float]) -> float:
    """Return the share of all flips of signs that bring a sum at least as far from zero."""
    signs = np.array([*product((-1, 1), repeat=len(differences))])
    return float(np.mean(abs(signs @ np.array(differences)) >= abs(sum(differences))))


def test_darwins_maize_has_the_p_that_fisher_counted():
    assert sign_flip_p(DARWIN) == 1726 / 32768


@settings(max_examples=40, deadline=None)
@given(SAMPLES)
def test_the_sign_flip_p_is_that_of_all_flips(differences: list[int]):
    assert sign_flip_p(differences) == pytest.approx(enumerated_p(differences))


def test_of_16_seeds_all_flips_are_still_taken():
    differences = [*DARWIN, 31]
    assert sign_flip_p(differences) == pytest.approx(enumerated_p(differences), abs=1e-12)


def test_five_seeds_cannot_go_below_one_in_sixteen():
    assert sign_flip_p([0.1, 0.2, 0.3, 0.4, 0.5]) == sign_flip_p([-3.0] * 5) == 0.0625
    assert sign_flip_p([0.0] * 5) == 1


def test_one_seed_has_no_p():
    assert math.isnan(sign_flip_p([0.3]))


@pytest.mark.parametrize("shift", [0.0, 0.4, 0.7])
def test_of_more_seeds_flips_are_drawn_and_agree_with_the_t_test(shift: float):
    differences = drawn(2, 24) + shift
    p = sign_flip_p(differences)
    assert p == sign_flip_p(differences), "drawn alike each time"
    assert p == pytest.approx(stats.ttest_1samp(differences, 0).pvalue, abs=0.01)


# Intervals and verdicts


def test_the_interval_of_five_seeds_by_hand():
    low, high = t_interval(0.5, 1.0, 5)
    assert float(low) == pytest.approx(0.5 - 2.776445 / 5**0.5, abs=1e-6)  # the table's t of 4 degrees of freedom
    assert float(high) == pytest.approx(0.5 + 2.776445 / 5**0.5, abs=1e-6)


@pytest.mark.parametrize("n", [2, 5, 30])
def test_intervals_are_those_of_statsmodels(n: int):
    sample = drawn(n, n)
    found = t_interval(sample.mean(), sample.std(ddof=1), n)
    np.testing.assert_allclose(found, DescrStatsW(sample).tconfint_mean(0.05))


def test_a_table_gets_its_intervals_and_one_seed_has_none():
    summary = pd.DataFrame({"mean": [0.5, 0.7], "sd": [1.0, np.nan], "n": [5, 1]})
    ends = with_interval(summary)[["low", "high"]].to_numpy()
    assert ends[0].tolist() == pytest.approx([-0.741664, 1.741664], abs=1e-6)
    assert np.isnan(ends[1]).all()


@pytest.mark.parametrize(
    ("low", "high", "p", "says"),
    [
        (0.01, 0.2, 0.049, "ahead of random"),
        (-0.2, -0.01, 0.049, "behind random"),
        (-0.001, 0.2, 0.049, "ahead of random"),
        (0.01, 0.2, 0.05, "undecided"),
        (-0.1, 0.1, 0.9, "undecided"),
        (-0.0051, 0.004, 0.9, "undecided"),
        (-0.004, 0.0051, 0.9, "undecided"),
        (-0.005, 0.005, 1.0, "as good as random"),
        (0.001, 0.002, 0.001, "ahead of random"),
        (0.001, 0.002, 0.06, "as good as random"),
        (np.nan, np.nan, np.nan, "undecided"),
    ],
)
def test_the_verdict_is_what_p_and_interval_say(low: float, high: float, p: float, says: str):
    assert verdict(low, high, p) == says
    assert verdict(low, high, p, "margin") == says.replace("random", "margin")


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holms_correction_is_the_textbooks_and_leaves_gaps(p_values: list[float]):
    assert holm(p_values).tolist() == pytest.approx(holm_adjusted(p_values))
    with_gaps = [np.nan, *p_values, np.nan]
    assert holm(with_gaps).tolist() == pytest.approx([np.nan, *holm_adjusted(p_values), np.nan], nan_ok=True)
    assert np.isnan(holm([np.nan])).all()


def test_the_paired_p_is_that_of_scipy():
    differences = drawn(3, 6)
    assert paired_p(differences) == pytest.approx(stats.ttest_rel(differences + 5, np.full(6, 5)).pvalue)
    assert (paired_p([0.25, 0.25]), paired_p([0.0, 0.0])) == (0, 1)
    assert math.isnan(paired_p([0.3]))


@pytest.mark.parametrize(("n", "tests"), [(2, 7), (3, 3), (4, 12), (5, 1), (5, 7), (12, 10)])
def test_the_smallest_gain_is_found_in_80_of_100_experiments(n: int, tests: int):
    gain = smallest_gain(0.01, n, tests)
    samples = gain + 0.01 * np.random.default_rng(0).normal(size=(20_000, n))
    found = stats.ttest_1samp(samples, 0, axis=1).pvalue < 0.05 / tests
    assert found.mean() == pytest.approx(0.8, abs=0.01)
    assert math.isnan(smallest_gain(0.01, 1, 2))


# Areas


def test_the_area_of_unequal_budgets_by_hand():
    curves = np.array([[0.0, 1, 3], [2, 2, 2]])
    assert area_under_curve([10, 20, 50], curves).tolist() == pytest.approx([(5 + 60) / 40, 2])
    assert float(area_under_curve([10, 20, 50], curves[0])) == pytest.approx(65 / 40)


def test_areas_are_those_of_scikit_learn_over_the_span():
    budgets, curves = np.cumsum(np.abs(drawn(0, 7))), drawn(1, 4, 7)
    expected = [auc(budgets, curve) / (budgets[-1] - budgets[0]) for curve in curves]
    np.testing.assert_allclose(area_under_curve(budgets, curves), expected)


def test_the_area_of_one_budget_is_its_score():
    assert area_under_curve([10], [[0.3], [0.4]]).tolist() == [0.3, 0.4]


# Labels needed and saved


BUDGETS = np.array([10.0, 20, 40])


@pytest.mark.parametrize(
    ("curve", "target", "needed"),
    [
        ([0.2, 0.4, 0.8], 0.3, 15),
        ([0.2, 0.4, 0.8], 0.4, 20),
        ([0.2, 0.4, 0.8], 0.7, 35),
        ([0.2, 0.4, 0.8], 0.8, 40),
        ([0.2, 0.6, 0.5], 0.5, 17.5),  # it falls again: the first crossing counts
        ([0.2, 0.1, 0.5], 0.2, 10),
        ([0.2, 0.1, 0.5], 0.3, 30),  # from 0.1 up, not from 0.2
        ([0.2, 0.2, 0.2], 0.2, 10),
        ([0.5, 0.6, 0.7], 0.4, 10),  # it starts above
    ],
)
def test_labels_needed_by_hand(curve: list[float], target: float, needed: float):
    assert float(labels_needed(BUDGETS, curve, target)) == pytest.approx(needed)


def test_a_curve_that_never_reaches_its_target_needs_infinitely_many_labels():
    assert labels_needed(BUDGETS, [[0.1, 0.2, 0.3], [0.1, 0.9, 0.3]], [0.5, 0.5]).tolist() == [np.inf, 15]


@settings(max_examples=60, deadline=None)
@given(st.integers(2, 8), st.integers(0, 2**32), st.floats(0, 1))
def test_labels_needed_by_a_rising_curve_are_its_inverse(points: int, seed: int, share: float):
    generator = np.random.default_rng(seed)
    budgets, curve = (generator.uniform(0.1, 1, points).cumsum() for _ in range(2))
    target = curve[0] + share * (curve[-1] - curve[0])
    assert float(labels_needed(budgets, curve, min(target, curve[-1]))) == pytest.approx(
        np.interp(target, curve, budgets)
    )


def test_labels_saved_by_hand():
    baseline, query = np.array([[0.25, 0.5, 0.75]] * 2), np.array([[0.25, 0.75, 1.0]] * 2)
    saved = labels_saved(BUDGETS, baseline, query, np.ones(2), 0.625)
    assert saved == pytest.approx((30 - 17.5, 12.5, 12.5)), "seeds that are equal leave no doubt"
    assert labels_saved(BUDGETS, query, baseline, np.ones(2), 0.625) == pytest.approx((-12.5, -12.5, -12.5))


def test_targets_are_a_share_of_the_full_data_result():
    scores = np.array([[0.25, 0.5, 0.75]] * 2)
    ahead = scores + 0.25
    assert labels_saved(BUDGETS, scores, ahead, np.ones(2), 0.5)[0] == 10
    assert labels_saved(BUDGETS, scores, ahead, np.full(2, 1.5), 0.5)[0] == 20


def few_seeds(seed: int, count: int = 3) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return baseline, query and full-data scores whose every resample reaches half of the full-data result."""
    generator = np.random.default_rng(seed)
    rising = np.array([0.2, 0.5, 0.8])
    baseline, query = (rising + generator.uniform(-0.05, 0.05, (count, 3)) for _ in range(2))
    return baseline, query + 0.05, generator.uniform(0.9, 1.1, count)


def enumerated_saved(baseline: np.ndarray, query: np.ndarray, full: np.ndarray) -> np.ndarray:
    """Return the labels saved of all n^n resamples, sorted, a curve at a time."""
    found = []
    for seeds in map(list, product(range(len(full)), repeat=len(full))):
        target = 0.5 * full[seeds].mean()
        needed = [np.interp(target, curves[seeds].mean(axis=0), BUDGETS) for curves in (baseline, query)]
        found.append(needed[0] - needed[1])
    return np.sort(found)


@pytest.mark.parametrize("seed", range(5))
def test_of_three_seeds_the_interval_is_from_the_least_to_the_most_of_all_resamples(seed: int):
    """Each of the three resamples of one seed alone has 1 / 27, more than the 2.5 % of a tail."""
    scores = few_seeds(seed)
    everything = enumerated_saved(*scores)
    assert len(everything) == 27
    assert labels_saved(BUDGETS, *scores, 0.5)[1:] == pytest.approx((everything[0], everything[-1]))


@pytest.mark.parametrize("seed", range(3))
def test_of_five_seeds_the_interval_is_that_of_all_resamples(seed: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(significance, "RESAMPLES", 126)  # so many differ, so none is drawn
    monkeypatch.setattr(significance, "resampled", resampled.__wrapped__)
    scores = few_seeds(seed, count=5)
    everything = enumerated_saved(*scores)
    assert len(everything) == 5**5
    tail = math.floor(0.025 * 5**5)
    expected = (everything[tail], everything[-1 - tail])
    assert labels_saved(BUDGETS, *scores, 0.5)[1:] == pytest.approx(expected)


@pytest.mark.slow
def test_of_twelve_seeds_resamples_are_drawn_and_scatter_by_less_than_one_percent_of_a_tail(
    monkeypatch: pytest.MonkeyPatch,
):
    baseline, query, full = few_seeds(0, count=12)
    weights, probabilities = resampled(12)
    assert weights.shape == (400_000, 12)
    assert weights.sum(axis=1) == pytest.approx(1)
    assert probabilities.sum() == pytest.approx(1)
    assert (0.975 / 0.025 / len(weights)) ** 0.5 < 0.01, "the standard error of a tail, in tails"
    _, low, high = labels_saved(BUDGETS, baseline, query, full, 0.5)

    monkeypatch.setattr(significance, "RESAMPLES", 1_352_078)  # so many differ
    weights, probabilities = resampled.__wrapped__(12)
    assert len(weights) == 1_352_078
    assert probabilities.sum() == pytest.approx(1)
    needed = [labels_needed(BUDGETS, weights @ curves, 0.5 * weights @ full) for curves in (baseline, query)]
    order = np.argsort(needed[0] - needed[1])
    ends = np.searchsorted(probabilities[order].cumsum(), [0.0242, 0.0258, 0.9742, 0.9758])  # 3 standard errors
    lowest, lower, upper, highest = (needed[0] - needed[1])[order][ends]
    assert lowest <= low <= lower < upper <= high <= highest


def test_of_drawn_resamples_an_end_has_more_than_a_tail_up_to_it(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(significance, "RESAMPLES", 40)
    monkeypatch.setattr(significance, "resampled", resampled.__wrapped__)  # what was drawn before is not kept
    baseline, query, full = few_seeds(0, count=12)
    weights, _ = significance.resampled(12)
    assert len(weights) == 40
    needed = [labels_needed(BUDGETS, weights @ curves, 0.5 * weights @ full) for curves in (baseline, query)]
    found = np.sort(needed[0] - needed[1])
    assert labels_saved(BUDGETS, baseline, query, full, 0.5)[1:] == (found[1], found[-2]), "one in forty is 2.5 %"


def test_six_seeds_have_462_different_resamples():
    weights, probabilities = resampled(6)
    assert len(weights) == 462
    assert probabilities.sum() == pytest.approx(1)
    assert probabilities[(weights == 1).any(axis=1)].tolist() == pytest.approx([6**-6] * 6)
    assert probabilities[(weights == 1 / 6).all(axis=1)].tolist() == pytest.approx([720 * 6**-6])


def test_up_to_eleven_seeds_none_is_drawn():
    weights, probabilities = resampled(11)
    assert len(weights) == 352_716
    assert probabilities.sum() == pytest.approx(1)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("count", [9, 12])
def test_what_one_query_saves_the_other_one_costs(count: int, seed: int):
    """Both ends of the interval cut off as many resamples."""
    baseline, query, full = few_seeds(seed, count=count)
    estimate, low, high = labels_saved(BUDGETS, baseline, query, full, 0.5)
    mirrored = labels_saved(BUDGETS, query, baseline, full, 0.5)
    assert mirrored == pytest.approx((-estimate, -high, -low), abs=1e-12)


def test_the_same_seed_draws_the_same_resamples():
    scores = few_seeds(0, count=12)
    first, again, other = (labels_saved(BUDGETS, *scores, 0.5, seed=seed) for seed in (3, 3, 4))
    assert first == again
    assert first[0] == other[0]
    assert first[1:] != other[1:]


LOW, HIGH = np.full((3, 3), 0.25), np.array([[0.25, 0.5, 0.75]] * 3)


def test_what_only_one_of_both_reaches_saves_or_costs_infinitely_many():
    assert labels_saved(BUDGETS, LOW, HIGH, np.ones(3), 0.5) == (np.inf, np.inf, np.inf)
    assert labels_saved(BUDGETS, HIGH, LOW, np.ones(3), 0.5) == (-np.inf, -np.inf, -np.inf)


def test_what_neither_reaches_is_not_known():
    estimate, low, high = labels_saved(BUDGETS, LOW, LOW, np.ones(3), 0.5)
    assert math.isnan(estimate)
    assert (low, high) == (-np.inf, np.inf)


def test_resamples_that_neither_reaches_widen_the_interval_on_both_sides():
    baseline, query = (np.array([[start, 0.5, 1.0], [0.25] * 3]) for start in (0.25, 0.375))
    estimate, low, high = labels_saved(BUDGETS, baseline, query, np.ones(2), 0.5)
    assert math.isfinite(estimate)
    assert (low, high) == (-np.inf, np.inf), "a quarter of the resamples is of the second seed alone"


def test_resamples_that_only_the_query_reaches_make_the_upper_end_infinite():
    baseline, query = np.stack([HIGH[0], LOW[0]]), HIGH[:2] + 0.25
    estimate, low, high = labels_saved(BUDGETS, baseline, query, np.ones(2), 0.5)
    assert (estimate, low, high) == (40 - 10, 20 - 10, np.inf)


def test_one_seed_saves_labels_without_an_interval():
    estimate, *ends = labels_saved(BUDGETS, HIGH[:1], HIGH[:1] + 0.25, np.ones(1), 0.5)
    assert estimate == 10
    assert np.isnan(ends).all()


# The penalty matrix


def holm_adjusted(p_values: Sequence[float]) -> list[float]:
    """Return p-values corrected after Holm (1979), step by step."""
    adjusted, so_far = [0.0] * len(p_values), 0.0
    for rank, position in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        so_far = max(so_far, min(1.0, (len(p_values) - rank) * p_values[position]))
        adjusted[position] = so_far
    return adjusted


def plain_p(differences: np.ndarray) -> float:
    t = differences.mean() / (differences.std(ddof=1) / len(differences) ** 0.5)
    return float(2 * stats.t.sf(abs(t), len(differences) - 1))


def plain_penalties(scores: np.ndarray) -> np.ndarray:
    """Return the matrix of scores (queries, S, P), a budget and pair at a time."""
    wins = np.zeros((len(scores), len(scores)))
    for at in np.moveaxis(scores, 2, 0):
        pairs = list(combinations(range(len(scores)), 2))
        adjusted = holm_adjusted([plain_p(at[a] - at[b]) for a, b in pairs])
        for (a, b), p in zip(pairs, adjusted, strict=True):
            wins[a, b] += p <= 0.05 and at[a].mean() > at[b].mean()
            wins[b, a] += p <= 0.05 and at[a].mean() < at[b].mean()
    return wins / scores.shape[2]


def curves_of(scores: np.ndarray) -> dict[str, pd.DataFrame]:
    return {f"query{number}": pd.DataFrame(curves) for number, curves in enumerate(scores)}


def test_the_plain_holm_is_the_textbooks():
    assert holm_adjusted([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


@pytest.mark.parametrize("seed", range(4))
def test_penalties_are_those_of_a_plain_loop(seed: int):
    effects = np.array([0, 1, 2, 2.5])[:, None, None]
    scores = effects + drawn(seed, 4, 5, 3) + drawn(seed + 100, 5, 1)
    expected = plain_penalties(scores)
    assert 0 < expected.sum() < 6, "some of the pairs are told apart, at some budgets"
    found = penalty_matrix(curves_of(scores)).to_numpy()
    np.testing.assert_allclose(found[~np.eye(4, dtype=bool)], expected[~np.eye(4, dtype=bool)])
    assert np.isnan(np.diag(found)).all()


def test_equal_curves_never_beat_each_other():
    matrix = penalty_matrix(curves_of(np.stack([drawn(0, 5, 3)] * 3))).to_numpy()
    assert (matrix[~np.eye(3, dtype=bool)] == 0).all()


def test_a_query_that_is_always_better_beats_at_all_budgets():
    scores = drawn(0, 5, 4)
    for ahead in (np.full((5, 4), 0.5), 5 + drawn(1, 5, 4) / 10):  # by the same each time, and by about the same
        matrix = penalty_matrix({"worse": pd.DataFrame(scores), "better": pd.DataFrame(scores + ahead)})
        assert matrix.loc["better", "worse"] == 1
        assert matrix.loc["worse", "better"] == 0


def test_a_query_that_is_better_at_one_of_four_budgets_beats_at_a_quarter():
    scores = drawn(0, 5, 4)
    matrix = penalty_matrix(curves_of(np.stack([scores, scores + np.array([0, 0, 1, 0])])))
    assert matrix.loc["query1", "query0"] == 0.25
    assert matrix.loc["query0", "query1"] == 0


def test_only_seeds_that_both_have_count():
    scores = drawn(0, 6, 1)
    curves = {"worse": pd.DataFrame(scores[:4]), "better": pd.DataFrame(scores[1:] + 1, index=range(1, 6))}
    assert penalty_matrix(curves).loc["better", "worse"] == 1
    curves["better"].loc[4:] = -99  # of seeds that the other one lacks
    assert penalty_matrix(curves).loc["better", "worse"] == 1


def test_pairs_that_share_fewer_than_two_seeds_are_not_compared():
    scores = pd.DataFrame(drawn(0, 5, 2))
    curves = {"a": scores, "b": scores + 1, "apart": scores.set_axis(range(4, 9)) + 9}  # one shared seed
    matrix = penalty_matrix(curves)
    assert matrix.loc["b", "a"] == 1, "corrected over the pairs that are compared"
    assert matrix["apart"].isna().all()
    assert matrix.loc["apart"].isna().all()
    assert penalty_matrix({name: curves[name] for name in ("a", "apart")}).isna().all(axis=None)


# Simulated experiments


EXPERIMENTS, SEEDS = 200, 5
PERCENTS = np.array([10.0, 20, 30, 40, 60])
NOISE, SHIFT = 0.01, 0.045  # sd of a step of a curve; by how much the better query's is shifted from 20 % on
TRUE_GAIN = SHIFT  # of the area from 20 % on
GAIN_SD = NOISE * (2 * (1 + 0.875**2 + 0.625**2 + 0.25**2)) ** 0.5  # steps weigh as the area to their right


def bounds(share: float) -> tuple[float, float]:
    """Return between which counts out of all experiments an event of probability `share` falls, 99 times of 100."""
    low, high = stats.binom.interval(0.99, EXPERIMENTS, share)
    return float(low), float(high)


def simulated(generator: np.random.Generator) -> pd.DataFrame:
    """Return rounds of random, of a query that equals it, and of a better one.

    A seed raises or lowers all its queries, and its start is the same for all. Each training then adds its own noise
    to what was before, so that a curve's points are no more independent than they are in truth.
    """
    queries = {"random": 0.0, "alike": 0.0, "better": SHIFT}
    steps = generator.normal(0, NOISE, (len(queries), SEEDS, len(PERCENTS)))
    steps[:, :, 0] = 0
    gains = np.array([*queries.values()])[:, None, None] * (np.arange(len(PERCENTS)) > 0)
    of_seeds = generator.normal(0, 5 * NOISE, (SEEDS, 1))
    scores = 0.3 + 0.1 * np.log(PERCENTS) + of_seeds + steps.cumsum(axis=2) + gains
    points = pd.DataFrame(product(queries, range(SEEDS), PERCENTS), columns=["query", "seed", "labelled_percent"])
    same = {"model": "m", "order_model": None, "skip": np.nan}
    return points.assign(labelled=2 * points["labelled_percent"], miou=scores.ravel(), **same)


@pytest.fixture(scope="module")
def gains() -> pd.DataFrame:
    """Return `area_gains` of all experiments: one row per experiment and query other than random."""
    generator = np.random.default_rng(0)
    return pd.concat([area_gains(simulated(generator), "random") for _ in range(EXPERIMENTS)])


@pytest.mark.slow
def test_a_simulated_gain_is_paired_by_seed_and_scatters_as_it_should(gains: pd.DataFrame):
    better = gains[gains["query"] == "better"]
    assert len(better) == EXPERIMENTS
    assert (better["n"] == SEEDS).all()
    assert better["mean"].mean() == pytest.approx(TRUE_GAIN, abs=4 * GAIN_SD / (SEEDS * EXPERIMENTS) ** 0.5)
    assert (better["sd"] ** 2).mean() ** 0.5 == pytest.approx(GAIN_SD, rel=0.1), "without the seeds' own 0.05"


@pytest.mark.slow
def test_random_against_random_is_told_apart_as_rarely_as_the_level_says(gains: pd.DataFrame):
    """Beside one that is ahead, so that Holm has only one query left to correct over."""
    alike = gains[gains["query"] == "alike"]
    low, high = bounds(0.05)
    told_apart = alike["verdict"].str.contains("ahead|behind")
    assert low <= told_apart.sum() <= high
    excludes_zero = (alike["low"] > 0) | (alike["high"] < 0)
    assert (excludes_zero != told_apart).sum() <= 1, "the better query had the larger p"


def test_the_sign_flip_test_rejects_random_against_random_at_the_level_it_can_attain(gains: pd.DataFrame):
    p_values = gains.loc[gains["query"] == "alike", "p"]
    low, high = bounds(0.0625)
    assert low <= (p_values <= 0.0625).sum() <= high
    assert p_values.min() == 0.0625, "five seeds cannot reach 0.05"


def test_intervals_cover_a_true_gain_in_95_of_100(gains: pd.DataFrame):
    better = gains[gains["query"] == "better"]
    low, high = bounds(0.95)
    assert low <= ((better["low"] < TRUE_GAIN) & (better["high"] > TRUE_GAIN)).sum() <= high


def test_a_true_gain_of_two_standard_deviations_is_found_as_often_as_theory_says(gains: pd.DataFrame):
    away, critical = TRUE_GAIN / GAIN_SD * SEEDS**0.5, stats.t.ppf(0.975, SEEDS - 1)
    power = stats.nct.sf(critical, SEEDS - 1, away)
    assert power > 0.9
    low, high = bounds(power)
    better = gains[gains["query"] == "better"]
    assert low <= (better["low"] > 0).sum() <= high, "before the correction"
    least, _ = bounds(stats.nct.sf(stats.t.ppf(1 - 0.025 / 2, SEEDS - 1), SEEDS - 1, away))
    assert least <= (better["verdict"] == "ahead of random").sum() <= high, "at worst its p is doubled"


@pytest.mark.slow
def test_of_ten_queries_that_are_random_none_is_told_apart_more_often_than_the_level_says():
    """The null experiment: chance gives an interval without zero to one of ten far more often than Holm allows."""
    generator, told_apart, excluding = np.random.default_rng(2), 0, 0
    for _ in range(EXPERIMENTS):
        curves = generator.normal(0, NOISE, (11, SEEDS, len(PERCENTS))).cumsum(axis=2)
        names = ["random", *(f"query{number}" for number in range(10))]
        points = pd.DataFrame(product(names, range(SEEDS), PERCENTS), columns=["query", "seed", "labelled_percent"])
        same = {"model": "m", "order_model": None, "skip": np.nan, "labelled": 2 * points["labelled_percent"]}
        gains = area_gains(points.assign(miou=curves.ravel(), **same), "random")
        told_apart += bool(gains["verdict"].str.contains("ahead|behind").any())
        excluding += bool(((gains["low"] > 0) | (gains["high"] < 0)).any())
    _, high = bounds(0.05)
    assert told_apart <= high
    assert excluding > 2 * high, "without Holm's correction"


def experiments_with(event: Callable[[np.ndarray], bool]) -> int:
    """Return in how many experiments of five equal queries at one budget an event occurs."""
    generator = np.random.default_rng(1)
    draws = [generator.normal(size=(5, SEEDS, 1)) + generator.normal(0, 3, (SEEDS, 1)) for _ in range(EXPERIMENTS)]
    return sum(map(event, draws))


def some_beats_another(scores: np.ndarray) -> bool:
    return bool((penalty_matrix(curves_of(scores)) > 0).any(axis=None))


def some_p_is_small(scores: np.ndarray) -> bool:
    return any(plain_p((one - other)[:, 0]) <= 0.05 for one, other in combinations(scores, 2))


@pytest.mark.slow
def test_of_five_equal_queries_one_beats_another_no_more_often_than_the_level_says():
    _, most = bounds(0.05)
    assert experiments_with(some_beats_another) <= most
    assert experiments_with(some_p_is_small) > most, "without Holm's correction"
