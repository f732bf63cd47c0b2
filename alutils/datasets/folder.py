"""Any folder of images and index-map labels, described by one YAML file; CamVid is such a file."""

from pathlib import Path
from typing import Any

import numpy as np

from alutils.datasets import cache
from alutils.datasets.base import IGNORE_INDEX, IMAGENET_MEAN, IMAGENET_STD, ImageDataset, SceneFiles
from alutils.errors import DataError, check_choice
from alutils.paths import data_dir
from alutils.yaml_files import read_yaml

IMAGE_SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff"}
REQUIRED = {"name", "classes", "splits"}
KNOWN = REQUIRED | {"root", "ignore", "mean", "std"}


def folder(description: str | Path, split: str, size: tuple[int, int] | None = None) -> ImageDataset:
    """Return a split of the data set that the YAML file `description` describes.

    name: a word; classes: one `name: [red, green, blue]` a label index, from 0 on; ignore: label values that
    count for nothing; mean, std: of the channels scaled to 0..1; root: the folder (default: the YAML's own);
    splits: for each, `images:` and `labels:`, two folders below root whose files match by stem.
    """
    description = Path(description)
    return cache.cached(scene_files(_load(description), description.resolve().parent, split), size)


def camvid(split: str, size: tuple[int, int] | None = None) -> ImageDataset:
    """Return a split of CamVid (11 classes) from the data folder's `camvid/`."""
    return cache.cached(scene_files(_load(Path(__file__).parent / "camvid.yaml"), data_dir(), split), size)


def _load(path: Path) -> dict[str, Any]:
    content = read_yaml(path)
    if not REQUIRED <= content.keys() <= KNOWN:
        wrong = sorted(map(str, (REQUIRED - content.keys()) | (content.keys() - KNOWN)))
        raise DataError(f"{path}: missing or unknown: {', '.join(wrong)}; known: {', '.join(sorted(KNOWN))}")
    return content


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
    files = {file.stem: file for file in path.iterdir() if file.suffix.lower() in IMAGE_SUFFIXES}
    if not files:
        raise DataError(f"{path}: empty split; it needs images ({', '.join(sorted(IMAGE_SUFFIXES))})")
    return files
