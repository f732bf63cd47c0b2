"""Numbers that say whether a difference could be chance: areas, intervals, tests, power, labels saved."""

import math
from collections.abc import Mapping
from functools import lru_cache
from itertools import combinations, combinations_with_replacement, pairwise

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy import optimize, stats

ALPHA = 0.05  # tests reject below it
LEVEL = 1 - ALPHA  # of every interval
MARGIN = 0.005  # areas that differ by less are as good as each other
POWER = 0.8  # the probability with which the smallest gain that can be seen is seen
RESAMPLES = 400_000  # are drawn if more differ; a tail's 2.5 % are then off by 1 % of themselves (standard error)
AT_ONCE = 2**15  # resamples; larger arrays do not fit the processor's cache
SIGN_FLIPS = 2**16  # up to 16 seeds these are all flips; of more seeds, this many are drawn
ROUNDING = 1e-12  # numbers that differ by less are equal


def area_under_curve(budgets: ArrayLike, scores: ArrayLike) -> np.ndarray:
    """Return the areas (...) under curves of scores (..., P), by trapezoids.

    The P budgets are scaled to 0..1, so that an area is a mean score. With one budget alone, its scores are returned.
    """
    budgets, scores = np.asarray(budgets, float), np.asarray(scores, float)
    if len(budgets) == 1:
        return scores[..., 0]
    return np.trapezoid(scores, budgets, axis=-1) / (budgets[-1] - budgets[0])


