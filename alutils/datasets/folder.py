"""Any folder of images and index-map labels, described by one YAML file; such files describe CamVid and the nuclei."""

import unicodedata
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import numpy as np
from PIL import Image

from alutils.datasets import cache
from alutils.datasets.base import IGNORE_INDEX, ImageDataset, SceneFiles
from alutils.datasets.listing import check_names, files_in
from alutils.errors import DataError, ParameterError, check_choice
from alutils.files import read_yaml, validated
from alutils.paths import data_dir

if TYPE_CHECKING:
    from alutils.datasets.description import Description

IMAGE_SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
PHOTO_SUFFIXES = (".dng", ".heic", ".heif", ".jxl")  # of images that Pillow does not know
SUFFIXES = ", ".join(IMAGE_SUFFIXES)


def folder(
    description: str | Path, split: str, size: tuple[int, int] | None = None, native_labels: bool = False
) -> ImageDataset:
    """Return a split of the data set that the YAML file `description` describes.

    `alutils.datasets.description` lists the keys of such a file. Raises `DataError` for a wrong key or value.
    """
    path = Path(description)
    return cache.cached(scene_files(read_description(path), path.resolve().parent, split), size, native_labels)


def packaged(name: str, split: str, size: tuple[int, int] | None = None, native_labels: bool = False) -> ImageDataset:
    """Return a split of the data set that `NAME.yaml` beside this module describes; it lies in the data folder."""
    files = scene_files(read_description(Path(__file__).parent / f"{name}.yaml"), data_dir(), split)
    return cache.cached(files, size, native_labels)


def read_description(path: Path) -> "Description":
    """Return what a YAML file says of a folder of images.

    Raises `DataError` for a wrong key or value, `ParameterError` for a file that cannot be read as YAML.
    """
    from alutils.datasets.description import Description

    content = read_yaml(path)
    try:
        return validated(Description, content, str(path))
    except ParameterError as error:
        raise DataError(str(error)) from error


def scene_files(description: "Description", base: Path, split: str) -> SceneFiles:
    """List the images and labels of one split, in the order of their names; `root` is relative to `base`.

    A label has its image's name but for the suffix and for the way in which Unicode writes accents. Raises `DataError`
    for an image without a label, a label without an image, an empty folder, one folder for both, an image file of a
    kind that is not read, and a name that a run cannot bear.
    """
    check_choice(f"split of {description.name}", split, description.splits)
    root, folders = base / description.root, description.splits[split]
    places = root / folders.images, root / folders.labels
    images, labels = (_by_stem(place) for place in places)
    if places[0].samefile(places[1]):
        raise DataError(f"{places[0]}: it holds the images and the labels of {split}; allowed: two folders")
    for alone in sorted({*images} ^ {*labels}):
        if alone in images:
            _refuse(images[alone], "label", places[1])
        _refuse(labels[alone], "image", places[0])
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
        [images[stem].stem for stem in stems],
        class_of_label,
        list(classes),
        [(red, green, blue) for red, green, blue in classes.values()],
        tuple(description.mean),
        tuple(description.std),
        sequences=tuple(description.sequences),
    )


def _by_stem(folder: Path) -> dict[str, Path]:
    """Return the images or the labels in a folder by their names without suffix, accents as one character."""
    found = [path for path in files_in(folder) if _is_image(path)]
    check_names(found)
    files = {_stem(path): path for path in found}
    for file in found:
        other = files[_stem(file)]
        if other != file:
            raise DataError(f"{file}: {other.name} has the same name but for the suffix; allowed: one file")
    if not files:
        raise DataError(f"{folder}: empty split; it needs images ({SUFFIXES})")
    return files


def _is_image(path: Path) -> bool:
    """Tell whether a path has an image's name; raise `DataError` for what a reader would miss."""
    suffix = path.suffix.lower()
    if path.is_dir() and any(inner.suffix.lower() in IMAGE_SUFFIXES for inner in files_in(path)):
        raise DataError(f"{path}: a folder with images; allowed: images beside each other, as subfolders are not read")
    if suffix not in IMAGE_SUFFIXES and suffix in {*Image.registered_extensions(), *PHOTO_SUFFIXES} and path.is_file():
        check_names([path])
        raise DataError(f"{path}: image files of this kind are not read; allowed: {SUFFIXES}")
    return suffix in IMAGE_SUFFIXES


def _stem(path: Path) -> str:
    return unicodedata.normalize("NFC", path.stem)


def _refuse(alone: Path, other: str, place: Path) -> NoReturn:
    """Raise `DataError` for a file without its label or image, `other`, in the folder `place`; name what is there."""
    near = [path.name for path in files_in(place) if _stem(path) == _stem(alone)]
    but = f", but {near[0]!r}; allowed: {SUFFIXES}" if near else ""
    raise DataError(f"{alone}: its {other} is missing; {place} has no file {alone.stem}.*{but}")
