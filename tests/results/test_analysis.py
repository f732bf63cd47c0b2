"""Means, gains and their tables, by hand."""

import numpy as np
import pandas as pd
import pytest

from alutils.errors import DataError
from alutils.results.analysis import (
    curve_names,
    least_and_most_sure,
    measure_of,
    paired_gains,
    pivot,
    scatter,
    score_histograms,
    settings,
    summarise,
)


@pytest.fixture
def table() -> pd.DataFrame:
    """Return two seeds of random and vote entropy at 10 and 20 %, and one run on all labels."""
    scores = {
        ("random", 0): (0.1, 0.2), ("random", 1): (0.1, 0.4),
        ("vote_entropy", 0): (0.1, 0.5), ("vote_entropy", 1): (0.1, 0.5),
    }  # fmt: skip
    rows = [
        {"query": query, "seed": seed, "labelled": 10 * (i + 1), "labelled_percent": 10.0 * (i + 1), "miou": value}
        for (query, seed), values in scores.items()
        for i, value in enumerate(values)
    ]
    rows.append({"query": "all", "seed": 0, "labelled": 100, "labelled_percent": 100.0, "miou": 0.9})
    return pd.DataFrame(rows).assign(
        kind="rounds", dataset="d", model="m", regime="from_scratch", order_model=None, skip=np.nan, steps=np.nan
    )


def test_mean_and_standard_deviation_by_hand(table: pd.DataFrame):
    summary = summarise(table).set_index(["query", "labelled"])
    assert summary.loc[("random", 20), "mean"] == pytest.approx(0.3)
    assert summary.loc[("random", 20), "sd"] == pytest.approx(0.02**0.5)  # (0.1² + 0.1²) / (2 - 1)
    assert summary.loc[("random", 20), "n"] == 2
    assert summary["sd"].isna()[("all", 100)]


def test_gains_are_taken_seed_by_seed(table: pd.DataFrame):
    gains = paired_gains(table).set_index("labelled")
    assert gains.loc[20, "mean"] == pytest.approx(0.2)  # 0.3 and 0.1
    assert gains.loc[20, "sd"] == pytest.approx(0.02**0.5)
    assert gains.loc[10, "mean"] == 0
    without_pair = table[~((table["query"] == "random") & (table["seed"] == 1))]
    assert paired_gains(without_pair).set_index("labelled").loc[20, "mean"] == pytest.approx(0.3)


def test_the_text_table_has_a_row_a_share_and_a_column_a_query(table: pd.DataFrame):
    text = pivot(summarise(table))
    assert list(text.columns) == ["all", "random", "vote_entropy"]
    assert text.loc[(20, 20.0), "random"] == "0.3000 ± 0.1414 (2)"
    assert text.loc[(100, 100.0), "all"] == "0.9000 (1)"
    assert text.loc[(100, 100.0), "random"] == ""


def test_digits_are_measured_by_accuracy(table: pd.DataFrame):
    assert measure_of(table) == "miou"
    assert measure_of(table.rename(columns={"miou": "accuracy"})) == "accuracy"


def test_orders_of_several_networks_are_told_apart(table: pd.DataFrame):
    rows = table.assign(order_model=np.array(["x"] * 4 + ["y"] * 4 + [None], dtype=object))
    rows.loc[rows["query"] == "random", "order_model"] = None
    assert set(curve_names(summarise(rows))) == {"all", "random", "vote_entropy"}
    z = rows[rows["query"] == "vote_entropy"].assign(order_model="z")
    both = pd.concat([rows, z])
    assert {"vote_entropy by y", "vote_entropy by z", "random"} <= set(curve_names(summarise(both)))


def test_settings_are_told_apart(table: pd.DataFrame):
    both = pd.concat([table, table.assign(model="n")])
    assert [name for name, _ in settings(both)] == ["d m rounds", "d n rounds"]


