"""What was acquired: class shares by hand, and near-duplicates."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from conftest import finished_full_run, finished_run
from PIL import Image

from alutils.datasets import load_dataset
from alutils.results.acquired import class_factors, near_duplicate_shares, of_setting
from alutils.results.publish import publish
from alutils.results.tables import Experiment

pytestmark = pytest.mark.usefixtures("quick_provenance")

VOID = 255
# Of four classes the last occurs nowhere; one is named like a missing value, one like a number.
CLASSES = {"road": [0, 0, 0], "NA": [90, 90, 90], "1": [200, 50, 0], "never": [255, 255, 255]}


def scene_folder(root: Path, images: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
    """Write a data set of images (N, H, W, 3) and labels (N, H, W); return what its runs' configs say."""
    for folder, pixels in {"images": images, "labels": labels}.items():
        (root / folder).mkdir(parents=True)
        for number, of_item in enumerate(pixels.astype(np.uint8)):
            Image.fromarray(of_item).save(root / folder / f"{number:03}.png")
    splits = {"train": {"images": "images", "labels": "labels"}}
    description = {"name": "yard", "classes": CLASSES, "ignore": [VOID], "splits": splits}
    (root / "yard.yaml").write_text(yaml.safe_dump(description, sort_keys=False))
    return of_data(str(root / "yard.yaml"), *labels.shape[1:])


def of_data(dataset: str, height: int | None = None, width: int | None = None) -> dict[str, Any]:
    fingerprint = load_dataset(dataset, "train", height, width).fingerprint
    return {"dataset": dataset, "height": height, "width": width, "train_data": fingerprint}


def noise(count: int) -> np.ndarray:
    """Return images that are all different."""
    return np.random.default_rng(0).integers(20, 200, (count, 16, 32, 3))


def plain_scenes(root: Path, count: int) -> dict[str, Any]:
    """Write scenes whose content does not matter."""
    return scene_folder(root, noise(count), np.zeros((count, 16, 32)))


def acquire(query: str, seed: int, batches: Sequence[Sequence[int]], config: dict[str, Any]) -> None:
    finished_run(query, seed, [0.1] * len(batches), acquired=batches, **config)


def means(acquired: pd.DataFrame, what: str) -> dict[tuple[str, str], float]:
    """Return the means by query and name."""
    rows = acquired[acquired["what"] == what]
    return dict(zip(zip(rows["query"], rows["name"], strict=True), rows["mean"], strict=True))


# Class shares


@pytest.fixture
def labelled_scenes(tmp_path: Path) -> dict[str, Any]:
    """Return the config of four scenes of four pixels: 7 of road, 5 of NA, 1 of "1", 3 void."""
    labels = [[[0, 0], [0, 0]], [[0, 0], [1, 1]], [[1, 1], [1, 0]], [[2, VOID], [VOID, VOID]]]
    return scene_folder(tmp_path / "yard", noise(4)[:, :2, :2], np.array(labels))


def test_class_shares_are_of_the_labelled_pixels_beyond_the_start(labelled_scenes: dict[str, Any]):
    acquire("entropy", 0, [[0], [1], [3]], labelled_scenes)  # 2 road, 2 NA, 1 of "1"
    acquire("entropy", 1, [[0], [2, 1]], labelled_scenes)  # 3 road, 5 NA
    acquired, notes = Experiment.of_runs("e").acquired
    assert notes == []
    shares = means(acquired, "classes")
    assert [shares["entropy", name] for name in CLASSES] == pytest.approx([38.75, 51.25, 10, 0])
    assert [shares["pool", name] for name in CLASSES] == pytest.approx([700 / 13, 500 / 13, 100 / 13, 0])
    of_road = acquired[(acquired["query"] == "entropy") & (acquired["name"] == "road")].iloc[0]
    assert of_road["n"] == 2
    assert of_road["sd"] == pytest.approx(2 * 1.25 / 2**0.5)  # of 40 and 37.5


