"""What queries acquired: class shares, overlap, near-duplicates; from acquisitions and the data set's pixels."""

from collections.abc import Iterable, Mapping
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from alutils.datasets import ImageDataset, label_counts, load_dataset
from alutils.errors import DataError, ParameterError
from alutils.paths import published_dir
from alutils.results.analysis import SETTING, over_seeds
from alutils.results.statistics import with_interval
from alutils.runs.config import setting_of
from alutils.runs.folder import RunFolder, finished_runs

COLUMNS = [*SETTING[1:], "what", "query", "name", "mean", "sd", "n"]
THUMBNAIL = (32, 16)  # pixels (width, height) that images are reduced to before they are compared
NEAR = 0.35  # root mean square difference of two thumbnails, of mean 0 and variance 1, below which they show one view


def acquired_table(experiment: str) -> tuple[pd.DataFrame, list[str]]:
    """Return what the finished rounds of an experiment acquired beyond their start sets, and notes on what is left out.

    A row a dataset, model, regime, what, query and name, with mean, sd and n over seeds, in percent:
    "classes": a class's share of the labelled pixels (or digits), by name; query "pool": of all images
    "overlap": a query's images that the query `name` acquired with the same seed or, its own name, with another;
    query "chance": what two random choices would share, name "queries" of the same start set, "seeds" of others
    "near_duplicates": images that look like one labelled before or with them
    """
    runs = [(run, run.config()) for run in finished_runs(experiment)]
    groups: dict[Any, list[tuple[RunFolder, dict[str, Any]]]] = {}
    for run, config in runs:
        if config["kind"] == "rounds":
            groups.setdefault(setting_of(config), []).append((run, config))
    rows, notes = [], []
    for setting, members in groups.items():
        names = dict(zip(SETTING, setting, strict=True))
        found, said = _rows_of(members)
        rows += [names | row for row in found]
        notes += [f"{names['dataset']} {names['model']}: {note}" for note in said]
    point = COLUMNS[:-3]
    return over_seeds(pd.DataFrame(rows, columns=[*point, "value"]), point, "value").round(6), notes


def load_acquired(experiment: str) -> tuple[pd.DataFrame, list[str]]:
    """Return `acquired_table` or, of an experiment without runs, what is published of it."""
    return acquired_table(experiment) if finished_runs(experiment) else load_published_acquired(experiment)


def load_published_acquired(name: str) -> tuple[pd.DataFrame, list[str]]:
    """Return the table of `acquired_table` that was published, or an empty one and a note why."""
    path = published_dir() / f"{name}-acquired.csv"
    if path.exists():
        return pd.read_csv(path, dtype={"name": str}, keep_default_na=False, na_values=[""]), []
    note = f"{path}: no such table; what was acquired is published with runs and their data set only"
    return pd.DataFrame(columns=COLUMNS), [note]


def of_setting(acquired: pd.DataFrame, rows: pd.DataFrame) -> pd.DataFrame:
    """Return what was acquired in the setting that rows of `load_experiment` are of."""
    return acquired.merge(rows[SETTING[1:]].head(1))


def class_factors(acquired: pd.DataFrame) -> pd.DataFrame:
    """Return how many times its share of the pool a class was acquired: a row a query, a column a class, rare last."""
    shares = _pivot(acquired, "classes").sort_values("pool", axis=1, ascending=False)
    shares = shares.loc[:, (shares.loc["pool"] > 0).to_numpy()]
    return shares.drop(index="pool") / shares.loc["pool"]


def overlaps(acquired: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, float]]:
    """Return the percent of images in common, queries by queries, and what chance gives ("queries", "seeds").

    Off the diagonal of the same seed; on it, of one query's seeds.
    """
    queries = sorted({*acquired["query"]} - {"pool", "chance"})
    chance = acquired[acquired["query"] == "chance"].groupby("name")["mean"].mean()
    shares = _pivot(acquired, "overlap").reindex(index=queries, columns=queries)
    return shares, {str(of): float(percent) for of, percent in chance.items()}


def near_duplicate_shares(acquired: pd.DataFrame) -> pd.DataFrame:
    """Return the percent of near-duplicates with its interval, a row a query."""
    return with_interval(acquired[acquired["what"] == "near_duplicates"]).set_index("query")


def _pivot(acquired: pd.DataFrame, what: str) -> pd.DataFrame:
    return acquired[acquired["what"] == what].pivot(index="query", columns="name", values="mean")


