import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torchvision import datasets

from alutils.datasets import ImageDataset, load_dataset
from alutils.datasets.cityscapes import scene_files
from alutils.errors import DataError, ParameterError

# Cityscapes' label ids by training class, as in the published table; every other id is void.
TRAINED_IDS = [7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33]
NAMES = [
    *("road", "sidewalk", "building", "wall", "fence", "pole", "traffic light", "traffic sign", "vegetation"),
    *("terrain", "sky", "person", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle"),
]
ALL_IDS = np.arange(34, dtype=np.uint8).reshape(2, 17)
SCENES = [("ulm", "ulm_000001_000019"), ("ulm", "ulm_000000_000019"), ("bern", "bern_000002_000019")]


def scene_paths(root: Path, split: str, city: str, stem: str) -> tuple[Path, Path]:
    image = root / "leftImg8bit" / split / city / f"{stem}_leftImg8bit.png"
    return image, root / "gtFine" / split / city / f"{stem}_gtFine_labelIds.png"


def write_scene(root: Path, split: str, city: str, stem: str, shade: int = 0) -> None:
    for path, pixels in zip(
        scene_paths(root, split, city, stem), (np.full((2, 17, 3), shade, np.uint8), ALL_IDS), strict=True
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder in Cityscapes' layout: three training scenes in two cities, one to test on."""
    monkeypatch.setenv("ALUTILS_DATA", str(tmp_path))
    monkeypatch.setenv("ALUTILS_CACHE", str(tmp_path / "cache"))
    for shade, (city, stem) in enumerate(SCENES):
        write_scene(tmp_path / "cityscapes", "train", city, stem, shade)
    write_scene(tmp_path / "cityscapes", "val", "aarau", "aarau_000000_000019")
    return tmp_path / "cityscapes"


def load(split: str) -> ImageDataset:
    return load_dataset("cityscapes", split)


def test_label_ids_become_training_classes() -> None:
    expected = np.full(34, 255)
    expected[TRAINED_IDS] = np.arange(19)
    assert (expected[7], expected[33], expected[1]) == (0, 18, 255)  # road, bicycle, ego vehicle
    assert np.array_equal(load("train").labels[0].ravel(), expected)


def test_classes_and_colours() -> None:
    dataset = load("train")
    assert dataset.num_classes == 19
    assert dataset.class_names == NAMES
    assert dataset.colours[0] == (128, 64, 128)
    assert dataset.colours[18] == (119, 11, 32)


def test_files_classes_and_colours_are_torchvisions(root: Path) -> None:
    theirs = datasets.Cityscapes(root, "train", mode="fine", target_type="semantic")
    ours = scene_files("cityscapes", root, "train")
    assert sorted(map(str, ours.images)) == sorted(theirs.images)
    assert sorted(map(str, ours.labels)) == sorted(label for (label,) in theirs.targets)
    trained = sorted((c for c in theirs.classes if 0 <= c.train_id < 255), key=lambda c: c.train_id)
    assert ours.class_names == [c.name for c in trained]
    assert ours.colours == [c.color for c in trained]
    expected = np.full(256, -1)
    expected[[c.id for c in theirs.classes]] = [c.train_id % 256 for c in theirs.classes]
    assert np.array_equal(ours.meaning.of_value, np.where(expected == 254, 255, expected))


def test_scenes_come_in_the_order_of_their_names_with_their_images() -> None:
    dataset = load("train")
    assert dataset.item_names == ["bern_000002_000019", "ulm_000000_000019", "ulm_000001_000019"]
    assert dataset.images[:, 0, 0, 0].tolist() == [2, 1, 0]


def test_test_reads_val() -> None:
    assert load("test").item_names == load("val").item_names == ["aarau_000000_000019"]


def test_another_split_is_refused() -> None:
    with pytest.raises(
        ParameterError, match=r"^split is 'train_extra'; did you mean train\? allowed: train, val, test$"
    ):
        load("train_extra")


def test_a_missing_root_is_one_line(root: Path) -> None:
    root.rename(root.with_name("elsewhere"))
    with pytest.raises(DataError, match=rf"^{re.escape(str(root))}: no Cityscapes there.*leftImg8bit/train.*$"):
        load("train")


def test_a_missing_label_file_is_one_line(root: Path) -> None:
    label = scene_paths(root, "train", *SCENES[0])[1]
    label.unlink()
    with pytest.raises(DataError, match=rf"^{re.escape(str(label))}: missing.*$"):
        load("train")


def test_an_empty_split_is_one_line(root: Path) -> None:
    for path in scene_paths(root, "val", "aarau", "aarau_000000_000019"):
        path.unlink()
    with pytest.raises(DataError, match=rf"^{re.escape(str(root))}/leftImg8bit/val: empty split.*$"):
        load("test")


def test_an_unknown_label_id_is_one_line(root: Path) -> None:
    label = scene_paths(root, "train", *SCENES[0])[1]
    Image.fromarray(np.where(ALL_IDS == 33, 40, ALL_IDS).astype(np.uint8)).save(label)
    with pytest.raises(DataError, match=rf"^{re.escape(str(label))}: label value 40 is .*$"):
        load("train")


def test_hidden_files_are_ignored(root: Path) -> None:
    image, label = scene_paths(root, "train", *SCENES[0])
    for path in (image, label):
        path.with_name(f"._{path.name}").write_bytes(b"what macOS leaves")
    assert len(load("train")) == 3


@pytest.mark.parametrize("stem", ["ulm\n", "ulm\r", "ulm\udcff"])
def test_a_name_that_would_break_a_table_is_one_line(stem: str, root: Path) -> None:
    write_scene(root, "train", "ulm", stem)
    with pytest.raises(DataError, match=r"/train/ulm: the file name 'ulm\\.*_leftImg8bit.png' holds .*; allowed: "):
        load("train")


def test_scenes_of_one_name_in_two_cities_are_one_line(root: Path) -> None:
    write_scene(root, "train", "bern", SCENES[0][1])
    first, second = (scene_paths(root, "train", city, SCENES[0][1])[0] for city in ("bern", "ulm"))
    with pytest.raises(
        DataError, match=rf"^{second}: its item has the same name as that of ../bern/{first.name}; allowed: unique"
    ):
        load("train")


def test_a_city_that_cannot_be_listed_is_not_left_out(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse_ulm(path: Path) -> Iterator[Path]:
        if path.name == "ulm":
            raise PermissionError(13, "Permission denied", str(path))
        return iterdir(path)

    iterdir = Path.iterdir
    monkeypatch.setattr(Path, "iterdir", refuse_ulm)
    with pytest.raises(DataError, match=r"/leftImg8bit/train/ulm: cannot be read \(Permission denied\)$"):
        load("train")