def test_class_factors_are_shares_over_those_of_the_pool_the_rare_last(labelled_scenes: dict[str, Any]):
    acquire("entropy", 0, [[0], [1], [3]], labelled_scenes)
    factors = class_factors(Experiment.of_runs("e").acquired[0])
    assert list(factors.columns) == ["road", "NA", "1"], "what the pool has none of is left out"
    assert list(factors.index) == ["entropy"]
    assert factors.to_numpy()[0].tolist() == pytest.approx([0.4 / (7 / 13), 0.4 / (5 / 13), 0.2 * 13])


def test_shares_of_digits_are_of_images():
    digits = load_dataset("digits", "train")
    threes = np.flatnonzero(digits.labels == 3)[:3].tolist()
    eight = int(np.flatnonzero(digits.labels == 8)[0])
    acquire("margin", 0, [[5], [*threes, eight]], of_data("digits") | {"items": digits.item_names})
    acquired, notes = Experiment.of_runs("e").acquired
    shares = means(acquired, "classes")
    assert (shares["margin", "3"], shares["margin", "8"], shares["margin", "0"]) == (75, 25, 0)
    assert shares["pool", "3"] == pytest.approx(100 * (digits.labels == 3).mean(), abs=1e-6)
    assert notes == ["digits m: near-duplicates are sought among scenes only"]
    assert set(acquired["what"]) == {"classes"}


# Near-duplicates


A, A2, B, B2, C, D = range(6)  # A and A2 show one view, B and B2 another


@pytest.fixture
def views(tmp_path: Path) -> dict[str, Any]:
    """Return the config of six scenes, two of them shown twice."""
    a, b, c, d = noise(4)
    return scene_folder(tmp_path / "yard", np.stack([a, a + 9, b, b + 9, c, d]), np.zeros((6, 16, 32)))


@pytest.mark.parametrize(
    ("batches", "percent"),
    [
        ([[C], [A], [A2]], 50),  # labelled later, A2 does not make A repeated
        ([[C], [A2], [A]], 50),
        ([[A], [A2, B]], 50),  # its neighbour was in the start set
        ([[C], [A, A2, D]], 200 / 3),  # of one batch both repeat each other
        ([[C], [A, B], [D]], 0),  # their neighbours are never labelled
        ([[A, A2], [B, D]], 0),  # the start set was not chosen by the query
        ([[C], [A, D], [A2, B, B2]], 60),
    ],
)
def test_near_duplicates_are_counted_where_a_neighbour_is_labelled_before_or_with_an_image(
    batches: list[list[int]], percent: float, views: dict[str, Any]
):
    acquire("margin", 0, batches, views)
    acquired, notes = Experiment.of_runs("e").acquired
    assert means(acquired, "near_duplicates") == {("margin", "images"): pytest.approx(percent, abs=1e-6)}
    assert notes == []


def test_near_duplicates_of_several_seeds_have_an_interval(views: dict[str, Any]):
    for seed, batches in enumerate([[[C], [A, D]], [[C], [A, A2]], [[A], [A2, D]]]):
        acquire("margin", seed, batches, views)
    found = near_duplicate_shares(Experiment.of_runs("e").acquired[0]).loc["margin"]
    assert (found["mean"], found["sd"], found["n"]) == (50, 50, 3)  # 0, 100, 50
    assert found["high"] - found["mean"] == pytest.approx(4.302653 * 50 / 3**0.5, abs=1e-3)
    assert found["mean"] - found["low"] == pytest.approx(found["high"] - found["mean"])


# What is left out, and what is published


