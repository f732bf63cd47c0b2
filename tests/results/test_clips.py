"""Clips of the test set: scores of sequences, gains if other clips had been filmed; published and read again."""

import gzip
import shutil
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import finished_run

from alutils.errors import DataError
from alutils.results.clips import clip_intervals, keys_of, mean_ious, with_sequences
from alutils.results.comparison import Comparison, comparisons_of
from alutils.results.comparison_text import sequence_table
from alutils.results.publish import publish
from alutils.results.tables import Experiment
from alutils.runs.folder import RunFolder
from alutils.training.metrics import class_iou

pytestmark = pytest.mark.usefixtures("quick_provenance")

CLIPS, CLASSES = 9, ["road", "car", "bus"]
SEQUENCES = ["a", "a", "b", "b", "b", "b", "b", "b", "b"]


def confusions(query: str, seed: int, rounds: int) -> np.ndarray:
    """Return confusion matrices (rounds, CLIPS, 3, 3); the last class is neither labelled nor predicted."""
    generator = np.random.default_rng([seed, len(query)])
    found = generator.integers(5, 40, (rounds, CLIPS, 3, 3))
    better = (20 + 10 * (query != "random")) * np.arange(rounds)[:, None]
    found[..., 0, 0] += better
    found[..., 1, 1] += better
    found[..., 2, :] = found[..., :, 2] = 0
    found[:, 3] = 0  # a clip of void
    return found


def counts_of(matrices: np.ndarray) -> np.ndarray:
    right = np.diagonal(matrices, axis1=-2, axis2=-1)
    return np.concatenate([right, matrices.sum(axis=-1) + matrices.sum(axis=-2) - right], axis=-1)


def finish(query: str, seed: int, rounds: int = 3, classes: Sequence[str] = CLASSES, **config: Any) -> RunFolder:
    """Write a finished run that counted its clips."""
    matrices = confusions(query, seed, rounds)
    scores = [float(np.nanmean(class_iou(torch.tensor(of_round.sum(axis=0))))) for of_round in matrices]
    columns = [f"{what}_{name}" for what in ("intersection", "union") for name in classes]
    clips = pd.concat(
        [
            pd.DataFrame(counts_of(of_round), columns=columns).assign(
                round=number, clip=range(CLIPS), sequence=SEQUENCES, images=20
            )
            for number, of_round in enumerate(matrices)
        ]
    )
    clips = clips[["round", "clip", "sequence", "images", *columns]]
    name = "-".join([*map(str, config.values()), query, str(seed)])
    return finished_run(query, seed, scores, name, clips=clips, **config)


def compared() -> Comparison:
    for seed in range(3):
        for query in ("random", "vote_entropy"):
            finish(query, seed)
    return comparisons_of(Experiment.find("e"))[0]


def test_mean_iou_of_counts_leaves_out_what_is_nowhere():
    matrices = confusions("random", 0, 2)
    found = mean_ious(counts_of(matrices))
    assert np.isnan(found[:, 3]).all(), "there is nothing but void"
    rest = [0, 1, 2, *range(4, CLIPS)]
    expected = [[float(np.nanmean(class_iou(torch.tensor(one)))) for one in of_round[rest]] for of_round in matrices]
    np.testing.assert_allclose(found[:, rest], expected)


def test_each_sequence_has_the_score_of_its_images():
    comparison = compared()
    scores, names = with_sequences(comparison.rows, comparison.clips)
    assert names == ["on a", "on b"]
    assert len(scores) == len(comparison.rows)
    row = scores[(scores["query"] == "vote_entropy") & (scores["seed"] == 2) & (scores["round"] == 1)].iloc[0]
    of_round = confusions("vote_entropy", 2, 3)[1]
    for name, chosen in (("on a", slice(0, 2)), ("on b", slice(2, CLIPS))):
        assert row[name] == pytest.approx(np.nanmean(class_iou(torch.tensor(of_round[chosen].sum(axis=0)))))


def test_gains_of_sequences_are_areas_without_the_start():
    comparison = compared()
    gains = comparison.sequence_gains.set_index("sequence")
    scores = with_sequences(comparison.rows, comparison.clips)[0].pivot(
        index="seed", columns=["query", "round"], values="on a"
    )
    by_hand = [(scores["vote_entropy"] - scores["random"])[number].to_numpy() for number in (1, 2)]
    by_seed = np.mean(by_hand, axis=0)
    assert gains.loc["on a", "mean"] == pytest.approx(by_seed.mean())
    assert gains.loc["on a", "sd"] == pytest.approx(by_seed.std(ddof=1))


