import csv
import os
import re
import shutil
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from conftest import ROUNDS, need_real_data
from PIL import Image

from alutils.datasets import ImageDataset, label_counts, load_dataset
from alutils.datasets.folder import folder as described_by
from alutils.datasets.folder import listed, packaged, read_description, scene_files
from alutils.errors import DataError, ParameterError
from alutils.models import build_model
from alutils.runs.rounds import ActiveLearning, run_rounds
from alutils.training.predictions import write_predictions

# Three classes; the value 7 counts for nothing.
DESCRIPTION: dict[str, Any] = {
    "name": "yard",
    "classes": {"grass": [0, 255, 0], "path": [90, 90, 90], "wall": [200, 50, 0]},
    "ignore": [7],
    "splits": {"train": {"images": "photos", "labels": "masks"}},
}
STRIPES = np.tile(np.array([0, 200], np.uint8), (4, 2))  # 4x4, columns 0, 200, 0, 200
MASK = np.array([[0, 1, 2, 0], [1, 0, 0, 2], [2, 2, 1, 7], [7, 0, 2, 1]], np.uint8)


def write_data_set(root: Path, /, **changes: Any) -> Path:
    """Write two items, b and a, of 4x4 pixels; return the description's path."""
    for folder in ("photos", "masks"):
        (root / folder).mkdir(parents=True)
    for stem, image, mask in [("b", STRIPES, MASK), ("a", STRIPES.T, MASK.T)]:
        pixels = np.stack([image, image + 10, image + 20], axis=2)
        Image.fromarray(pixels).save(root / "photos" / f"{stem}.png")
        Image.fromarray(mask).save(root / "masks" / f"{stem}.png")
    return write_description(root, DESCRIPTION | changes)


def write_description(root: Path, content: dict[str, Any]) -> Path:
    path = root / "yard.yaml"
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return path


def load(description: Path, height: int | None = None, width: int | None = None) -> ImageDataset:
    return load_dataset(str(description), "train", height, width)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALUTILS_CACHE", str(tmp_path / "cache"))


# What is read


def test_items_are_read_as_stored_in_the_order_of_their_names(tmp_path: Path) -> None:
    dataset = load(write_data_set(tmp_path))
    assert dataset.item_names == ["a", "b"]
    image, label, name = dataset[1]
    assert name == "b"
    assert np.array_equal(image, [STRIPES, STRIPES + 10, STRIPES + 20])
    assert np.array_equal(label, np.where(MASK == 7, 255, MASK))
    assert np.array_equal(dataset.labels[0], dataset.labels[1].T)
    assert dataset.images.dtype == dataset.labels.dtype == np.uint8
    assert dataset.is_dense


def test_description_gives_names_and_colours(tmp_path: Path) -> None:
    dataset = load(write_data_set(tmp_path, mean=[0.1, 0.2, 0.3], std=[1, 1, 1]))
    assert (dataset.name, dataset.split, dataset.num_classes) == ("yard", "train", 3)
    assert dataset.class_names == ["grass", "path", "wall"]
    assert dataset.colours == [(0, 255, 0), (90, 90, 90), (200, 50, 0)]
    assert dataset.mean == (0.1, 0.2, 0.3)
    assert dataset.std == (1, 1, 1)


