"""What queries acquired: shares of the classes and near-duplicates, from acquisitions and the data set's pixels."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from alutils.datasets import ImageDataset, label_counts, load_dataset
from alutils.datasets.duplicates import near_duplicates, thumbnails
from alutils.errors import DataError, ParameterError
from alutils.results.analysis import SETTING, over_seeds
from alutils.results.significance import with_interval
from alutils.runs.config import setting_of
from alutils.runs.folder import RunFolder
from alutils.runs.schemas import check_items, read_csv

POINT = [*SETTING[1:], "what", "query", "name"]  # they tell an acquired table's rows apart
COLUMNS = [*POINT, "mean", "sd", "n"]


def acquired_table(runs: Iterable[RunFolder]) -> tuple[pd.DataFrame, list[str]]:
    """Return what finished rounds acquired after their start sets, and notes that say what is left out.

    One row per dataset, model, regime, what, query and name, with mean, sd and n over seeds, in percent. By `what`:
    "classes": the share of the labelled pixels (or digits) that the class `name` has; of the query "pool", its share
    of all images
    "near_duplicates": the share of the acquired images that look like an image labelled before or together with them
    """
    groups: dict[Any, list[tuple[RunFolder, dict[str, Any]]]] = {}
    for run in runs:
        config = run.config()
        if config["kind"] == "rounds":
            groups.setdefault(setting_of(config), []).append((run, config))
    rows, notes = [], []
    for setting, members in groups.items():
        names = dict(zip(SETTING, setting, strict=True))
        found, said = _rows_of(members)
        rows += [names | row for row in found]
        notes += [f"{names['dataset']} {names['model']}: {note}" for note in said]
    return over_seeds(pd.DataFrame(rows, columns=[*POINT, "value"]), POINT, "value").round(6), notes


def read_acquired(path: Path) -> tuple[pd.DataFrame, list[str]]:
    """Return a published table of `acquired_table`, or an empty one and a note if it was not published."""
    if path.exists():
        return read_csv(path, COLUMNS), []
    note = f"{path}: no such table; what was acquired is published with runs and their data set only"
    return pd.DataFrame(columns=COLUMNS), [note]


def of_setting(acquired: pd.DataFrame, rows: pd.DataFrame) -> pd.DataFrame:
    """Return what was acquired in the setting (dataset, model, regime) of `rows`, a part of `Experiment.table`."""
    return acquired.merge(rows[SETTING[1:]].head(1))


def class_factors(acquired: pd.DataFrame) -> pd.DataFrame:
    """Return each class's share of what a query acquired, divided by its share of the pool.

    One row per query, one column per class, the class with the smallest share of the pool last.
    """
    shares = acquired[acquired["what"] == "classes"].pivot(index="query", columns="name", values="mean")
    shares = shares.sort_values("pool", axis=1, ascending=False)
    shares = shares.loc[:, (shares.loc["pool"] > 0).to_numpy()]
    return shares.drop(index="pool") / shares.loc["pool"]


def near_duplicate_shares(acquired: pd.DataFrame) -> pd.DataFrame:
    """Return the percent of near-duplicates with its interval, one row per query."""
    return with_interval(acquired[acquired["what"] == "near_duplicates"]).set_index("query")


def _rows_of(members: Iterable[tuple[RunFolder, Mapping[str, Any]]]) -> tuple[list[dict[str, Any]], list[str]]:
    """Return the rows of one setting, each with what, query, name and value, and notes."""
    tables = {(config["query"], config["seed"]): run.acquisitions() for run, config in members}
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
    for table in whole.values():
        check_items(table, dataset)
    rows = _class_rows(dataset, whole)
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


def _duplicate_rows(dataset: ImageDataset, tables: Mapping[tuple[str, int], pd.DataFrame]) -> list[dict[str, Any]]:
    alike = near_duplicates(thumbnails(dataset.images))
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
