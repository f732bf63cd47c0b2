"""Every test run has results and caches of its own; random numbers and threads are fixed."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nbformat
import numpy as np
import pandas as pd
import pytest
import torch
from torch.nn import functional as F

from alutils import paths
from alutils.datasets import ImageDataset
from alutils.datasets.features import Encode, with_features
from alutils.files import write_whole
from alutils.models import unet
from alutils.runs import data, folder
from alutils.runs.config import BulkConfig, RoundsConfig
from alutils.runs.folder import RunFolder

if TYPE_CHECKING:  # takes seconds to load
    from alutils.results.comparison import Comparison

PARAMETERS = """experiment: str = "e"  # folder
count: int = 3  # things
rate: float = 0.5  # share
name: str = "x"  # word
on: bool = False  # switch
items: list = [1, 2]  # numbers
size: int = None  # pixels or None"""

# Runs on the twelve scenes of `tiny_everywhere`.
COMMON: dict[str, Any] = {
    "experiment": "e",
    "dataset": "tiny",
    "height": None,
    "width": None,
    "test_split": "test",
    "test_resolution": "training",
    "model": "unet_small",
    "weights": None,
    "seed": 0,
    "epochs": 2,
    "steps": None,
    "batch_size": 2,
    "learning_rate": 0.01,
    "weight_decay": 0.0,
    "class_weights": True,
    "void_class": False,
    "augmentation": "flip",
    "precision": "float32",
}
ROUNDS = RoundsConfig(
    **COMMON, query="consensus_entropy", regime="from_scratch", last_epochs=None, start=25.0, step=25.0, rounds=3,
    unit="percent", committee_members=3, committee_dropout=0.5,
)  # fmt: skip
DIGITS = replace(
    ROUNDS, dataset="digits", model="mnist_cnn", augmentation="none", unit="images", start=30, step=30, rounds=2
)  # fmt: skip
BULK = BulkConfig(
    **COMMON,
    query="random",
    order_model="unet_small",
    order_regime="from_scratch",
    share=50.0,
    skip=0.0,
    keep_model=False,
)
ITEMS = [f"{index:03}" for index in range(100)]
SECONDS = ["seconds_train", "seconds_query"]


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


@pytest.fixture
def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a fresh folder of published tables, used by everything in the test."""
    monkeypatch.setenv("ALUTILS_PUBLISHED", str(tmp_path / "published"))
    return tmp_path / "published"


@pytest.fixture
def quick_provenance(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let runs finish without listing every package; the device is the one that is named, there or not."""
    monkeypatch.setattr("alutils.runs.folder.provenance", lambda device: {"versions": {}, "device": str(device)})


