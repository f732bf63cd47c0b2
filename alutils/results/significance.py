"""Numbers that say whether a comparison can be believed: areas, intervals, tests, labels saved."""

from collections.abc import Mapping
from itertools import combinations

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy import stats
from statsmodels.stats.multitest import multipletests

LEVEL = 0.95  # of every interval; tests reject below 1 - LEVEL
RESAMPLES = 10_000  # of a bootstrap
SIGN_FLIPS = 2**16  # all of them up to 16 seeds; of more, that many drawn
ROUNDING = 1e-12  # what differs by less is equal


def area_under_curve(budgets: ArrayLike, scores: ArrayLike) -> np.ndarray:
    """Return the areas (...) under scores (..., P) by trapezoids, the P budgets scaled to 0..1: mean scores.

    Of one budget alone, its scores.
    """
    budgets, scores = np.asarray(budgets, float), np.asarray(scores, float)
    if len(budgets) == 1:
        return scores[..., 0]
    return np.trapezoid(scores, budgets, axis=-1) / (budgets[-1] - budgets[0])


def t_interval(mean: ArrayLike, sd: ArrayLike, n: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Return the ends of Student's interval at `LEVEL` of means over n seeds, NaN for one seed.

    sd : standard deviation with n - 1
    """
    mean, n = np.asarray(mean, float), np.asarray(n, float)
    half = stats.t.ppf((1 + LEVEL) / 2, n - 1) * np.asarray(sd, float) / np.sqrt(n)
    return mean - half, mean + half


def with_interval(summary: pd.DataFrame) -> pd.DataFrame:
    """Return a table of mean, sd and n with the ends `low` and `high` of the mean's interval."""
    low, high = t_interval(summary["mean"], summary["sd"], summary["n"])
    return summary.assign(low=low, high=high)


def sign_flip_p(differences: ArrayLike) -> float:
    """Return the two-sided p of the exact sign-flip test of paired differences (S,): is their mean zero?

    All 2^S flips up to `SIGN_FLIPS`. It can't go below 2 / 2^S: with five seeds not below 0.0625. NaN for one seed.
    (Fisher 1935)
    """
    sample = np.asarray(differences, float)
    if len(sample) < 2:
        return np.nan
    test = stats.permutation_test(
        (sample,), np.mean, permutation_type="samples", vectorized=True, n_resamples=SIGN_FLIPS, rng=0
    )
    return float(test.pvalue)


def verdict(low: float, high: float, baseline: str = "random") -> str:
    """Return what an interval of a difference to `baseline` says; one without ends says nothing."""
    if low > 0:
        return f"ahead of {baseline}"
    return f"behind {baseline}" if high < 0 else "not distinguishable"


def labels_needed(budgets: ArrayLike, curves: ArrayLike, targets: ArrayLike) -> np.ndarray:
    """Return the budgets (...) at which curves (..., P) first reach targets (...), infinite where they never do.

    Linear between the P budgets; a curve that starts at its target needs the first budget at most.
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
    """Return what `query` saves of the labels that `baseline` needs for `share` of the full-data result, and interval.

    baseline, query : (S, P), scores of the same seeds at P budgets; full (S,), of training on all labels

    In the unit of the budgets. Infinite: only the query reaches it; minus infinity: only the baseline; NaN: neither.
    The ends are percentiles at `LEVEL` over `RESAMPLES` bootstraps of the seeds; resamples that neither reaches widen
    it on both sides. NaN ends for one seed.
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
    """Return at which share of the budgets the query of a row beats that of a column (Ash et al. 2020).

    curves : of each query, scores with a row a seed and a column a budget; leave out a start that is equal for all

    At each budget a paired t test on the seeds that both have, corrected after Holm over all pairs of queries. NaN
    where queries share fewer than two seeds.
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
    """Return p of the paired t test; of differences that are all equal, 1 if they are zero and else 0."""
    differences = first - second
    if np.ptp(differences) < ROUNDING:
        return float(abs(differences.mean()) < ROUNDING)
    return float(stats.ttest_rel(first, second).pvalue)