def test_root_is_relative_to_the_description(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_data_set(tmp_path / "data")
    monkeypatch.chdir("/")
    assert len(load(write_description(tmp_path, DESCRIPTION | {"root": "data"}))) == 2


def test_a_linked_description_is_of_the_folder_that_it_lies_in(tmp_path: Path) -> None:
    description = write_data_set(tmp_path / "data")
    (tmp_path / "link.yaml").symlink_to(description)
    assert len(load(tmp_path / "link.yaml")) == 2


def test_every_label_is_that_of_the_image_of_its_name(tmp_path: Path) -> None:
    """Names whose order is another one with their suffixes; images and labels are written in other orders."""
    description = write_data_set(tmp_path)
    for path in tmp_path.glob("*s/?.png"):
        path.unlink()
    stems = ["a", "a-1", "a.b", "B", "a 2", "10", "9", "a_", "gru\u0308n"]
    for folder, order in (("photos", stems), ("masks", reversed(stems))):
        for number, stem in enumerate(order):
            value = stems.index(stem)
            colour: Any = (value, value, value) if folder == "photos" else value % 3
            suffix = ".bmp" if number % 2 else ".png"
            Image.new("RGB" if folder == "photos" else "L", (4, 4), colour).save(tmp_path / folder / f"{stem}{suffix}")
    dataset = load(description)
    assert dataset.item_names == sorted(stems)
    numbers = [stems.index(stem) for stem in sorted(stems)]
    assert dataset.images[:, 0, 0, 0].tolist() == numbers
    assert dataset.labels[:, 0, 0].tolist() == [number % 3 for number in numbers]


def test_images_without_a_label_are_left_out_and_counted(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    description = write_data_set(tmp_path)
    whole = load(description)
    assert capsys.readouterr().err == ""
    for number in range(9):
        shutil.copy(tmp_path / "photos/b.png", tmp_path / f"photos/a{number}.png")
    partly = load(description)
    assert capsys.readouterr().err == "yard train: 9 of 11 images have no label and are left out\n"
    assert (partly.item_names, partly.fingerprint) == (["a", "b"], whole.fingerprint)


@pytest.mark.parametrize("labels", [None, "masks"])
def test_a_split_without_any_label_is_one_line(labels: str | None, tmp_path: Path) -> None:
    description = write_data_set(
        tmp_path, splits={"train": {"images": "photos"} | ({"labels": labels} if labels else {})}
    )
    for path in (tmp_path / "masks").iterdir():
        path.unlink()
    with pytest.raises(DataError, match=r"^yard train: none of its 2 images has a label; training and scores need at"):
        load(description)


def test_labels_may_lie_in_a_folder_among_the_images(tmp_path: Path) -> None:
    description = write_data_set(tmp_path, splits={"train": {"images": "photos", "labels": "photos/masks"}})
    shutil.move(tmp_path / "masks", tmp_path / "photos/masks")
    assert load(description).item_names == ["a", "b"]


def test_everything_that_is_wrong_with_the_names_is_listed(tmp_path: Path) -> None:
    description = write_data_set(tmp_path)
    for name in ("photos/a.jpg", "photos/c.gif", "masks/lonely.png", "photos/d.png", "masks/d.npy"):
        shutil.copy(tmp_path / "photos/b.png", tmp_path / name)
    problems: list[str] = []
    images, labels = listed(read_description(description), tmp_path, "train", problems)
    assert [*images] == ["a", "b", "d"]
    assert [*labels] == ["a", "b", "lonely"]
    said = (
        "a.png: a.jpg has the same name",
        "c.gif: image files of this kind",
        "d.png: its label is",
        "lonely.png: its image",
    )
    assert len(problems) == len(said)
    assert all(text in problem for text, problem in zip(said, problems, strict=True))


def test_label_values_are_classes_void_or_forbidden(tmp_path: Path) -> None:
    path = write_data_set(tmp_path)
    of_value = scene_files(read_description(path), tmp_path, "train").meaning.of_value
    assert of_value.dtype == np.int16
    assert of_value.tolist() == [0, 1, 2, -1, -1, -1, -1, 255] + [-1] * 248


def test_labels_have_the_size_of_the_images_unless_told_otherwise(tmp_path: Path) -> None:
    path = write_data_set(tmp_path)
    sizes = [described_by(path, "train", (2, 2), *native).labels.shape[1:] for native in ((), (False,), (True,))]
    assert sizes == [(2, 2), (2, 2), (4, 4)]


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_camvid_lies_in_the_data_folder(split: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALUTILS_DATA", str(tmp_path))
    write_data_set(tmp_path / "camvid")
    for given, name in (("photos", split), ("masks", f"{split}annot")):
        (tmp_path / "camvid" / given).rename(tmp_path / "camvid" / name)
    dataset = packaged("camvid", split)
    assert (dataset.name, dataset.split, dataset.item_names) == ("camvid", split, ["a", "b"])
    assert dataset.labels[1].tolist() == MASK.tolist(), "7 is a class of CamVid"
    sizes = [packaged("camvid", split, (2, 2), *native).labels.shape[1:] for native in ((), (True,))]
    assert sizes == [(2, 2), (4, 4)]


def test_palette_labels_are_read_as_indices(tmp_path: Path) -> None:
    description = write_data_set(tmp_path)
    mask = Image.fromarray(MASK)
    mask.putpalette([9, 9, 9] * 256)
    mask.save(tmp_path / "masks" / "b.png")
    assert np.array_equal(load(description).labels[1], np.where(MASK == 7, 255, MASK))


def test_images_of_half_the_size_are_averaged_and_labels_picked(tmp_path: Path) -> None:
    dataset = load(write_data_set(tmp_path), 2, 2)
    assert dataset.images[1].tolist() == [[[100 + channel] * 2] * 2 for channel in (0, 10, 20)]
    assert np.array_equal(dataset.labels[1], dataset.labels[0].T)
    assert np.array_equal(dataset.labels[1], [[0, 2], [0, 1]])  # MASK[1::2, 1::2]


def test_smaller_images_of_no_whole_fraction_are_antialiased(tmp_path: Path) -> None:
    dataset = load(write_data_set(tmp_path), 3, 3)
    # A triangle of half width 4/3 around x = 2/3 weighs columns 0 and 1 as 7 to 3.
    assert dataset.images[1, 0].tolist() == [[60, 100, 140]] * 3


def test_larger_images_are_blended_and_labels_repeated(tmp_path: Path) -> None:
    dataset = load(write_data_set(tmp_path), 8, 8)
    assert dataset.images[1, 0, 0].tolist() == [0, 50, 150, 150, 50, 50, 150, 200]
    assert np.array_equal(dataset.labels[1], np.where(MASK == 7, 255, MASK).repeat(2, axis=0).repeat(2, axis=1))


# Bad data: one line that names the file and the rule


def png(pixels: np.ndarray) -> bytes:
    file = BytesIO()
    Image.fromarray(pixels).save(file, "png")
    return file.getvalue()


# A file, its new content (None: it is removed), and what is said about it.
BAD_FILES: dict[str, tuple[str, bytes | None, str]] = {
    "no image": ("photos/b.png", None, r"masks/b\.png.* image is missing.*photos"),
    "two images": ("photos/b.jpg", png(STRIPES), r"photos/b\.(jpg|png)"),
    "no image file": ("photos/a.png", b"text", r"photos/a\.png.* cannot be decoded"),
    "empty image": ("photos/b.png", b"", r"photos/b\.png.* cannot be decoded"),
    "truncated image": ("photos/b.png", png(STRIPES)[:50], r"photos/b\.png.* cannot be decoded"),
    "truncated label": ("masks/b.png", png(MASK)[:50], r"masks/b\.png.* cannot be decoded"),
    "label of another size": ("masks/b.png", png(MASK[:2]), r"masks/b\.png.* size \(4, 2\)"),
    "label in colours": (
        "masks/b.png",
        png(np.zeros((4, 4, 3), np.uint8)),
        r"masks/b\.png: colour \[0, 0, 0\] at pixel \(x 0, y 0\)",
    ),
    "label of 16 bits": ("masks/b.png", png(MASK.astype(np.uint16)), r"masks/b\.png.* mode I;16"),
    "unknown label value": ("masks/b.png", png(MASK + 3), r"masks/b\.png: label value \d+ is neither"),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_bad_files_are_one_line(case: str, tmp_path: Path) -> None:
    file, content, message = BAD_FILES[case]
    description = write_data_set(tmp_path)
    if content is None:
        (tmp_path / file).unlink()
    else:
        (tmp_path / file).write_bytes(content)
    with pytest.raises(DataError, match=rf"^{re.escape(str(tmp_path))}/{message}.*$"):
        load(description)


def test_a_missing_folder_is_one_line(tmp_path: Path) -> None:
    description = write_data_set(tmp_path)
    (tmp_path / "masks").rename(tmp_path / "other")
    with pytest.raises(DataError, match=rf"^{re.escape(str(tmp_path))}/masks: no such folder.*$"):
        load(description)


def test_an_empty_split_is_one_line(tmp_path: Path) -> None:
    description = write_data_set(tmp_path)
    for file in [*tmp_path.glob("photos/*"), *tmp_path.glob("masks/*")]:
        file.unlink()
    with pytest.raises(DataError, match=rf"^{re.escape(str(tmp_path))}/photos: empty split.*$"):
        load(description)


def test_label_values_are_checked_before_they_are_resized_away(tmp_path: Path) -> None:
    description = write_data_set(tmp_path)
    (tmp_path / "masks/b.png").write_bytes(png(np.pad(np.array([[9]], np.uint8), (0, 3))))
    with pytest.raises(DataError, match=r"^.*masks/b\.png: label value 9 is neither a class nor ignored$"):
        load(description, 1, 1)


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"palette": []}, "palette is unknown; allowed: name, classes, ignore, labels_by, ignore_colours, root, "),
        ({"ignored": [7]}, r"ignored is unknown; did you mean ignore\? allowed: name, "),
        ({"name": "front/yard"}, "name"),
        ({"classes": ["grass", "path", "wall"]}, "classes"),
        ({"classes": {}}, "classes is {}; allowed: for each label value"),
        ({"classes": {"grass": [0, 255]}}, r"classes.grass is \[0, 255\]; allowed: for each .* \[red, green, blue\]"),
        ({"classes": {"grass": [0, 255, 256]}}, "classes.grass.2 is 256; allowed: for each"),
        ({"classes": {"name": [0, 255, 0.5]}}, "classes.name.2 is 0.5; allowed: for each"),
        ({"classes": {str(k): [0, 0, 0] for k in range(256)}}, "classes is "),
        ({"ignore": [300]}, "ignore"),
        ({"ignore": ["void"]}, "ignore"),
        ({"mean": 0.5}, "mean is 0.5; allowed: three numbers from 0 to 1"),
        ({"mean": [0.5, 0.5, float("nan")]}, "mean.2 is nan"),
        ({"std": [0, 1, 1]}, "std.0 is 0; allowed: three numbers above 0, at most 1"),
        ({"root": 3}, "root is 3; allowed: a folder"),
        ({"ignore": [True]}, "ignore.0 is True; allowed: a list of label values"),
        ({"splits": {}}, "splits is {}"),
        ({"splits": {"train": {"labels": "masks"}}}, "splits.train.images is missing; allowed: a folder of images"),
        (
            {"splits": {"train": {"images": "a", "labels": "b", "c": "d"}}},
            "splits.train.c is unknown; allowed: images, labels",
        ),
        ({"splits": ["train"]}, "splits"),
    ],
)
def test_bad_descriptions_are_one_line(changes: dict[str, Any], rule: str, tmp_path: Path) -> None:
    description = write_data_set(tmp_path, **changes)
    with pytest.raises(DataError, match=rf"^.*yard\.yaml.*({rule}).*$") as caught:
        load(description)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("key", ["name", "classes", "splits"])