def test_regions_are_left_out_with_a_note(views: dict[str, Any]):
    acquire("random", 0, [[C], [A, D]], views)
    finished_run("margin_regions", 0, [0.1, 0.2], acquired=[[C], [A, A2]], regions=[-1, 3, 4], **views)
    acquired, (note,) = Experiment.of_runs("e").acquired
    assert note == f"{views['dataset']} m: margin_regions labels regions, not images, and is left out"
    assert set(acquired["query"]) == {"pool", "random"}
    assert means(acquired, "near_duplicates") == {("random", "images"): 0}


def test_other_data_than_the_runs_were_made_with_give_a_note_and_no_rows(views: dict[str, Any]):
    acquire("random", 0, [[C], [A, D]], views | {"train_data": "0" * 64})
    acquired, (note,) = Experiment.of_runs("e").acquired
    assert acquired.empty
    assert note == (
        f"{views['dataset']} m: what was acquired is not known without the data set: the data are not those that the"
        " runs were made with"
    )


def test_the_data_are_read_at_the_runs_size(views: dict[str, Any]):
    acquire("random", 0, [[C], [A, D]], of_data(views["dataset"], 8, 16))
    acquired, notes = Experiment.of_runs("e").acquired
    assert notes == []
    assert len(acquired)


def test_a_data_set_that_is_not_there_gives_a_note_and_no_rows(views: dict[str, Any]):
    acquire("random", 0, [[C], [A, D]], views)
    Path(views["dataset"]).unlink()
    acquired, (note,) = Experiment.of_runs("e").acquired
    assert acquired.empty
    assert "what was acquired is not known without the data set: " in note


def test_trainings_on_orders_are_no_rounds(views: dict[str, Any]):
    finished_full_run(0, 0.5, acquired=[[A, B]], **views)
    acquired, notes = Experiment.of_runs("e").acquired
    assert acquired.empty
    assert notes == []


def test_each_setting_has_rows_of_its_own(views: dict[str, Any]):
    for model, batch in {"small": [A, D], "large": [A, A2]}.items():
        finished_run("random", 0, [0.1, 0.2], model, acquired=[[C], batch], model=model, **views)
    acquired, _ = Experiment.of_runs("e").acquired
    for model, percent in {"small": 0, "large": 100}.items():
        rows = pd.DataFrame({"dataset": [views["dataset"]], "model": model, "regime": "from_scratch"})
        of_one = of_setting(acquired, rows)
        assert means(of_one, "near_duplicates") == {("random", "images"): percent}
        assert set(of_one["model"]) == {model}


def test_what_is_published_is_read_as_it_was(published: Path, results: Path, labelled_scenes: dict[str, Any]):
    acquire("entropy", 0, [[0], [1], [3]], labelled_scenes)
    acquire("entropy", 1, [[0], [2, 1]], labelled_scenes)
    acquire("random", 0, [[0], [1, 2]], labelled_scenes)
    acquired, _ = Experiment.of_runs("e").acquired
    assert published / "e-acquired.csv" in publish("e")
    pd.testing.assert_frame_equal(Experiment.published("e").acquired[0], acquired, check_exact=True)
    results.rename(results.with_name("elsewhere"))
    without_runs, notes = Experiment.find("e").acquired
    pd.testing.assert_frame_equal(without_runs, acquired, check_exact=True)
    assert notes == []


def test_runs_come_before_what_is_published(published: Path, views: dict[str, Any]):
    acquire("random", 0, [[C], [A, D]], views)
    publish("e")
    acquire("margin", 0, [[C], [A, A2]], views)
    assert "margin" in set(Experiment.find("e").acquired[0]["query"])
    assert "margin" not in set(Experiment.published("e").acquired[0]["query"])


def test_what_is_not_published_is_a_note(published: Path):
    message = (
        f"{published}/e-acquired.csv: no such table; what was acquired is published with runs and their data set only"
    )
    finished_full_run(0, 0.5)
    publish("e")
    acquired, notes = Experiment.published("e").acquired
    assert acquired.empty
    assert {"what", "query", "name", "mean"} <= set(acquired.columns)
    assert notes == [message]
