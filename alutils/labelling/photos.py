"""A person's photographs as a pool: all of them with maps of a frozen encoder, and the labels that there are so far."""

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from alutils.datasets.base import IGNORE_INDEX, ImageDataset
from alutils.datasets.cache import cached, resized_label
from alutils.datasets.decoding import upright_size
from alutils.datasets.folder import listed, meaning_of, of_stems, read_description
from alutils.datasets.labels import read_label_of
from alutils.models import DEFAULT_ENCODER
from alutils.models.encoders import encoded
from alutils.training.loop import default_device

if TYPE_CHECKING:
    from alutils.datasets.description import Description

AREA = 360 * 480  # pixels of a photograph for the network, unless a size is given
MULTIPLE = 8  # of which height and width are


class Photos(NamedTuple):
    """A pool of N photographs.

    dataset : all of them at one size, with an encoder's maps; labels are void where there are none
    files, sizes : their files, and their width and height as one sees them
    labelled : the positions of those with a label file, ascending
    """

    description: "Description"
    split: str
    dataset: ImageDataset
    files: list[Path]
    sizes: list[tuple[int, int]]
    labelled: np.ndarray

    @property
    def unlabelled(self) -> np.ndarray:
        """Return the positions of the photographs without a label file, ascending."""
        return np.setdiff1d(np.arange(len(self.files)), self.labelled)

    @property
    def have_classes(self) -> bool:
        """Whether a pixel of a label has a class, so that a network can learn from it."""
        return bool((self.dataset.labels != IGNORE_INDEX).any())


def read_photos(path: Path, split: str = "train", size: tuple[int, int] | None = None) -> Photos:
    """Return the photographs of a split of the data set that a YAML file describes.

    size : the height and width that the network reads; by default those of the median photograph's proportions with
        about `AREA` pixels

    Photographs are decoded and encoded once: further labels change nothing of that. Raises `DataError` for a file that
    is wrong; `alutils check` lists all of them.
    """
    description = read_description(path)
    images, labels = listed(description, path.resolve().parent, split)
    stems = [*images]
    sizes = [upright_size(image) for image in images.values()]
    height, width = size or default_size(sizes)
    pool = cached(of_stems(description, split, stems, images, []), (height, width), native_labels=False)
    pool = encoded(pool, DEFAULT_ENCODER, None, default_device())
    labelled = np.array([position for position, stem in enumerate(stems) if stem in labels], int)
    classes = np.full((len(stems), height, width), IGNORE_INDEX, np.uint8)
    meaning = meaning_of(description)

    def decode(position: int) -> None:
        found = read_label_of(sizes[position], labels[stems[position]], meaning)
        classes[position] = resized_label(found, (height, width))

    with ThreadPoolExecutor(os.cpu_count()) as workers:
        [*workers.map(decode, labelled)]
    return Photos(description, split, replace(pool, labels=classes), [*images.values()], sizes, labelled)


def default_size(sizes: list[tuple[int, int]]) -> tuple[int, int]:
    """Return the height and width that a network reads photographs of these widths and heights at.

    They are multiples of `MULTIPLE`, and have about `AREA` pixels or those of the smallest photograph.
    """
    proportions = float(np.median([width / height for width, height in sizes]))
    area = min(AREA, *(width * height for width, height in sizes))
    sides = (area / proportions) ** 0.5, (area * proportions) ** 0.5
    height, width = (max(MULTIPLE, round(side / MULTIPLE) * MULTIPLE) for side in sides)
    return height, width
