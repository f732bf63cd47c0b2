"""Means, gains and their tables, by hand."""

import json

import numpy as np
import pandas as pd
import pytest

from alutils.errors import DataError
from alutils.paths import published_dir
from alutils.results import figures
from alutils.results.analysis import (
    THESIS_FIGURES,
    bulk_points,
    committee_gain,
    curve_names,
    least_and_most_sure,
    measure_of,
    paired_gains,
    pivot,
    random_slopes,
    score_histograms,
    settings,
    summarise,
    thesis_points,
    transfer_gains,
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
        kind="rounds", dataset="d", model="m", regime="from_scratch", order_model=None, skip=np.nan
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


def test_the_figure_shows_means_whiskers_and_the_line_of_all_labels(table: pd.DataFrame):
    axes = figures.learning_curves(table).axes[0]
    handles, labels = axes.get_legend_handles_labels()
    lines = dict(zip(labels, (getattr(handle, "lines", (handle,))[0] for handle in handles), strict=True))
    assert sorted(lines) == ["all labels", "random", "vote entropy"]
    assert list(lines["random"].get_ydata()) == pytest.approx([0.1, 0.3])
    assert list(lines["all labels"].get_ydata()) == [0.9, 0.9]
    assert not set(lines["random"].get_xdata()) & set(lines["vote entropy"].get_xdata()), "whiskers would overlap"


@pytest.mark.parametrize("figure", THESIS_FIGURES)
def test_gains_and_slopes_of_the_thesis_are_what_its_figures_state(figure: str):
    """Read off by pixel, means are good to about 0.001."""
    stated = json.loads((published_dir() / "thesis" / "bulk.json").read_text())["stated in the figures"][figure]
    points = thesis_points(figure)
    gains, slopes = committee_gain(points), random_slopes(points)
    assert list(gains.index) == [20, 30, 40, 70]
    for percent, gain in stated["gain"].items():
        assert gains[int(percent)] == pytest.approx(gain, abs=0.0015)
    assert [f"{low}-{high}" for low, high in slopes] == list(stated["slope"])
    for (low, high), slope in slopes.items():
        assert slope == pytest.approx(stated["slope"][f"{low}-{high}"], abs=2 * 0.001 / (high - low))


@pytest.fixture
def bulk() -> pd.DataFrame:
    """Return two seeds of networks a and b on orders of a (20 and 70 %) and of b (20 %), and on random ones."""
    rows = [
        {"model": model, "order_model": order, "query": query, "seed": seed, "share": share, "miou": miou + seed / 10}
        for model, order, query, share, miou in [
            ("a", None, "random", 20, 0.2), ("a", None, "random", 70, 0.4), ("a", None, "all", 100, 0.6),
            ("a", "a", "vote_entropy", 20, 0.23), ("a", "a", "consensus_entropy", 20, 0.25),
            ("a", "a", "vote_entropy", 70, 0.9), ("a", "b", "vote_entropy", 20, 0.18),
            ("b", None, "random", 20, 0.1), ("b", "a", "vote_entropy", 20, 0.16), ("b", "b", "vote_entropy", 20, 0.1),
        ]
        for seed in (0, 1)
    ]  # fmt: skip
    table = pd.DataFrame(rows).assign(kind="bulk", dataset="d", regime=None, skip=0.0)
    return table.assign(labelled=table["share"] * 3, labelled_percent=table["share"] + 0.3)


def test_bulk_points_are_means_over_seeds_of_one_network_on_one_networks_orders(bulk: pd.DataFrame):
    points = bulk_points(bulk, "a", "a").set_index(["query", "percent"])
    assert sorted(points.index) == [
        ("all", 100), ("consensus_entropy", 20), ("random", 20), ("random", 70), ("vote_entropy", 20),
        ("vote_entropy", 70),
    ]  # fmt: skip
    assert points.loc[("vote_entropy", 20), "mean"] == pytest.approx(0.28)
    assert points.loc[("vote_entropy", 20), "sd"] == pytest.approx(0.005**0.5)
    assert (points["n"] == 2).all()
    gains = committee_gain(points.reset_index())
    assert gains[20] == pytest.approx(0.04)
    assert gains[70] == pytest.approx(0.5)
    with pytest.raises(DataError, match="no bulk training of c on orders that a acquired is finished"):
        bulk_points(bulk, "c", "a")


def test_transfer_compares_networks_at_shares_that_all_pairs_have(bulk: pd.DataFrame):
    gains = transfer_gains(bulk)
    assert gains.loc["a", "a"] == pytest.approx(0.04), "70 % is left out: b's orders were not used there"
    assert gains.loc["b", "a"] == pytest.approx(-0.02)
    assert gains.loc["a", "b"] == pytest.approx(0.06)
    assert gains.loc["b", "b"] == pytest.approx(0)


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


def test_the_thesiss_figure_writes_gains_above_and_slopes_below():
    points = thesis_points("bulk_all")
    (axes,) = figures.bulk_comparison({"thesis": points}).axes
    texts = {text.get_text(): text.get_position() for text in axes.texts}
    assert {f"{gain:+.4f}" for gain in committee_gain(points)} <= set(texts)
    assert "0.00194 / %" in texts or "0.00193 / %" in texts
    x, y = texts[f"{committee_gain(points)[20]:+.4f}"]
    at_20 = points[points["percent"] == 20]
    assert x == 20
    assert y > at_20["mean"].max()
    low, high = axes.get_ylim()
    assert all(low < y < high for _, y in texts.values())