def test_a_missing_key_is_one_line(key: str, tmp_path: Path) -> None:
    write_data_set(tmp_path)
    description = write_description(tmp_path, {k: v for k, v in DESCRIPTION.items() if k != key})
    with pytest.raises(DataError, match=rf"^.*yard\.yaml: {key} is missing; allowed: .*$"):
        load(description)


def test_a_split_that_is_not_described_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match=r"^split of yard is 'dusk'; allowed: train$"):
        load_dataset(str(write_data_set(tmp_path)), "dusk")


def test_a_data_set_that_is_not_known_is_one_line() -> None:
    with pytest.raises(ParameterError, match=r"^dataset is 'voc'; allowed: digits, .*camvid, .*\.yaml$"):
        load_dataset("voc", "train")
    with pytest.raises(ParameterError, match=r"^nowhere\.yaml cannot be read.*$"):
        load_dataset("nowhere.yaml", "train")


@pytest.mark.parametrize(("height", "width"), [(8, None), (None, 8), (-1, 8), (8, -1), (0, 8), (8, 0), (0, 0)])
def test_impossible_sizes_are_one_line(height: int | None, width: int | None, tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match=rf"^height is {height}, width is {width}; allowed: .*$"):
        load(write_data_set(tmp_path), height, width)


def test_images_of_two_sizes_need_one_to_be_asked_for(tmp_path: Path) -> None:
    description = write_data_set(tmp_path)
    Image.fromarray(np.zeros((4, 8, 3), np.uint8)).save(tmp_path / "photos" / "b.png")
    Image.fromarray(np.zeros((4, 8), np.uint8)).save(tmp_path / "masks" / "b.png")
    with pytest.raises(DataError, match=r"b\.png: size \(8, 4\), the first has \(4, 4\); give height and width$"):
        load(description)
    assert load(description, 6, 6).images.shape == (2, 3, 6, 6)


