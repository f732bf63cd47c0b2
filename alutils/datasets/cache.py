"""Scenes are decoded and resized once, into memory-mapped arrays that all runs share."""

import hashlib
import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import DTypeLike
from PIL import Image

from alutils.contents import built_and_sealed, content_hashes
from alutils.datasets.base import IGNORE_INDEX, ImageDataset, LabelMeaning, SceneFiles
from alutils.datasets.decoding import read_image
from alutils.datasets.labels import read_label_of
from alutils.errors import DataError, unreadable
from alutils.paths import cache_dir
from alutils.progress import bar

VERSION = 3  # raise it when the same files would give other arrays


def cached(files: SceneFiles, size: tuple[int, int] | None, native_labels: bool) -> ImageDataset:
    """Return `files` decoded at `size`, (height, width) or `None` for the stored size; the first call fills the cache.

    Files without labels give labels that are void everywhere and take no memory.

    An image that is a whole number of times as large as `size` is averaged over blocks of pixels; any other is resized
    bilinearly with antialiasing. Labels take the nearest pixel, or keep their stored size with `native_labels`. The
    name of the cache folder holds a key over names and contents of the files, the meaning of label values, `size` and
    `VERSION`: if any of them changes, a new folder is made.

    Raises
    ------
    DataError
        for an image or label that is missing, undecodable or of a wrong size, for a wrong label value, and for two
        items of one name.
    """
    _check_unique(files)
    first = read_image(files.images[0])
    stored = first.height, first.width
    sizes = _Sizes(size or stored, stored if native_labels else size or stored, size is not None)
    height, width = sizes.images
    hashes = _hashes(files)
    folder = cache_dir() / f"{files.name}-{files.split}-{height}x{width}-{_key(files, sizes, hashes)}"
    return _open(files, built_and_sealed(folder, lambda beside: _build(files, sizes, hashes, beside)), stored)


class _Sizes(NamedTuple):
    """The wanted (height, width) of images and of labels, and whether images may be resized."""

    images: tuple[int, int]
    labels: tuple[int, int]
    may_resize: bool


def _check_unique(files: SceneFiles) -> None:
    first = dict(zip(reversed(files.item_names), reversed(files.images), strict=True))
    for name, path in zip(files.item_names, files.images, strict=True):
        if first[name] != path:
            other = os.path.relpath(first[name], path.parent)
            raise DataError(f"{path}: its item has the same name as that of {other}; allowed: unique names")


def _hashes(files: SceneFiles) -> list[str]:
    """Return the hash of the content of each image and then of each label."""
    try:
        return content_hashes([*files.images, *files.labels], f"{files.name} {files.split}")
    except FileNotFoundError as error:
        message = f"{error.filename}: missing, or a link to what is missing; every image needs its label file"
        raise DataError(message) from error
    except OSError as error:
        raise unreadable(error.filename, error) from error


def _key(files: SceneFiles, sizes: _Sizes, hashes: list[str]) -> str:
    asked = sizes.images if sizes.images == sizes.labels else sizes[:2]
    content = (VERSION, asked, _said(files.meaning), files.item_names, hashes)
    return hashlib.sha256(repr(content).encode()).hexdigest()[:12]


def _said(meaning: LabelMeaning) -> object:
    """Return what decides over the classes of pixels."""
    values = meaning.of_value.tolist()
    return (
        (values, sorted(meaning.of_colour.items()), meaning.by, meaning.unknown_colour) if meaning.of_colour else values
    )


def _build(files: SceneFiles, sizes: _Sizes, hashes: list[str], folder: Path) -> None:
    count = len(files.images)
    images = new_array(folder / "images.npy", (count, 3, *sizes.images))
    labels = new_array(folder / "labels.npy", (count, *sizes.labels)) if files.labels else _void(count, sizes.labels)

    def decode(index: int) -> None:
        images[index], classes = _decode(files, index, sizes)
        if classes is not None:
            labels[index] = classes

    with ThreadPoolExecutor(os.cpu_count()) as workers:
        progress = bar(count, f"decoding {files.name} {files.split}")
        for _ in workers.map(decode, range(count)):
            progress.update()
        progress.close()
    for array in (images, labels):
        if isinstance(array, np.memmap):
            array.flush()
    for path, before, now in zip([*files.images, *files.labels], hashes, _hashes(files), strict=True):
        if before != now:
            raise DataError(f"{path}: changed while it was decoded; start again when the files stay as they are")
    (folder / "fingerprint.json").write_text(json.dumps(fingerprint(images, labels)))


def _void(count: int, size: tuple[int, int]) -> np.ndarray:
    return np.broadcast_to(np.uint8(IGNORE_INDEX), (count, *size))


def new_array(path: Path, shape: tuple[int, ...], dtype: DTypeLike = np.uint8) -> np.memmap:
    """Return a new memory-mapped array in the file `path`; raise `OSError` if the disk has no room for it."""
    array = np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=shape)
    if hasattr(os, "posix_fallocate"):  # without reserved room, a write to the map kills the process on a full disk
        with path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    return array


def mapped(path: Path, mode: Literal["r", "r+"] = "r") -> np.ndarray:
    """Return the array in the file `path`, memory-mapped; raise `DataError` with the reason if it cannot be read."""
    try:
        return np.load(path, mmap_mode=mode)
    except OSError as error:
        raise unreadable(path, error) from error


def _decode(files: SceneFiles, index: int, sizes: _Sizes) -> tuple[np.ndarray, np.ndarray | None]:
    image = read_image(files.images[index])
    classes = read_label_of(image.size, files.labels[index], files.meaning) if files.labels else None
    (height, width), label_size, may_resize = sizes
    if image.size != (width, height):
        if not may_resize:
            raise DataError(
                f"{files.images[index]}: size {image.size}, the first has {width, height}; give height and width"
            )
        image = _resized(image, width, height)
    if classes is not None and classes.shape != label_size:
        if sizes.labels != sizes.images:
            raise DataError(
                f"{files.labels[index]}: size {classes.shape[::-1]}, the first has {label_size[::-1]}; scores at the"
                " native resolution need one size, test_resolution can be training"
            )
        classes = resized_label(classes, label_size)
    return np.asarray(image).transpose(2, 0, 1), classes


def resized_label(classes: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return classes (H, W) at another size (height, width), each that of the nearest pixel."""
    return np.asarray(Image.fromarray(classes).resize(size[::-1], Image.Resampling.NEAREST))


def _resized(image: Image.Image, width: int, height: int) -> Image.Image:
    factor = image.width // width
    if factor and image.size == (factor * width, factor * height):
        return image.reduce(factor)
    return image.resize((width, height), Image.Resampling.BILINEAR)


def fingerprint(images: np.ndarray, labels: np.ndarray) -> str:
    """Return the hexadecimal SHA-256 of the shapes and bytes of both arrays."""
    digest = hashlib.sha256(repr((images.shape, labels.shape)).encode())
    for array in (images, labels):
        for item in array:
            digest.update(np.ascontiguousarray(item).data)
    return digest.hexdigest()


def _open(files: SceneFiles, folder: Path, stored_size: tuple[int, int]) -> ImageDataset:
    images = mapped(folder / "images.npy")
    labels = mapped(folder / "labels.npy") if files.labels else _void(len(images), images.shape[2:])
    known = json.loads((folder / "fingerprint.json").read_text())
    return ImageDataset(
        files.name,
        files.split,
        images,
        labels,
        files.item_names,
        files.class_names,
        files.colours,
        files.mean,
        files.std,
        known,
        files.label_values,
        files.categories,
        stored_size,
        sequences=files.sequences,
    )
