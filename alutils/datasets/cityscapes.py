"""Cityscapes in its own layout, and the drawn street scenes written in the same layout."""

from pathlib import Path

import numpy as np

from alutils.datasets import cache, streets
from alutils.datasets.base import IGNORE_INDEX, IMAGENET_MEAN, IMAGENET_STD, ImageDataset, SceneFiles
from alutils.errors import DataError, check_choice
from alutils.paths import cache_dir, data_dir

# The labels of the real test split are not public: `val` is what methods are tested on.
FOLDERS = {"train": "train", "val": "val", "test": "val"}

DRAWING_VERSION = 1  # raise it when a name of DRAWN would stand for other scenes

LABEL_IDS = 34  # ids 0 to 33 occur in label files
CLASSES = {  # of the label ids that are trained on: name and colour; every other id is void
    7: ("road", (128, 64, 128)),
    8: ("sidewalk", (244, 35, 232)),
    11: ("building", (70, 70, 70)),
    12: ("wall", (102, 102, 156)),
    13: ("fence", (190, 153, 153)),
    17: ("pole", (153, 153, 153)),
    19: ("traffic light", (250, 170, 30)),
    20: ("traffic sign", (220, 220, 0)),
    21: ("vegetation", (107, 142, 35)),
    22: ("terrain", (152, 251, 152)),
    23: ("sky", (70, 130, 180)),
    24: ("person", (220, 20, 60)),
    25: ("rider", (255, 0, 0)),
    26: ("car", (0, 0, 142)),
    27: ("truck", (0, 0, 70)),
    28: ("bus", (0, 60, 100)),
    31: ("train", (0, 80, 100)),
    32: ("motorcycle", (0, 0, 230)),
    33: ("bicycle", (119, 11, 32)),
}

CATEGORIES = {  # scored as one class each, beside the classes
    "flat": ["road", "sidewalk"],
    "construction": ["building", "wall", "fence"],
    "object": ["pole", "traffic light", "traffic sign"],
    "nature": ["vegetation", "terrain"],
    "sky": ["sky"],
    "human": ["person", "rider"],
    "vehicle": ["car", "truck", "bus", "train", "motorcycle", "bicycle"],
}

# Scenes drawn for each split, their height in pixels (the width is twice that), and frames from one training scene to
# the next: with 11, no two are of one drive, and all frames of a drive are as frequent as they are with 1.
DRAWN = {
    "streets": ({"train": 200, "val": 60}, 1024, 1),
    "streets_curated": ({"train": 200, "val": 60}, 1024, 11),
    "streets_tiny": ({"train": 40, "val": 20}, 128, 1),
}


def cityscapes(split: str, size: tuple[int, int] | None = None, native_labels: bool = False) -> ImageDataset:
    """Return a split of Cityscapes (fine annotations), 19 training classes; split `test` reads `val`."""
    return cache.cached(scene_files("cityscapes", data_dir() / "cityscapes", split), size, native_labels)


def drawn_streets(
    name: str, split: str, size: tuple[int, int] | None = None, native_labels: bool = False
) -> ImageDataset:
    """Return a split of the drawn scenes `name`, drawing them first if they are not there yet."""
    check_choice("split", split, FOLDERS)
    counts, height, train_step = DRAWN[name]
    root = cache_dir() / f"{name}-drawn{DRAWING_VERSION}"
    streets.write_streets(root, counts, height=height, train_step=train_step)
    return cache.cached(scene_files(name, root, split), size, native_labels)


def scene_files(name: str, root: Path, split: str) -> SceneFiles:
    """List the files of one split below `root`, in the order of their names."""
    check_choice("split", split, FOLDERS)
    images_folder, labels_folder = (root / part / FOLDERS[split] for part in ("leftImg8bit", "gtFine"))
    if not (images_folder.is_dir() and labels_folder.is_dir()):
        raise DataError(f"{root}: no Cityscapes there; it needs {images_folder} and {labels_folder}")
    images = sorted(images_folder.glob("*/*_leftImg8bit.png"))
    if not images:
        raise DataError(f"{images_folder}: empty split; it needs <city>/*_leftImg8bit.png")
    item_names = [image.name.removesuffix("_leftImg8bit.png") for image in images]
    labels = [
        labels_folder / image.parent.name / f"{item_name}_gtFine_labelIds.png"
        for image, item_name in zip(images, item_names, strict=True)
    ]
    class_of_label = np.full(256, -1, np.int16)
    class_of_label[:LABEL_IDS] = class_of_label[255] = IGNORE_INDEX  # 255: the licence plates' -1, in a byte
    class_of_label[list(CLASSES)] = range(len(CLASSES))
    class_names, colours = zip(*CLASSES.values(), strict=True)
    categories = {name: [class_names.index(member) for member in group] for name, group in CATEGORIES.items()}
    return SceneFiles(
        *(name, split, images, labels, item_names),
        *(class_of_label, list(class_names), list(colours), IMAGENET_MEAN, IMAGENET_STD),
        categories=categories,
    )
