"""Cityscapes in its own file layout, and the drawn street scenes, which have the same layout."""

from pathlib import Path

import numpy as np

from alutils.datasets import cache, streets
from alutils.datasets.base import IGNORE_INDEX, IMAGENET_MEAN, IMAGENET_STD, ImageDataset, LabelMeaning, SceneFiles
from alutils.datasets.listing import check_names, files_in
from alutils.errors import DataError, check_choice
from alutils.paths import cache_dir, data_dir

# The labels of the real test split are not public, so methods are tested on `val`.
FOLDERS = {"train": "train", "val": "val", "test": "val"}

DRAWING_VERSION = 2  # raise it when a name in DRAWN would give other scenes or files

LABEL_IDS = 34  # ids 0 to 33 occur in label files
CLASSES = {  # name and colour of each label id that is trained on; every other id is void
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

CATEGORIES = {  # groups of classes; each is also scored as if it were one class
    "flat": ["road", "sidewalk"],
    "construction": ["building", "wall", "fence"],
    "object": ["pole", "traffic light", "traffic sign"],
    "nature": ["vegetation", "terrain"],
    "sky": ["sky"],
    "human": ["person", "rider"],
    "vehicle": ["car", "truck", "bus", "train", "motorcycle", "bicycle"],
}

# The number of scenes of each split, their height in pixels (the width is twice that), and the step in frames from one
# training scene to the next. With a step of 11, no two scenes are of one drive, and each of a drive's ten positions
# is as frequent as with a step of 1.
DRAWN = {
    "streets": ({"train": 200, "val": 60}, 1024, 1),
    "streets_curated": ({"train": 200, "val": 60}, 1024, 11),
    "streets_small": ({"train": 80, "val": 30}, 256, 11),
    "streets_tiny": ({"train": 40, "val": 20}, 128, 1),
}


def cityscapes(split: str, size: tuple[int, int] | None = None, native_labels: bool = False) -> ImageDataset:
    """Return a split of Cityscapes (fine annotations), 19 training classes; split `test` reads `val`."""
    return cache.cached(scene_files("cityscapes", data_dir() / "cityscapes", split), size, native_labels)


def drawn_streets(
    name: str, split: str, size: tuple[int, int] | None = None, native_labels: bool = False
) -> ImageDataset:
    """Return a split of the drawn scenes `name`; the first call draws them into the cache."""
    check_choice("split", split, FOLDERS)
    counts, height, train_step = DRAWN[name]
    root = cache_dir() / f"{name}-drawn{DRAWING_VERSION}"
    streets.write_streets(root, counts, height=height, train_step=train_step)
    return cache.cached(scene_files(name, root, split), size, native_labels)


def scene_files(name: str, root: Path, split: str) -> SceneFiles:
    """List the files of one split below `root`, in the order of their names; raise `DataError` if there are none."""
    check_choice("split", split, FOLDERS)
    names = [f"{part}/{FOLDERS[split]}" for part in ("leftImg8bit", "gtFine")]
    images_folder, labels_folder = (root / name for name in names)
    if not (images_folder.is_dir() and labels_folder.is_dir()):
        raise DataError(f"{root}: no Cityscapes there; it needs the folders {' and '.join(names)}")
    cities = [city for city in files_in(images_folder) if city.is_dir()]
    images = sorted(path for city in cities for path in files_in(city) if path.name.endswith("_leftImg8bit.png"))
    check_names(images)
    if not images:
        raise DataError(f"{images_folder}: empty split; it needs <city>/*_leftImg8bit.png")
    item_names = [image.name.removesuffix("_leftImg8bit.png") for image in images]
    labels = [
        labels_folder / image.parent.name / f"{item_name}_gtFine_labelIds.png"
        for image, item_name in zip(images, item_names, strict=True)
    ]
    class_of_label = np.full(256, -1, np.int16)
    class_of_label[:LABEL_IDS] = class_of_label[255] = IGNORE_INDEX  # 255 is -1, the id of licence plates, as a byte
    class_of_label[list(CLASSES)] = range(len(CLASSES))
    class_names, colours = zip(*CLASSES.values(), strict=True)
    categories = {name: [class_names.index(member) for member in group] for name, group in CATEGORIES.items()}
    return SceneFiles(
        *(name, split, images, labels, item_names),
        *(LabelMeaning(class_of_label), list(class_names), list(colours), IMAGENET_MEAN, IMAGENET_STD),
        categories=categories,
        sequences=[f"{city.name}_" for city in cities],
    )
