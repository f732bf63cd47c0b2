"""Every test run has results and caches of its own; random numbers and threads are fixed."""

import os
from pathlib import Path

import nbformat
import numpy as np
import pytest
import torch

from alutils import paths
from alutils.datasets import ImageDataset

PARAMETERS = """experiment: str = "e"  # folder
count: int = 3  # things
rate: float = 0.5  # share
name: str = "x"  # word
on: bool = False  # switch
items: list = [1, 2]  # numbers
size: int = None  # pixels or None"""


@pytest.fixture(scope="session", autouse=True)
def _caches(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Draw and decode once for all workers of a test run, apart from the user's own cache."""
    base = tmp_path_factory.getbasetemp()
    os.environ["ALUTILS_CACHE"] = str((base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "cache")
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a fresh results folder, used by everything in the test."""
    monkeypatch.setenv("ALUTILS_RESULTS", str(tmp_path / "results"))
    monkeypatch.setenv("ALUTILS_PROGRESS", "0")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    return tmp_path / "results"


def need_real_data(name: str) -> None:
    """Skip the test if the data folder does not hold the real data set `name`."""
    if not (paths.data_dir() / name).is_dir():
        pytest.skip(f"{paths.data_dir() / name} is not there; set ALUTILS_DATA to a folder that holds {name}")


@pytest.fixture
def tiny_scenes() -> ImageDataset:
    """Return 12 scenes of 24x32 pixels and 3 classes that a network can learn: the class is the colour."""
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 3, (12, 3, 4)).astype(np.uint8).repeat(8, axis=1).repeat(8, axis=2)
    images = np.stack([labels * 100, 255 - labels * 100, labels * 0 + 50], axis=1)
    images = np.clip(images + generator.integers(-20, 20, images.shape), 0, 255).astype(np.uint8)
    labels[:, :2, :] = 255
    names = [f"scene{index:02d}" for index in range(12)]
    colours = [(255, 0, 0), (0, 255, 0), (0, 0, 255)]
    return ImageDataset(
        *("tiny", "train", images, labels, names, ["a", "b", "c"], colours, (0.5,) * 3, (0.25,) * 3, "f" * 64)
    )


@pytest.fixture
def notebook(tmp_path: Path) -> Path:
    """Return a notebook that says its parameters, and fails for a negative count."""
    parameters = nbformat.v4.new_code_cell(PARAMETERS, metadata={"tags": ["parameters"]})
    body = nbformat.v4.new_code_cell(
        "print(count, rate, name, on, items, size)\nassert count >= 0, 'count is below 0'\nleft = 'over'"
    )
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    path = tmp_path / "small.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=[parameters, body], metadata=kernel), path)
    return path
