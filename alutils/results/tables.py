"""The tables of an experiment, read from its run folders or as they were published."""

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd

from alutils.errors import DataError, did_you_mean, shortened
from alutils.paths import PARAMS, published_dir, results_dir
from alutils.runs.config import recipe_of, setting_of
from alutils.runs.folder import (
    RunFolder,
    check_name,
    differences,
    finished_experiments,
    finished_runs,
)
from alutils.runs.schemas import ROUNDS, PublishedRuns, check_rounds, read_csv, read_json, reported

CONFIG_COLUMNS = ("kind", "dataset", "model", "regime", "query", "order_model", "order_regime", "skip", "seed")
FURTHER_COLUMNS = ("order_seed", "steps")  # experiments that were published early lack them


@dataclass(frozen=True)
class Experiment:
    """The tables of one experiment; each is read when it is first asked for.

    where : the experiment's folder, or its published table
    runs : its finished runs by name, none if the published files are read
    """

    name: str
    where: Path
    runs: tuple[RunFolder, ...] = ()

    @classmethod
    def of_runs(cls, name: str) -> Self:
        """Return the experiment that the finished runs in `results/<name>/` make; `DataError` if there are none."""
        runs, folder = finished_runs(name), results_dir() / name
        if not runs:
            of_one = f"alutils run 03_active_learning_rounds -p experiment {name}"
            raise DataError(f"{folder}: no finished run there; `{_grid_of(name) or of_one}` makes some")
        return cls(name, folder, tuple(runs))

    @classmethod
    def published(cls, name: str) -> Self:
        """Return the experiment as it lies in `results/published/`; `DataError` if it does not."""
        path = published_dir() / f"{name}.csv"
        if not path.exists():
            known = ", ".join(sorted(file.stem for file in published_dir().glob("*.csv")))
            raise DataError(f"{path}: no such table; published: {known or 'none'}")
        return cls(name, path)

    @classmethod
    def find(cls, name: str) -> Self:
        """Return the experiment of the finished runs or, if there are none, the published one.

        Raises `DataError` if there is neither.
        """
        check_experiment(name)
        return cls.of_runs(name) if finished_runs(name) else cls.published(name)

    @cached_property
    def table(self) -> pd.DataFrame:
        """Return one row per run and round.

        Columns: kind ("rounds" or "bulk"), dataset, model, regime (of rounds), query, order_model and order_regime (of
        a bulk run that uses a query's order), skip (of bulk runs), seed, order_seed (if it is another one), steps (if
        the recipe gives them), round, labelled, labelled_percent, then the measures (miou, accuracy, iou_<class>,
        category_iou_<category>) and seconds. Raises `DataError` if a run lies there twice, or if two runs of one
        setting had different recipes; trainings on all labels may differ in their steps.
        """
        return _table_of(self.where, self.runs) if self.runs else _published_table(self.where)

    @cached_property
    def records(self) -> dict[str, dict[str, Any]]:
        """Return each run's config, provenance and, of rounds, a digest of its start set, by the run's name.

        Experiments that were published before start sets were recorded have none.
        """
        if self.runs:
            return {run.path.name: _record(run) for run in self.runs}
        path = self.where.with_suffix(".json")
        content = read_json(path, model=PublishedRuns)
        with reported(path):
            for record in content["runs"].values():  # versions are long: each stands once, and a run has its position
                record["provenance"]["versions"] = content["versions"][record["provenance"]["versions"]]
        return content["runs"]

    @cached_property
    def acquired(self) -> tuple[pd.DataFrame, list[str]]:
        """Return the table of `acquired.acquired_table`, and notes that say what is missing in it."""
        from alutils.results.acquired import acquired_table, read_acquired  # loads scipy, which takes seconds

        if self.runs:
            return acquired_table(self.runs)
        return read_acquired(self.where.with_name(f"{self.name}-acquired.csv"))

    @cached_property
    def clips(self) -> pd.DataFrame:
        """Return the table of `clips.clip_table`; empty if clips were not counted."""
        from alutils.results.clips import clip_table, read_clips  # loads scipy, which takes seconds

        return clip_table(self.runs) if self.runs else read_clips(self.where.with_name(f"{self.name}-clips.csv.gz"))

    def scores(self, queries: Collection[str]) -> list[tuple[dict[str, Any], np.ndarray]]:
        """Return config and scores of each run with one of these queries, as `load_scores` does."""
        return load_scores(run for run in self.runs if run.config()["query"] in queries)


def load_scores(runs: Iterable[RunFolder]) -> list[tuple[dict[str, Any], np.ndarray]]:
    """Return config and scores (rounds, N) of each run that saved scores; runs without a committee saved none."""
    found = [(run.config(), run.scores()) for run in runs]
    return [(config, scores) for config, scores in found if len(scores)]


def known_experiments() -> list[str]:
    """Return the names of all experiments that have a finished run or a published table."""
    return sorted(finished_experiments() | {path.stem for path in published_dir().glob("*.json")})


