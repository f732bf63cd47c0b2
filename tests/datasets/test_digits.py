import re
import struct
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import torchvision
from conftest import need_real_data

from alutils.datasets import ImageDataset, load_dataset
from alutils.datasets.digits import download_digits
from alutils.errors import DataError, ParameterError
from alutils.grid.parameters import find_notebook

FILES = [
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
]
FOLDERS = [("mnist", "MNIST"), ("fashion_mnist", "FashionMNIST")]


def write_mnist(folder: Path, labels: list[int]) -> None:
    """Write the four idx files; image i is filled with i."""
    folder.mkdir(parents=True)
    pixels = np.arange(len(labels), dtype=np.uint8).repeat(28 * 28).tobytes()
    for split in ("train", "t10k"):
        (folder / f"{split}-images-idx3-ubyte").write_bytes(struct.pack(">4i", 2051, len(labels), 28, 28) + pixels)
        (folder / f"{split}-labels-idx1-ubyte").write_bytes(struct.pack(">2i", 2049, len(labels)) + bytes(labels))


# scikit-learn's digits


@pytest.fixture(scope="module")
def splits() -> tuple[ImageDataset, ImageDataset]:
    return load_dataset("digits", "train"), load_dataset("digits", "test", 28, 28)


def test_digits_are_28x28_uint8(splits: tuple[ImageDataset, ImageDataset]) -> None:
    for dataset, count in zip(splits, (1347, 450), strict=True):
        assert len(dataset) == count
        assert dataset.images.shape == (count, 1, 28, 28)
        assert dataset.labels.shape == (count,)
        assert dataset.images.dtype == dataset.labels.dtype == np.uint8
        assert (dataset.images.min(), dataset.images.max()) == (0, 255)
        assert dataset.class_names == list("0123456789")
        assert not dataset.is_dense


def test_digits_are_split_without_overlap_and_stratified(splits: tuple[ImageDataset, ImageDataset]) -> None:
    numbers = [{int(name.split("-")[-1]) for name in dataset.item_names} for dataset in splits]
    assert not numbers[0] & numbers[1]
    assert numbers[0] | numbers[1] == set(range(1797))
    train, test = (np.bincount(dataset.labels, minlength=10) for dataset in splits)
    assert np.abs(test - 0.25 * (train + test)).max() <= 1


def test_digit_names_are_unique(splits: tuple[ImageDataset, ImageDataset]) -> None:
    names = [name for dataset in splits for name in dataset.item_names]
    assert len(set(names)) == len(names) == 1797


def test_digits_carry_their_own_label(splits: tuple[ImageDataset, ImageDataset]) -> None:
    # A digit is nearest to the mean image of its kind, unless images and labels are out of step.
    train, test = splits
    means = np.stack([train.images[train.labels == digit].mean(axis=0) for digit in range(10)])
    distances = np.abs(test.images[:, None] - means[None]).mean(axis=(2, 3, 4))
    assert (distances.argmin(axis=1) == test.labels).mean() > 0.8


@pytest.mark.parametrize("name", ["digits", "mnist", "fashion_mnist"])
def test_wrong_size_and_split_are_refused(name: str) -> None:
    with pytest.raises(ParameterError, match=r"^digits have 28x28 pixels; the size asked for is 32x32$"):
        load_dataset(name, "train", 32, 32)
    with pytest.raises(ParameterError, match=r"^split is 'val'; allowed: train, test$"):
        load_dataset(name, "val")


# MNIST and Fashion-MNIST


