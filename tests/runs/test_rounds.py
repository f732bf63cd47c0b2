"""Rounds of active learning, end to end on a data set of twelve scenes: pairing, resuming, refusals."""

import errno
import itertools
import json
import math
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import fields, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import BULK, DIGITS, ROUNDS, SECONDS, stopped, tables

from alutils.datasets import ImageDataset, load_dataset
from alutils.errors import DataError, ParameterError
from alutils.queries.committee import Committee
from alutils.queries.embeddings import Candidates
from alutils.queries.query import parse_query
from alutils.queries.regions import Pieces
from alutils.queries.selections import SELECTIONS
from alutils.runs import data, networks, rounds
from alutils.runs.bulk import run_bulk
from alutils.runs.config import REGIMES, RoundsConfig
from alutils.runs.data import load_split, load_test_set
from alutils.runs.folder import RunFolder
from alutils.runs.rounds import run_rounds
from alutils.training.loop import Trainer

pytestmark = pytest.mark.usefixtures("tiny_everywhere")


@pytest.fixture(autouse=True)
def _nothing_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let each run make its first round itself; `test_first_round` tests how they share it."""
    monkeypatch.setattr(networks, "shared", lambda path, make, take_over: make())
    monkeypatch.setattr("alutils.datasets.base.CLIP", 5)  # three clips of twelve scenes


def test_a_run_labels_more_each_round_and_saves_what_the_architecture_says():
    table = run_rounds(ROUNDS)
    assert table["labelled"].tolist() == [3, 6, 9]
    assert table["labelled_percent"].tolist() == [25, 50, 75]
    assert {"round", "miou", "accuracy", "iou_a", "iou_b", "iou_c", *SECONDS} <= set(table)
    run = RunFolder("e", "tiny-unet_small-consensus_entropy-seed0")
    acquired = run.acquisitions()
    assert list(acquired) == ["round", "rank", "index", "item", "score", "pixels", "clicks"]
    assert acquired["index"].is_unique
    assert acquired["round"].value_counts().to_dict() == {0: 3, 1: 3, 2: 3}
    assert acquired["item"].tolist() == [f"scene{index:02d}" for index in acquired["index"]]
    provenance = json.loads((run.path / "provenance.json").read_text())
    said = {
        "versions",
        "code",
        "device",
        "threads",
        "bfloat16",
        "seconds",
        "peak_memory",
        "data",
        "finished",
        "checksums",
    }
    assert provenance.keys() - {"peak_gpu_memory"} == said
    assert provenance["data"] == {"train_data": "f" * 64, "test_data": "f" * 64}
    assert not (run.path / "checkpoint.pt").exists()


def test_a_size_that_does_not_suit_the_network_is_a_warning(capfd: pytest.CaptureFixture[str]):
    run_rounds(replace(ROUNDS, query="random", rounds=1))
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith("warning: height x width is 24 x 32; unet_small works at best with multiples of 16")


@pytest.mark.slow
def test_all_queries_of_a_seed_start_from_the_same_images_weights_and_score():
    firsts = {}
    for query in ("random", "consensus_entropy", "vote_entropy"):
        config = replace(ROUNDS, query=query, rounds=2)
        row = run_rounds(config).iloc[0]
        acquired = RunFolder("e", config.run_name).acquisitions()
        firsts[query] = (acquired.loc[acquired["round"] == 0, "index"].tolist(), row["miou"])
    assert len({str(first) for first in firsts.values()}) == 1
    other = run_rounds(replace(ROUNDS, query="random", seed=1, rounds=1))
    assert other["miou"].item() != firsts["random"][1]


@pytest.mark.slow
def test_the_same_parameters_give_the_same_numbers():
    run_rounds(ROUNDS)
    first = tables(ROUNDS)
    again = replace(ROUNDS, experiment="again")
    run_rounds(again)
    assert tables(again) == first


def test_a_finished_run_is_only_read(monkeypatch: pytest.MonkeyPatch):
    first = run_rounds(ROUNDS)
    monkeypatch.setattr(Trainer, "train", None)
    pd.testing.assert_frame_equal(run_rounds(ROUNDS), first)


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [
        *({"regime": regime} for regime in REGIMES),
        {"query": "vote_entropy+ensemble2+mixture0.4-0.3-0.3", "regime": "incremental"},
        {"query": "bald+balanced+power1+windows2x3", "start_query": "core_set"},
        {"query": "bald+dropout0.3+perimage1+windows2x3", "start_query": "random+windows2x3"},
        *({"model": "frozen_small", "regime": regime} for regime in REGIMES),
        {"model": "frozen_linear", "query": "vote_entropy+ensemble2", "regime": "incremental"},
    ],
    ids=str,
)
@pytest.mark.usefixtures("fake_encoder")
def test_a_run_stopped_at_any_save_ends_with_the_same_tables(changes: dict[str, str], monkeypatch: pytest.MonkeyPatch):
    undisturbed = replace(ROUNDS, experiment="undisturbed", **changes)  # type: ignore[arg-type]
    run_rounds(undisturbed)
    monkeypatch.setattr(networks, "SAVE_EVERY", 0.0)
    for survives in (3, 5, 6, 7, 12):
        config = replace(undisturbed, experiment=f"stopped{survives}")
        assert stopped(config, survives)
        run_rounds(config)
        assert tables(config) == tables(undisturbed)
        assert not list(RunFolder(config.experiment, config.run_name).path.glob("*checkpoint*"))


def spied_training(monkeypatch: pytest.MonkeyPatch) -> list[list[int]]:
    """Return a list that will hold the images of each training."""
    seen: list[list[int]] = []

    def spy(trainer: Trainer, dataset: ImageDataset, indices: np.ndarray, **options: Any) -> None:
        seen.append(indices.tolist())
        train(trainer, dataset, indices, **options)

    train = Trainer.train
    monkeypatch.setattr(Trainer, "train", spy)
    return seen


@pytest.mark.slow
def test_new_data_only_trains_on_the_newest_images(monkeypatch: pytest.MonkeyPatch):
    seen = spied_training(monkeypatch)
    config = replace(ROUNDS, regime="new_data_only")
    table = run_rounds(config)
    acquired = RunFolder("e", config.run_name).acquisitions().groupby("round")["index"].apply(sorted)
    assert seen == acquired.tolist()
    assert table["labelled"].tolist() == [3, 6, 9]
    seen.clear()
    run_rounds(replace(ROUNDS, regime="incremental"))
    assert [len(indices) for indices in seen] == [3, 6, 9]


@pytest.mark.slow
def test_one_shot_ranks_the_pool_once(monkeypatch: pytest.MonkeyPatch):
    config = replace(ROUNDS, regime="one_shot", rounds=4)
    table = run_rounds(config)
    assert (table["seconds_query"] > 0.001).tolist() == [True, False, False, False]
    run = RunFolder("e", config.run_name)
    acquired = run.acquisitions()
    (scores,) = run.scores()
    assert acquired["round"].tolist() == [0] * 3 + [1] * 3 + [2] * 3 + [3] * 3
    later = acquired[acquired["round"] > 0]
    assert later["score"].is_monotonic_decreasing
    np.testing.assert_allclose(scores[later["index"]], later["score"], rtol=1e-6)
    first = RunFolder("e", ROUNDS.run_name)
    run_rounds(ROUNDS)
    pd.testing.assert_frame_equal(first.acquisitions()[:6], acquired[:6])


@pytest.mark.slow
def test_a_selection_is_told_which_images_are_labelled_by_then(monkeypatch: pytest.MonkeyPatch):
    seen, core_set = list[tuple[list[int], list[int]]](), SELECTIONS["core_set"]

    def spy(scores: np.ndarray, k: int, generator: np.random.Generator, candidates: Candidates) -> np.ndarray:
        seen.append((candidates.labelled.tolist(), candidates.unlabelled.tolist()))
        return core_set(scores, k, generator, candidates)

    monkeypatch.setitem(SELECTIONS, "core_set", spy)
    config = replace(ROUNDS, query="core_set", epochs=1)
    run_rounds(config)
    acquired = RunFolder("e", config.run_name).acquisitions()
    by_then = [set(acquired.loc[acquired["round"] <= number, "index"]) for number in range(2)]
    assert seen == [(sorted(labelled), sorted(set(range(12)) - labelled)) for labelled in by_then]


def test_regions_may_be_drawn_for_the_first_batch_and_are_the_same_for_every_query():
    starts = set()
    for query in ("random+windows2x4", "bald+windows2x4", "margin+balanced+perimage1+windows2x4"):
        config = replace(ROUNDS, query=query, start_query="random+windows2x4", rounds=2)
        table = run_rounds(config)
        acquired = RunFolder("e", config.run_name).acquisitions()
        first = acquired[acquired["round"] == 0]
        assert len(first) == 24, "3 images are 24 windows"
        assert first["index"].nunique() > 3
        assert table["labelled_pixels"].tolist() == [3 * 24 * 32, 6 * 24 * 32]
        starts.add((tuple(zip(first["index"], first["region"], strict=True)), table["miou"][0]))
        if "perimage" in query:
            assert acquired[acquired["round"] == 1].groupby("index").size().max() <= 2, "24 windows of 12 images"
    assert len(starts) == 1


def test_the_clips_of_a_round_sum_to_its_score():
    for table, run in (
        (run_rounds(ROUNDS), RunFolder("e", ROUNDS.run_name)),
        (run_bulk(BULK), RunFolder("e", BULK.run_name)),
    ):
        clips = run.clips()
        assert clips["images"].tolist() == [4, 4, 4] * len(table)
        totals = clips.groupby("round").sum(numeric_only=True)
        intersections, unions = totals.filter(like="intersection_"), totals.filter(like="union_")
        ious = intersections.to_numpy() / unions.to_numpy()
        np.testing.assert_allclose(ious, table.filter(regex="^iou_"), equal_nan=True)
        np.testing.assert_allclose(np.nanmean(ious, axis=1), table["miou"])


def test_a_run_whose_test_set_is_divided_anew_is_not_continued(monkeypatch: pytest.MonkeyPatch):
    stopped_in_round(1, ROUNDS, monkeypatch)
    monkeypatch.setattr("alutils.datasets.base.CLIP", 6)
    with pytest.raises(DataError, match=r"clips\.csv divides the test set in another way than"):
        run_rounds(ROUNDS)


def test_clips_of_some_rounds_only_are_none(monkeypatch: pytest.MonkeyPatch):
    """As in a run that a version without clips began."""
    with monkeypatch.context() as without:
        without.setattr(rounds, "clip_rows", lambda *_: [])
        run = stopped_in_round(1, ROUNDS, without)
    assert len(run_rounds(ROUNDS)) == 3
    assert set(pd.read_csv(run.path / "clips.csv")["round"]) == {1, 2}
    assert run.clips().empty


def test_a_query_may_say_the_dropout_of_its_committee(monkeypatch: pytest.MonkeyPatch):
    asked = []
    monkeypatch.setattr(rounds, "score_images", lambda query, committee, dataset, images, *_: asked.append(committee))
    for query in ("vote_entropy", "vote_entropy+dropout0.25", "margin+dropout0.9", "margin", "bald+ensemble2"):
        with suppress(AttributeError):  # nothing was scored
            run_rounds(replace(ROUNDS, query=query))
    members = ROUNDS.committee_members
    rates = [(ROUNDS.committee_dropout, members), (0.25, members), (0.9, members), (0.0, 1), (0.0, 1)]
    assert [(committee.dropout, committee.members) for committee in asked] == rates


def test_budgets_are_labelled_in_place_of_equal_steps():
    config = replace(ROUNDS, query="random", budgets=[2, 3, 7], unit="images", start=9.0, step=9.0, rounds=9)
    assert (config.rounds, config.start) == (3, 2.0)
    assert run_rounds(config)["labelled"].tolist() == [2, 3, 7]
    in_percent = replace(ROUNDS, budgets=[25.0, 50, 100])
    assert in_percent.labelled_by_round(12) == [3, 6, 12]
    for wrong in ([], [0, 1], [2, 2], [3, 2], ["a"], [True, 2], [1, math.nan], [1, math.inf]):
        with pytest.raises(
            ParameterError, match=r"^budgets are \[.*\]; allowed: ascending numbers above 0, one a round$"
        ):
            replace(ROUNDS, budgets=wrong)  # type: ignore[arg-type]
    with pytest.raises(ParameterError, match=r"^the last of budgets is 101 percent; allowed: 0 to 100 percent$"):
        replace(ROUNDS, budgets=[1, 101])


@pytest.mark.parametrize(
    ("start", "message"),
    [
        ("random+windows2x2", "allowed for query vote_entropy+windows2x3: random, random+windows2x3"),
        ("random+power1", "allowed for query vote_entropy+windows2x3: random, random+windows2x3"),
        ("randm", "start_query is 'randm'; did you mean random?"),
    ],
)
def test_a_start_of_other_regions_is_refused(start: str, message: str):
    with pytest.raises(ParameterError, match=re.escape(message)):
        replace(ROUNDS, query="vote_entropy+windows2x3", start_query=start)


def test_the_first_batch_may_be_chosen_and_is_the_same_for_every_query():
    starts: dict[str, list[str]] = {}
    for start, query in product(("random", "typiclust", "core_set", "strided_random"), ("random", "bald")):
        config = replace(ROUNDS, query=query, start_query=start, rounds=1)
        run_rounds(config)
        table = RunFolder("e", config.run_name).acquisitions()
        starts.setdefault(start, []).append(str(table["index"].tolist()))
    assert all(one == other for one, other in starts.values())
    assert len({one for one, _ in starts.values()}) > 1
    with pytest.raises(
        ParameterError, match="start_query is 'bald', which asks a committee; allowed: random, strided_random, core_set"
    ):
        run_rounds(replace(ROUNDS, start_query="bald"))


@pytest.mark.slow
@pytest.mark.parametrize("query", ["random+windows2x3", "bald+windows2x3", "margin+top0.5+superpixels6"])
def test_regions_fill_the_same_budget_and_the_rest_is_not_trained_on(query: str, monkeypatch: pytest.MonkeyPatch):
    seen: list[np.ndarray] = []

    def spy(trainer: Trainer, dataset: ImageDataset, *rest: Any, **named: Any) -> None:
        seen.append(dataset.labels.copy())
        train(trainer, dataset, *rest, **named)

    train = Trainer.train
    monkeypatch.setattr(Trainer, "train", spy)
    config = replace(ROUNDS, query=query)
    table = run_rounds(config)
    whole = 24 * 32
    assert table["labelled"].tolist() == [3, 6, 9]
    assert table["labelled_pixels"].is_monotonic_increasing
    room = [images * whole - pixels for images, pixels in zip([3, 6, 9], table["labelled_pixels"], strict=True)]
    largest = Pieces(load_split(config, "train"), parse_query(query).regions).sizes.max()
    assert all(0 <= left < largest for left in room)
    acquired = RunFolder("e", config.run_name).acquisitions()
    assert acquired.groupby("round")["pixels"].sum().cumsum().tolist() == table["labelled_pixels"].tolist()
    assert acquired.groupby("round")["clicks"].sum().cumsum().tolist() == table["clicks"].tolist()
    assert (acquired["region"] == -1).sum() == 3, "whole images to start with"
    assert not acquired.duplicated(["index", "region"]).any()
    assert acquired.loc[acquired["round"] > 0, "index"].nunique() > 3, "regions of more images than that"
    full = load_split(config, "train").labels
    for labels, pixels in zip(seen, table["labelled_pixels"], strict=True):
        assert ((labels == full) | (labels == 255)).all()
        assert 0.6 * pixels < (labels != 255).sum() <= pixels, "of what is labelled, some is void"


@pytest.mark.slow
def test_balanced_scores_look_at_labels_that_are_there_only(tiny_scenes: ImageDataset, monkeypatch: pytest.MonkeyPatch):
    config = replace(ROUNDS, query="consensus_entropy+balanced", rounds=2)
    run_rounds(config)
    acquired = RunFolder("e", config.run_name).acquisitions()
    labels = tiny_scenes.labels.copy()
    labels[~np.isin(np.arange(12), acquired.loc[acquired["round"] == 0, "index"])] = 0
    changed = replace(tiny_scenes, labels=labels, split="train")
    sets = {"train": changed, "test": load_test_set(config)}
    monkeypatch.setattr(data, "load_dataset", lambda name, split, *size, **labels: sets[split])
    other = replace(config, experiment="changed")
    run_rounds(other)
    columns = ["round", "index", "score"]
    again = RunFolder("changed", other.run_name).acquisitions()
    pd.testing.assert_frame_equal(again[columns], acquired[columns])
    plain = replace(config, query="consensus_entropy")
    run_rounds(plain)
    assert RunFolder("e", plain.run_name).acquisitions()["score"].tolist() != acquired["score"].tolist()


@pytest.mark.slow
def test_the_scores_of_every_round_are_kept():
    run_rounds(ROUNDS)
    run = RunFolder("e", ROUNDS.run_name)
    scores, acquired = run.scores(), run.acquisitions()
    assert scores.shape == (2, 12)
    for round_number, of_round in enumerate(scores):
        labelled = acquired.loc[acquired["round"] <= round_number, "index"]
        assert np.flatnonzero(np.isnan(of_round)).tolist() == sorted(labelled)
        next_ones = acquired[acquired["round"] == round_number + 1]
        np.testing.assert_allclose(of_round[next_ones["index"]], next_ones["score"], rtol=1e-6)
        assert next_ones["score"].min() >= np.nanmax(np.delete(of_round, next_ones["index"])) - 1e-6
    run_rounds(replace(ROUNDS, query="random"))
    assert not (RunFolder("e", replace(ROUNDS, query="random").run_name).path / "scores.npy").exists()


def test_the_last_round_may_be_longer_and_the_rate_falls_over_all_epochs():
    config = replace(ROUNDS, regime="incremental", epochs=5, last_epochs=10, rounds=3)
    decays = [config.schedule(number)[1] for number in range(3)]
    np.testing.assert_allclose(decays, [(1, 0.75), (0.75, 0.5), (0.5, 0)])
    assert [config.of_round(number).epochs for number in range(3)] == [5, 5, 10]


@pytest.mark.slow
def test_an_ensemble_is_several_networks_that_are_asked_together(monkeypatch: pytest.MonkeyPatch):
    seen: list[tuple[int, Committee]] = []

    def spy(query: Any, committee: Committee, *others: Any) -> Any:
        weights = {torch.cat([p.flatten() for p in model.parameters()]).sum().item() for model in committee.networks}
        seen.append((len(weights), committee))
        return score_images(query, committee, *others)

    score_images = rounds.score_images
    monkeypatch.setattr(rounds, "score_images", spy)
    trained = spied_training(monkeypatch)
    table = run_rounds(replace(ROUNDS, query="vote_entropy+ensemble3"))
    assert [(number, committee.members, committee.dropout) for number, committee in seen] == [(3, 1, 0.0)] * 2
    assert len(trained) == 9
    assert trained[0] == trained[1] == trained[2]
    plain = run_rounds(replace(ROUNDS, query="vote_entropy"))
    assert plain["miou"][0] == table["miou"][0], "the first network of an ensemble is the one without"


@pytest.mark.slow
def test_every_query_can_be_mixed_and_random_cannot_be_an_ensemble():
    for query in ("random", "vote_entropy"):
        config = replace(ROUNDS, query=f"{query}+mixture0.34-0.33-0.33")
        run_rounds(config)
        assert RunFolder("e", config.run_name).acquisitions()["index"].is_unique
    with pytest.raises(ParameterError, match=r"random has no score for ensemble2 to change; allowed: mixture, power"):
        run_rounds(replace(ROUNDS, query="random+ensemble2"))
    with pytest.raises(ParameterError, match=r"shares of mixture sum to 0.9; allowed: 1"):
        run_rounds(replace(ROUNDS, query="random+mixture0.3-0.3-0.3"))


@pytest.mark.slow
def test_incremental_training_goes_on_with_the_same_network(monkeypatch: pytest.MonkeyPatch):
    seen: list[tuple[torch.Tensor, torch.Tensor, tuple[float, float]]] = []

    def spy(trainer: Trainer, *arguments: Any, **options: Any) -> None:
        before = torch.cat([p.detach().flatten().clone() for p in trainer.network.parameters()])
        train(trainer, *arguments, **options)
        after = torch.cat([p.detach().flatten().clone() for p in trainer.network.parameters()])
        seen.append((before, after, options["decay"]))

    train = Trainer.train
    monkeypatch.setattr(Trainer, "train", spy)
    run_rounds(replace(ROUNDS, regime="incremental"))
    assert torch.equal(seen[0][1], seen[1][0])
    assert torch.equal(seen[1][1], seen[2][0])
    np.testing.assert_allclose(np.array([d for *_, d in seen]), [(1, 2 / 3), (2 / 3, 1 / 3), (1 / 3, 0)])
    seen.clear()
    run_rounds(replace(ROUNDS, experiment="scratch"))
    assert not torch.equal(seen[0][1], seen[1][0])
    assert [decay for *_, decay in seen] == [(1, 0)] * 3


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"query": "anarchy"}, "query is 'anarchy'; allowed: random, strided_random, consensus_entropy, vote_entropy"),
        ({"model": "unet"}, "model is 'unet'; allowed: mnist_cnn"),
        ({"model": "mnist_cnn"}, "model for tiny is 'mnist_cnn'; allowed: unet_small, deeplabv3_small, frozen_linear"),
        ({"regime": "x"}, "regime is 'x'; allowed: from_scratch, incremental"),
        ({"unit": "pixels"}, "unit is 'pixels'; allowed: percent, images"),
        ({"start": 100.0, "step": 20.0, "rounds": 2}, "start 100 + 1 x step 20 is 120 percent; allowed: 0 to 100"),
        ({"unit": "images", "start": 10, "step": 5}, "start 10 + 2 x step 5 is 20 images; allowed: 1 to 12"),
        ({"start": 0.0}, "start is 0, step is 25; allowed: more than 0"),
        (
            {"start": 20.0, "step": 1.0},
            "of 12 images; allowed: at least one more each round",
        ),
        ({"rounds": 0}, "rounds is 0; allowed: 1 to 10000"),
        ({"seed": -1}, "seed is -1; allowed: 0 to"),
        ({"batch_size": 1}, "batch_size is 1; allowed: 2 to"),
        ({"batch_size": 10**6}, "batch_size is 1000000 training images; allowed: 2 to 12 training images"),
        ({"learning_rate": 0.0}, "learning_rate is 0; allowed"),
        ({"precision": "float16"}, "precision is 'float16'; did you mean bfloat16? allowed: auto, float32, bfloat16"),
        ({"committee_members": 0}, "committee_members is 0; allowed: 1 to 1000"),
        ({"committee_dropout": 1.0}, "committee_dropout is 1; allowed: 0 to 0.99"),
        ({"weights": "imagenet"}, "weights is 'imagenet'; unet_small has none to load"),
        ({"experiment": "../elsewhere"}, "no name for an experiment"),
    ],
)
def test_impossible_parameters_are_one_line_before_anything_is_saved(
    changes: dict[str, Any], message: str, results: Path
):
    with pytest.raises(ParameterError) as caught:
        run_rounds(replace(ROUNDS, **changes))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not list(results.glob("*"))


@pytest.mark.slow
def test_a_run_of_another_recipe_is_kept_apart_and_comes_back(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], results: Path
):
    run_rounds(ROUNDS)
    before = tables(ROUNDS)
    changed = replace(ROUNDS, learning_rate=0.02)
    run_rounds(changed)
    assert "had learning_rate 0.01, now 0.02; the old run is kept as" in capsys.readouterr().out
    after = tables(changed)
    assert after != before
    (kept,) = (results / "e" / "superseded").iterdir()
    assert (kept / "acquisitions.csv").read_text() == before[1]
    monkeypatch.setattr(Trainer, "train", None)
    run_rounds(ROUNDS)
    assert tables(ROUNDS) == before
    run_rounds(changed)
    assert tables(changed) == after


@pytest.mark.slow
def test_a_kill_while_a_run_is_moved_back_loses_nothing(monkeypatch: pytest.MonkeyPatch):
    run_rounds(ROUNDS)
    before = tables(ROUNDS)
    run_rounds(replace(ROUNDS, learning_rate=0.02))
    moves = [2]

    def stopped(file: Path, target: Path, move: Any = Path.replace) -> Path:
        if ".part" not in file.name and moves[0] == 0:
            raise KeyboardInterrupt
        moves[0] -= ".part" not in file.name
        return move(file, target)

    with monkeypatch.context() as stopping:
        stopping.setattr(Path, "replace", stopped)
        with pytest.raises(KeyboardInterrupt):
            run_rounds(ROUNDS)
    monkeypatch.setattr(Trainer, "train", None)
    run_rounds(ROUNDS)
    assert tables(ROUNDS) == before


@pytest.mark.slow
def test_a_run_of_other_data_is_not_mixed_in(tiny_scenes: ImageDataset, monkeypatch: pytest.MonkeyPatch, results: Path):
    run_rounds(ROUNDS)
    changed = replace(tiny_scenes, fingerprint="0" * 64)
    monkeypatch.setattr(data, "load_dataset", lambda *_, **labels: changed)
    run_rounds(ROUNDS)
    assert len(list((results / "e" / "superseded").iterdir())) == 1


@pytest.mark.slow
def test_a_full_disk_at_any_write_loses_nothing(monkeypatch: pytest.MonkeyPatch, results: Path):
    """The disk is full at one write, whichever; when there is room again, the run goes on."""
    undisturbed = replace(ROUNDS, experiment="undisturbed")
    run_rounds(undisturbed)
    expected, whole = tables(undisturbed), RunFolder("undisturbed", ROUNDS.run_name)
    monkeypatch.setattr(networks, "SAVE_EVERY", 0.0)
    for survives in itertools.count():
        config = replace(ROUNDS, experiment=f"full{survives}")
        run = RunFolder(config.experiment, config.run_name)
        with monkeypatch.context() as disk:
            disk.setattr(os, "fsync", full_after(survives))
            said = error_of(config)
        if not said:
            break  # there were not so many writes
        assert "cannot be written: No space left on device" in said
        assert str(run.path) in said
        assert not list(results.glob("**/.*.part")), "no half-written file takes up the room"
        assert without_seconds(run) == without_seconds(whole)[: len(run.rounds())]
        acquired = run.acquisitions().to_csv(header=False)
        assert whole.acquisitions().to_csv(header=False).startswith(acquired if len(run.rounds()) else "")
        assert run.scores().tobytes() == whole.scores()[: len(run.scores())].tobytes()
        run_rounds(config)
        assert tables(config) == expected
    assert survives > 20


def full_after(writes: int) -> Any:
    """Return an `fsync` that fails, after so many, as on a full disk."""
    left = [writes]

    def fsync(descriptor: int) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    return fsync


def error_of(config: RoundsConfig) -> str:
    try:
        run_rounds(config)
    except OSError as error:
        return str(error)
    return ""


def without_seconds(run: RunFolder) -> list[Any]:
    return run.rounds().drop(columns=SECONDS, errors="ignore").to_dict("records")


def stopped_in_round(number: int, config: RoundsConfig, monkeypatch: pytest.MonkeyPatch) -> RunFolder:
    """Return a run that was stopped when it had trained in round `number`, from 0."""

    def save(run: RunFolder, rounds: pd.DataFrame, *others: Any, **more: Any) -> None:
        if len(rounds) > number:
            raise KeyboardInterrupt
        save_rounds(run, rounds, *others, **more)

    save_rounds = RunFolder.save_rounds
    with monkeypatch.context() as stopping:
        stopping.setattr(RunFolder, "save_rounds", save)
        with pytest.raises(KeyboardInterrupt):
            run_rounds(config)
    return RunFolder(config.experiment, config.run_name)


@pytest.mark.parametrize(
    ("name", "damage", "message"),
    [
        ("rounds.csv", lambda text: text[:-3], "its last line is cut off"),
        ("rounds.csv", lambda text: text.replace("\n0,", "\nx,"), "round of row 1 is x; allowed: whole numbers from 0"),
        ("acquisitions.csv", lambda text: text[:-3], "it is not what the run had saved"),
        ("config.json", lambda text: text[:20], "it is not the config of what the run finished"),
        ("checkpoint.pt", lambda text: "torn", "checkpoint.pt: damaged"),
    ],
)
def test_a_damaged_run_folder_is_one_line_and_left_as_it_is(
    name: str, damage: Any, message: str, monkeypatch: pytest.MonkeyPatch
):
    folder = stopped_in_round(2, ROUNDS, monkeypatch).path
    path = folder / name
    path.write_text(damage(path.read_text() if path.suffix != ".pt" else ""))
    before = {file: file.read_bytes() for file in folder.iterdir()}
    with pytest.raises(DataError) as caught:
        run_rounds(ROUNDS)
    assert message in str(caught.value)
    assert str(folder) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert {file: file.read_bytes() for file in folder.iterdir()} == before


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("item", "scene99", "acquisitions name scene99 at index"),
        ("index", 12, "; tiny train has nothing, with 12 images"),
        ("region", 7, "has no region 7"),
    ],
)
def test_acquisitions_that_the_data_set_does_not_have_are_one_line(
    column: str, value: Any, message: str, monkeypatch: pytest.MonkeyPatch
):
    """Saved by a version that kept no checksums, as if the data set had been another then."""
    config = replace(ROUNDS, query="random+windows2x3", rounds=2)
    run_rounds(config)
    run = RunFolder("e", config.run_name)
    table = run.acquisitions()
    table.loc[len(table) - 1, column] = value
    (run.path / "acquisitions.csv").write_text(table.to_csv(index=False))
    forget_checksums(run)
    with pytest.raises(DataError) as caught:
        run_rounds(config)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("scores", "message"),
    [
        (np.zeros((1, 12), np.float32), "scores.npy has the shape (1, 12); allowed: (2, 12)"),
        (np.zeros((2, 11), np.float32), "scores.npy has the shape (2, 11); allowed: (2, 12)"),
    ],
)
def test_scores_that_are_not_of_the_pool_are_one_line(scores: np.ndarray, message: str):
    run_rounds(ROUNDS)
    run = RunFolder("e", ROUNDS.run_name)
    np.save(run.path / "scores.npy", scores)
    forget_checksums(run)
    with pytest.raises(DataError) as caught:
        run_rounds(ROUNDS)
    assert message in str(caught.value)


def forget_checksums(run: RunFolder) -> None:
    """Leave a finished run as earlier versions left it."""
    path = run.path / "provenance.json"
    path.write_text(json.dumps({name: x for name, x in json.loads(path.read_text()).items() if name != "checksums"}))


@pytest.mark.slow
@pytest.mark.parametrize("regime", ["from_scratch", "one_shot"])
def test_earlier_rounds_beside_a_later_checkpoint_give_the_same_numbers(regime: str, monkeypatch: pytest.MonkeyPatch):
    config, undisturbed = replace(ROUNDS, regime=regime), replace(ROUNDS, regime=regime, experiment="undisturbed")
    run_rounds(undisturbed)
    monkeypatch.setattr(networks, "SAVE_EVERY", 0.0)
    earlier = (stopped_in_round(1, config, monkeypatch).path / "rounds.csv").read_bytes()
    run = stopped_in_round(2, config, monkeypatch)
    assert len(run.rounds()) == 2
    (run.path / "rounds.csv").write_bytes(earlier)
    run_rounds(config)
    assert tables(config) == tables(undisturbed)


@pytest.mark.parametrize("regime", ["incremental", "new_data_only"])
def test_a_network_that_is_trained_further_must_be_the_one_of_the_round_before(
    regime: str, monkeypatch: pytest.MonkeyPatch
):
    config = replace(ROUNDS, regime=regime)
    run = stopped_in_round(1, config, monkeypatch)
    earlier = {name: (run.path / name).read_bytes() for name in ("rounds.csv", "checkpoint.pt")}
    stopped_in_round(2, config, monkeypatch)
    later = (run.path / "checkpoint.pt").read_bytes()
    message = r"checkpoint.pt: damaged \(it is not the network of round 0, which is trained further in round 1\)"
    (run.path / "rounds.csv").write_bytes(earlier["rounds.csv"])
    for checkpoint in (later, None):
        (run.path / "checkpoint.pt").unlink()
        if checkpoint:
            (run.path / "checkpoint.pt").write_bytes(checkpoint)
        with pytest.raises(DataError, match=message):
            run_rounds(config)
    (run.path / "checkpoint.pt").write_bytes(earlier["checkpoint.pt"])
    run_rounds(config)
    run_rounds(replace(config, experiment="undisturbed"))
    assert tables(config) == tables(replace(config, experiment="undisturbed"))


@pytest.mark.slow
@pytest.mark.parametrize("change", [{"seed": 1}, {"learning_rate": 0.02}, {"query": "vote_entropy+ensemble2"}], ids=str)
def test_a_checkpoint_of_another_run_is_not_used(change: dict[str, Any], monkeypatch: pytest.MonkeyPatch):
    """Of another run, or of the other network of an ensemble; both trained as far as this one."""
    config = replace(ROUNDS, query="vote_entropy", regime="incremental")
    run_rounds(replace(config, experiment="undisturbed"))
    run, other = (
        stopped_in_round(1, of, monkeypatch).path for of in (config, replace(config, experiment="o", **change))
    )
    name = "checkpoint1.pt" if "query" in change else "checkpoint.pt"
    (run / "checkpoint.pt").write_bytes((other / name).read_bytes())
    with pytest.raises(DataError, match=r"checkpoint.pt: damaged"):
        run_rounds(config)


@pytest.mark.slow
@pytest.mark.parametrize("regime", REGIMES)
@pytest.mark.parametrize("query", ["entropy+superpixels20", "entropy+windows4x4"])
def test_a_batch_without_a_labelled_pixel_is_no_reason_to_stop(
    query: str, regime: str, tiny_scenes: ImageDataset, monkeypatch: pytest.MonkeyPatch
):
    """Most of each scene is void, and so are most regions; a batch of two may have no others."""
    labels = tiny_scenes.labels.copy()
    labels[:, :, 8:] = 255
    mostly_void = replace(tiny_scenes, labels=labels)
    monkeypatch.setattr(data, "load_dataset", lambda name, split, *size, **labels: replace(mostly_void, split=split))
    config = replace(ROUNDS, query=query, regime=regime, unit="images", start=2, step=1, epochs=6)
    void: list[bool] = []

    def spy(trainer: Trainer, images: torch.Tensor, targets: torch.Tensor, *others: Any) -> torch.Tensor:
        void.append(bool((targets == 255).all()))
        return step(trainer, images, targets, *others)

    step = Trainer.step
    monkeypatch.setattr(Trainer, "step", spy)
    for seed in range(5):
        assert run_rounds(replace(config, seed=seed))["labelled"].tolist() == [2, 3, 4]
        if any(void):
            return
    pytest.fail("no batch was void")


@pytest.mark.parametrize(("split", "count"), [("train", 3), ("test", 12)])
def test_labels_that_are_all_void_are_noticed_before_training(
    split: str, count: int, tiny_scenes: ImageDataset, monkeypatch: pytest.MonkeyPatch
):
    void = np.full_like(tiny_scenes.labels, 255)
    sets = {"train": tiny_scenes, "test": replace(tiny_scenes, split="test")}
    sets[split] = replace(sets[split], labels=void)
    monkeypatch.setattr(data, "load_dataset", lambda name, split, *size, **labels: sets[split])
    monkeypatch.setattr(Trainer, "train", None)
    with pytest.raises(DataError, match=f"tiny {split}: the labels of all {count} images are void"):
        run_rounds(ROUNDS)


PROCESS = """
import json, sys
from alutils.runs.config import RoundsConfig
from alutils.runs.rounds import run_rounds
run_rounds(RoundsConfig(**json.loads(sys.argv[1])))
"""


def test_digits_are_not_augmented(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(data, "load_dataset", load_dataset)
    with pytest.raises(ParameterError, match=r"^augmentation for digits is 'flip'; allowed: none$"):
        run_rounds(replace(ROUNDS, dataset="digits", height=None, width=None, model="mnist_cnn"))


@pytest.mark.slow
def test_a_process_killed_at_random_moments_ends_with_the_same_tables(results: Path, monkeypatch: pytest.MonkeyPatch):
    """The real thing: SIGKILL, on digits that need no file."""
    config = replace(DIGITS, rounds=3, epochs=3)
    undisturbed = replace(config, experiment="undisturbed")
    started = time.monotonic()
    assert start(undisturbed).wait() == 0
    seconds = time.monotonic() - started
    monkeypatch.setenv("ALUTILS_CACHE", str(results / "without-a-first-round"))
    generator = np.random.default_rng(0)
    for _ in range(2):
        process = start(config)
        time.sleep(generator.uniform(0.5, 1) * seconds)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert start(config).wait() == 0
    assert tables(config) == tables(undisturbed)


def start(config: RoundsConfig, then: str = "") -> "subprocess.Popen[bytes]":
    parameters = json.dumps({field.name: getattr(config, field.name) for field in fields(config)})
    return subprocess.Popen([sys.executable, "-c", PROCESS + then, parameters])


def test_a_run_does_not_load_the_compiler_of_torch():
    """That takes seconds, and nothing is compiled."""
    assert start(DIGITS, "sys.exit('torch._dynamo' in sys.modules)").wait() == 0


def test_a_query_has_one_text_in_a_config():
    config = replace(ROUNDS, query="bald+power1.0+top0.10")
    assert config.query == replace(BULK, query="bald+power1+top0.1").query == "bald+top0.1+power1"
    assert config.run_name == "tiny-unet_small-bald+top0.1+power1-seed0"
    assert replace(BULK, query=config.query).order_run_name == config.run_name


@pytest.mark.parametrize(
    ("config", "changes", "message"),
    [
        (ROUNDS, {"query": "bold"}, "query is 'bold'; did you mean bald?"),
        (ROUNDS, {"query": "all"}, "query is 'all'"),
        (
            ROUNDS,
            {"start_query": "core_sets"},
            "'core_sets'; did you mean core_set? allowed: random, strided_random, core_set",
        ),
        (BULK, {"query": "bald+tpo0.1"}, "'tpo0.1' is no modifier; did you mean top0.1?"),
    ],
)
def test_a_misspelt_query_is_refused_before_anything_is_loaded(config: Any, changes: dict[str, str], message: str):
    with pytest.raises(ParameterError) as caught:
        replace(config, **changes)
    assert message in str(caught.value)


@pytest.mark.slow
def test_a_run_of_a_file_of_ones_own_keeps_the_files_digest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    content = (
        "def mine(mean_probability, vote_share):\n    return vote_share.amax(dim=1) - mean_probability.amax(dim=1)\n"
    )
    Path("my_scores.py").write_text(content)
    config = replace(ROUNDS, query="my_scores.py:mine+sum+power1", rounds=2)
    assert config.run_name == "tiny-unet_small-my_scores.mine+sum+power1-seed0"
    run = RunFolder("e", config.run_name)
    digests = []
    for text in (content, "# another\n" + content):
        Path("my_scores.py").write_text(text)
        assert len(run_rounds(config)) == 2
        digests.append(run.config()["query_digest"])
    assert digests[0] != digests[1]
    assert len([*(run.path.parent / "superseded").iterdir()]) == 1, "the run of the file as it was is kept"
    run_rounds(replace(ROUNDS, query="random", rounds=1))
    assert "query_digest" not in RunFolder("e", replace(ROUNDS, query="random").run_name).config()
