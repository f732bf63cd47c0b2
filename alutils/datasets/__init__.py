"""Data sets by name; each loader returns one split as an `ImageDataset`."""

from collections.abc import Callable
from functools import partial

from alutils.datasets.base import IGNORE_INDEX, Features, ImageDataset, Item, clips, label_counts
from alutils.datasets.cityscapes import DRAWN, cityscapes, drawn_streets
from alutils.datasets.digits import digits, fashion_mnist, mnist
from alutils.datasets.folder import folder, packaged
from alutils.errors import ParameterError, check_choice

__all__ = ["DATASETS", "IGNORE_INDEX", "Features", "ImageDataset", "Item", "clips", "label_counts", "load_dataset"]

Loader = Callable[[str, tuple[int, int] | None, bool], ImageDataset]

DATASETS: dict[str, Loader] = {
    "digits": digits,
    "mnist": mnist,
    "fashion_mnist": fashion_mnist,
    **{name: partial(drawn_streets, name) for name in DRAWN},
    "cityscapes": cityscapes,
    "camvid": partial(packaged, "camvid"),
    "nuclei": partial(packaged, "nuclei"),
}


def load_dataset(
    name: str, split: str, height: int | None = None, width: int | None = None, *, native_labels: bool = False
) -> ImageDataset:
    """Return one split of a data set.

    name : a key of `DATASETS`, or the path of a YAML file that describes a folder of images
    height, width : pixels of the images and labels; both `None` for the stored size
    native_labels : whether labels keep their stored size

    Raises `ParameterError` for an unknown name or split and an impossible size, `DataError` for wrong files.
    """
    sides = [side for side in (height, width) if side is not None]
    if len(sides) == 1 or min(sides, default=1) < 1:
        raise ParameterError(f"height is {height}, width is {width}; allowed: two numbers from 1 on, or neither")
    size = (height, width) if height is not None and width is not None else None
    if name.endswith((".yaml", ".yml")):
        return folder(name, split, size, native_labels)
    check_choice("dataset", name, [*DATASETS, "<a folder's description>.yaml"])
    return DATASETS[name](split, size, native_labels)
