"""Photographs as a pool: encoded once, whatever is labelled later; labels at the network's size."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from alutils.datasets import features
from alutils.errors import DataError
from alutils.labelling.photos import default_size, read_photos

LABEL = np.repeat(np.repeat(np.array([[0, 1], [1, 255]], np.uint8), 24, 0), 32, 1)  # 48x64


@pytest.fixture
def yard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the description of three photographs, of which one lies on its side and none has a label."""
    monkeypatch.setenv("ALUTILS_CACHE", str(tmp_path / "cache"))
    for folder in ("photos", "labels"):
        (tmp_path / folder).mkdir()
    for seed, name in enumerate(["a.jpg", "b.png", "c.jpg"]):
        pixels = np.random.default_rng(seed).integers(0, 256, (48, 64, 3), np.uint8)
        turned = Image.Exif()
        if name == "c.jpg":
            turned[274] = 6
        Image.fromarray(pixels).save(tmp_path / "photos" / name, exif=turned)
    content = {"name": "yard", "classes": {"grass": [0, 255, 0], "path": [90, 90, 90]}}
    splits = {"train": {"images": "photos", "labels": "labels"}}
    path = tmp_path / "yard.yaml"
    path.write_text(yaml.safe_dump(content | {"splits": splits}, sort_keys=False))
    return path


def label(yard: Path, name: str, pixels: np.ndarray = LABEL) -> None:
    Image.fromarray(pixels).save(yard.parent / "labels" / f"{name}.png")


def test_all_photographs_are_there_and_labels_where_they_are(yard: Path):
    label(yard, "b")
    photos = read_photos(yard)
    assert photos.dataset.images.shape == (3, 3, 48, 64)
    assert photos.sizes == [(64, 48), (64, 48), (48, 64)], "the last one as one sees it"
    assert (photos.labelled.tolist(), photos.unlabelled.tolist()) == ([1], [0, 2])
    assert np.array_equal(photos.dataset.labels[1], LABEL)
    assert (photos.dataset.labels[[0, 2]] == 255).all()
    small = read_photos(yard, size=(24, 32)).dataset
    assert np.array_equal(small.labels[1], LABEL[::2, ::2])


def test_photographs_are_encoded_once_whatever_is_labelled_later(yard: Path, monkeypatch: pytest.MonkeyPatch):
    before = read_photos(yard)
    monkeypatch.setattr(features, "_build", None)  # nothing is left to encode
    label(yard, "a")
    after = read_photos(yard)
    assert before.dataset.features
    assert after.dataset.features
    for one, other in zip(before.dataset.features.levels, after.dataset.features.levels, strict=True):
        assert np.array_equal(one, other)
    assert after.labelled.tolist() == [0]


def test_a_label_of_another_size_is_one_line(yard: Path):
    label(yard, "c")
    with pytest.raises(
        DataError, match=r"c\.png: size \(64, 48\), but its image, turned as its EXIF says, has \(48, 64\)"
    ):
        read_photos(yard)


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ([(480, 360)], (360, 480)),
        ([(4000, 3000)] * 3 + [(3000, 4000)], (360, 480)),
        ([(3000, 4000)], (480, 360)),
        ([(1920, 1080)], (312, 552)),
        ([(64, 48), (4000, 3000)], (48, 64)),
        ([(5, 5)], (8, 8)),
    ],
)
def test_the_size_for_the_network_has_the_proportions_of_most(sizes: Any, expected: tuple[int, int]):
    assert default_size(sizes) == expected
