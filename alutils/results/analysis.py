"""From tables of runs to numbers: means over seeds, gains over random choice seed by seed, what the scores were."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from alutils.errors import DataError
from alutils.runs.config import dataset_word

MEASURES = {"miou": "mean IoU", "accuracy": "accuracy"}
SETTING = ["kind", "dataset", "model", "regime"]  # one figure or one comparison is of one value of each
POINT = ["query", "order_model", "skip", "labelled", "labelled_percent"]
STARTING_ANEW = ("from_scratch", "one_shot")  # regimes with a new network each round
ENTROPIES = ("consensus_entropy", "vote_entropy")  # queries whose scores histograms show: one number per image, in bits
BIN = 0.1  # bits, the width of a histogram's bars
EXTREMES = 10  # images shown where the committee was least sure, and as many where it was most sure


def measure_of(table: pd.DataFrame) -> str:
    """Return the name of the column that holds the score: `miou` of scenes, `accuracy` of digits."""
    return "miou" if "miou" in table and table["miou"].notna().any() else "accuracy"


def settings(table: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """Return each setting's name, "dataset model kind" or "dataset model regime kind", and its rows.

    Where each round starts with a new network, the rows of training on all labels are added: they are the reference. Of
    trainings on all labels only the `best_trained` are kept. Trainings of one order with several seeds are one row,
    their mean (`of_orders`).
    """
    table = of_orders(table)
    is_all = table["query"] == "all"
    table = pd.concat(
        [table[~is_all], *(best_trained(rows) for _, rows in table[is_all].groupby(["dataset", "model"]))]
    )
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


def of_orders(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table in which trainings of one order with several seeds are one row, with their mean scores.

    Its seed is that of the order: trainings of the same labels are no independent repetitions.
    """
    if "order_seed" not in table or table["order_seed"].isna().all():
        return table
    is_of_order = table["order_seed"].notna()
    rows = table[is_of_order].assign(seed=table["order_seed"]).drop(columns="order_seed")
    keys = [*SETTING, *POINT, "order_regime", "seed", "steps", "round"]
    keys = [name for name in keys if name in rows]
    return pd.concat([table[~is_of_order], rows.groupby(keys, dropna=False, sort=False).mean().reset_index()])


