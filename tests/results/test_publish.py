"""What is published: tables, their provenance, and what figures show."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import ITEMS, finished_full_run, finished_run

from alutils.datasets import load_dataset
from alutils.errors import DataError
from alutils.paths import ROOT
from alutils.provenance import provenance
from alutils.results.publish import WITH_REGIONS, WITH_SCORES, publish
from alutils.results.tables import Experiment
from alutils.runs.folder import RunFolder
from alutils.runs.schemas import read_csv

pytestmark = pytest.mark.usefixtures("quick_provenance")

(SHOWN,), (MAPPED,) = WITH_SCORES, WITH_REGIONS
SCORES = np.linspace(0, 1, 40, dtype=np.float32)[None]


def of_digits() -> dict[str, Any]:
    """Return what runs of digits have beside their scores, as `finished_run` takes it."""
    digits = load_dataset("digits", "train")
    of_data = {"train_data": digits.fingerprint, "items": digits.item_names}
    return {"dataset": "digits", "model": "mnist_cnn"} | of_data


def test_publishing_takes_tables_histograms_and_the_maps_of_drawn_scenes(published: Path):
    finished_run("random", 0, [0.1, 0.2], experiment=SHOWN)
    finished_run("vote_entropy", 0, [0.1, 0.25], experiment=SHOWN, scores_of_pool=SCORES)
    for dataset in ("streets", "camvid"):
        RunFolder(SHOWN, f"05_committee_maps-{dataset}-m").write_arrays("maps", {"image": np.zeros(3)})
    publish(SHOWN)
    written = sorted(path.name.removeprefix(SHOWN) for path in published.iterdir())
    assert written == ["-histograms.csv", "-maps.npz", "-sure.csv", ".csv", ".json"]
    assert pd.read_csv(published / f"{SHOWN}-histograms.csv")["count"].sum() == 40
    assert len(pd.read_csv(published / f"{SHOWN}-sure.csv")) == 20


def test_an_experiment_may_begin_with_another_seed(published: Path):
    finished_run("vote_entropy", 7, [0.1, 0.25], experiment=SHOWN, scores_of_pool=SCORES)
    publish(SHOWN)
    assert set(pd.read_csv(published / f"{SHOWN}-sure.csv")["seed"]) == {7}


def test_scores_that_no_figure_shows_are_not_published(published: Path):
    finished_run("vote_entropy", 0, [0.1, 0.25], scores_of_pool=SCORES)
    publish("e")
    assert sorted(path.name for path in published.iterdir()) == ["e.csv", "e.json"]


def test_histograms_are_of_entropies_of_images_alone(published: Path):
    for query, shape in {"badge": (1, 40, 3), "bald": (1, 40)}.items():
        scores = np.ones(shape, np.float32)
        finished_run(query, 0, [0.1, 0.25], experiment=SHOWN, scores_of_pool=scores)
    publish(SHOWN)
    assert sorted(path.name for path in published.iterdir()) == [f"{SHOWN}.csv", f"{SHOWN}.json"]


def test_publishing_keeps_what_was_acquired_if_the_data_set_is_there(
    published: Path, capsys: pytest.CaptureFixture[str]
):
    of_data = of_digits()
    finished_run("random", 0, [0.1, 0.2], acquired=[[0, 1], [2, 3]], **of_data)
    finished_run("vote_entropy", 0, [0.1, 0.2], acquired=[[0, 1], [2, 5]], **of_data)
    assert published / "e-acquired.csv" in publish("e")
    assert capsys.readouterr().err == "digits mnist_cnn: near-duplicates are sought among scenes only\n"
    acquired = Experiment.published("e").acquired[0].set_index(["what", "query", "name"])["mean"]
    assert acquired["classes", "random"].sum() == pytest.approx(100)


def test_publishing_keeps_regions_of_the_first_run_in_images_with_many_and_with_few(published: Path):
    query = "vote_entropy+windows8x8"
    size: dict[str, Any] = {"height": 64, "width": 32}
    labelled = [[0] * 9 + [1] * 5, [2] * 3 + [3, 4] * 2 + [0]]  # 10, 5, 3, 2 and 2 regions of images 0 to 4
    for name, seed in ((query, 2), (query, 1), ("random+windows8x8", 0)):
        finished_run(name, seed, [0.1, 0.2], experiment=MAPPED, acquired=labelled, regions=range(22), **size)
    finished_run("vote_entropy", 0, [0.1, 0.2], experiment=MAPPED, **size)
    assert published / f"{MAPPED}-regions.csv" in publish(MAPPED)
    rows = read_csv(published / f"{MAPPED}-regions.csv")
    assert rows["index"].value_counts().to_dict() == {1: 5, 2: 3}, "of five images the last but one and the third"
    of_run = {"dataset": "d", **size, "query": query, "seed": 1}
    assert rows.loc[0].to_dict() == {"round": 0, "index": 1, "item": ITEMS[1], "region": 9} | of_run


def test_publishing_without_the_data_set_says_what_is_missing(published: Path, capsys: pytest.CaptureFixture[str]):
    finished_run("random", 0, [0.1, 0.2], acquired=[[0], [1]])
    publish("e")
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("d m: what was acquired is not known without the data set: ")
    assert sorted(path.name for path in published.iterdir()) == ["e.csv", "e.json"]


def test_publishing_trainings_alone_has_nothing_to_note(published: Path, capsys: pytest.CaptureFixture[str]):
    finished_full_run(0, 0.9)
    publish("e")
    assert capsys.readouterr().err == ""


def test_publishing_keeps_the_numbers_and_says_where_they_come_from(published: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("alutils.runs.folder.provenance", provenance)  # the versions matter here
    finished_run("random", 0, [0.1, 0.123456789], "a")
    path, *_ = publish("e")
    assert Experiment.published("e").table["miou"].tolist() == [0.1, 0.123457]
    content = json.loads(path.with_suffix(".json").read_text())
    assert content["runs"]["a"]["config"]["query"] == "random"
    assert content["runs"]["a"]["provenance"]["seconds"] == 3.5
    assert content["versions"][content["runs"]["a"]["provenance"]["versions"]]["numpy"] == np.__version__
    with pytest.raises(DataError, match="no such table; published: e"):
        Experiment.published("f")


def test_published_records_have_their_versions_or_are_damaged(published: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("alutils.runs.folder.provenance", provenance)
    finished_run("random", 0, [0.1, 0.2], "a")
    path = publish("e")[0].with_suffix(".json")
    assert Experiment.published("e").records["a"]["provenance"]["versions"]["numpy"] == np.__version__
    path.write_text(path.read_text().replace('"versions": 0', '"versions": 1'))
    with pytest.raises(DataError, match=r"/e\.json: damaged "):
        _ = Experiment.published("e").records


CLIPS = pd.DataFrame({"round": [0, 1], "clip": 0, "sequence": "a", "images": 2, "intersection_c": 1, "union_c": 2})


def test_publishing_keeps_published_runs_that_are_not_here_any_more(
    published: Path, capsys: pytest.CaptureFixture[str]
):
    other = of_digits() | {"clips": CLIPS}
    kept = [finished_run("random", seed, [0.1, 0.2], acquired=[[0], [seed]], **other) for seed in (1, 2)]
    again = finished_run("bald", 0, [0.1, 0.2], acquired=[[0], [1]], **other)
    publish("e")
    before = Experiment.published("e")
    old_shares = before.acquired[0].pivot(index="query", columns="name", values="mean")
    old_records = before.records
    for run in (*kept, again):
        shutil.rmtree(run.path)
    finished_run("bald", 0, [0.1, 0.5], acquired=[[0], [4]], **other)
    finished_run("margin", 0, [0.1, 0.3], acquired=[[0], [1]], **other)
    capsys.readouterr()
    publish("e")
    names = [run.path.name for run in kept]
    assert capsys.readouterr().err.splitlines()[-1].endswith(f"/e and stay: {', '.join(names)}")
    now, here = Experiment.published("e"), Experiment.of_runs("e")
    last = now.table[now.table["round"] == 1].set_index(["query", "seed"])["miou"].to_dict()
    assert last == {("bald", 0): 0.5, ("margin", 0): 0.3, ("random", 1): 0.2, ("random", 2): 0.2}
    assert list(now.records) == sorted([*names, *here.records])
    assert {name: now.records[name] for name in names} == {name: old_records[name] for name in names}
    assert now.clips.groupby("query").size().to_dict() == {"bald": 2, "margin": 2, "random": 4}
    shares, new = (one.acquired[0].pivot(index="query", columns="name", values="mean") for one in (now, here))
    assert shares.loc[["random"]].equals(old_shares.loc[["random"]])
    assert shares.loc[["bald", "margin", "pool"]].equals(new)


def test_published_tables_do_not_depend_on_the_order_in_which_their_runs_were_made(published: Path):
    runs = [finished_run(query, seed, [0.1, 0.2], clips=CLIPS) for query in ("random", "bald") for seed in (0, 1)]
    runs.append(finished_full_run(0, 0.9))
    for percent in (20, 40):  # of one order
        labelled: dict[str, Any] = {"labelled": [percent], "labelled_percent": [float(percent)]}
        shared: dict[str, Any] = {"kind": "bulk", "regime": None, "share": percent, "skip": 0.0, "columns": labelled}
        runs.append(finished_run("random", 0, [percent / 100], f"share{percent}", **shared))
    publish("e")
    assert len(Experiment.published("e").table) == 2 * 4 + 1 + 2
    at_once = {path.name: path.read_bytes() for path in published.iterdir()}
    for path in published.iterdir():
        path.unlink()
    for run in runs[::2]:
        run.path.rename(published.parent / run.path.name)
    publish("e")
    for run in runs[::2]:
        (published.parent / run.path.name).rename(run.path)
    for run in runs[1::2]:
        shutil.rmtree(run.path)
    publish("e")
    assert {path.name: path.read_bytes() for path in published.iterdir()} == at_once


def test_publishing_refuses_runs_that_published_ones_may_not_be_compared_with(published: Path):
    run = finished_run("random", 0, [0.1, 0.2], learning_rate=0.1)
    publish("e")
    before = {path.name: path.read_bytes() for path in published.iterdir()}
    shutil.rmtree(run.path)
    finished_run("bald", 0, [0.1, 0.2], learning_rate=0.2)
    refused = r"/results/e with what is published: bald-0 has learning_rate 0.2, random-0 has 0.1; "
    with pytest.raises(DataError, match=refused):
        publish("e")
    assert {path.name: path.read_bytes() for path in published.iterdir()} == before


@pytest.mark.parametrize("path", sorted((ROOT / "results" / "published").glob("*.json")), ids=lambda path: path.stem)
def test_published_runs_name_clean_commits_of_this_history(path: Path):
    records = json.loads(path.read_text())["runs"].values()
    code = [commit for record in records for commit in record["provenance"]["code"]]
    assert all(commit["clean"] for commit in code)
    assert len({commit["commit"] for commit in code}) <= 2, "the runs of a table are of one commit, or of two"
    git = ["git", "-C", str(ROOT)]
    if (
        subprocess.run([*git, "rev-parse", "--is-shallow-repository"], capture_output=True, text=True).stdout
        != "false\n"
    ):
        pytest.skip("not a whole history of git")
    for commit in {commit["commit"] for commit in code}:
        assert subprocess.run([*git, "merge-base", "--is-ancestor", commit, "HEAD"]).returncode == 0, commit
