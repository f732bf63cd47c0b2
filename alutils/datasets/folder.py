"""Any folder of images and index-map labels, described by one YAML file; CamVid is described by such a file."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from alutils.datasets import cache
from alutils.datasets.base import IGNORE_INDEX, ImageDataset, SceneFiles
from alutils.errors import DataError, ParameterError, check_choice
from alutils.files import read_yaml, validated
from alutils.paths import data_dir

if TYPE_CHECKING:
    from alutils.datasets.description import Description

IMAGE_SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff"}


def folder(
    description: str | Path, split: str, size: tuple[int, int] | None = None, native_labels: bool = False
) -> ImageDataset:
    """Return a split of the data set that the YAML file `description` describes.

    `alutils.datasets.description` lists the keys of such a file. Raises `DataError` for a wrong key or value.
    """
    path = Path(description)
    return cache.cached(scene_files(read_description(path), path.resolve().parent, split), size, native_labels)


def camvid(split: str, size: tuple[int, int] | None = None, native_labels: bool = False) -> ImageDataset:
    """Return a split of CamVid (11 classes), which lies in `camvid/` of the data folder."""
    files = scene_files(read_description(Path(__file__).parent / "camvid.yaml"), data_dir(), split)
    return cache.cached(files, size, native_labels)


def read_description(path: Path) -> "Description":
    """Return what a YAML file says of a folder of images; raise `DataError` for a wrong key or value."""
    from alutils.datasets.description import Description

    content = read_yaml(path)
    try:
        return validated(Description, content, str(path))
    except ParameterError as error:
        raise DataError(str(error)) from error


def scene_files(description: "Description", base: Path, split: str) -> SceneFiles:
    """List the images and labels of one split, in the order of their names; `root` is relative to `base`.

    Raises `DataError` for an image without a label, a label without an image and an empty folder.
    """
    check_choice(f"split of {description.name}", split, description.splits)
    root, folders = base / description.root, description.splits[split]
    images, labels = _by_stem(root / folders.images), _by_stem(root / folders.labels)
    for stem in images.keys() ^ labels.keys():
        alone = images.get(stem) or labels.get(stem)
        other, place = ("label", folders.labels) if stem in images else ("image", folders.images)
        raise DataError(f"{alone}: its {other} is missing; {root / place} has no file {stem}.*")
    stems = sorted(images)
    classes = description.classes
    class_of_label = np.full(256, -1, np.int16)
    class_of_label[: len(classes)] = np.arange(len(classes))
    class_of_label[description.ignore] = IGNORE_INDEX
    return SceneFiles(
        description.name,
        split,
        [images[stem] for stem in stems],
        [labels[stem] for stem in stems],
        stems,
        class_of_label,
        list(classes),
        [(red, green, blue) for red, green, blue in classes.values()],
        tuple(description.mean),
        tuple(description.std),
    )


def _by_stem(path: Path) -> dict[str, Path]:
    if not path.is_dir():
        raise DataError(f"{path}: no such folder; the data set needs it")
    found = sorted(file for file in path.iterdir() if file.suffix.lower() in IMAGE_SUFFIXES)
    files = {file.stem: file for file in found}
    for file in found:
        if files[file.stem] != file:
            raise DataError(f"{file}: {files[file.stem].name} has the same name but for the suffix; allowed: one file")
    if not files:
        raise DataError(f"{path}: empty split; it needs images ({', '.join(sorted(IMAGE_SUFFIXES))})")
    return files
