"""Handwritten digits: scikit-learn's bundled ones (no download), MNIST and Fashion-MNIST."""

import numpy as np
from PIL import Image

from alutils.datasets.base import ImageDataset
from alutils.datasets.cache import fingerprint
from alutils.errors import DataError, ParameterError, check_choice, shortened
from alutils.paths import data_dir

SIDE = 28
MNIST_MEAN, MNIST_STD = (0.1307,), (0.3081,)
DIGIT_NAMES = [str(digit) for digit in range(10)]
FASHION_NAMES = [
    *("t-shirt", "trouser", "pullover", "dress", "coat"),
    *("sandal", "shirt", "sneaker", "bag", "ankle boot"),
]
DIGITS_TEST_SHARE = 0.25


def digits(split: str, size: tuple[int, int] | None = None, native_labels: bool = False) -> ImageDataset:
    """Return scikit-learn's 1,797 digits of 8x8 pixels, enlarged to 28x28; a fixed quarter is the test split.

    Each digit has one label, so that `native_labels` changes nothing.
    """
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    _check(split, size)
    bunch = load_digits()
    train, test = train_test_split(
        np.arange(len(bunch.target)), test_size=DIGITS_TEST_SHARE, random_state=0, stratify=bunch.target
    )
    indices = np.sort(train if split == "train" else test)
    images = np.stack([_enlarge(image) for image in bunch.images[indices]])
    return _dataset("digits", split, images, bunch.target[indices], indices, DIGIT_NAMES)


def mnist(split: str, size: tuple[int, int] | None = None, native_labels: bool = False) -> ImageDataset:
    """Return MNIST (60,000 training, 10,000 test images) from the data folder."""
    return _from_torchvision("mnist", split, size, DIGIT_NAMES)


def fashion_mnist(split: str, size: tuple[int, int] | None = None, native_labels: bool = False) -> ImageDataset:
    """Return Fashion-MNIST (60,000 training, 10,000 test images) from the data folder."""
    return _from_torchvision("fashion_mnist", split, size, FASHION_NAMES)


def download_digits(name: str) -> None:
    """Download `mnist` or `fashion_mnist` into the data folder; raise `DataError` if that fails."""
    try:
        _torchvision_class(name)(data_dir() / name, download=True)
    except (OSError, RuntimeError) as error:
        reason = shortened(str(error), 60)
        raise DataError(f"{name} could not be downloaded ({reason}); {_by_hand(name)}") from error


def _from_torchvision(name: str, split: str, size: tuple[int, int] | None, class_names: list[str]) -> ImageDataset:
    _check(split, size)
    try:
        data = _torchvision_class(name)(data_dir() / name, train=split == "train", download=False)
    except (OSError, RuntimeError, ValueError, LookupError, AssertionError) as error:
        fetch = f".venv/bin/alutils run 01_mnist_sanity_checks -p dataset {name} -p download true"
        raise DataError(f"{name} is not there or not readable; {_by_hand(name)}, or run `{fetch}`") from error
    images, labels = data.data.numpy()[:, None], data.targets.numpy()
    if images.shape[1:] != (1, SIDE, SIDE) or len(images) != len(labels) or labels.max(initial=0) >= len(class_names):
        found = f"{len(images)} images of {images.shape[2:]} pixels, {len(labels)} labels up to {labels.max(initial=0)}"
        allowed = f"as many labels as images, of {SIDE, SIDE} pixels, labels up to {len(class_names) - 1}"
        raise DataError(f"{data_dir() / name}: {found}; allowed: {allowed}")
    return _dataset(name, split, images, labels, np.arange(len(labels)), class_names)


def _torchvision_class(name: str) -> type:
    from torchvision import datasets

    classes = {"mnist": datasets.MNIST, "fashion_mnist": datasets.FashionMNIST}
    check_choice("the data set to download", name, classes)
    return classes[name]


def _by_hand(name: str) -> str:
    folder = data_dir() / name / _torchvision_class(name).__name__ / "raw"
    return f"put the four idx files into {folder}"


def _check(split: str, size: tuple[int, int] | None) -> None:
    check_choice("split", split, ["train", "test"])
    if size not in (None, (SIDE, SIDE)):
        raise ParameterError(f"digits have {SIDE}x{SIDE} pixels; the size asked for is {size[0]}x{size[1]}")


def _enlarge(image: np.ndarray) -> np.ndarray:
    """Return an image (8, 8) of values 0..16 as (1, 28, 28) of values 0..255."""
    grey = Image.fromarray((image * (255 / 16)).round().astype(np.uint8))
    return np.asarray(grey.resize((SIDE, SIDE), Image.Resampling.BILINEAR))[None]


def _dataset(
    name: str, split: str, images: np.ndarray, labels: np.ndarray, indices: np.ndarray, class_names: list[str]
) -> ImageDataset:
    labels = labels.astype(np.uint8)
    grey = np.linspace(0, 255, len(class_names)).astype(int)
    return ImageDataset(
        name,
        split,
        images,
        labels,
        [f"{name}-{split}-{index:05d}" for index in indices],
        class_names,
        [(int(g), int(g), int(g)) for g in grey],
        MNIST_MEAN,
        MNIST_STD,
        fingerprint(images, labels),
    )