def best_trained(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the number of optimizer steps with the highest mean; all rows if recipes count epochs."""
    means = rows.groupby("steps")[measure_of(rows)].mean()
    return rows if means.empty else rows[rows["steps"] == means.idxmax()]


def summarise(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the score's mean, sd (standard deviation with n - 1) and n over the seeds of one setting.

    One row per query, order and number of labels (`POINT`).
    """
    return over_seeds(rows, POINT, measure_of(rows))


def over_seeds(rows: pd.DataFrame, point: list[str], column: str) -> pd.DataFrame:
    """Return mean, sd and n of a column, one row for each combination of values in the columns `point`."""
    found = rows.groupby(point, dropna=False, sort=True)[column].agg(["mean", "std", "count"])
    return found.reset_index().rename(columns={"std": "sd", "count": "n"})


def scatter(rows: pd.DataFrame) -> pd.DataFrame:
    """Return how the scores of bulk trainings scatter, from runs of several orders with several seeds each.

    Only trainings on random labels with a seed of their own count. One row per number of labels: orders, seeds (of each
    order), sd_training (over trainings of the same labels), sd_labels (over labels, training's part taken out), and
    percent_training, its part of the variance of a score. These are the components of variance of a one-way random
    model (Searle et al. 1992). Raises `DataError` unless every order has every seed, and there are two of each.
    """
    found = []
    rows = rows[(rows["query"] == "random") & rows["order_seed"].notna()]
    for labelled, of_budget in rows.groupby("labelled"):
        scores = of_budget.pivot(index="order_seed", columns="seed", values=measure_of(rows))
        if scores.isna().any(axis=None) or min(scores.shape) < 2:
            trainings, (orders, seeds) = int(scores.notna().to_numpy().sum()), scores.shape
            raise DataError(
                f"{labelled} labels have {trainings} trainings of {orders} orders with {seeds} seeds; allowed: every"
                " order with every seed, two or more of each"
            )
        of_training = scores.var(axis=1).mean()
        of_labels = max(0.0, scores.mean(axis=1).var() - of_training / scores.shape[1])
        found.append(
            {
                "labelled": labelled,
                "orders": scores.shape[0],
                "seeds": scores.shape[1],
                "sd_training": of_training**0.5,
                "sd_labels": of_labels**0.5,
                "percent_training": 100 * of_training / ((of_training + of_labels) or 1.0),
            }
        )
    return pd.DataFrame(found)


def paired_gains(rows: pd.DataFrame, baseline: str = "random") -> pd.DataFrame:
    """Return mean, sd and n of each query's gain over `baseline`, taken between runs of the same seed.

    One row per query, order and number of labels (`POINT`).
    """
    return over_seeds(gains_by_seed(rows, baseline), POINT, "gain")


def gains_by_seed(rows: pd.DataFrame, baseline: str = "random", measure: str | None = None) -> pd.DataFrame:
    """Return each run's `gain` over the run of `baseline` with the same network and seed at the same number of labels.

    One row per run and number of labels.
    """
    keys, measure = ["model", "labelled", "labelled_percent", "skip", "seed"], measure or measure_of(rows)
    base = rows.loc[rows["query"] == baseline, [*keys, measure]]
    others = rows.loc[~rows["query"].isin([baseline, "all"]), ["query", "order_model", *keys, measure]]
    both = others.merge(base, on=keys, suffixes=("", "_baseline"))
    return both.assign(gain=both[measure] - both[f"{measure}_baseline"])


def pivot(summary: pd.DataFrame) -> pd.DataFrame:
    """Return a summary as text "mean ± sd (n)", one row per number of labels, one column per query."""
    text = summary.assign(text=point_texts(summary), curve=curve_names(summary))
    table = text.pivot_table(
        index=["labelled", "labelled_percent"], columns="curve", values="text", aggfunc="first", sort=False
    )
    return table.sort_index().fillna("")


def point_texts(summary: pd.DataFrame) -> list[str]:
    """Return each row of a summary as text "mean ± sd (n)"."""
    return [
        f"{mean:.4f}" + (f" ± {sd:.4f}" if n > 1 and pd.notna(sd) else "") + f" ({n})"
        for mean, sd, n in zip(summary["mean"], summary["sd"], summary["n"], strict=True)
    ]


def curve_names(summary: pd.DataFrame) -> list[str]:
    """Return the name of the curve that each row of a summary is a point of.

    That is its query and, where a table holds several, the network that acquired the order and the start left out.
    """
    several_models = summary["order_model"].nunique() > 1
    several_starts = summary.duplicated(["query", "order_model", "labelled"]).any()
    names = []
    for query, model, skip in zip(summary["query"], summary["order_model"], summary["skip"], strict=True):
        by = f" by {model}" if several_models and pd.notna(model) else ""
        names.append(query + by + (f" without first {skip:g} %" if several_starts and skip else ""))
    return names


def score_histograms(runs: Iterable[tuple[Mapping[str, Any], np.ndarray]]) -> pd.DataFrame:
    """Return how many unlabelled images had which score in each round, summed over seeds.

    runs : each run's config and scores (rounds, N) in bits, NaN for images that were labelled by then

    One row per dataset, model, regime, query, round and bar of the histogram: `low`, its lower edge in bits (bars are
    `BIN` wide), and `count`.
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
    """Return the `EXTREMES` images with the highest scores, and those with the lowest, in the last round with scores.

    scores : (rounds, N) in bits, NaN for images that were labelled by then

    One row per image: dataset, model, regime, query, seed, round, which ("least" or "most" sure), rank, index, score.
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
    """Return a table of `columns`, and before them the run's dataset, model, regime and query."""
    of_run = {name: config[name] for name in ("dataset", "model", "regime", "query")}
    return pd.DataFrame(columns).assign(**of_run)[[*of_run, *columns]]
