"""Random changes to whole batches of scenes on the device. Geometric changes move an image and its label together."""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from alutils.datasets import IGNORE_INDEX
from alutils.models.base import Maps

SCALES = (0.5, 2.0)  # smallest and largest factor of an image's size
FACTORS = (0.75, 1.33)  # smallest and largest factor of brightness, contrast and saturation


def augment(images: Any, labels: Tensor, *, names: Iterable[str], generator: np.random.Generator) -> tuple[Any, Tensor]:
    """Apply the changes `names` (keys of `CHANGES`) to a batch, one after the other.

    images : (B, 3, H, W), bytes or floats from 0 to 255; or `Maps`, which can be flipped
    labels : (B, H, W) uint8
    """
    for name in names:
        images, labels = CHANGES[name](images, labels, generator)
    return images, labels


def flip(images: Any, labels: Tensor, generator: np.random.Generator) -> tuple[Any, Tensor]:
    """Mirror about half of the images, or of their maps, and their labels left to right."""
    chosen = torch.from_numpy(generator.random(len(labels)) < 0.5).to(labels.device)
    if isinstance(images, Maps):
        images = images._replace(levels=[_mirrored(level, chosen) for level in images.levels])
    else:
        images = _mirrored(images, chosen)
    return images, _mirrored(labels, chosen)


def _mirrored(array: Tensor, chosen: Tensor) -> Tensor:
    """Return an array (B, ..., W), mirrored where `chosen` (B,) is true."""
    return torch.where(chosen.view(-1, *[1] * (array.ndim - 1)), array.flip(-1), array)


def scale(images: Tensor, labels: Tensor, generator: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Enlarge or shrink each image and its label by a random factor.

    An enlarged image is cropped; a shrunk one gets a black frame, which is labelled void. Factors are log-uniform in
    `SCALES`, and the position of the crop or of the image in its frame is uniform. Images are sampled bilinearly,
    labels at the nearest pixel of the same grid.
    """
    factors = log_uniform(SCALES, (len(images),), generator)
    theta = np.zeros((len(images), 2, 3), np.float32)
    theta[:, 0, 0] = theta[:, 1, 1] = 1 / factors
    theta[:, :, 2] = generator.uniform(-1, 1, (len(images), 2)) * np.abs(1 - 1 / factors)[:, None]
    grid = F.affine_grid(torch.from_numpy(theta).to(images.device), list(images.shape), align_corners=False)
    above_void = labels[:, None].float() - IGNORE_INDEX  # `grid_sample` gives 0 outside the image
    moved = F.grid_sample(above_void, grid, mode="nearest", align_corners=False)[:, 0] + IGNORE_INDEX
    return F.grid_sample(images.float(), grid, align_corners=False), moved.to(labels.dtype)


def colour(images: Tensor, labels: Tensor, generator: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Change each image's brightness, contrast and saturation, and no label."""
    drawn = log_uniform(FACTORS, (3, len(images), 1, 1, 1), generator).astype(np.float32)
    brightness, contrast, saturation = torch.from_numpy(drawn).to(images.device)
    mean = images.mean(dim=(1, 2, 3), keepdim=True, dtype=torch.float32)
    images = brightness * mean + contrast * (images - mean)
    grey = images.mean(dim=1, keepdim=True)
    return grey + saturation * (images - grey), labels


def log_uniform(bounds: tuple[float, float], shape: tuple[int, ...], generator: np.random.Generator) -> np.ndarray:
    """Return random factors between `bounds`, an array of `shape`; their logarithms are uniform."""
    low, high = np.log(bounds)
    return np.exp(generator.uniform(low, high, shape))


CHANGES: dict[str, Callable[[Any, Tensor, np.random.Generator], tuple[Any, Tensor]]] = {
    "flip": flip,
    "scale": scale,
    "colour": colour,
}
