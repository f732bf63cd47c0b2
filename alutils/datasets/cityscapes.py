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

# Scenes drawn for each split, and their height in pixels (the width is twice that).
DRAWN = {
    "streets": ({"train": 200, "val": 60}, 1024),
    "streets_tiny": ({"train": 40, "val": 20}, 128),
}


def cityscapes(split: str, size: tuple[int, int] | None = None) -> ImageDataset:
    """Return a split of Cityscapes (fine annotations), 19 training classes; split `test` reads `val`."""
    return cache.cached(scene_files("cityscapes", data_dir() / "cityscapes", split), size)


def drawn_streets(name: str, split: str, size: tuple[int, int] | None = None) -> ImageDataset:
    """Return a split of the drawn scenes `name`, drawing them first if they are not there yet."""
    check_choice("split", split, FOLDERS)
    counts, height = DRAWN[name]
    root = cache_dir() / f"{name}-drawn{DRAWING_VERSION}"
    streets.write_streets(root, counts, height=height)
    return cache.cached(scene_files(name, root, split), size)


def scene_files(name: str, root: Path, split: str) -> SceneFiles:
    """List the files of one split below `root`, as torchvision's Cityscapes class finds them."""
    from torchvision.datasets import Cityscapes

    check_choice("split", split, FOLDERS)
    try:
        listing = Cityscapes(root, split=FOLDERS[split], mode="fine", target_type="semantic")
    except (OSError, RuntimeError) as error:
        raise DataError(
            f"{root}: no Cityscapes there; it needs leftImg8bit/{FOLDERS[split]} and gtFine/{FOLDERS[split]}"
        ) from error
    if not listing.images:
        raise DataError(f"{root}/leftImg8bit/{FOLDERS[split]}: empty split; it needs <city>/*_leftImg8bit.png")
    pairs = sorted(zip(listing.images, (target for (target,) in listing.targets), strict=True))
    images, labels = [Path(image) for image, _ in pairs], [Path(label) for _, label in pairs]
    trained = sorted((c for c in Cityscapes.classes if 0 <= c.train_id < IGNORE_INDEX), key=lambda c: c.train_id)
    class_of_label = np.full(256, -1, np.int16)
    for label_class in Cityscapes.classes:
        in_training = 0 <= label_class.train_id < IGNORE_INDEX
        class_of_label[label_class.id] = label_class.train_id if in_training else IGNORE_INDEX
    return SceneFiles(
        name,
        split,
        images,
        labels,
        [image.name.removesuffix("_leftImg8bit.png") for image in images],
        class_of_label,
        [c.name for c in trained],
        [c.color for c in trained],
        IMAGENET_MEAN,
        IMAGENET_STD,
    )
