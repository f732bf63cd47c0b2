"""Regions of scenes, which can be labelled instead of whole images: windows of a grid, or superpixels; their cost."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from alutils.contents import built_and_sealed
from alutils.datasets import IGNORE_INDEX, ImageDataset
from alutils.datasets.cache import mapped, new_array
from alutils.errors import ParameterError, check_range
from alutils.paths import cache_dir
from alutils.progress import bar
from alutils.queries.parts import Superpixels, Windows

TOLERANCE = 1.0  # pixels that a polygon may be away from its outline
SUPERPIXELS = "superpixels.npy"
VERSION = 1  # raise it when the same images would get other superpixels


def divide(dataset: ImageDataset, regions: Windows | Superpixels) -> tuple[np.ndarray, int]:
    """Return the region of each pixel, (N, H, W) uint16, and the largest number of regions in an image.

    SLIC makes superpixels from the image alone (Achanta et al. 2012); they come from the cache, or are made now. Raises
    `ParameterError` for digits, and for more regions than the images have room for.
    """
    if not dataset.is_dense:
        raise ParameterError(f"{dataset.name} has one label per image; allowed: queries of whole images")
    height, width = dataset.images.shape[2:]
    if isinstance(regions, Superpixels):
        check_range("count of superpixels", regions.count, 2, height * width // 4)
        maps = _superpixels(dataset, regions.count)
        return maps, 1 + max(int(of_image.max()) for of_image in maps)
    check_range("rows of windows", regions.rows, 1, height)
    check_range("columns of windows", regions.columns, 1, width)
    row, column = np.arange(height) * regions.rows // height, np.arange(width) * regions.columns // width
    window = (row[:, None] * regions.columns + column).astype(np.uint16)
    return np.broadcast_to(window, (len(dataset), height, width)), regions.rows * regions.columns


def _superpixels(dataset: ImageDataset, count: int) -> np.ndarray:
    height, width = dataset.images.shape[2:]
    name = f"{dataset.name}-{dataset.split}-{height}x{width}-superpixels{count}-{VERSION}-{dataset.fingerprint[:12]}"
    folder = built_and_sealed(
        cache_dir() / name, lambda beside: _write_superpixels(beside / SUPERPIXELS, dataset, count)
    )
    return mapped(folder / SUPERPIXELS)


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
    """Return each region's score, (N, `count`), from scores (N, H, W) and maps (N, H, W); NaN if it is missing."""
    found = scores.new_full((len(scores), count), torch.nan)
    for image, (flat, regions) in enumerate(zip(scores.flatten(1), maps.reshape(len(maps), -1), strict=True)):
        order = torch.from_numpy(np.argsort(regions, kind="stable")).to(flat.device)
        parts = flat[order].split(np.bincount(regions, minlength=count).tolist())
        for region, part in enumerate(parts):
            if len(part):
                found[image, region] = reduction(part[None])[0]
    return found


class Pieces:
    """The pieces of a data set that are labelled at a time: images, or regions of images; numbered image by image.

    images, regions : (P,), the image and the region that each piece is
    sizes : (P,), what labelling a piece takes from the budget: 1 for an image, its number of pixels for a region
    """

    def __init__(self, dataset: ImageDataset, regions: Windows | Superpixels | None):
        self.dataset, self.maps = dataset, None
        counts, self.sizes = np.ones(len(dataset), np.int64), np.ones(len(dataset), np.int64)
        if regions is not None:
            self.maps, _ = divide(dataset, regions)
            by_image = [np.bincount(of_image.ravel()) for of_image in self.maps]
            counts, self.sizes = np.array([len(sizes) for sizes in by_image]), np.concatenate(by_image)
        self._first = np.cumsum(counts) - counts
        self.images = np.repeat(np.arange(len(dataset)), counts)
        self.regions = np.arange(len(self.sizes)) - self._first[self.images]

    def numbers(self, images: np.ndarray, regions: np.ndarray) -> np.ndarray:
        """Return the pieces for pairs of image and region, both (A,); a region below 0 stands for the whole image.

        Raises `ValueError` for a region that its image does not have.
        """
        whole = np.flatnonzero(np.isin(self.images, images[regions < 0]))
        images, regions = images[regions >= 0], regions[regions >= 0]
        too_large = regions >= np.bincount(self.images)[images]
        if too_large.any():
            raise ValueError(f"image {images[too_large][0]} has no region {regions[too_large][0]}")
        return np.concatenate([whole, self._first[images] + regions])

    def room(self, budget: int, pieces: np.ndarray) -> int:
        """Return what `pieces` leave of a budget, in the unit of `sizes`; the budget is given in images."""
        return budget * (1 if self.maps is None else self.maps[0].size) - int(self.sizes[pieces].sum())

    def labelled_only(self, pieces: np.ndarray) -> tuple[ImageDataset, np.ndarray]:
        """Return the data set with void outside `pieces`, and the images that have a piece, ascending."""
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
        """Return how many pixels and clicks it takes to label a scene's region; a region below 0 is the whole scene."""
        label = self.dataset.labels[image]
        area = np.ones_like(label, bool) if self.maps is None or region < 0 else self.maps[image] == region
        return {"pixels": int(area.sum()), "clicks": clicks(label, area)}


def corners(area: np.ndarray) -> list[np.ndarray]:
    """Return polygons that outline the parts of an area (H, W) bool, holes included, at most `TOLERANCE` from it.

    Each is (corners, 2): row and column of each corner, in pixels; the last one leads back to the first.
    """
    from skimage.measure import approximate_polygon, find_contours

    outlines = find_contours(np.pad(area, 1).astype(np.float32), 0.5)
    return [approximate_polygon(outline, TOLERANCE)[:-1] - 1 for outline in outlines]


def clicks(label: np.ndarray, area: np.ndarray) -> int:
    """Return how many clicks it takes to label an area of a scene; label (H, W), area (H, W) bool.

    Each part of each class is outlined by a polygon; a click sets a corner. An area of one class takes one click, a
    void area none.
    """
    classes = [value for value in np.unique(label[area]) if value != IGNORE_INDEX]
    if len(classes) <= 1:
        return len(classes)
    return sum(max(1, len(polygon)) for value in classes for polygon in corners((label == value) & area))
