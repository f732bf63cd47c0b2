"""What goes into the repository: the tables of an experiment that figures and pages are made from."""

import gzip
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import pandas as pd

from alutils.errors import shortened
from alutils.files import write_whole
from alutils.paths import published_dir
from alutils.queries.query import parse_query
from alutils.results.acquired import POINT
from alutils.results.analysis import ENTROPIES, least_and_most_sure, score_histograms
from alutils.results.clips import keys_of
from alutils.results.comparison import check_conditions
from alutils.results.tables import Experiment, check_configs, concatenated, in_order

WITH_SCORES = ("mnist_small",)  # experiments whose scores a published figure shows
WITH_REGIONS = ("nuclei_regions",)  # those of which a figure shows the regions that vote entropy labelled
SHOWN_AT = (0.9, 0.75, 0.5)  # images with more labelled regions than these shares of all images with some


def publish(name: str) -> list[Path]:
    """Write what an experiment's runs gave to `results/published/`; return the paths.

    These are its table, the runs' provenance beside it, what was acquired if the data set is there, the clips of the
    test set if they were counted, the scores of `WITH_SCORES`, some regions of `WITH_REGIONS`, and the maps that
    notebook 05 kept of drawn scenes, which, unlike photos, may be passed on.

    Runs that were published before and are not here any more stay, and a note says so. Raises `DataError`, and writes
    nothing, if they may not be compared with those that are here.
    """
    experiment = Experiment.of_runs(name)
    tables = _Tables.of(experiment)
    notes = experiment.acquired[1]
    before = Experiment.published(name) if (published_dir() / f"{name}.csv").exists() else None
    gone = sorted(before.records.keys() - tables.records.keys()) if before else []
    if before and gone:
        tables = tables.beside(_Tables.of(before), experiment.where)
        which = shortened(", ".join(gone), 200)
        notes = [*notes, f"{len(gone)} published runs are not in {experiment.where} and stay: {which}"]
    for note in notes:
        print(note, file=sys.stderr)  # noqa: T201
    paths = tables.write(name)
    if name in WITH_SCORES and not gone:
        paths += _publish_scores(experiment)
    if name in WITH_REGIONS and not gone:
        paths += _publish_regions(experiment)
    maps = sorted(experiment.where.glob("05_committee_maps-streets*/maps.npz"))
    return paths + [_write(f"{name}-maps.npz", path.read_bytes()) for path in maps]


@dataclass(frozen=True)
class _Tables:
    """What is published of an experiment, each as in `Experiment`."""

    table: pd.DataFrame
    records: dict[str, dict[str, Any]]
    clips: pd.DataFrame
    acquired: pd.DataFrame

    @classmethod
    def of(cls, experiment: Experiment) -> Self:
        return cls(experiment.table, experiment.records, experiment.clips, experiment.acquired[0])

    def beside(self, before: Self, where: Path) -> Self:
        """Return these tables together with the runs that were published before and are not among them.

        Shares of what a query acquired are those of the side that knows more of its seeds. Raises `DataError` if the
        runs may not be compared.
        """
        records = dict(sorted({**before.records, **self.records}.items()))
        both = f"{where} with what is published"
        check_configs(both, {run: record["config"] for run, record in records.items()})
        check_conditions(both, records)
        acquired = concatenated([self.acquired, before.acquired]).sort_values("n", ascending=False, kind="stable")
        return type(self)(
            _together(self.table, before.table),
            records,
            _together(self.clips, before.clips),
            acquired.drop_duplicates(POINT).sort_values(POINT, ignore_index=True),
        )

    def write(self, name: str) -> list[Path]:
        """Write what there is of these tables, in the same order whenever runs were made; return the paths."""
        paths = [_write(f"{name}.csv", in_order(self.table).round(6).to_csv(index=False))]
        versions: list[dict[str, str]] = []
        runs: dict[str, Any] = {}
        for run, record in self.records.items():
            found = record["provenance"]["versions"]
            versions += [found] if found not in versions else []
            runs[run] = record | {"provenance": record["provenance"] | {"versions": versions.index(found)}}
        content = {"experiment": name, "versions": versions, "runs": runs}
        _write(f"{name}.json", json.dumps(content, indent=1) + "\n")
        if len(self.acquired):
            paths.append(_write(f"{name}-acquired.csv", self.acquired.to_csv(index=False)))
        if len(self.clips):
            packed = gzip.compress(in_order(self.clips).to_csv(index=False).encode(), mtime=0)
            paths.append(_write(f"{name}-clips.csv.gz", packed))
        return paths


def _together(rows: pd.DataFrame, before: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of runs, and below them the rows of the other runs that were published before."""
    if not len(rows) or not len(before):
        return rows if len(rows) else before
    return concatenated([rows, before[~keys_of(before).isin(keys_of(rows))]])


def _publish_scores(experiment: Experiment) -> list[Path]:
    """Write histograms of all scores, and the images where the first seed's committees were least and most sure."""
    scored = experiment.scores(ENTROPIES)
    if not scored:
        return []
    seed = min(config["seed"] for config, _ in scored)
    first = [least_and_most_sure(config, scores) for config, scores in scored if config["seed"] == seed]
    return [
        _write(f"{experiment.name}-histograms.csv", score_histograms(scored).to_csv(index=False)),
        _write(f"{experiment.name}-sure.csv", pd.concat(first).round({"score": 6}).to_csv(index=False)),
    ]


def _publish_regions(experiment: Experiment) -> list[Path]:
    """Write which regions vote entropy labelled with its first seed, in images with many and with few of them."""
    of_regions = [run for run in experiment.runs if _labels_regions_by_votes(run.config()["query"])]
    if not of_regions:
        return []
    run = min(of_regions, key=lambda run: run.config()["seed"])
    config, acquired = run.config(), run.acquisitions()
    images = acquired["index"].value_counts(ascending=True).sort_values(kind="stable").index
    shown = [images[int(share * (len(images) - 1))] for share in SHOWN_AT]
    columns = {name: config[name] for name in ("dataset", "height", "width", "query", "seed")}
    rows = acquired.loc[acquired["index"].isin(shown), ["round", "index", "item", "region"]].assign(**columns)
    return [_write(f"{experiment.name}-regions.csv", rows.to_csv(index=False))]


def _labels_regions_by_votes(text: str) -> bool:
    query = None if text == "all" else parse_query(text)
    return query is not None and query.name == "vote_entropy" and query.regions is not None


def _write(name: str, content: str | bytes) -> Path:
    path = published_dir() / name
    write_whole(path, content)
    return path