@pytest.mark.parametrize(("name", "folder"), FOLDERS)
def test_reads_idx_files(name: str, folder: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ALUTILS_DATA", str(tmp_path))
    write_mnist(tmp_path / name / folder / "raw", labels=[7, 2, 9])
    dataset = load_dataset(name, "test")
    assert dataset.images.shape == (3, 1, 28, 28)
    assert dataset.images[:, 0, 5, 5].tolist() == [0, 1, 2]
    assert dataset.labels.tolist() == [7, 2, 9]
    assert dataset.item_names == [f"{name}-test-{index:05d}" for index in range(3)]
    assert dataset.class_names[9] == ("9" if name == "mnist" else "ankle boot")


@pytest.mark.parametrize(("name", "folder"), FOLDERS)
def test_missing_files_are_one_line_that_says_where(
    name: str, folder: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("ALUTILS_DATA", str(tmp_path))
    place = re.escape(str(tmp_path / name / folder / "raw"))
    with pytest.raises(DataError, match=rf"^{name} is not there.*{place}.*$") as caught:
        load_dataset(name, "train")
    (typed,) = re.findall("`.venv/bin/alutils run (.*)`", str(caught.value))
    notebook, *options = typed.split()
    assert options == ["-p", "dataset", name, "-p", "download", "true"]
    assert "download: bool" in find_notebook(notebook).read_text()
    assert not list(tmp_path.iterdir()), "a data folder may be read-only"


@pytest.mark.parametrize(
    ("file", "content", "found"),
    [
        (FILES[1], struct.pack(">2i", 2049, 3) + bytes([7, 10, 9]), "3 images of (28, 28) pixels, 3 labels up to 10"),
        (FILES[1], struct.pack(">2i", 2049, 2) + bytes([7, 2]), "3 images of (28, 28) pixels, 2 labels up to 7"),
        (FILES[0], struct.pack(">4i", 2051, 3, 14, 28) + bytes(3 * 14 * 28), "3 images of (14, 28) pixels, 3 labels"),
    ],
)
def test_idx_files_of_something_else_are_one_line(
    file: str, content: bytes, found: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("ALUTILS_DATA", str(tmp_path))
    write_mnist(tmp_path / "mnist" / "MNIST" / "raw", labels=[7, 2, 9])
    (tmp_path / "mnist" / "MNIST" / "raw" / file).write_bytes(content)
    with pytest.raises(DataError, match=re.escape(found)):
        load_dataset("mnist", "train")


@pytest.mark.parametrize("content", [b"", b"no idx file at all", struct.pack(">4i", 2051, 3, 28, 28) + b"few"])
def test_a_damaged_file_is_one_line(content: bytes, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ALUTILS_DATA", str(tmp_path))
    write_mnist(tmp_path / "mnist" / "MNIST" / "raw", labels=[7, 2, 9])
    (tmp_path / "mnist" / "MNIST" / "raw" / FILES[0]).write_bytes(content)
    with pytest.raises(DataError, match=r"^mnist is not there or not readable; .*$"):
        load_dataset("mnist", "train")


def test_download_without_network_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def no_network(*_: object, **__: object) -> None:
        raise URLError("no network")

    monkeypatch.setenv("ALUTILS_DATA", str(tmp_path))
    monkeypatch.setattr(torchvision.datasets.mnist, "download_and_extract_archive", no_network)
    place = re.escape(str(tmp_path / "mnist" / "MNIST" / "raw"))
    with pytest.raises(DataError, match=rf"^mnist could not be downloaded.*{place}$"):
        download_digits("mnist")


def test_download_of_another_data_set_is_refused() -> None:
    with pytest.raises(ParameterError, match=r"^.*'digits'; allowed: mnist, fashion_mnist$"):
        download_digits("digits")


@pytest.mark.slow
def test_real_mnist() -> None:
    need_real_data("mnist")
    train, test = load_dataset("mnist", "train"), load_dataset("mnist", "test")
    assert (len(train), len(test)) == (60_000, 10_000)
    assert train.labels[:5].tolist() == [5, 0, 4, 1, 9]
    assert test.labels[:5].tolist() == [7, 2, 1, 0, 4]
    assert train.images.mean() / 255 == pytest.approx(train.mean[0], abs=1e-4)
    assert train.images.std() / 255 == pytest.approx(train.std[0], abs=1e-4)
