"""From tables of runs to numbers: means over seeds, gains over random choice paired by seed, what scores were."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from alutils.errors import DataError
from alutils.paths import published_dir
from alutils.runs.config import dataset_word

MEASURES = {"miou": "mean IoU", "accuracy": "accuracy"}
SETTING = ["kind", "dataset", "model", "regime"]  # what one figure or one comparison holds fixed
POINT = ["query", "order_model", "skip", "labelled", "labelled_percent"]
STARTING_ANEW = ("from_scratch", "one_shot")  # regimes with a new network each round
ENTROPIES = ("consensus_entropy", "vote_entropy")  # queries whose scores are bits of images, as histograms want them
BIN = 0.1  # bits, the width of a bar of a histogram of entropies
# Of each result figure of the thesis, what of ours stands beside it: experiment, trained network, the order's network.
# The first that is published is taken.
THESIS_FIGURES = {
    "bulk_all": [
        ("cityscapes", "deeplabv3_resnet101", "deeplabv3_resnet101"),
        ("camvid", "deeplabv3_resnet101", "deeplabv3_resnet101"),
        ("camvid_small", "deeplabv3_small", "deeplabv3_small"),
    ],
    "bulk_mini_all": [
        ("cityscapes", "vgg19_unet", "deeplabv3_resnet101"),
        ("camvid", "vgg19_unet", "deeplabv3_resnet101"),
        ("camvid_small", "unet_small", "deeplabv3_small"),
    ],
}
EXTREMES = 10  # images of which the committee was least sure, and most sure


def measure_of(table: pd.DataFrame) -> str:
    """Return the name of the score: `miou` for scenes, `accuracy` for digits."""
    return "miou" if "miou" in table and table["miou"].notna().any() else "accuracy"


def settings(table: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """Return each setting of a table, as "dataset model kind" or "dataset model regime kind" and its rows.

    Rounds in which a network starts anew are followed by the rows of training on all labels, their reference.
    """
    groups: dict[Any, pd.DataFrame] = dict(list(table.fillna({"regime": ""}).groupby(SETTING, sort=True)))
    found = []
    for (kind, dataset, model, regime), rows in groups.items():
        bulk = groups.get(("bulk", dataset, model, ""), table.iloc[:0])
        reference = bulk[bulk["query"] == "all"]
        if regime in STARTING_ANEW and len(reference):
            rows = pd.concat([rows, reference])
        if len(reference) < len(rows):
            words = [dataset_word(str(dataset)), model, regime if regime != "from_scratch" else "", kind]
            found.append((" ".join(word for word in words if word), rows))
    return found


def summarise(rows: pd.DataFrame) -> pd.DataFrame:
    """Return mean, sd (standard deviation, n - 1) and n over the seeds of one setting, a row a point."""
    return over_seeds(rows, POINT, measure_of(rows))


def over_seeds(rows: pd.DataFrame, point: list[str], column: str) -> pd.DataFrame:
    """Return mean, sd and n of a column, a row a point."""
    found = rows.groupby(point, dropna=False, sort=True)[column].agg(["mean", "std", "count"])
    return found.reset_index().rename(columns={"std": "sd", "count": "n"})


def paired_gains(rows: pd.DataFrame, baseline: str = "random") -> pd.DataFrame:
    """Return each query's gain over `baseline` at equal labels and seed: mean, sd and n, a row a point."""
    return over_seeds(gains_by_seed(rows, baseline), POINT, "gain")


def gains_by_seed(rows: pd.DataFrame, baseline: str = "random", measure: str | None = None) -> pd.DataFrame:
    """Return each run's `gain` over `baseline` of the same network, labels and seed, a row a run and point."""
    keys, measure = ["model", "labelled", "labelled_percent", "skip", "seed"], measure or measure_of(rows)
    base = rows.loc[rows["query"] == baseline, [*keys, measure]]
    others = rows.loc[~rows["query"].isin([baseline, "all"]), ["query", "order_model", *keys, measure]]
    both = others.merge(base, on=keys, suffixes=("", "_baseline"))
    return both.assign(gain=both[measure] - both[f"{measure}_baseline"])


def pivot(summary: pd.DataFrame) -> pd.DataFrame:
    """Return a summary as text "mean ± sd (n)", a row a share of labels, a column a query."""
    text = summary.assign(text=point_texts(summary), curve=curve_names(summary))
    table = text.pivot_table(
        index=["labelled", "labelled_percent"], columns="curve", values="text", aggfunc="first", sort=False
    )
    return table.sort_index().fillna("")


def point_texts(summary: pd.DataFrame) -> list[str]:
    """Return each row as text, "mean ± sd (n)"."""
    return [
        f"{mean:.4f}" + (f" ± {sd:.4f}" if n > 1 and pd.notna(sd) else "") + f" ({n})"
        for mean, sd, n in zip(summary["mean"], summary["sd"], summary["n"], strict=True)
    ]


def curve_names(summary: pd.DataFrame) -> list[str]:
    """Return each row's query and, where a table holds orders of several networks or starts, which."""
    several_models = summary["order_model"].nunique() > 1
    several_starts = summary.duplicated(["query", "order_model", "labelled"]).any()
    names = []
    for query, model, skip in zip(summary["query"], summary["order_model"], summary["skip"], strict=True):
        by = f" by {model}" if several_models and pd.notna(model) else ""
        names.append(query + by + (f" without first {skip:g} %" if several_starts and skip else ""))
    return names


