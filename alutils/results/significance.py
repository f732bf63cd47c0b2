"""Numbers that say whether a difference could be chance: areas, intervals, tests, labels saved."""

from collections.abc import Mapping
from itertools import combinations

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy import stats
from statsmodels.stats.multitest import multipletests

LEVEL = 0.95  # of every interval; tests reject below 1 - LEVEL
RESAMPLES = 10_000  # of a bootstrap
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


def verdict(low: float, high: float, baseline: str = "random") -> str:
    """Return in words what the interval of a difference to `baseline` says; ends that are NaN tell nothing apart."""
    if low > 0:
        return f"ahead of {baseline}"
    return f"behind {baseline}" if high < 0 else "not distinguishable"


def labels_needed(budgets: ArrayLike, curves: ArrayLike, targets: ArrayLike) -> np.ndarray:
    """Return the budgets (...) at which curves (..., P) first reach targets (...), infinite where they never do.

    Curves are linear between the P budgets. A curve that starts at its target or above needs the first budget.
    """
    budgets, curves = np.asarray(budgets, float), np.asarray(curves, float)
    targets = np.asarray(targets, float)[..., None]
    reached = curves >= targets
    after = reached.argmax(axis=-1)[..., None]
    before = np.maximum(after - 1, 0)
    low, high = (np.take_along_axis(curves, position, axis=-1) for position in (before, after))
    rise = np.where(high > low, high - low, 1)
    part = np.clip((targets - low) / rise, 0, 1)
    needed = budgets[before] + part * (budgets[after] - budgets[before])
    return np.where(reached.any(axis=-1), needed[..., 0], np.inf)


def labels_saved(
    budgets: ArrayLike, baseline: np.ndarray, query: np.ndarray, full: np.ndarray, share: float, *, seed: int = 0
) -> tuple[float, float, float]:
    """Return how many fewer labels `query` needs than `baseline` for a share of the full-data result, and its interval.

    baseline, query : (S, P), scores of the same S seeds at P budgets
    full : (S,), scores of training on all labels
    share : of the mean of `full`, 0 to 1

    The number is in the unit of the budgets. It is infinite if only the query reaches the target, minus infinity if
    only the baseline does, and NaN if neither does. The interval's ends are percentiles at `LEVEL` over `RESAMPLES`
    bootstraps of the seeds; resamples in which neither reaches the target widen the interval on both sides. For one
    seed the ends are NaN.
    """

    def saved(seeds: np.ndarray) -> np.ndarray:
        targets = share * full[seeds].mean(axis=-1)
        needed, of_query = (labels_needed(budgets, of[seeds].mean(axis=-2), targets) for of in (baseline, query))
        with np.errstate(invalid="ignore"):  # neither is reached
            return needed - of_query

    estimate = float(saved(np.arange(len(full))))
    if len(full) < 2:
        return estimate, np.nan, np.nan
    resamples = saved(np.random.default_rng(seed).integers(len(full), size=(RESAMPLES, len(full))))
    tail = round((1 - LEVEL) / 2 * RESAMPLES)  # ranks: between infinities nothing can be interpolated
    low, high = (np.sort(np.where(np.isnan(resamples), unknown, resamples)) for unknown in (-np.inf, np.inf))
    return estimate, float(low[tail]), float(high[-1 - tail])


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
        p_values = [_paired_p(first[budget], second[budget]) for first, second in pairs.values()]
        rejected = multipletests(p_values, alpha=1 - LEVEL, method="holm")[0]
        for ((a, b), (first, second)), is_real in zip(pairs.items(), rejected, strict=True):
            if is_real:
                ahead = (a, b) if first[budget].mean() > second[budget].mean() else (b, a)
                wins[ahead] += 1 / len(budgets)
    return pd.DataFrame(wins, names, names)


def _paired_p(first: pd.Series, second: pd.Series) -> float:
    """Return p of the paired t test; if all differences are equal, 1 if they are zero and 0 if not."""
    differences = first - second
    if np.ptp(differences) < ROUNDING:
        return float(abs(differences.mean()) < ROUNDING)
    return float(stats.ttest_rel(first, second).pvalue)