@pytest.fixture
def bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compute in bfloat16 on every processor, however long it takes."""
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: True)


def finished_run(
    query: str,
    seed: int,
    scores: Sequence[float],
    name: str = "",
    *,
    experiment: str = "e",
    columns: Mapping[str, Sequence[Any]] = {},
    acquired: Sequence[Sequence[int]] = (),
    items: Sequence[str] = ITEMS,
    regions: Sequence[int] = (),
    scores_of_pool: np.ndarray | None = None,
    clips: pd.DataFrame | None = None,
    device: str = "cpu",
    **config: Any,
) -> RunFolder:
    """Write what finished rounds leave behind, of a pool of 100; return the folder.

    scores : mean IoU at 10, 20, ... labels
    columns : of `rounds.csv`, more or others
    acquired : data-set indices, a list a round
    items : the names of the data set's images
    regions : the region of each acquired piece; none if images were acquired
    scores_of_pool : what is in `scores.npy`
    clips : what is in `clips.csv`
    config : more or other fields, `None` for one that is not there
    """
    named = {"kind": "rounds", "dataset": "d", "model": "m", "regime": "from_scratch", "query": query, "seed": seed}
    labelled = range(10, 10 * len(scores) + 1, 10)
    rounds = {"round": range(len(scores)), "labelled": labelled, "labelled_percent": [float(n) for n in labelled]}
    seconds = {"seconds_train": 1.5, "seconds_query": 0.25}
    run = RunFolder(experiment, name or f"{query}-{seed}")
    rows = [
        (number, rank, index, items[index]) for number, batch in enumerate(acquired) for rank, index in enumerate(batch)
    ]
    pieces = pd.DataFrame(rows, columns=["round", "rank", "index", "item"]).assign(score=np.nan)
    with run.opened({field: value for field, value in (named | config).items() if value is not None}):
        table = pd.DataFrame(rounds | {"miou": scores} | seconds | dict(columns))
        run.save_rounds(table, pieces.assign(region=regions) if regions else pieces, scores_of_pool, clips)
        run.finish(torch.device(device))
    return run


def stopped(config: RoundsConfig, survives: int) -> bool:
    """Start a run that ends after so many writes into its folder; tell whether it did not end before."""
    from alutils.runs.rounds import run_rounds

    left = [survives]

    def write(*arguments: Any) -> None:
        if left[0] == 0:
            raise KeyboardInterrupt
        left[0] -= 1
        write_whole(*arguments)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(folder, "write_whole", write)
        try:
            run_rounds(config)
        except KeyboardInterrupt:
            return True
    return False


def finished_full_run(seed: int, score: float, **other: Any) -> RunFolder:
    """Write what a finished training on all labels leaves behind; return the folder."""
    at_100: dict[str, Any] = {"labelled": [100], "labelled_percent": [100.0]}
    of_order: dict[str, Any] = {"kind": "bulk", "regime": None, "order_model": "m", "order_regime": "from_scratch"}
    return finished_run("all", seed, [score], columns=at_100, **(of_order | {"share": 100.0, "skip": 0.0} | other))


def finished_runs_of(curves: Mapping[str, Sequence[Sequence[float]]], full: Sequence[float] = (), **other: Any) -> None:
    """Write rounds of each query, one curve per seed, and trainings on all labels, one score per seed."""
    for query, of_seeds in curves.items():
        for seed, scores in enumerate(of_seeds):
            finished_run(query, seed, scores, **other)
    for seed, score in enumerate(full):
        finished_full_run(seed, score)


def comparison_of(
    curves: Mapping[str, Mapping[int, Sequence[float]]], full: Sequence[float] = (), name: str = "d m", **columns: Any
) -> "Comparison":
    """Return the comparison of a setting, without run folders.

    curves : of each query and seed the mean IoU at 10, 20, ... % of the labels
    full : the score of all labels, by seed
    columns : as `DataFrame.assign` takes them
    """
    from alutils.results.comparison import Comparison

    points = [
        {"query": query, "seed": seed, "round": number, "labelled": 10 * (number + 1), "miou": score}
        for query, of_seeds in curves.items()
        for seed, scores in of_seeds.items()
        for number, score in enumerate(scores)
    ]
    of_run = {
        "kind": "rounds",
        "dataset": "d",
        "model": "m",
        "regime": "from_scratch",
        "order_model": None,
        "skip": None,
    }
    rows = pd.DataFrame(points).assign(**of_run, seconds_train=1.5, seconds_query=0.25)
    rows = rows.assign(labelled_percent=rows["labelled"].astype(float)).assign(**columns)
    return Comparison(name, rows, pd.Series(full, dtype=float))


@pytest.fixture
def acquired() -> pd.DataFrame:
    """Return what `acquired_table` says of two queries, random like the pool, vote entropy with twice the cars."""
    shares = {"pool": (20, 80), "random": (20, 80), "vote_entropy": (40, 60)}
    values = {
        **{
            ("classes", query, name): x
            for query, of in shares.items()
            for name, x in zip(("car", "road"), of, strict=True)
        },
        **{("near_duplicates", "random", "images"): 4, ("near_duplicates", "vote_entropy", "images"): 1},
    }
    return pd.DataFrame(
        [(*names, float(value)) for names, value in values.items()], columns=["what", "query", "name", "mean"]
    ).assign(sd=1.0, n=3)


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
def tiny_everywhere(tiny_scenes: ImageDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every run load the tiny scenes; `unet_small` has two of its four steps, as each step costs time."""
    monkeypatch.setattr(unet, "SMALL_WIDTHS", unet.SMALL_WIDTHS[:2])
    scenes = {split: replace(tiny_scenes, split=split) for split in ("train", "test")}
    monkeypatch.setattr(data, "load_dataset", lambda name, split, *size, **labels: scenes[split])


def fake_maps(images: np.ndarray) -> list[np.ndarray]:
    """Return maps (B, h, w, 6) at 1/4, 1/8 and 1/16 of the resolution: the mean colours there, and their squares."""
    pixels = torch.from_numpy(np.array(images)).float() / 255
    levels = [F.avg_pool2d(pixels, stride, ceil_mode=True) for stride in (4, 8, 16)]
    return [torch.cat([maps, maps.square()], dim=1).permute(0, 2, 3, 1).half().numpy() for maps in levels]


@pytest.fixture
def fake_encoder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Let `fake_maps` stand for every encoder, in a cache of the test's own; return the names of those loaded."""
    loaded: list[str] = []

    def load(name: str, file: Path, device: torch.device) -> Encode:
        loaded.append(name)
        return fake_maps

    monkeypatch.setenv("ALUTILS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("alutils.models.encoders.load_encoder", load)
    return loaded


@pytest.fixture
def frozen_scenes(tiny_scenes: ImageDataset, fake_encoder: list[str]) -> ImageDataset:
    """Return the tiny scenes with the maps of the fake encoder."""
    return with_features(tiny_scenes, "fake", "fake", lambda: fake_maps)


def tables(config: RoundsConfig | BulkConfig) -> tuple[str, str, str, bytes]:
    """Return the run's tables as text, seconds left out, and its scores as bytes."""
    run = RunFolder(config.experiment, config.run_name)
    rounds = run.rounds().drop(columns=SECONDS).to_csv(index=False)
    return rounds, run.acquisitions().to_csv(index=False), run.clips().to_csv(index=False), run.scores().tobytes()


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