def _rows_of(members: Iterable[tuple[RunFolder, Mapping[str, Any]]]) -> tuple[list[dict[str, Any]], list[str]]:
    """Return rows of what, query, name, value, and notes."""
    tables = {(config["query"], config["seed"]): run.read_table("acquisitions") for run, config in members}
    whole = {key: table for key, table in tables.items() if len(table) and "region" not in table}
    of_regions = {query for (query, _), table in tables.items() if "region" in table}
    notes = [f"{query} labels regions, not images, and is left out" for query in sorted(of_regions)]
    if not whole:
        return [], notes
    config = next(config for _, config in members)
    try:
        dataset = load_dataset(config["dataset"], "train", config.get("height"), config.get("width"))
        if dataset.fingerprint != config["train_data"]:
            raise DataError("the data are not those that the runs were made with")
    except (DataError, ParameterError) as error:
        return [], [*notes, f"what was acquired is not known without the data set: {error}"]
    rows = [*_class_rows(dataset, whole), *_overlap_rows(len(dataset), whole)]
    if dataset.is_dense:
        return rows + _duplicate_rows(dataset, whole), notes
    return rows, [*notes, "near-duplicates are sought among scenes only"]


def _beyond_start(table: pd.DataFrame) -> np.ndarray:
    return table.loc[table["round"] > 0, "index"].to_numpy()


def _class_rows(dataset: ImageDataset, tables: Mapping[tuple[str, int], pd.DataFrame]) -> list[dict[str, Any]]:
    counts = np.stack([label_counts(dataset, np.array([index])) for index in range(len(dataset))])
    chosen = {("pool", 0): np.arange(len(dataset))} | {key: _beyond_start(table) for key, table in tables.items()}
    rows = []
    for (query, _), indices in chosen.items():
        shares = 100 * counts[indices].sum(axis=0) / max(1, counts[indices].sum())
        rows += [
            {"what": "classes", "query": query, "name": name, "value": share}
            for name, share in zip(dataset.class_names, shares, strict=True)
        ]
    return rows


def _overlap_rows(pool: int, tables: Mapping[tuple[str, int], pd.DataFrame]) -> list[dict[str, Any]]:
    sets = {key: set(_beyond_start(table)) for key, table in tables.items()}
    rows = []
    for ((query, seed), one), ((other, other_seed), two) in combinations(sets.items(), 2):
        if one and two and (query == other) != (seed == other_seed):
            shares = {(query, other): len(one & two) / len(one), (other, query): len(one & two) / len(two)}
            rows += [{"what": "overlap", "query": a, "name": b, "value": 100 * x} for (a, b), x in shares.items()]
    for table in tables.values():
        acquired = len(_beyond_start(table))
        chances = {"queries": acquired / (pool - len(table) + acquired), "seeds": acquired / pool}
        rows += [{"what": "overlap", "query": "chance", "name": a, "value": 100 * x} for a, x in chances.items()]
    return rows


def near_duplicates(images: np.ndarray) -> Any:
    """Return a sparse (N, N) matrix, 1 where two of images (N, 3, H, W), uint8, are near-duplicates.

    That is, where the root mean square difference of their `THUMBNAIL`s, each brought to mean 0 and variance 1, is
    below `NEAR`: the same view, a little moved or with another car in it. Distances are taken a few rows at a time.
    """
    from sklearn.neighbors import radius_neighbors_graph

    thumbnails = [
        np.asarray(Image.fromarray(image.transpose(1, 2, 0)).resize(THUMBNAIL, Image.Resampling.BOX), np.float32)
        for image in images
    ]
    vectors = np.stack(thumbnails).reshape(len(images), -1)
    vectors -= vectors.mean(axis=1, keepdims=True)
    vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-6)
    return radius_neighbors_graph(vectors, NEAR)


def _duplicate_rows(dataset: ImageDataset, tables: Mapping[tuple[str, int], pd.DataFrame]) -> list[dict[str, Any]]:
    alike = near_duplicates(dataset.images)
    rows = []
    for (query, _), table in tables.items():
        rounds = np.full(len(dataset), np.iinfo(np.int64).max)
        rounds[table["index"]] = table["round"]
        acquired = _beyond_start(table)
        is_repeated = [(rounds[alike[index].indices] <= rounds[index]).any() for index in acquired]
        if is_repeated:
            rows.append(
                {"what": "near_duplicates", "query": query, "name": "images", "value": 100 * np.mean(is_repeated)}
            )
    return rows
