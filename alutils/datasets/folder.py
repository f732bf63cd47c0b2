"""Any folder of images and index-map labels, described by one YAML file; CamVid is such a file."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from alutils.datasets import cache
from alutils.datasets.base import IGNORE_INDEX, IMAGENET_MEAN, IMAGENET_STD, ImageDataset, SceneFiles
from alutils.errors import DataError, check_choice
from alutils.files import read_yaml
from alutils.paths import data_dir

IMAGE_SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff"}
REQUIRED = {"name", "classes", "splits"}


def folder(
    description: str | Path, split: str, size: tuple[int, int] | None = None, native_labels: bool = False
) -> ImageDataset:
    """Return a split of the data set that the YAML file `description` describes.

    name: a word; classes: one `name: [red, green, blue]` a label index, from 0 on; ignore: label values that
    count for nothing; mean, std: of the channels scaled to 0..1; root: the folder (default: the YAML's own);
    splits: for each, `images:` and `labels:`, two folders below root whose files match by stem.
    """
    description = Path(description)
    return cache.cached(scene_files(_load(description), description.resolve().parent, split), size, native_labels)


def camvid(split: str, size: tuple[int, int] | None = None, native_labels: bool = False) -> ImageDataset:
    """Return a split of CamVid (11 classes) from the data folder's `camvid/`."""
    files = scene_files(_load(Path(__file__).parent / "camvid.yaml"), data_dir(), split)
    return cache.cached(files, size, native_labels)


def _load(path: Path) -> dict[str, Any]:
    content = read_yaml(path)
    if not REQUIRED <= content.keys() <= RULES.keys():
        wrong = sorted(map(str, (REQUIRED - content.keys()) | (content.keys() - RULES.keys())))
        raise DataError(f"{path}: missing or unknown: {', '.join(wrong)}; known: {', '.join(sorted(RULES))}")
    for key, (is_right, allowed) in RULES.items():
        if key in content and not is_right(content[key]):
            raise DataError(f"{path}: {key} is {content[key]!r}; allowed: {allowed}")
    return content


def _numbers(value: Any, low: float, high: float) -> bool:
    return isinstance(value, list) and all(isinstance(x, int | float) and low <= x <= high for x in value)


def _triple(value: Any, low: float, high: float) -> bool:
    return _numbers(value, low, high) and len(value) == 3


def _mapping(value: Any, is_right: Callable[[Any], bool]) -> bool:
    return isinstance(value, dict) and 0 < len(value) < 256 and all(map(is_right, value.values()))


RULES: dict[str, tuple[Callable[[Any], Any], str]] = {
    "name": (lambda v: isinstance(v, str) and re.fullmatch(r"[\w-]+", v), "a word"),
    "classes": (
        lambda v: _mapping(v, lambda colour: _triple(colour, 0, 255)),
        "a name and [red, green, blue] for each label value",
    ),
    "ignore": (
        lambda v: _numbers(v, 0, 255) and all(isinstance(x, int) for x in v),
        "a list of label values",
    ),
    "mean": (lambda v: _triple(v, 0, 1), "three numbers from 0 to 1"),
    "std": (lambda v: _triple(v, 1e-6, 1), "three numbers above 0, at most 1"),
    "root": (lambda v: isinstance(v, str), "a folder"),
    "splits": (
        lambda v: _mapping(v, lambda two: isinstance(two, dict) and two.keys() == {"images", "labels"}),
        "for each split its images and its labels, two folders",
    ),
}


def scene_files(description: dict[str, Any], base: Path, split: str) -> SceneFiles:
    """List one split's images and labels; a file without its partner, or none at all, is an error."""
    check_choice(f"split of {description['name']}", split, description["splits"])
    root = base / description.get("root", ".")
    folders = description["splits"][split]
    images, labels = _by_stem(root / folders["images"]), _by_stem(root / folders["labels"])
    for stem in images.keys() ^ labels.keys():
        alone = images.get(stem) or labels.get(stem)
        other = "label" if stem in images else "image"
        raise DataError(f"{alone}: its {other} is missing; {root / folders[f'{other}s']} has no file {stem}.*")
    stems = sorted(images)
    classes = description["classes"]
    class_of_label = np.full(256, -1, np.int16)
    class_of_label[: len(classes)] = np.arange(len(classes))
    class_of_label[description.get("ignore", [IGNORE_INDEX])] = IGNORE_INDEX
    return SceneFiles(
        description["name"],
        split,
        [images[stem] for stem in stems],
        [labels[stem] for stem in stems],
        stems,
        class_of_label,
        list(classes),
        [(int(red), int(green), int(blue)) for red, green, blue in classes.values()],
        tuple(description.get("mean", IMAGENET_MEAN)),
        tuple(description.get("std", IMAGENET_STD)),
    )


def _by_stem(path: Path) -> dict[str, Path]:
    if not path.is_dir():
        raise DataError(f"{path}: no such folder; the data set needs it")
    found = sorted(file for file in path.iterdir() if file.suffix.lower() in IMAGE_SUFFIXES)
    files = {file.stem: file for file in found}
    for file in found:
        if files[file.stem] != file:
            raise DataError(f"{file}: {files[file.stem].name} has the same stem; one file an item")
    if not files:
        raise DataError(f"{path}: empty split; it needs images ({', '.join(sorted(IMAGE_SUFFIXES))})")
    return files
