"""A published comparison computed once more, from its table alone, with plain pandas and scipy."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from alutils.paths import ROOT
from alutils.results.comparison import comparisons_of
from alutils.results.tables import Experiment

NAME = "mnist_queries"


@pytest.fixture(scope="module")
def scores() -> pd.DataFrame:
    """Return the accuracy: one row per query and seed, one column per percent of labels."""
    table = pd.read_csv(ROOT / "results" / "published" / f"{NAME}.csv")
    rounds = table[table["kind"] == "rounds"]
    return rounds.pivot(index=["query", "seed"], columns="labelled_percent", values="accuracy")


def mean_under(curve: pd.Series) -> float:
    """Return the mean score over the budgets after the first: a sum of trapezoids by hand."""
    budgets, values = curve.index.to_numpy()[1:], curve.to_numpy()[1:]
    strips = [(budgets[i + 1] - budgets[i]) * (values[i] + values[i + 1]) / 2 for i in range(len(values) - 1)]
    return sum(strips) / (budgets[-1] - budgets[0])


def test_a_published_comparison_is_what_plain_pandas_and_scipy_find(scores: pd.DataFrame):
    areas = scores.apply(mean_under, axis=1).unstack("query")
    gains = areas.drop(columns="random").sub(areas["random"], axis=0)
    p_values = stats.ttest_1samp(gains, 0).pvalue
    order, corrected, so_far = np.argsort(p_values), np.empty(len(p_values)), 0.0
    for rank, position in enumerate(order):
        so_far = max(so_far, min(1.0, (len(p_values) - rank) * p_values[position]))
        corrected[position] = so_far
    half = stats.t.ppf(0.975, len(gains) - 1) * gains.std() / len(gains) ** 0.5
    (comparison,) = comparisons_of(Experiment.published(NAME))
    found = comparison.by_query.loc[gains.columns]
    np.testing.assert_allclose(comparison.by_query["area"][areas.columns], areas.mean())
    np.testing.assert_allclose(found["gain"], gains.mean())
    np.testing.assert_allclose(found["gain_low"], gains.mean() - half)
    np.testing.assert_allclose(found["p_holm"], corrected, rtol=1e-9)
    expected = [
        f"{'ahead of' if gain > 0 else 'behind'} random" if p < 0.05
        else "as good as random" if abs(gain) + width <= 0.005 else "undecided"
        for gain, width, p in zip(gains.mean(), half, corrected, strict=True)
    ]  # fmt: skip
    assert found["verdict"].tolist() == expected
    assert len(set(expected)) > 1, "a table in which nothing is told apart would show little"