def t_interval(mean: ArrayLike, sd: ArrayLike, n: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Return the lower and the upper ends of Student's intervals at `LEVEL` of means over n seeds; NaN for one seed.

    sd : standard deviation with n - 1
    """
    mean, n = np.asarray(mean, float), np.asarray(n, float)
    half = stats.t.ppf((1 + LEVEL) / 2, n - 1) * np.asarray(sd, float) / np.sqrt(n)
    return mean - half, mean + half


def with_interval(summary: pd.DataFrame) -> pd.DataFrame:
    """Return a table of mean, sd and n with two more columns: the ends `low` and `high` of the mean's interval."""
    low, high = t_interval(summary["mean"], summary["sd"], summary["n"])
    return summary.assign(low=low, high=high)


def sign_flip_p(differences: ArrayLike) -> float:
    """Return the two-sided p of the exact sign-flip test of paired differences (S,): is their mean zero?

    All 2^S ways to flip signs are counted, up to `SIGN_FLIPS`. So p is never below 2 / 2^S: with five seeds never below
    0.0625. NaN for one seed. (Fisher 1935)
    """
    sample = np.asarray(differences, float)
    if len(sample) < 2:
        return np.nan
    test = stats.permutation_test(
        (sample,), np.mean, permutation_type="samples", vectorized=True, n_resamples=SIGN_FLIPS, rng=0
    )
    return float(test.pvalue)


def paired_p(differences: ArrayLike) -> float:
    """Return the two-sided p of the paired t test of differences (S,); NaN for fewer than two.

    If all differences are equal, it is 1 if they are zero and 0 if not.
    """
    sample = np.asarray(differences, float)
    if len(sample) < 2:
        return np.nan
    if np.ptp(sample) < ROUNDING:
        return float(abs(sample.mean()) < ROUNDING)
    return float(stats.ttest_1samp(sample, 0).pvalue)


def holm(p_values: ArrayLike) -> np.ndarray:
    """Return p-values (M,) corrected after Holm (1979) over all that are not NaN.

    The smallest of m is multiplied by m, the next one by m - 1, and so on; none falls below a smaller one's, or
    exceeds 1.
    """
    corrected = np.array(p_values, float)
    order = np.argsort(corrected)[: np.count_nonzero(~np.isnan(corrected))]  # NaN is sorted to the end
    multiplied = corrected[order] * np.arange(len(order), 0, -1)
    corrected[order] = np.minimum(np.maximum.accumulate(multiplied), 1)
    return corrected


def verdict(low: float, high: float, p: float, baseline: str = "random") -> str:
    """Return in words what is known of a difference to `baseline`.

    low, high : the ends of its interval, NaN if there is none
    p : its p, corrected for all queries that are looked at

    "ahead of" and "behind" need a p below `ALPHA`; "as good as" needs an interval within `MARGIN`; all else is
    "undecided".
    """
    if p < ALPHA:
        return f"ahead of {baseline}" if low + high > 0 else f"behind {baseline}"
    return f"as good as {baseline}" if -MARGIN <= low <= high <= MARGIN else "undecided"


def smallest_gain(sd: float, n: int, tests: int) -> float:
    """Return the smallest true gain that a paired t test over `n` seeds finds with probability `POWER`.

    sd : standard deviation of the gain over seeds
    tests : the number of queries that are looked at; the p is corrected by this number, as the smallest one of Holm's

    NaN for one seed.
    """
    if n < 2:
        return np.nan
    critical = stats.t.ppf(1 - ALPHA / tests / 2, n - 1)

    def missing(effect: float) -> float:  # the chance to find it, less the wanted one; the other tail hardly counts
        return stats.nct.sf(critical, n - 1, effect * n**0.5) - POWER

    highest = 1.0
    while missing(highest) < 0:
        highest *= 1.5
    return float(optimize.brentq(missing, 0, highest)) * sd


def labels_needed(budgets: ArrayLike, curves: ArrayLike, targets: ArrayLike) -> np.ndarray:
    """Return the budgets (...) at which curves (..., P) first reach targets (...), infinite where they never do.

    Curves are linear between the P budgets. A curve that starts at its target or above needs the first budget.
    """
    budgets, curves, targets = (np.asarray(values, float) for values in (budgets, curves, targets))
    scores = np.ascontiguousarray(np.moveaxis(curves, -1, 0))  # a budget's lie together, which is much faster
    needed = np.where(scores[0] >= targets, budgets[0], np.inf)
    for (start, end), (before, after) in zip(pairwise(budgets), pairwise(scores), strict=True):
        first = (after >= targets) & (needed == np.inf)
        low, high, target = before[first], after[first], targets[first]
        needed[first] = start + (target - low) / (high - low) * (end - start)
    return needed


def labels_saved(
    budgets: ArrayLike, baseline: np.ndarray, query: np.ndarray, full: np.ndarray, share: float, *, seed: int = 0
) -> tuple[float, float, float]:
    """Return how many fewer labels `query` needs than `baseline` for a share of the full-data result, and its interval.

    baseline, query : (S, P), scores of the same S seeds at P budgets
    full : (S,), scores of training on all labels
    share : of the mean of `full`, 0 to 1

    The number is in the unit of the budgets. It is infinite if only the query reaches the target, minus infinity if
    only the baseline does, and NaN if neither does. The interval's ends are percentiles at `LEVEL` over bootstraps of
    the seeds (`resampled`); resamples in which neither reaches the target widen the interval on both sides. For one
    seed the ends are NaN.
    """

    def saved(weights: np.ndarray) -> np.ndarray:
        targets = share * (weights @ full)
        needed, of_query = (labels_needed(budgets, weights @ of, targets) for of in (baseline, query))
        with np.errstate(invalid="ignore"):  # neither is reached
            return needed - of_query

    estimate = float(saved(np.full(len(full), 1 / len(full))))
    if len(full) < 2:
        return estimate, np.nan, np.nan
    weights, probabilities = resampled(len(full), seed=seed)
    parts = np.array_split(weights, math.ceil(len(weights) / AT_ONCE))
    found = np.concatenate([saved(part) for part in parts])
    low, high = (np.where(np.isnan(found), unknown, found) for unknown in (-np.inf, np.inf))
    return estimate, _tail_end(low, probabilities), -_tail_end(-high, probabilities)


@lru_cache(maxsize=2)  # all queries of a comparison have the same seeds, as a rule
def resampled(n: int, *, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return bootstraps of `n` seeds: each seed's weight in the mean, (B, n), and each bootstrap's probability, (B,).

    These are all that differ if there are at most `RESAMPLES`, as with up to 11 seeds, otherwise so many draws. (Efron
    1979)
    """
    if math.comb(2 * n - 1, n) > RESAMPLES:
        counts = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=RESAMPLES)
        return counts / n, np.full(RESAMPLES, 1 / RESAMPLES)
    drawn = np.array([*combinations_with_replacement(range(n), n)], np.int8)
    counts = np.stack([(drawn == member).sum(axis=1) for member in range(n)], axis=1)
    factorials = np.array([math.factorial(count) for count in range(n + 1)], float)
    return counts / n, factorials[n] / factorials[counts].prod(axis=1) / n**n


def _tail_end(values: np.ndarray, probabilities: np.ndarray) -> float:
    """Return the lowest value up to which more than a tail lies; between infinities nothing is interpolated."""
    if np.ptp(probabilities) == 0:  # a partition is much faster than sorting
        last = math.floor(len(values) * (ALPHA / 2 + ROUNDING))
        return float(np.partition(values, last)[last])
    order = np.argsort(values)
    reached = probabilities[order].cumsum() > ALPHA / 2 + ROUNDING
    return float(values[order[reached.argmax()]])


def penalty_matrix(curves: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Return the share of the budgets at which the query of a row beats the query of a column (Ash et al. 2020).

    curves : by query, its scores with one row per seed and one column per budget; leave out a start that all share

    At each budget, a paired t test on the seeds that both queries have decides, corrected after Holm over all pairs of
    queries. Entries are NaN where two queries share fewer than two seeds.
    """
    names = [*curves]
    pairs = {
        (a, b): curves[names[a]].align(curves[names[b]], join="inner") for a, b in combinations(range(len(names)), 2)
    }
    pairs = {positions: pair for positions, pair in pairs.items() if len(pair[0]) > 1}
    wins = np.full((len(names), len(names)), np.nan)
    for a, b in pairs:
        wins[a, b] = wins[b, a] = 0
    budgets = list(curves[names[0]]) if pairs else []
    for budget in budgets:
        p_values = [paired_p(first[budget] - second[budget]) for first, second in pairs.values()]
        for ((a, b), (first, second)), p in zip(pairs.items(), holm(p_values), strict=True):
            if p < ALPHA:
                ahead = (a, b) if first[budget].mean() > second[budget].mean() else (b, a)
                wins[ahead] += 1 / len(budgets)
    return pd.DataFrame(wins, names, names)