# Names


def rename_items(root: Path, names: dict[str, str], suffix: str = ".png") -> None:
    for folder in ("photos", "masks"):
        for old, new in names.items():
            (root / folder / f"{old}.png").rename(root / folder / f"{new}{suffix}")


def test_suffixes_of_any_case_and_webp_are_read(tmp_path: Path) -> None:
    description = write_data_set(tmp_path)
    expected = load(description).images
    (tmp_path / "photos/a.png").rename(tmp_path / "photos/a.PNG")
    (tmp_path / "masks/b.png").rename(tmp_path / "masks/b.TIF")
    image = Image.open(tmp_path / "photos/b.png")
    image.save(tmp_path / "photos/b.WebP", lossless=True)
    (tmp_path / "photos/b.png").unlink()
    dataset = load(description)
    assert dataset.item_names == ["a", "b"]
    assert np.array_equal(dataset.images, expected)


@pytest.mark.slow
def test_names_go_through_a_run_unharmed(tmp_path: Path) -> None:
    """The run is interrupted after a round; what it saved is read and written again."""
    folders = {"images": "photos", "labels": "masks"}
    description = write_data_set(tmp_path, splits={"train": folders, "test": folders})
    names = ["two words", "x.y.z", "gr\u00fcn", "0012", "NA", "1e5", "a,b", 'say "b"', "\u96ea", "true"]
    for name in names:
        for folder in ("photos", "masks"):
            (tmp_path / folder / f"{name}.png").write_bytes((tmp_path / folder / "a.png").read_bytes())
    own: dict[str, Any] = {
        "dataset": str(description),
        "height": 32,
        "width": 32,
        "unit": "images",
        "start": 4,
        "step": 4,
    }
    config = replace(ROUNDS, **own, class_weights=False)
    learning = ActiveLearning(config)
    with learning.run.opened(config.as_dict(learning.pieces.dataset, learning.test_set)):
        learning.restore()
        learning.do_round()
    run_rounds(config)
    assert sorted(learning.run.acquisitions()["item"]) == sorted(["a", "b", *names])
    with (learning.run.path / "acquisitions.csv").open(newline="") as file:
        assert sorted(row["item"] for row in csv.DictReader(file)) == sorted(["a", "b", *names])
    model = build_model("unet_small", 3, seed=0).eval()
    write_predictions(model, learning.test_set, config, tmp_path / "predictions")
    assert sorted(path.stem for path in (tmp_path / "predictions").iterdir()) == sorted(["a", "b", *names])


