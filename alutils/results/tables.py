"""The tables of an experiment, read from run folders or as they are published."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from alutils.errors import DataError
from alutils.files import write_whole
from alutils.paths import PARAMS, published_dir, results_dir
from alutils.runs.config import recipe_of, setting_of
from alutils.runs.folder import RunFolder, differences, finished_runs, read_config, read_csv, read_json

CONFIG_COLUMNS = ("kind", "dataset", "model", "regime", "query", "order_model", "order_regime", "skip", "seed")


def load_experiment(experiment: str) -> pd.DataFrame:
    """Return one tidy table of all finished runs of an experiment: a row a run and round.

    Columns: kind ("rounds" or "bulk"), dataset, model, regime (of rounds), query, order_model and order_regime (of a
    bulk run on a query's order), skip (of bulk runs), seed, round, labelled, labelled_percent, then the measures (miou,
    accuracy, iou_<class>, category_iou_<category>) and seconds.
    """
    folder, runs = results_dir() / experiment, {run.path: read_config(run.path) for run in finished_runs(experiment)}
    if not runs:
        is_preset = (PARAMS / f"{experiment}.yaml").exists()
        of_one = f"alutils run 03_active_learning_rounds -p experiment {experiment}"
        command = f"make grid PRESET={experiment}" if is_preset else of_one
        raise DataError(f"{folder}: no finished run there; `{command}` makes some")
    _refuse_copies(folder, runs)
    check_agreement(folder, {run.name: (setting_of(config), recipe_of(config)) for run, config in runs.items()})
    tables = [_with_config(run, config) for run, config in runs.items()]
    names = list(dict.fromkeys(name for table in tables for name in table))
    filled = [table.dropna(axis="columns", how="all") for table in tables]  # else a column's type is in doubt
    return (
        pd.concat(filled, ignore_index=True)
        .reindex(columns=names)
        .sort_values(
            ["kind", "dataset", "model", "regime", "query", "labelled_percent", "seed"],
            kind="stable",
            ignore_index=True,
        )
    )


def _refuse_copies(folder: Path, runs: Mapping[Path, Mapping[str, Any]]) -> None:
    """Raise `DataError` if a run lies there twice, which would count its seed twice."""
    known: dict[str, str] = {}
    for run, config in runs.items():
        other = known.setdefault(json.dumps(config, sort_keys=True), run.name)
        if other != run.name:
            raise DataError(f"{folder}: {run.name} is {other} once more; move one of them out of that folder")


def check_agreement(where: object, runs: Mapping[str, tuple[Any, Mapping[str, Any]]]) -> None:
    """Raise `DataError` if two runs of one group differ; `runs` holds by name each one's group and what must agree."""
    first: dict[Any, tuple[str, Mapping[str, Any]]] = {}
    for run, (group, fields) in runs.items():
        other, known = first.setdefault(group, (run, fields))
        for name in differences(known, fields):
            raise DataError(
                f"{where}: {other} has {name} {known.get(name)!r}, {run} has {fields.get(name)!r};"
                " runs that are compared must agree in it"
            )


def _with_config(run: Path, config: dict[str, Any]) -> pd.DataFrame:
    if config["query"] in ("all", "random"):
        config = config | {"order_model": None, "order_regime": None}
    table = read_csv(run / "rounds.csv")
    for position, name in enumerate(CONFIG_COLUMNS):
        table.insert(position, name, config.get(name))
    return table


def load_scores(runs: Iterable[RunFolder]) -> list[tuple[dict[str, Any], np.ndarray]]:
    """Return config and scores (rounds, N) of each of `runs` that asked a committee."""
    found = [(run.config(), run.read_array("scores")) for run in runs]
    return [(config, scores) for config, scores in found if len(scores)]


def load_published(name: str) -> pd.DataFrame:
    """Return the table `results/published/<name>.csv`."""
    path = published_dir() / f"{name}.csv"
    if not path.exists():
        known = ", ".join(sorted(file.stem for file in published_dir().glob("*.csv")))
        raise DataError(f"{path}: no such table; published: {known or 'none'}")
    return read_csv(path)


def publish(experiment: str) -> Path:
    """Write the experiment's table and its provenance to `results/published/`; return the table's path."""
    table = load_experiment(experiment)
    versions: list[dict[str, str]] = []
    made = load_records(experiment)
    for record in made.values():  # versions are long: each stands once, and a run has its position
        found = record["provenance"]["versions"]
        versions += [found] if found not in versions else []
        record["provenance"]["versions"] = versions.index(found)
    content = {"experiment": experiment, "versions": versions, "runs": made}
    path = published_dir() / f"{experiment}.csv"
    write_whole(path, table.round(6).to_csv(index=False))
    write_whole(path.with_suffix(".json"), json.dumps(content, indent=1) + "\n")
    return path


def load_records(experiment: str) -> dict[str, dict[str, Any]]:
    """Return by name of each finished run its config, provenance and, of rounds, a digest of their start set."""
    return {run.path.name: _record(run) for run in finished_runs(experiment)}


def _record(run: RunFolder) -> dict[str, Any]:
    record = {"config": read_config(run.path), "provenance": read_json(run.path / "provenance.json")}
    acquired = run.read_table("acquisitions")
    if record["config"]["kind"] == "rounds" and len(acquired):
        start = sorted(acquired.loc[acquired["round"] == 0, "index"].tolist())
        record["start_set"] = hashlib.sha256(json.dumps(start).encode()).hexdigest()[:16]
    return record


def load_published_records(name: str) -> dict[str, dict[str, Any]]:
    """Return what `load_records` gave when `publish` wrote it; start sets are missing in what was published earlier."""
    return read_json(published_dir() / f"{name}.json")["runs"]


def known_experiments() -> list[str]:
    """Return the names of all experiments that have a finished run or a published table."""
    finished = {path.parents[1].name for path in results_dir().glob("*/*/provenance.json")}
    return sorted(finished | {path.stem for path in published_dir().glob("*.json")})
