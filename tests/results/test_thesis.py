"""The thesis's figures in numbers: what it states, and ours, by hand."""

import json

import pandas as pd
import pytest

from alutils.errors import DataError
from alutils.paths import published_dir
from alutils.results.thesis import (
    THESIS_FIGURES,
    bulk_points,
    committee_gain,
    committee_gain_intervals,
    random_slopes,
    thesis_points,
    transfer_gains,
)


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


def test_a_seeds_gain_is_the_mean_over_committees_and_has_an_interval_over_seeds(bulk: pd.DataFrame):
    is_vote = (bulk["query"] == "vote_entropy") & (bulk["order_model"] == "a") & (bulk["seed"] == 1)
    bulk.loc[is_vote & (bulk["share"] == 20) & (bulk["model"] == "a"), "miou"] += 0.02
    gains = committee_gain_intervals(bulk, "a", "a")
    mean, high = gains["mean"][20], gains["high"][20]
    assert mean == pytest.approx(0.045)  # 0.03 and 0.05; 0.05 and 0.05
    assert high - mean == pytest.approx(12.7062 * 0.005, rel=1e-4)
    assert gains["n"][20] == 2


def test_transfer_compares_networks_at_shares_that_all_pairs_have(bulk: pd.DataFrame):
    gains = transfer_gains(bulk)
    assert gains.loc["a", "a"] == pytest.approx(0.04), "70 % is left out: b's orders were not used there"
    assert gains.loc["b", "a"] == pytest.approx(-0.02)
    assert gains.loc["a", "b"] == pytest.approx(0.06)
    assert gains.loc["b", "b"] == pytest.approx(0)