def test_an_interval_over_clips_is_that_of_a_plain_bootstrap():
    comparison = compared()
    matrices = {(q, s): confusions(q, s, 3) for q in ("random", "vote_entropy") for s in range(3)}
    generator, found = np.random.default_rng(5), []
    for _ in range(1000):
        drawn = generator.integers(CLIPS, size=CLIPS)
        areas = {
            key: np.mean([np.nanmean(class_iou(torch.tensor(of_round[drawn].sum(axis=0)))) for of_round in rounds[1:]])
            for key, rounds in matrices.items()
        }
        found.append(np.mean([areas["vote_entropy", seed] - areas["random", seed] for seed in range(3)]))
    low, high = comparison.clip_intervals.loc["vote_entropy"].astype(float)
    expected = np.quantile(found, [0.025, 0.975])
    assert [low, high] == pytest.approx(expected, abs=0.15 * (expected[1] - expected[0]))
    assert low < comparison.by_query["gain"]["vote_entropy"] < high


def test_only_seeds_that_both_queries_have_count():
    clips = compared().clips
    few = clips[(clips["query"] == "random") | (clips["seed"] < 2)]
    without_the_third = clips[clips["seed"] < 2]
    pd.testing.assert_frame_equal(clip_intervals(few, "random"), clip_intervals(without_the_third, "random"))
    assert clip_intervals(clips[clips["query"] != "random"], "random").empty


def test_the_table_has_a_gain_a_sequence():
    table = sequence_table(compared())
    assert list(table) == ["gain [95 %] over seeds", "[95 %] over clips", "on a", "on b"]
    assert list(table.index) == ["vote_entropy"]
    assert table.iloc[0].str.contains("[", regex=False).all()
    assert table["[95 %] over clips"].str.startswith("[+").all()


def test_data_sets_with_other_classes_are_told_apart_as_published_too(results: Path, published: Path):
    other = ["road", "tram", "bus"]
    for query, seed in product(("random", "vote_entropy"), range(2)):
        finish(query, seed)
        finish(query, seed, dataset="f", classes=other)
    of_runs = comparisons_of(Experiment.find("e"))
    publish("e")
    shutil.rmtree(results)
    for one in (*of_runs, *comparisons_of(Experiment.published("e"))):
        scores, names = with_sequences(one.rows, one.clips)
        assert len(scores) == len(one.rows)
        of_round = confusions("random", 1, 3)[2, :2]
        row = scores[(scores["query"] == "random") & (scores["seed"] == 1) & (scores["round"] == 2)]
        assert names == ["on a", "on b"]
        assert row["on a"].item() == pytest.approx(np.nanmean(class_iou(torch.tensor(of_round.sum(axis=0)))))
        assert (one.clip_intervals.abs() < 1).all(axis=None)


def test_trainings_that_differ_in_steps_are_told_apart():
    for steps in (5, 6):
        finish("all", 0, rounds=1, kind="bulk", regime=None, share=100.0, skip=0.0, steps=steps)
    experiment = Experiment.find("e")
    assert keys_of(experiment.clips).nunique() == 2


def test_of_few_clips_no_interval_is_given():
    clips = compared().clips
    assert len(clip_intervals(clips[clips["clip"] < 8], "random")) == 1
    assert clip_intervals(clips[clips["clip"] < 7], "random").empty


def test_without_clips_or_sequences_nothing_is_said():
    finished_run("random", 0, [0.1, 0.2])
    finished_run("vote_entropy", 0, [0.1, 0.3])
    (comparison,) = comparisons_of(Experiment.find("e"))
    assert comparison.clip_intervals.empty
    assert comparison.sequence_gains.empty
    assert sequence_table(comparison).empty


def test_published_clips_are_those_of_the_runs_and_damage_is_one_line(results: Path, published: Path):
    of_runs = compared()
    paths = publish("e")
    assert published / "e-clips.csv.gz" in paths
    shutil.rmtree(results)
    (read,) = comparisons_of(Experiment.published("e"))
    pd.testing.assert_frame_equal(read.clip_intervals, of_runs.clip_intervals, atol=1e-6)
    pd.testing.assert_frame_equal(read.sequence_gains, of_runs.sequence_gains, atol=1e-6, check_dtype=False)
    path = published / "e-clips.csv.gz"
    whole = path.read_bytes()
    for damaged in (whole[:-9], b"no gzip", gzip.compress(b"round,clip\n0,1\n")):
        path.write_bytes(damaged)
        with pytest.raises(DataError, match=r"e-clips.csv.gz: damaged \("):
            comparisons_of(Experiment.published("e"))
