"""The thesis's result figures: its own points, ours beside them, and the numbers that it writes into them."""

import numpy as np
import pandas as pd

from alutils.errors import DataError
from alutils.paths import published_dir
from alutils.results.analysis import gains_by_seed, measure_of, over_seeds
from alutils.results.significance import with_interval
from alutils.runs.schemas import read_csv

# For each result figure of the thesis, what may stand beside it: our experiment, the trained network, and the network
# that acquired the orders.
THESIS_FIGURES = {
    "bulk_all": [
        ("cityscapes", "deeplabv3_resnet101", "deeplabv3_resnet101"),
        ("camvid_thesis", "frozen_small", "frozen_small"),
        ("camvid", "deeplabv3_resnet101", "deeplabv3_resnet101"),
        ("camvid_small", "deeplabv3_small", "deeplabv3_small"),
    ],
    "bulk_mini_all": [
        ("cityscapes", "vgg19_unet", "deeplabv3_resnet101"),
        ("camvid_transfer", "deeplabv3_lite0", "frozen_small"),
        ("camvid", "vgg19_unet", "deeplabv3_resnet101"),
        ("camvid_small", "unet_small", "deeplabv3_small"),
    ],
}


def thesis_points(figure: str) -> pd.DataFrame:
    """Return the points of the thesis's figure `bulk_all` or `bulk_mini_all`, in the columns of `bulk_points`."""
    table = read_csv(published_dir() / "thesis" / "bulk.csv")
    points = table[table["figure"] == figure].replace({"query": {"all_labels": "all"}})
    points = points.rename(columns={"labelled_percent": "percent", "miou": "mean", "whisker_half_length": "sd"})
    return points[["query", "percent", "mean", "sd"]].assign(n=5).reset_index(drop=True)


def our_bulk(figure: str) -> tuple[str, str, str]:
    """Return our experiment, the trained network and the orders' network that stand beside a figure of the thesis.

    It is the first one that is published with such trainings.
    """
    return next(ours for ours in THESIS_FIGURES[figure] if _is_published(*ours))


def _is_published(experiment: str, model: str, order_model: str) -> bool:
    path = published_dir() / f"{experiment}.csv"
    if not path.exists():
        return False
    rows = read_csv(path)
    return bool(((rows["kind"] == "bulk") & (rows["model"] == model) & (rows["order_model"] == order_model)).any())


def _of_orders(rows: pd.DataFrame, model: str, order_model: str) -> pd.DataFrame:
    """Return the bulk trainings of `model` on orders that `order_model` acquired, with percent, rounded.

    Trainings on random orders and on all labels belong to them. Raises `DataError` if none is finished.
    """
    of_order = rows["query"].isin(["all", "random"]) | (rows["order_model"] == order_model)
    chosen = rows[(rows["kind"] == "bulk") & (rows["model"] == model) & of_order]
    if chosen.empty:
        raise DataError(f"no bulk training of {model} on orders that {order_model} acquired is finished")
    return chosen.assign(percent=chosen["labelled_percent"].round().astype(int))


def bulk_points(rows: pd.DataFrame, model: str, order_model: str) -> pd.DataFrame:
    """Return mean, sd and n over seeds of `model`, trained on shares of the orders that `order_model` acquired.

    One row per query ("all": all labels, "random": random orders) and percent of the labels, rounded. Raises
    `DataError` if no such training is finished.
    """
    chosen = _of_orders(rows, model, order_model)
    return over_seeds(chosen, ["query", "percent"], measure_of(chosen))


def committee_gain(points: pd.DataFrame) -> pd.Series:
    """Return the mean of the committees' queries minus that of random choice, by percent of the labels.

    points : as of `bulk_points`
    """
    means = points[points["query"] != "all"].pivot(index="percent", columns="query", values="mean")
    return (means.drop(columns="random", errors="ignore").mean(axis=1) - means.get("random", np.nan)).dropna()


def committee_gain_intervals(
    rows: pd.DataFrame, model: str, order_model: str, measure: str | None = None
) -> pd.DataFrame:
    """Return mean, sd, n and interval over seeds of the gain that `committee_gain` means, by percent of the labels.

    A seed's gain is the mean over the committees' queries, each less random choice with the same seed.

    measure : the column of the score, if it is not that of all test images
    """
    gains = gains_by_seed(_of_orders(rows, model, order_model), measure=measure)
    by_seed = gains.groupby(["labelled_percent", "seed"])["gain"].mean().reset_index()
    by_seed["percent"] = by_seed["labelled_percent"].round().astype(int)
    return with_interval(over_seeds(by_seed, ["percent"], "gain")).set_index("percent")


def random_slopes(points: pd.DataFrame) -> dict[tuple[int, int], float]:
    """Return how much the score of random choice rises per percent of labels, from 20 to 40 % and from 40 to 70 %."""
    means = points[points["query"] == "random"].set_index("percent")["mean"]
    return {
        (low, high): (means[high] - means[low]) / (high - low)
        for low, high in ((20, 40), (40, 70))
        if {low, high} <= {*means.index}
    }


def transfer_gains(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the committees' mean gain over random choice with the same seed and number of labels, in bulk training.

    One row per network that acquired orders, one column per network that was trained on them. The mean is over all
    queries and seeds, at those shares of the labels that every pair of networks has.
    """
    gains = gains_by_seed(rows[rows["kind"] == "bulk"])
    pairs = gains[["labelled", "order_model", "model"]].drop_duplicates()["labelled"].value_counts()
    in_all_pairs = gains["labelled"].isin(pairs.index[pairs == pairs.max()])
    return gains[in_all_pairs].pivot_table(index="order_model", columns="model", values="gain")
