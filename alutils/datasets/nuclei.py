"""The nuclei of the 2018 Data Science Bowl: their download, turned once into images and index-map labels.

`python -m alutils.datasets.nuclei DOWNLOAD TARGET` writes the folder that `nuclei.yaml` describes.
"""

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps
from skimage.segmentation import find_boundaries

from alutils.datasets.decoding import read_image
from alutils.datasets.labels import read_values
from alutils.datasets.listing import check_names, files_in
from alutils.errors import DataError, ParameterError, one_line
from alutils.files import built_once
from alutils.progress import bar

SEED, TEST_IMAGES = 2018, 200
NAME_LENGTH = 12  # characters of an id, which has 64
LONGEST_SIDE = 512  # pixels


def write_nuclei(download: Path, target: Path) -> Counter[str]:
    """Write the images and labels of `download` to the new folder `target`; return the number of images of each split.

    download : the folder stage1_train, with `<id>/images/<id>.png` and, for each nucleus, a file in `<id>/masks/`

    Raises `ParameterError` for a `target` that is there and not empty, `DataError` for files that are missing or wrong.
    """
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise ParameterError(f"{target}: it is there already; allowed: a new folder or an empty one")
    folders = _folders_of_images(download)
    splits = split_of([folder.name for folder in folders])
    masks = {folder: _masks_in(folder) for folder in folders}
    if target.exists():
        target.rmdir()  # else it would count as built
    built_once(target, lambda beside: _write(masks, splits, beside))
    return Counter(splits.values())


def split_of(ids: Sequence[str]) -> dict[str, str]:
    """Return the split of each id: the first `TEST_IMAGES` of the ids, sorted and shuffled, are `test`."""
    shuffled = np.random.default_rng(SEED).permutation(sorted(ids)).tolist()
    return {name: "test" if rank < TEST_IMAGES else "train" for rank, name in enumerate(shuffled)}


def labels_of(instances_H_W: np.ndarray) -> np.ndarray:
    """Return labels (H, W) uint8: 0 background, 1 nucleus, 2 edge.

    An edge is a nucleus's pixel with background or another nucleus among its eight neighbours. Beyond the border of the
    image is nothing: a nucleus that the border cuts has no edge along it.

    instances_H_W : whole numbers, one for each nucleus; 0 is background
    """
    edges = find_boundaries(instances_H_W, connectivity=2, mode="inner")
    return np.where(edges, 2, instances_H_W > 0).astype(np.uint8)


def read_instances(masks: Sequence[Path], size: tuple[int, int]) -> np.ndarray:
    """Return the number of each pixel's nucleus, (H, W) int32: that of the last mask that holds it, from 1 on, or 0.

    Raises `DataError` for a mask that cannot be read or has not the size (W, H) of its image.
    """
    instances = np.zeros(size[::-1], np.int32)
    for number, path in enumerate(masks, start=1):
        mask = read_values(path)
        if mask.size != size:
            raise DataError(f"{path}: size {mask.size}, but its image has {size}; both must agree")
        instances[np.asarray(mask) > 0] = number
    return instances


def _reduced(picture: Image.Image, method: Image.Resampling) -> Image.Image:
    """Return a picture whose longer side has at most `LONGEST_SIDE` pixels, in the same proportions."""
    if max(picture.size) <= LONGEST_SIDE:
        return picture
    return ImageOps.contain(picture, (LONGEST_SIDE, LONGEST_SIDE), method)


def _folders_of_images(download: Path) -> list[Path]:
    """Return the folder of each image; raise `DataError` if they are too few, or two would give one name."""
    folders = [path for path in files_in(download) if path.is_dir()]
    check_names(folders)
    if len(folders) <= TEST_IMAGES:
        need = f"{TEST_IMAGES + 1} or more, one for each image, as in stage1_train of the download"
        raise DataError(f"{download}: {len(folders)} folders; allowed: {need}")
    (name, count), *_ = Counter(folder.name[:NAME_LENGTH] for folder in folders).most_common(1)
    if count > 1:
        raise DataError(
            f"{download}: {count} folders begin with {name}; allowed: one, as {NAME_LENGTH} characters name an image"
        )
    return folders


def _masks_in(folder: Path) -> list[Path]:
    masks = [path for path in files_in(folder / "masks") if path.suffix.lower() == ".png"]
    if not masks:
        raise DataError(f"{folder / 'masks'}: no mask; it needs a PNG file for each nucleus")
    return masks


def _write(masks: dict[Path, list[Path]], splits: dict[str, str], root: Path) -> None:
    """Write each image as JPEG and its labels as PNG into the folders of its split; `masks` are by an id's folder."""
    for split in {*splits.values()}:
        (root / split).mkdir(parents=True)
        (root / f"{split}annot").mkdir()
    progress = bar(len(masks), "writing nuclei")
    for folder, paths in masks.items():
        name, split = folder.name[:NAME_LENGTH], splits[folder.name]
        image = read_image(folder / "images" / f"{folder.name}.png")
        instances = Image.fromarray(read_instances(paths, image.size))
        labels = labels_of(np.asarray(_reduced(instances, Image.Resampling.NEAREST)))  # edges of the size that is kept
        smaller = _reduced(image, Image.Resampling.LANCZOS)
        smaller.save(root / split / f"{name}.jpg", quality=90, subsampling="4:4:4", optimize=True)
        Image.fromarray(labels).save(root / f"{split}annot" / f"{name}.png", optimize=True)
        progress.update()
    progress.close()


def main(arguments: list[str] | None = None) -> int:
    """Write what the command line asks for; return the exit code. What a user can cause is one line on stderr."""
    parser = argparse.ArgumentParser("python -m alutils.datasets.nuclei", description="Make the data set nuclei.")
    parser.add_argument("download", metavar="DOWNLOAD", type=Path, help="the folder stage1_train, unpacked")
    parser.add_argument("target", metavar="TARGET", type=Path, help="a new folder, such as data/nuclei")
    chosen = parser.parse_args(arguments)
    try:
        target = chosen.target.resolve()
        counts = write_nuclei(chosen.download, target)
    except (ParameterError, DataError, OSError) as error:
        print(f"error: {one_line(error)}", file=sys.stderr)  # noqa: T201
        return 1
    except KeyboardInterrupt:
        print("stopped; nothing was written", file=sys.stderr)  # noqa: T201
        return 130
    print(f"{target}: {counts['train']} images with labels in train, {counts['test']} in test")  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