def check_experiment(name: str) -> None:
    """Raise `DataError` unless the experiment has finished runs or a published table."""
    known = known_experiments()
    if name in known:
        return
    if not name:
        raise DataError(f"no experiment is given; known: {shortened(', '.join(known), 200)}")
    check_name(name)
    how = f"`{_grid_of(name)}` makes some; " if _grid_of(name) else ""
    how += f"{did_you_mean(name, known)}known: {shortened(', '.join(known), 100)}"
    raise DataError(f"{name!r} has no finished run in {results_dir()} and no published table; {how}")


def _grid_of(name: str) -> str:
    """Return the command that makes the runs of a preset; an empty text for other experiments."""
    return f"make grid PRESET={name}" if (PARAMS / f"{name}.yaml").exists() else ""


def check_agreement(where: object, runs: Mapping[str, tuple[Any, Mapping[str, Any]]]) -> None:
    """Raise `DataError` if two runs of one group differ.

    runs : by a run's name, its group and the fields that all runs of this group must agree in
    """
    first: dict[Any, tuple[str, Mapping[str, Any]]] = {}
    for run, (group, fields) in runs.items():
        other, known = first.setdefault(group, (run, fields))
        for name in differences(known, fields):
            raise DataError(
                f"{where}: {other} has {name} {known.get(name)!r}, {run} has {fields.get(name)!r};"
                " runs that are compared must agree in it, so move one's folder to another experiment"
            )


def _published_table(path: Path) -> pd.DataFrame:
    """Return a published table; raise `DataError` if it is damaged."""
    table = read_csv(path, {*CONFIG_COLUMNS, *ROUNDS})
    for name in FURTHER_COLUMNS:
        if name not in table:
            table.insert(len(CONFIG_COLUMNS), name, np.nan)
    with reported(path):
        check_rounds(table[table["kind"] == "rounds"], CONFIG_COLUMNS)
        if table.duplicated().any():
            raise ValueError(f"row {int(table.duplicated().argmax()) + 1} is there twice")
    return table


def _table_of(folder: Path, runs: Iterable[RunFolder]) -> pd.DataFrame:
    configs = {run: run.config() for run in runs}
    check_configs(folder, {run.path.name: config for run, config in configs.items()})
    return in_order(concatenated([with_config(run, config) for run, config in configs.items()]))


def check_configs(where: object, configs: Mapping[str, Mapping[str, Any]]) -> None:
    """Raise `DataError` if a run lies there twice, or if two runs of one setting had different recipes.

    Trainings on all labels may differ in their steps. `configs` are by the run's name.
    """
    _refuse_copies(where, configs)
    recipes = {run: (setting_of(config), recipe_of(config)) for run, config in configs.items()}
    lengths = {"steps", "epochs"}
    others = {
        run: (setting, {n: v for n, v in of.items() if n not in lengths}) for run, (setting, of) in recipes.items()
    }
    check_agreement(where, others)
    check_agreement(where, {run: recipe for run, recipe in recipes.items() if configs[run]["query"] != "all"})


def in_order(table: pd.DataFrame) -> pd.DataFrame:
    """Return an experiment's table with its rows in the order in which they are published."""
    order = ["kind", "dataset", "model", "regime", "query", "labelled_percent", "steps", "seed", "order_seed"]
    return table.sort_values(order, kind="stable", ignore_index=True)


def concatenated(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Return tables below each other, with the columns that any of them has."""
    names = list(dict.fromkeys(name for table in tables for name in table))
    filled = [table.dropna(axis="columns", how="all") for table in tables]  # else a column's type is in doubt
    return pd.concat(filled, ignore_index=True).reindex(columns=names)


def _refuse_copies(where: object, configs: Mapping[str, Mapping[str, Any]]) -> None:
    """Raise `DataError` if two folders hold the same run, because its seed would count twice."""
    known: dict[str, str] = {}
    for run, config in configs.items():
        other = known.setdefault(json.dumps(config, sort_keys=True), run)
        if other != run:
            raise DataError(f"{where}: {run} is {other} once more; move one of them out of that folder")


def with_config(run: RunFolder, config: Mapping[str, Any]) -> pd.DataFrame:
    """Return a run's rounds with the columns `CONFIG_COLUMNS` and `FURTHER_COLUMNS` of its config before them."""
    if config["query"] in ("all", "random"):
        config = {**config, "order_model": None, "order_regime": None}
    table = run.rounds()
    for position, name in enumerate((*CONFIG_COLUMNS, *FURTHER_COLUMNS)):
        table.insert(position, name, config.get(name))
    return table


def _record(run: RunFolder) -> dict[str, Any]:
    record: dict[str, Any] = {"config": run.config(), "provenance": run.provenance()}
    acquired = run.acquisitions()
    if record["config"]["kind"] == "rounds" and len(acquired):
        first = acquired[acquired["round"] == 0]
        are_regions = "region" in first and (first["region"] >= 0).all()
        start = sorted(first[["index", "region"]].to_numpy().tolist() if are_regions else first["index"].tolist())
        record["start_set"] = hashlib.sha256(json.dumps(start).encode()).hexdigest()[:16]
    return record
