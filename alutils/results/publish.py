"""What goes into the repository: the tables of an experiment that figures and pages are made from."""

import gzip
import json
import sys
from pathlib import Path
from typing import Any

import pandas as pd

from alutils.files import write_whole
from alutils.paths import published_dir
from alutils.queries.query import parse_query
from alutils.results.analysis import ENTROPIES, least_and_most_sure, score_histograms
from alutils.results.tables import Experiment

WITH_SCORES = ("mnist_small",)  # experiments whose scores a published figure shows
WITH_REGIONS = ("nuclei_regions",)  # those of which a figure shows the regions that vote entropy labelled
SHOWN_AT = (0.9, 0.75, 0.5)  # images with more labelled regions than these shares of all images with some


def publish(name: str) -> list[Path]:
    """Write what an experiment's runs gave to `results/published/`; return the paths.

    These are its table, the runs' provenance beside it, what was acquired if the data set is there, the clips of the
    test set if they were counted, the scores of `WITH_SCORES`, some regions of `WITH_REGIONS`, and the maps that
    notebook 05 kept of drawn scenes, which, unlike photos, may be passed on.
    """
    experiment = Experiment.of_runs(name)
    paths = [_publish_table(experiment)]
    acquired, notes = experiment.acquired
    for note in notes:
        print(note, file=sys.stderr)  # noqa: T201
    if len(acquired):
        paths.append(_write(f"{name}-acquired.csv", acquired.to_csv(index=False)))
    if len(experiment.clips):
        content = experiment.clips.to_csv(index=False).encode()
        paths.append(_write(f"{name}-clips.csv.gz", gzip.compress(content, mtime=0)))
    if name in WITH_SCORES:
        paths += _publish_scores(experiment)
    if name in WITH_REGIONS:
        paths += _publish_regions(experiment)
    maps = sorted(experiment.where.glob("05_committee_maps-streets*/maps.npz"))
    return paths + [_write(f"{name}-maps.npz", path.read_bytes()) for path in maps]


def _publish_table(experiment: Experiment) -> Path:
    versions: list[dict[str, str]] = []
    runs: dict[str, Any] = {}
    for name, record in experiment.records.items():  # versions are long: each stands once, and a run has its position
        found = record["provenance"]["versions"]
        versions += [found] if found not in versions else []
        runs[name] = record | {"provenance": record["provenance"] | {"versions": versions.index(found)}}
    content = {"experiment": experiment.name, "versions": versions, "runs": runs}
    path = _write(f"{experiment.name}.csv", experiment.table.round(6).to_csv(index=False))
    _write(f"{experiment.name}.json", json.dumps(content, indent=1) + "\n")
    return path


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
