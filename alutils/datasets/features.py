"""Maps of a frozen encoder: made once for all images, into memory-mapped arrays that all runs share."""

import hashlib
import io
import json
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np

from alutils.contents import built_and_sealed, content_hashes
from alutils.datasets.base import Features, ImageDataset
from alutils.datasets.cache import mapped, new_array
from alutils.errors import DataError
from alutils.files import read_mapping, write_whole
from alutils.paths import cache_dir
from alutils.progress import bar

VERSION = 1  # raise it when the same encoder would give the same images other maps
BATCH = 8  # images that are encoded at a time
SAVE_EVERY = 5.0  # seconds between two notes of how far the maps are made
SAMPLE = 64  # images over which the mean and the standard deviation of each channel are taken
NOTE = "done.json"

Encode = Callable[[np.ndarray], list[np.ndarray]]


def with_features(dataset: ImageDataset, encoder: str, digest: str, load: Callable[[], Encode]) -> ImageDataset:
    """Return `dataset` with the maps of an encoder; the first call makes them, or goes on where a killed one was.

    The name of the cache folder holds a key over the images, `digest` and `VERSION`: if any of them changes, a new
    folder is made. The room for all maps is taken before the first one is written.

    encoder : a name for the folder
    digest : what tells the maps of this encoder from those of all others
    load : returns a function that gives maps (B, h, w, D) float16, from fine to coarse, of images (B, 3, H, W) uint8

    Raises `OSError` if the disk has no room, `DataError` if a map has a number that is not finite.
    """
    digest = hashlib.sha256(repr((VERSION, digest)).encode()).hexdigest()
    key = hashlib.sha256(repr((digest, _digest(dataset.images))).encode()).hexdigest()[:12]
    height, width = dataset.images.shape[2:]
    folder = cache_dir() / f"{dataset.name}-{dataset.split}-{height}x{width}-{encoder}-{key}"
    built_and_sealed(folder, lambda beside: _build(dataset, load, beside), resumable=True)
    return replace(dataset, features=_open(folder, digest, (height, width)))


def _digest(images: np.ndarray) -> str:
    """Return the SHA-256 of the images; that of a mapped file is remembered."""
    if isinstance(images, np.memmap):
        (digest,) = content_hashes([Path(str(images.filename))], "images", may_change=False)
        return digest
    return hashlib.sha256(np.ascontiguousarray(images).data).hexdigest()


def _build(dataset: ImageDataset, load: Callable[[], Encode], folder: Path) -> None:
    count, done = len(dataset), int(read_mapping(folder / NOTE).get("images", 0))
    levels = _levels(folder, "r+") if 0 < done < count else []
    encode = load() if done < count else None
    progress, saved = bar(count, f"encoding {dataset.name} {dataset.split}"), time.monotonic()
    progress.update(done)
    while encode and done < count:
        batch = encode(dataset.images[done : done + BATCH])
        levels = levels or _room(folder, count, batch)
        for level, maps in zip(levels, batch, strict=True):
            _check_finite(maps, dataset.item_names[done : done + BATCH], folder)
            level[done : done + BATCH] = maps
        progress.update(len(batch[0]))
        done += len(batch[0])
        if done == count or time.monotonic() - saved > SAVE_EVERY:
            _note(folder, levels, done)
            saved = time.monotonic()
    progress.close()
    _write_statistics(folder)


def _room(folder: Path, count: int, batch: list[np.ndarray]) -> list[np.ndarray]:
    """Return new arrays for the maps of `count` images like those of `batch`."""
    try:
        return [
            new_array(folder / f"level{number}.npy", (count, *maps.shape[1:]), np.float16)
            for number, maps in enumerate(batch)
        ]
    except OSError:
        shutil.rmtree(folder)  # what room there is belongs to others
        raise


def _note(folder: Path, levels: list[np.ndarray], done: int) -> None:
    """Write how many images are encoded, once their maps are on the disk."""
    for level in levels:
        level.flush()  # type: ignore[attr-defined]
    write_whole(folder / NOTE, json.dumps({"images": done}))


def _check_finite(maps: np.ndarray, items: list[str], folder: Path) -> None:
    """Raise `DataError` for maps that are not finite, and remove `folder`: nobody can go on with it."""
    broken = np.flatnonzero(~np.isfinite(maps).reshape(len(maps), -1).all(axis=1))
    if len(broken):
        shutil.rmtree(folder)
        raise DataError(f"{items[broken[0]]}: the encoder's maps are not finite in float16; allowed: another encoder")


def _levels(folder: Path, mode: Literal["r", "r+"]) -> list[np.ndarray]:
    """Return the arrays (N, h, w, D) of all levels."""
    count = len(list(folder.glob("level*.npy")))
    return [mapped(folder / f"level{number}.npy", mode) for number in range(count)]


def _write_statistics(folder: Path) -> None:
    arrays: dict[str, np.ndarray] = {}
    for number, level in enumerate(_levels(folder, "r")):
        chosen = np.linspace(0, len(level) - 1, min(SAMPLE, len(level))).round().astype(int)
        values = (level[image].reshape(-1, level.shape[-1]).astype(np.float64) for image in chosen)
        mean, square = np.mean([(of_image.mean(axis=0), (of_image**2).mean(axis=0)) for of_image in values], axis=0)
        arrays |= {f"mean{number}": mean, f"std{number}": np.sqrt(np.maximum(square - mean**2, 0))}
    buffer = io.BytesIO()
    np.savez(buffer, **{name: array.astype(np.float32) for name, array in arrays.items()})  # type: ignore[arg-type]
    write_whole(folder / "statistics.npz", buffer.getbuffer())


def _open(folder: Path, digest: str, size: tuple[int, int]) -> Features:
    levels = _levels(folder, "r")
    with np.load(folder / "statistics.npz") as known:
        means, stds = ([known[f"{name}{number}"] for number in range(len(levels))] for name in ("mean", "std"))
    strides = tuple(round(max(np.divide(size, level.shape[1:3]))) for level in levels)
    maps = tuple(level.transpose(0, 3, 1, 2) for level in levels)
    return Features(digest, maps, strides, tuple(means), tuple(stds))