@pytest.mark.parametrize("folder", ["photos", "masks"])
@pytest.mark.parametrize("name", ["c.gif", "c.AVIF", "a.eps", "c.heic", "c.jp2"])
def test_an_image_of_a_kind_that_is_not_read_is_one_line(folder: str, name: str, tmp_path: Path) -> None:
    description = write_data_set(tmp_path)
    (tmp_path / folder / name).write_bytes(b"content")
    with pytest.raises(
        DataError, match=rf"/{folder}/{name}: image files of this kind are not read; convert them to \.bmp, "
    ):
        load(description)


def test_other_files_are_ignored(tmp_path: Path) -> None:
    description = write_data_set(tmp_path)
    for folder in ("photos", "masks"):
        for name in ("._a.png", ".c.png", ".DS_Store", "Thumbs.db", "notes.txt", "a.json", "README", "a\nb.txt"):
            (tmp_path / folder / name).write_bytes(b"content")
        (tmp_path / folder / "old.gif").mkdir()
    assert load(description).item_names == ["a", "b"]


@pytest.mark.parametrize("other", ["b.npy", "b.json", "b"])
def test_what_is_there_instead_of_a_label_is_named(other: str, tmp_path: Path) -> None:
    description = write_data_set(tmp_path)
    (tmp_path / "masks/b.png").rename(tmp_path / "masks" / other)
    with pytest.raises(
        DataError, match=rf"/photos/b\.png: its label is missing; .*/masks has .* but '{other}'; allowed"
    ):
        load(description)


@pytest.mark.parametrize("name", ["a\rb", "a\nb", "a\tb", "a\x1bb", "a\u2028b", os.fsdecode(b"a\xffb")])
def test_a_name_that_would_break_a_table_is_one_line(name: str, tmp_path: Path) -> None:
    description = write_data_set(tmp_path)
    rename_items(tmp_path, {"b": name})
    with pytest.raises(DataError, match=r"/photos: the file name 'a\\.*b\.png' holds .*; allowed: ") as caught:
        load(description)
    assert str(caught.value).isprintable()
    for folder in ("photos", "masks"):
        (tmp_path / folder / f"{name}.png").rename(tmp_path / folder / f"{name}.gif")
    with pytest.raises(DataError, match=r"/photos: the file name"):
        load(description)


