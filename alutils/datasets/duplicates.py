"""Near-duplicates: photographs that show one view, a little moved or with another car."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from PIL import Image

SIZE = (32, 16)  # pixels (width, height) of a thumbnail
NEAR = 0.35  # two thumbnails of mean 0 and variance 1 whose root mean square difference is smaller show one view


def thumbnail(photo: Image.Image) -> np.ndarray:
    """Return a photograph in RGB, reduced to a few numbers of mean 0 and mean square 1 / their count; float32."""
    vector = np.asarray(photo.resize(SIZE, Image.Resampling.BOX), np.float32).ravel()
    vector -= vector.mean()
    return vector / max(float(np.linalg.norm(vector)), 1e-6)


def thumbnails(images: Iterable[np.ndarray]) -> list[np.ndarray]:
    """Return the thumbnail of each image (3, H, W) uint8."""
    return [thumbnail(Image.fromarray(image.transpose(1, 2, 0))) for image in images]


def near_duplicates(thumbnails: Sequence[np.ndarray]) -> Any:
    """Return a sparse (N, N) matrix that is 1 where two of N thumbnails are those of near-duplicates, else 0.

    scikit-learn takes the distances a few rows at a time, so that memory does not grow with N squared.
    """
    from sklearn.neighbors import radius_neighbors_graph

    return radius_neighbors_graph(np.stack(thumbnails), NEAR)
