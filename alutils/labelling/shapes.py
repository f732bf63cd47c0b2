"""Shapes that people draw on a photograph, and the classes of its pixels that they make."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from alutils.datasets.base import IGNORE_INDEX
from alutils.errors import DataError, did_you_mean

VOID, REGION = "ignore", "region"  # labels beside the classes: pixels that do not count, and what is to be labelled
UNCOVERED = -1
MUCH = 0.1  # of the pixels; from there on, it is worth a line that they are void
SEAM = 0.002  # the share of an image's pixels that shapes of several labels may share, as neighbours' borders do


Check = Callable[[str, tuple[int, int]], object]
"""Raises `DataError` for the name of an image that is not known, or that has another size (width, height)."""


class Shape(NamedTuple):
    """A mask (h, w) bool with its upper left corner at the pixel (top, left); a higher `order` lies above."""

    label: str
    order: int
    top: int
    left: int
    mask: np.ndarray


class Shapes(NamedTuple):
    """All shapes on the image `name`, of which the tool says that it has this `size` (width, height)."""

    name: str
    size: tuple[int, int]
    shapes: Sequence[Shape]


class Outline(NamedTuple):
    """A line around what is to be labelled; points (x, y)."""

    label: str
    points: Sequence[tuple[float, float]]


class Drawing(NamedTuple):
    """What is drawn on a photograph before a person sees it.

    file : the name of the photograph's file
    classes : (H, W) uint8; void pixels are not drawn
    names : the name of each class
    elsewhere : (H, W) bool, what is not to be labelled, or `None`
    outlines : of what is to be labelled
    """

    file: str
    classes: np.ndarray
    names: Sequence[str]
    elsewhere: np.ndarray | None = None
    outlines: Sequence[Outline] = ()

    def masks(self) -> Iterator[tuple[str, np.ndarray]]:
        """Yield the name and the mask (H, W) of each class that occurs, one mask a class, and that of `elsewhere`."""
        for number, name in enumerate(self.names):
            mask = self.classes == number
            if mask.any():
                yield name, mask
        if self.elsewhere is not None and self.elsewhere.any():
            yield VOID, self.elsewhere


def filled(points: Sequence[Sequence[float]], height: int, width: int) -> np.ndarray:
    """Return which pixels (H, W) have their centre in a polygon of points (x, y); raise `ValueError` if it is none."""
    from skimage.draw import polygon

    corners = np.array(points, float)
    if corners.ndim != 2 or corners.shape[1] != 2 or len(corners) < 3 or not np.isfinite(corners).all():
        raise ValueError("a polygon without three points of two numbers")
    mask = np.zeros((height, width), bool)
    mask[polygon(corners[:, 1] - 0.5, corners[:, 0] - 0.5, mask.shape)] = True
    return mask


def classes_of(found: Shapes, numbers: Mapping[str, int], *, later_wins: bool = False) -> np.ndarray:
    """Return the class of each pixel, (H, W) int16: what lies on top; `UNCOVERED` where no shape is.

    numbers : the number of each label's class
    later_wins : whether of shapes of one order the later one in the file lies above

    Raises `DataError` for a label that is no class, and where shapes of one order and several labels share more pixels
    than a `SEAM`.
    """
    known = {**numbers, VOID: IGNORE_INDEX}
    width, height = found.size
    classes, orders = np.full((height, width), UNCOVERED, np.int16), np.full((height, width), -(2**31), np.int64)
    shared = 0
    for shape in sorted(found.shapes, key=lambda shape: shape.order):
        if shape.label == REGION:
            continue
        if shape.label not in known:
            hint = did_you_mean(shape.label, known)
            raise DataError(f"{found.name}: label {shape.label!r}; {hint}allowed: {', '.join(known)}")
        area = np.s_[shape.top : shape.top + shape.mask.shape[0], shape.left : shape.left + shape.mask.shape[1]]
        below, is_level = classes[area], orders[area] == shape.order
        shared += int((shape.mask & is_level & (below != UNCOVERED) & (below != known[shape.label])).sum())
        below[shape.mask], orders[area][shape.mask] = known[shape.label], shape.order
    if shared > SEAM * classes.size and not later_wins:
        raise DataError(
            f"{found.name}: shapes of several labels share {shared} pixels; allowed: one label a pixel, or"
            " --later-wins for the later shape"
        )
    return classes