def test_accents_written_in_two_ways_are_one_name(tmp_path: Path) -> None:
    description = write_data_set(tmp_path)
    (tmp_path / "photos/b.png").rename(tmp_path / "photos/gr\u00fcn.png")
    (tmp_path / "masks/b.png").rename(tmp_path / "masks/gru\u0308n.png")
    assert load(description).item_names == ["a", "gr\u00fcn"]
    (tmp_path / "photos/gru\u0308n.png").write_bytes((tmp_path / "photos/a.png").read_bytes())
    with pytest.raises(DataError, match="has the same name"):
        load(description)


@pytest.mark.parametrize("labels", ["photos", "./masks/../photos", "link"])
def test_one_folder_for_images_and_labels_is_one_line(labels: str, tmp_path: Path) -> None:
    description = write_data_set(tmp_path, splits={"train": {"images": "photos", "labels": labels}})
    (tmp_path / "link").symlink_to(tmp_path / "photos")
    for name in ("a.png", "b.png"):  # they would do as labels
        Image.fromarray(MASK).save(tmp_path / "photos" / name)
    with pytest.raises(DataError, match=r"/photos: it holds the images and the labels of train; allowed: two folders$"):
        load(description)


def test_symlinks_are_followed(tmp_path: Path) -> None:
    description = write_data_set(tmp_path)
    expected = load(description).images
    (tmp_path / "photos").rename(tmp_path / "elsewhere")
    (tmp_path / "photos").mkdir()
    for name in ("a.png", "b.png"):
        (tmp_path / "photos" / name).symlink_to(tmp_path / "elsewhere" / name)
    assert np.array_equal(load(description).images, expected)
    (tmp_path / "elsewhere/b.png").unlink()
    with pytest.raises(DataError, match=r"photos/b\.png: missing"):
        load(description)


def test_a_pipe_and_a_folder_called_like_an_image_are_one_line(tmp_path: Path) -> None:
    description = write_data_set(tmp_path)
    for folder in ("photos", "masks"):
        (tmp_path / folder / "c.png").mkdir()
    with pytest.raises(DataError, match=r"photos/c\.png: cannot be read \(not a regular file\)$"):
        load(description)
    for folder in ("photos", "masks"):
        (tmp_path / folder / "c.png").rmdir()
    (tmp_path / "masks/a.png").unlink()
    os.mkfifo(tmp_path / "masks/a.png")
    with pytest.raises(DataError, match=r"masks/a\.png: cannot be read \(not a regular file\)$"):
        load(description)


def test_a_folder_that_cannot_be_listed_gives_the_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    description = write_data_set(tmp_path)
    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(DataError, match=r"/photos: cannot be read \(Permission denied\)$"):
        load(description)


# The real CamVid


@pytest.mark.slow
def test_real_camvid() -> None:
    need_real_data("camvid")
    splits = {split: load_dataset("camvid", split) for split in ("train", "val", "test")}
    assert {split: len(dataset) for split, dataset in splits.items()} == {
        "train": 367,
        "val": 101,
        "test": 233,
    }
    train = splits["train"]
    assert train.images.shape == (367, 3, 360, 480)
    assert train.num_classes == 11
    counts = label_counts(train, np.arange(367))
    shares = dict(zip(train.class_names, 100 * counts / counts.sum(), strict=True))
    assert shares["road"] == pytest.approx(32.960, abs=5e-4)
    assert shares["bicyclist"] == pytest.approx(0.304, abs=5e-4)
    assert counts.sum() == 60_913_605  # pixels that are not void


@pytest.mark.parametrize("folder", ["photos", "masks"])
def test_images_in_a_subfolder_are_not_left_out_silently(folder: str, tmp_path: Path) -> None:
    description = write_data_set(tmp_path)
    place = tmp_path / folder / "more"
    place.mkdir()
    load(description)
    (place / "x.JPG").write_bytes(b"")
    with pytest.raises(DataError, match=f"{place}: a folder with images; allowed: images beside each other"):
        load(description)