def test_scatter_is_taken_apart_as_it_was_made():
    generator = np.random.default_rng(0)
    orders, seeds = 200, 4
    scores = generator.normal(0, 0.03, (orders, 1)) + generator.normal(0, 0.01, (orders, seeds))
    rows = pd.DataFrame(
        {
            "order_seed": np.repeat(np.arange(orders), seeds),
            "seed": np.tile(np.arange(seeds), orders),
            "labelled": 8,
            "query": "random",
            "miou": 0.5 + scores.ravel(),
        }
    )
    (found,) = scatter(rows).to_dict("records")
    assert (found["labelled"], found["orders"], found["seeds"]) == (8, orders, seeds)
    assert found["sd_training"] == pytest.approx(0.01, rel=0.1)
    assert found["sd_labels"] == pytest.approx(0.03, rel=0.15)
    assert found["percent_training"] == pytest.approx(10, abs=3)


def test_trainings_of_one_order_are_one_row(table: pd.DataFrame):
    bulk = table[table["query"] == "random"].assign(kind="bulk", regime=None, round=0)
    trainings = [
        bulk.assign(order_seed=bulk["seed"] + 7, seed=seed, query=query, miou=bulk["miou"] + seed / 10 + gain)
        for query, gain in (("random", 0.0), ("bald", 0.1))
        for seed in range(3)
    ]
    ((_, rows),) = settings(pd.concat(trainings))
    assert sorted(rows["seed"].unique()) == [7, 8]
    gains = paired_gains(rows)
    assert gains["n"].tolist() == [2, 2]
    assert gains["mean"].tolist() == pytest.approx([0.1, 0.1])
    assert gains["sd"].tolist() == pytest.approx([0, 0], abs=1e-12)


def test_scatter_of_the_training_alone_is_all_there_is():
    rows = pd.DataFrame({"order_seed": [0, 0, 1, 1], "seed": [0, 1, 0, 1], "labelled": 8, "miou": [0.4, 0.6, 0.6, 0.4]})
    rows = rows.assign(query="random")
    others = [rows.assign(query="bald"), rows.assign(order_seed=np.nan)]
    (found,) = scatter(pd.concat([rows, *others])).to_dict("records")
    with pytest.raises(DataError, match=r"^8 labels have 3 trainings of 2 orders with 2 seeds; allowed: every order"):
        scatter(rows[1:])
    assert found["sd_training"] == pytest.approx(0.02**0.5)
    assert (found["sd_labels"], found["percent_training"]) == (0, 100)


def test_of_trainings_on_all_labels_the_best_are_the_reference(table: pd.DataFrame):
    best = table[table["query"] == "all"].assign(kind="bulk", regime=None, steps=[40])
    shorter, longer = best.assign(steps=20, miou=0.8), best.assign(steps=80, miou=0.85)
    random = best.assign(query="random", steps=20)
    ((_, bulk), (_, rounds)) = settings(pd.concat([table[table["query"] != "all"], best, shorter, longer, random]))
    for rows in (bulk, rounds):
        assert rows.loc[rows["query"] == "all", "miou"].tolist() == [0.9]
    assert bulk.loc[bulk["query"] == "random", "steps"].tolist() == [20]


CONFIG = {"dataset": "d", "model": "m", "regime": "from_scratch", "query": "vote_entropy"}


def test_histograms_count_unlabelled_images_by_round_over_seeds():
    scores = np.array([[0.0, 0.05, 0.1, 0.35], [np.nan, 0.3, 0.2, np.nan]], np.float32)
    counts = score_histograms([(CONFIG | {"seed": seed}, scores) for seed in (0, 1)])
    found = {(row.round, row.low): row.count for row in counts.itertuples(index=False)}
    assert found == {
        (0, 0.0): 4, (0, 0.1): 2, (0, 0.2): 0, (0, 0.3): 2,
        (1, 0.0): 0, (1, 0.1): 0, (1, 0.2): 2, (1, 0.3): 2,
    }  # fmt: skip


def test_least_and_most_sure_are_of_the_last_round_and_leave_labelled_images_out():
    scores = np.array([np.arange(40), np.where(np.arange(40) < 30, np.arange(40)[::-1], np.nan)])
    found = least_and_most_sure(CONFIG | {"seed": 3}, scores)
    assert set(found["round"]) == {1}
    least, most = (found[found["which"] == which] for which in ("least", "most"))
    assert list(least["index"]) == list(range(10))
    assert list(most["index"]) == list(range(29, 19, -1))
    assert list(most["score"]) == list(range(10, 20))