def thesis_points(figure: str) -> pd.DataFrame:
    """Return what the thesis published in `bulk_all` or `bulk_mini_all`, as `bulk_points` does."""
    table = pd.read_csv(published_dir() / "thesis" / "bulk.csv")
    points = table[table["figure"] == figure].replace({"query": {"all_labels": "all"}})
    points = points.rename(columns={"labelled_percent": "percent", "miou": "mean", "whisker_half_length": "sd"})
    return points[["query", "percent", "mean", "sd"]].assign(n=5).reset_index(drop=True)


def our_bulk(figure: str) -> tuple[str, str, str]:
    """Return the experiment, trained network and order's network that stand beside a figure of the thesis."""
    return next(ours for ours in THESIS_FIGURES[figure] if (published_dir() / f"{ours[0]}.csv").exists())


def bulk_points(rows: pd.DataFrame, model: str, order_model: str) -> pd.DataFrame:
    """Return mean, sd and n over seeds of `model` trained on shares of the orders that `order_model` acquired.

    A row a query ("all" for all labels, "random" for random orders) and percent of the labels, rounded. Raises
    `DataError` if there is none.
    """
    of_order = rows["query"].isin(["all", "random"]) | (rows["order_model"] == order_model)
    chosen = rows[(rows["kind"] == "bulk") & (rows["model"] == model) & of_order]
    if chosen.empty:
        raise DataError(f"no bulk training of {model} on orders that {order_model} acquired is finished")
    chosen = chosen.assign(percent=chosen["labelled_percent"].round().astype(int))
    return over_seeds(chosen, ["query", "percent"], measure_of(chosen))


def committee_gain(points: pd.DataFrame) -> pd.Series:
    """Return by percent how far the committees' mean lies above that of random choice (`bulk_points`)."""
    means = points[points["query"] != "all"].pivot(index="percent", columns="query", values="mean")
    return (means.drop(columns="random", errors="ignore").mean(axis=1) - means.get("random", np.nan)).dropna()


def random_slopes(points: pd.DataFrame) -> dict[tuple[int, int], float]:
    """Return what a percent more labels brings when drawn at random, from 20 to 40 and from 40 to 70 %."""
    means = points[points["query"] == "random"].set_index("percent")["mean"]
    return {
        (low, high): (means[high] - means[low]) / (high - low)
        for low, high in ((20, 40), (40, 70))
        if {low, high} <= {*means.index}
    }


def transfer_gains(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the committees' mean gain over random of the same seed and number of labels, in bulk training.

    A row an order's network, a column a trained network; over all queries and seeds, at the shares that all pairs have.
    """
    gains = gains_by_seed(rows[rows["kind"] == "bulk"])
    pairs = gains[["labelled", "order_model", "model"]].drop_duplicates()["labelled"].value_counts()
    in_all_pairs = gains["labelled"].isin(pairs.index[pairs == pairs.max()])
    return gains[in_all_pairs].pivot_table(index="order_model", columns="model", values="gain")


def score_histograms(runs: Iterable[tuple[Mapping[str, Any], np.ndarray]]) -> pd.DataFrame:
    """Return how many images had which score in each round, summed over seeds.

    runs : config and scores (rounds, N) of each, NaN for images that were labelled by then

    A row a dataset, model, regime, query, round and bin: its lower edge `low` in bits, `BIN` wide, and the `count`.
    """
    tables = []
    for config, scores in runs:
        for round_number, of_round in enumerate(scores):
            bins = np.floor(of_round[np.isfinite(of_round)].astype(float) / BIN + 1e-9).astype(int)
            counts = np.bincount(bins)
            tables.append(_named(config, round=round_number, low=np.arange(len(counts)) * BIN, count=counts))
    keys = ["dataset", "model", "regime", "query", "round", "low"]
    return pd.concat(tables).round({"low": 6}).groupby(keys, sort=True)["count"].sum().reset_index()


def least_and_most_sure(config: Mapping[str, Any], scores: np.ndarray) -> pd.DataFrame:
    """Return the `EXTREMES` images of the highest and of the lowest scores in the last round that scored.

    scores : (rounds, N), NaN for images that were labelled by then

    A row an image: dataset, model, regime, query, seed, round, which ("least" or "most" sure), rank, index, score.
    """
    last = scores[-1]
    order = np.argsort(last, kind="stable")[: np.isfinite(last).sum()]
    ends = {"least": order[::-1][:EXTREMES], "most": order[:EXTREMES]}
    tables = [
        _named(
            config, seed=config["seed"], round=len(scores) - 1, which=which, rank=range(len(indices)), index=indices
        ).assign(score=last[indices])
        for which, indices in ends.items()
    ]
    return pd.concat(tables, ignore_index=True)


def _named(config: Mapping[str, Any], **columns: object) -> pd.DataFrame:
    """Return a table whose first columns say what run it is of."""
    of_run = {name: config[name] for name in ("dataset", "model", "regime", "query")}
    return pd.DataFrame(columns).assign(**of_run)[[*of_run, *columns]]
