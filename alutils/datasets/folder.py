"""Any folder of images, of which some or all have labels, described by one YAML file, as CamVid and the nuclei are."""

import sys
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from PIL import Image

from alutils.datasets import cache
from alutils.datasets.base import IGNORE_INDEX, Colour, ImageDataset, LabelMeaning, SceneFiles
from alutils.datasets.listing import check_names, files_in
from alutils.errors import DataError, ParameterError, check_choice, collecting
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


class Listing(NamedTuple):
    """The images of a split, in the order of their names, and the labels that there are; by name without suffix."""

    images: dict[str, Path]
    labels: dict[str, Path]


def listed(description: "Description", base: Path, split: str, problems: list[str] | None = None) -> Listing:
    """List a split's files; `root` is relative to `base`.

    A label has its image's name but for the suffix and for the way in which Unicode writes accents.

    problems : gets a message for everything that is wrong with the folders and the names; without it, the first raises
        `DataError`: a label without an image, an empty folder of images, one folder for both, an image file of a kind
        that is not read, and a name that a run cannot bear
    """
    check_choice(f"split of {description.name}", split, description.splits)
    root, folders = base / description.root, description.splits[split]
    place = root / folders.images
    labels_place = root / folders.labels if folders.labels is not None else None
    images, labels = dict[str, Path](), dict[str, Path]()
    with collecting(problems):
        images = by_stem(place, labels_place, problems)
        if not images:
            raise DataError(f"{place}: empty split; it needs images ({SUFFIXES})")
    if labels_place is not None:
        with collecting(problems):
            labels = by_stem(labels_place, None, problems)
            if place.samefile(labels_place):
                raise DataError(f"{place}: it holds the images and the labels of {split}; allowed: two folders")
            _check_alone("label", images, labels, labels_place, problems)
            _check_alone("image", labels, images, place, problems)
    return Listing(dict(sorted(images.items())), labels)


def scene_files(description: "Description", base: Path, split: str) -> SceneFiles:
    """List the images of one split that have labels, and these, in the order of their names.

    Says on stderr how many images have none. Raises `DataError` if no image has one, and for what `listed` names.
    """
    images, labels = listed(description, base, split)
    stems = [stem for stem in images if stem in labels]
    if not stems:
        raise DataError(
            f"{description.name} {split}: none of its {len(images)} images has a label; training and scores need at"
            " least one, and `alutils next` says which images to label first"
        )
    if len(stems) < len(images):
        left_out = f"{len(images) - len(stems)} of {len(images)} images have no label and are left out"
        print(f"{description.name} {split}: {left_out}", file=sys.stderr)  # noqa: T201
    return of_stems(description, split, stems, images, [labels[stem] for stem in stems])


def of_stems(
    description: "Description", split: str, stems: Sequence[str], images: Mapping[str, Path], labels: list[Path]
) -> SceneFiles:
    """Return the files of some images, with the labels given, which may be none."""
    return SceneFiles(
        description.name,
        split,
        [images[stem] for stem in stems],
        labels,
        [images[stem].stem for stem in stems],
        meaning_of(description),
        list(description.classes),
        colours_of(description),
        tuple(description.mean),
        tuple(description.std),
        sequences=tuple(description.sequences),
    )


def colours_of(description: "Description") -> list[Colour]:
    """Return the colour of each class."""
    return [*map(_triple, description.classes.values())]


def meaning_of(description: "Description") -> LabelMeaning:
    """Return what the pixels of label files stand for."""
    of_value = np.full(256, -1, np.int16)
    of_value[: len(description.classes)] = np.arange(len(description.classes))
    of_value[description.ignore] = IGNORE_INDEX
    of_colour = {colour: number for number, colour in enumerate(colours_of(description))}
    if description.ignore_colours != "unknown":
        of_colour |= dict.fromkeys(map(_triple, description.ignore_colours), IGNORE_INDEX)
    unknown = IGNORE_INDEX if description.ignore_colours == "unknown" else -1
    return LabelMeaning(of_value, of_colour, description.labels_by, unknown, [*description.classes])


def by_stem(folder: Path, inside: Path | None, problems: list[str] | None) -> dict[str, Path]:
    """Return the images or the labels in a folder by their names without suffix, accents as one character.

    inside : the one folder with images that may lie in it
    """
    files: dict[str, Path] = {}
    for path in files_in(folder):
        with collecting(problems):
            if path != inside and _is_image(path):
                check_names([path])
                other = files.setdefault(_stem(path), path)
                if other != path:
                    raise DataError(f"{path}: {other.name} has the same name but for the suffix; allowed: one file")
    return files


def _is_image(path: Path) -> bool:
    """Tell whether a path has an image's name; raise `DataError` for what a reader would miss."""
    suffix = path.suffix.lower()
    if path.is_dir() and any(inner.suffix.lower() in IMAGE_SUFFIXES for inner in files_in(path)):
        raise DataError(f"{path}: a folder with images; allowed: images beside each other, as subfolders are not read")
    if suffix not in IMAGE_SUFFIXES and suffix in {*Image.registered_extensions(), *PHOTO_SUFFIXES} and path.is_file():
        check_names([path])
        raise DataError(f"{path}: image files of this kind are not read; convert them to {SUFFIXES}")
    return suffix in IMAGE_SUFFIXES


def _stem(path: Path) -> str:
    return unicodedata.normalize("NFC", path.stem)


def _check_alone(
    wanted: str, files: dict[str, Path], others: dict[str, Path], place: Path, problems: list[str] | None
) -> None:
    """Raise `DataError` for a label without its image, and for an image beside whose labels lies another such file.

    wanted : what a file of `files` should have among `others` in the folder `place`: a label or an image
    """
    near = {_stem(path): path.name for path in files_in(place) if path.is_file()}
    for stem in sorted({*files} - {*others}):
        if wanted == "image" or stem in near:
            but = f", but {near[stem]!r}; allowed: {SUFFIXES}" if stem in near else ""
            with collecting(problems):
                missing = f"its {wanted} is missing; {place} has no file {files[stem].stem}.*{but}"
                raise DataError(f"{files[stem]}: {missing}")


def _triple(colour: list[int]) -> Colour:
    red, green, blue = colour
    return red, green, blue
