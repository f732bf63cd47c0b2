"""What every data set is: images and labels as uint8 arrays, with the names of items, classes and colours."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

IGNORE_INDEX = 255
CLIP = 20  # images

Colour = tuple[int, int, int]  # red, green, blue

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class Item(NamedTuple):
    """One image, (C, H, W) uint8; its label, one class or (H, W) classes, uint8; and its name."""

    image: np.ndarray
    label: np.ndarray
    name: str


class Features(NamedTuple):
    """Maps that a frozen encoder has made of a data set's images.

    levels : (N, D, h, w) float16 each, from fine to coarse
    digest : what tells the maps of this encoder from those of all others
    strides : pixels of the image for one of each level's maps
    means, stds : (D,) float32 each, of every channel over the images
    """

    digest: str
    levels: tuple[np.ndarray, ...]
    strides: tuple[int, ...]
    means: tuple[np.ndarray, ...]
    stds: tuple[np.ndarray, ...]


@dataclass(frozen=True, eq=False)  # compared and hashed by identity
class ImageDataset:
    """One split of a data set, as arrays that may be memory-mapped.

    images : (N, C, H, W) uint8; one channel for digits, three (RGB) for scenes
    labels : (N,) uint8 for digits, (N, H, W) uint8 for scenes; `IGNORE_INDEX` marks void; the labels of a test set may
        be larger than its images
    item_names : N unique names, as in the data set's files
    class_names, colours : one name and one RGB triple (0..255) for each class
    mean, std : mean and standard deviation of each channel scaled to 0..1, for normalisation
    fingerprint : hexadecimal SHA-256 of images and labels
    label_values : the value of each class in label files, and last that of void; empty if there are no label files
    categories : named groups of classes; each is also scored as if it were one class
    stored_size : height and width of the first image as stored; None if there are no image files
    features : what a network reads in place of the images; None for networks that read images
    sequences : how the names of the images of each sequence begin, such as one drive's; empty if nothing was filmed
    """

    name: str
    split: str
    images: np.ndarray
    labels: np.ndarray
    item_names: list[str]
    class_names: list[str]
    colours: list[Colour]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    fingerprint: str
    label_values: Sequence[int] = ()
    categories: Mapping[str, Sequence[int]] = field(default_factory=dict)
    stored_size: tuple[int, int] | None = None
    features: Features | None = None
    sequences: Sequence[str] = ()

    def __len__(self) -> int:
        """Return N, the number of images."""
        return len(self.item_names)

    def __getitem__(self, index: int) -> Item:
        """Return the item at `index`."""
        return Item(self.images[index], self.labels[index], self.item_names[index])

    @property
    def num_classes(self) -> int:
        """Return C, the number of classes without void."""
        return len(self.class_names)

    @property
    def is_dense(self) -> bool:
        """Return True if each pixel has a label (scenes), False if each image has one (digits)."""
        return self.labels.ndim == 3


def clips(dataset: ImageDataset) -> list[tuple[str, np.ndarray]]:
    """Return each clip's sequence and the positions of its images: at most `CLIP` that follow each other in it.

    Frames of one clip look alike, so a bootstrap of a test set draws clips, not images. Images of no sequence have the
    sequence ""; digits are one clip.
    """
    if not dataset.is_dense:
        return [("", np.arange(len(dataset)))]
    sequences = [
        next((start.rstrip("_- ") for start in dataset.sequences if name.startswith(start)), "")
        for name in dataset.item_names
    ]
    found = []
    for sequence, positions in groupby(range(len(sequences)), key=sequences.__getitem__):
        images = np.array([*positions])
        found += [(sequence, clip) for clip in np.array_split(images, math.ceil(len(images) / CLIP))]
    return found


def label_counts(dataset: ImageDataset, indices: np.ndarray, void_class: bool = False) -> np.ndarray:
    """Return (C,) int64: the number of pixels, or of digits, of each class in the images `indices`.

    With `void_class`, the result is (C + 1,), and the last number counts void.
    """
    counts = np.zeros(IGNORE_INDEX + 1, np.int64)
    for index in indices:
        counts += np.bincount(dataset.labels[index].ravel(), minlength=len(counts))
    classes = counts[: dataset.num_classes]
    return np.append(classes, counts[IGNORE_INDEX]) if void_class else classes


@dataclass(frozen=True)
class LabelMeaning:
    """What the pixels of label files stand for: a class, `IGNORE_INDEX` for void, or -1 for what must not occur.

    of_value : (256,) int16, for each label value
    of_colour : for each colour that stands for something
    by : what decides; `None` for the value in files of one channel, and for the colour in files of colours
    unknown_colour : for all other colours, void or -1
    class_names : for messages
    """

    of_value: np.ndarray
    of_colour: Mapping[Colour, int] = field(default_factory=dict)
    by: Literal["value", "colour"] | None = None
    unknown_colour: int = -1
    class_names: Sequence[str] = ()


@dataclass(frozen=True)
class SceneFiles:
    """The files of one split of scenes, before anything is decoded.

    labels : one file for each image, or none at all
    """

    name: str
    split: str
    images: list[Path]
    labels: list[Path]
    item_names: list[str]
    meaning: LabelMeaning
    class_names: list[str]
    colours: list[Colour]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    categories: Mapping[str, Sequence[int]] = field(default_factory=dict)
    sequences: Sequence[str] = ()

    @property
    def label_values(self) -> list[int]:
        """Return the lowest label value of each class and, last, that of void."""
        numbers = [*range(len(self.class_names)), IGNORE_INDEX]
        found = [np.flatnonzero(self.meaning.of_value == number) for number in numbers]
        return [int(values[0]) if len(values) else IGNORE_INDEX for values in found]
