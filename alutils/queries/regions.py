"""Regions of scenes that are labelled instead of whole images: windows of a grid, or superpixels; and their cost."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from alutils.datasets import IGNORE_INDEX, ImageDataset
from alutils.datasets.cache import new_array
from alutils.errors import ParameterError, check_range
from alutils.files import built_once
from alutils.paths import cache_dir
from alutils.progress import bar

TOLERANCE = 1.0  # pixels that a polygon may run beside the outline it stands for
VERSION = 1  # raise it when the same images would get other superpixels


@dataclass(frozen=True)
class Regions:
    """How a scene is divided: into `rows` x `columns` windows, or into about `superpixels` superpixels by SLIC.

    A superpixel depends on the image alone (Achanta et al. 2012).
    """

    rows: int = 1
    columns: int = 1
    superpixels: int = 0

    def divide(self, dataset: ImageDataset) -> tuple[np.ndarray, int]:
        """Return the region of each pixel, (N, H, W) uint16, and the most that an image has.

        Superpixels come from the cache, or are made now. Raises `ParameterError` for digits and impossible numbers.
        """
        if not dataset.is_dense:
            raise ParameterError(f"{dataset.name} has one label an image; allowed: queries of whole images")
        height, width = dataset.images.shape[2:]
        if self.superpixels:
            check_range("superpixels", self.superpixels, 2, height * width // 4)
            maps = _superpixels(dataset, self.superpixels)
            return maps, 1 + max(int(regions.max()) for regions in maps)
        check_range("rows of windows", self.rows, 1, height)
        check_range("columns of windows", self.columns, 1, width)
        row, column = np.arange(height) * self.rows // height, np.arange(width) * self.columns // width
        window = (row[:, None] * self.columns + column).astype(np.uint16)
        return np.broadcast_to(window, (len(dataset), height, width)), self.rows * self.columns


def _superpixels(dataset: ImageDataset, count: int) -> np.ndarray:
    height, width = dataset.images.shape[2:]
    name = f"{dataset.name}-{dataset.split}-{height}x{width}-superpixels{count}-{VERSION}-{dataset.fingerprint[:12]}"
    path = cache_dir() / f"{name}.npy"
    return np.load(built_once(path, lambda beside: _write_superpixels(beside, dataset, count)), mmap_mode="r")


def _write_superpixels(path: Path, dataset: ImageDataset, count: int) -> None:
    from skimage.segmentation import slic

    maps = new_array(path, (len(dataset), *dataset.images.shape[2:]), np.uint16)

    def divide(index: int) -> None:
        found = slic(dataset.images[index].transpose(1, 2, 0), count, start_label=0, channel_axis=-1)
        maps[index] = np.unique(found, return_inverse=True)[1]  # without gaps

    with ThreadPoolExecutor() as workers:
        progress = bar(len(dataset), f"superpixels of {dataset.name}")
        for _ in workers.map(divide, range(len(dataset))):
            progress.update()
        progress.close()
    maps.flush()


def region_scores(scores: Tensor, maps: np.ndarray, count: int, reduction: Callable[[Tensor], Tensor]) -> Tensor:
    """Return each region's score, (N, `count`), from scores (N, H, W) and maps (N, H, W); NaN where there is none."""
    found = scores.new_full((len(scores), count), torch.nan)
    for image, (flat, regions) in enumerate(zip(scores.flatten(1), maps.reshape(len(maps), -1), strict=True)):
        order = torch.from_numpy(np.argsort(regions, kind="stable")).to(flat.device)
        parts = flat[order].split(np.bincount(regions, minlength=count).tolist())
        for region, part in enumerate(parts):
            if len(part):
                found[image, region] = reduction(part[None])[0]
    return found


class Pieces:
    """What of a data set is labelled at a time: images, or regions of them; numbered image by image.

    images, regions : (P,), of which image a piece is, and which region of it
    sizes : (P,), what it takes of the budget: 1 for an image, its pixels for a region
    """

    def __init__(self, dataset: ImageDataset, regions: Regions | None):
        self.dataset, self.maps = dataset, None
        counts, self.sizes = np.ones(len(dataset), np.int64), np.ones(len(dataset), np.int64)
        if regions is not None:
            self.maps, _ = regions.divide(dataset)
            by_image = [np.bincount(of_image.ravel()) for of_image in self.maps]
            counts, self.sizes = np.array([len(sizes) for sizes in by_image]), np.concatenate(by_image)
        self._first = np.cumsum(counts) - counts
        self.images = np.repeat(np.arange(len(dataset)), counts)
        self.regions = np.arange(len(self.sizes)) - self._first[self.images]

    def numbers(self, images: np.ndarray, regions: np.ndarray) -> np.ndarray:
        """Return the pieces that are these regions of these images, both (A,); a region below 0 is all of its image."""
        whole = np.flatnonzero(np.isin(self.images, images[regions < 0]))
        return np.concatenate([whole, (self._first[images] + regions)[regions >= 0]])

    def room(self, budget: int, pieces: np.ndarray) -> int:
        """Return what is left of a budget of so many images' worth when `pieces` are labelled, in the unit of sizes."""
        return budget * (1 if self.maps is None else self.maps[0].size) - int(self.sizes[pieces].sum())

    def labelled_only(self, pieces: np.ndarray) -> tuple[ImageDataset, np.ndarray]:
        """Return the data set with all labels void but those of `pieces`, and the images that have some, ascending."""
        images = np.unique(self.images[pieces])
        if self.maps is None:
            return self.dataset, images
        is_labelled = np.zeros(len(self.sizes), bool)
        is_labelled[pieces] = True
        labels = np.full_like(self.dataset.labels, IGNORE_INDEX)
        for image in images:
            area = is_labelled[self._first[image] + self.maps[image]]
            labels[image][area] = self.dataset.labels[image][area]
        return replace(self.dataset, labels=labels), images

    def cost(self, image: int, region: int) -> dict[str, int]:
        """Return the pixels of a scene's region, below 0 of all of it, and the clicks that labelling it takes."""
        label = self.dataset.labels[image]
        area = np.ones_like(label, bool) if self.maps is None or region < 0 else self.maps[image] == region
        return {"pixels": int(area.sum()), "clicks": clicks(label, area)}


def clicks(label: np.ndarray, area: np.ndarray) -> int:
    """Return the clicks that labelling an area of a scene takes; label (H, W), area (H, W) bool.

    The corners of polygons, at most `TOLERANCE` from the outlines, around each part of each class; one click if the
    area is of one class, none if it is void.
    """
    from skimage.measure import approximate_polygon, find_contours

    classes = [value for value in np.unique(label[area]) if value != IGNORE_INDEX]
    if len(classes) <= 1:
        return len(classes)
    parts = [np.pad((label == value) & area, 1).astype(np.float32) for value in classes]
    outlines = [outline for part in parts for outline in find_contours(part, 0.5)]
    return sum(max(1, len(approximate_polygon(outline, TOLERANCE)) - 1) for outline in outlines)
