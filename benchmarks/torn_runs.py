"""Small runs that kill themselves at a file operation, often within a write, and are started again until they finish.

This process loads everything once. Each start of a run is a fork of it, which takes no second.
"""

import csv
import io
import json
import multiprocessing
import os
import sys
from collections import Counter
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import dataclass, field, fields
from functools import partial
from itertools import product
from multiprocessing.process import BaseProcess
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch
from PIL import Image
from skimage import measure, segmentation
from tearing import LOG, Tear, note

from alutils.datasets.description import Description
from alutils.datasets.streets import write_streets
from alutils.progress import STATUS, read_status
from alutils.provenance import code
from alutils.runs import networks
from alutils.runs.bulk import run_bulk
from alutils.runs.config import BulkConfig, RoundsConfig
from alutils.runs.folder import packed, unpacked
from alutils.runs.rounds import run_rounds

Work = Callable[[], object]
LIMIT = 120  # seconds of one start, after which it counts as failed
QUICK = ("rounds-and-bulk", "superpixels", "drawn")  # the kinds of work of the short form
DESCRIPTION = """
name: tiny
classes: {a: [255, 0, 0], b: [0, 255, 0], c: [0, 0, 255]}
splits: {train: {images: train/images, labels: train/labels}, test: {images: test/images, labels: test/labels}}
"""
COMMON: dict[str, Any] = {
    **{"experiment": "e", "height": None, "width": None, "test_split": "test", "test_resolution": "training"},
    **{"model": "unet_small", "weights": None, "seed": 0, "epochs": 1, "steps": 2, "batch_size": 2},
    **{"learning_rate": 0.01, "weight_decay": 0.0, "class_weights": True, "void_class": False},
    **{"augmentation": "flip", "precision": "float32"},
}
ROUNDS: dict[str, Any] = {
    **{"query": "vote_entropy", "regime": "from_scratch", "last_epochs": None, "start": 2.0, "step": 2.0},
    **{"rounds": 3, "unit": "images", "committee_members": 2, "committee_dropout": 0.5},
}
BULK: dict[str, Any] = {
    **{"query": "vote_entropy", "order_model": "unet_small", "order_regime": "from_scratch", "share": 50.0},
    **{"skip": 0.0, "keep_model": True},
}


@dataclass
class Counts:
    """What happened; `torn` counts the kills by where they came, `examples` says what went wrong, a line each."""

    kills: int = 0
    finished: int = 0
    lost: int = 0
    different: int = 0
    failed: int = 0
    left: int = 0
    torn: Counter[str] = field(default_factory=Counter)
    examples: list[str] = field(default_factory=list)

    def __add__(self, other: "Counts") -> "Counts":
        """Return both counts together."""
        pairs = {each.name: (getattr(self, each.name), getattr(other, each.name)) for each in fields(self)}
        return Counts(**{name: one + two for name, (one, two) in pairs.items()})

    def __str__(self) -> str:
        """Return the counts in one line."""
        wrong = f"{self.lost} lost, {self.different} different, {self.failed} failed, {self.left} left"
        return f"{self.kills} kills, {self.finished} finished, {wrong}"


def tear_runs(base: Path, kills: int, generator: Random, is_quick: bool = False) -> Counts:
    """Let small runs in `base` kill themselves `kills` times in all; each kind in turn, or some if `is_quick`."""
    description = write_data(base / "data")
    load_everything()
    works = kinds_of_work(description).items()
    runs = [TornRun(name, work, base, generator) for name, work in works if not is_quick or name in QUICK]
    counts = Counts()
    turn = 0
    while counts.kills < kills or any(run.is_begun for run in runs):
        run = runs[turn % len(runs)]
        if run.is_begun or counts.kills < kills:
            run.start(counts, is_spared=counts.kills >= kills)
        turn += 1
    return counts


def load_everything() -> None:
    """Load what runs would load late, so that each fork has it; start no thread, which a fork would not have."""
    torch.set_num_threads(1)
    torch.optim.Adam([torch.zeros(1, requires_grad=True)])
    _ = segmentation.slic, measure.find_contours, Description
    code()  # asks git
    networks.SAVE_EVERY = 0.0  # a checkpoint after each epoch, not only after each training


def kinds_of_work(description: Path) -> dict[str, Work]:
    """Return what is torn, by name; all of it works in the folders that the environment names."""

    def rounds(**changes: Any) -> RoundsConfig:
        return RoundsConfig(**(COMMON | ROUNDS | {"dataset": str(description)} | changes))

    def rounds_and_bulk() -> None:
        run_rounds(rounds(rounds=4))
        run_bulk(BulkConfig(**(COMMON | BULK | {"dataset": str(description)})))

    def changed_and_changed_back() -> None:
        for rate in (0.01, 0.02, 0.01):
            run_rounds(rounds(rounds=2, learning_rate=rate))

    return {
        "rounds-and-bulk": rounds_and_bulk,
        "incremental": lambda: run_rounds(rounds(regime="incremental")),
        "new-data-only": lambda: run_rounds(rounds(regime="new_data_only", query="random")),
        "one-shot": lambda: run_rounds(rounds(regime="one_shot")),
        "ensemble": lambda: run_rounds(rounds(query="bald+ensemble2")),
        "windows": lambda: run_rounds(rounds(query="vote_entropy+windows2x2", height=16, width=16)),
        "superpixels": lambda: run_rounds(rounds(query="vote_entropy+superpixels6", rounds=2)),
        "changed-and-back": changed_and_changed_back,
        "drawn": draw_scenes,
    }


def draw_scenes() -> None:
    """Draw a few scenes into the cache."""
    write_streets(Path(os.environ["ALUTILS_CACHE"]) / "drawn", {"train": 3, "val": 2}, height=64, processes=1)


def write_data(folder: Path, scenes: int = 8, side: int = 32) -> Path:
    """Write a few scenes whose classes are their colours; return the file that describes them."""
    generator = np.random.default_rng(0)
    for split, index in product(("train", "test"), range(scenes)):
        label = generator.integers(0, 3, (4, 4)).astype(np.uint8).repeat(side // 4, axis=0).repeat(side // 4, axis=1)
        image = np.stack([label * 100, 255 - label * 100, label * 0 + 50], axis=-1)
        for kind, pixels in (("images", image), ("labels", label)):
            path = folder / split / kind / f"{index}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path)
    (folder / "tiny.yaml").write_text(DESCRIPTION)
    return folder / "tiny.yaml"


class TornRun:
    """Work that is done again and again, each time in a new folder, and is killed meanwhile.

    place : the folder that it works in now
    seen : the tables of rounds that stood there after the last kill
    """

    def __init__(self, name: str, work: Work, base: Path, generator: Random):
        self.name, self.work, self.base, self.generator = name, work, base, generator
        self.number, self.seen = 0, list[str]()
        self.is_begun = False
        assert self._fork(Tear(base, generator, at=-1)).exitcode == 0, (self.place / "said.txt").read_text()
        self.expected = content(self.place)
        done = read_log(self.base)[-1].split()
        self.operations, self.writes = int(done[1]), int(done[2])
        self.number = 1

    @property
    def place(self) -> Path:
        """Return the folder that the work is done in."""
        return self.base / f"{self.name}{self.number}"

    def start(self, counts: Counts, is_spared: bool) -> None:
        """Start the work once, or what is left of it; it kills itself unless it `is_spared` or finishes before."""
        only_writes = self.generator.random() < 0.7
        most = self.writes if only_writes else self.operations
        at = -1 if is_spared else self.generator.randint(1, most // 2)
        self.is_begun = True
        process = self._fork(Tear(self.base, self.generator, at, only_writes))
        counts.lost += self._lost(counts)
        if process.exitcode == 0:
            self._compare(counts)
        elif process.exitcode == -9:
            counts.kills += 1
            counts.torn[read_log(self.base)[-1]] += 1
        else:
            counts.failed += 1
            counts.examples.append(f"{self.place} failed with {process.exitcode}: {last_line(self.place)}")
            self._begin_anew()
        print(f"{self.place.name}: {counts}", file=sys.stderr)

    def _begin_anew(self) -> None:
        self.number, self.is_begun, self.seen = self.number + 1, False, []

    def _fork(self, tear: Tear) -> BaseProcess:
        """Return the process that did the work, in which `tear` was installed."""
        self.place.mkdir(exist_ok=True)
        seed = self.generator.random()
        process = multiprocessing.get_context("fork").Process(target=partial(self._do, tear, seed))
        process.start()
        process.join(LIMIT)
        if process.is_alive():
            process.terminate()
            process.join()
        return process

    def _do(self, tear: Tear, seed: float) -> None:
        os.environ |= {"ALUTILS_RESULTS": str(self.place / "results"), "ALUTILS_CACHE": str(self.place / "cache")}
        os.environ |= {STATUS: str(self.place / "status.json"), "CUDA_VISIBLE_DEVICES": ""}
        tear.generator = Random(seed)
        with (self.place / "said.txt").open("w") as said, redirect_stdout(said):
            os.dup2(said.fileno(), sys.stderr.fileno())
            tear.install()
            self.work()
            note(self.base, f"done {tear.operations} {tear.writes}")

    def _lost(self, counts: Counts) -> int:
        """Return how many tables of rounds no longer begin with the rounds that were finished before."""
        read_status(self.place / "status.json")  # must not raise, however it was torn
        now = [path.read_text() for path in sorted(self.place.rglob("rounds.csv"))]
        lost = [text for text in self.seen if not any(other.startswith(text) for other in now)]
        counts.examples += [f"{self.place} lost {text!r}" for text in lost]
        self.seen = now
        return len(lost)

    def _compare(self, counts: Counts) -> None:
        """Compare a finished folder with the undisturbed one."""
        found = content(self.place)
        parts = [name for name in found if ".part" in name]
        names = {name for name in found.keys() | self.expected.keys() if found.get(name) != self.expected.get(name)}
        counts.finished += 1
        counts.left += len(parts)
        counts.different += bool(names - set(parts))
        counts.examples += [f"{self.place} differs in {', '.join(sorted(names))[:1000]}"] if names else []
        self._begin_anew()


def content(folder: Path) -> dict[str, bytes]:
    """Return the content of each file in `folder` that is the same each time; locks and remembered hashes are not."""
    found = {}
    for path in sorted((folder / "results").rglob("*")) + sorted((folder / "cache").rglob("*")):
        if path.is_dir() or {".locks", "contents"} & {*path.parts} or path.suffix == ".lock":
            continue
        found[str(path.relative_to(folder))] = same_each_time(path)
    return found


def same_each_time(path: Path) -> bytes:
    """Return what a file holds, without what differs from time to time."""
    if path.suffix == ".csv":
        return without_seconds(path.read_text()).encode()
    if path.name == "provenance.json":
        return json.dumps(json.loads(path.read_text())["data"]).encode()
    if path.parent.name == "first-rounds" and path.suffix == ".pt":
        return bytes(packed(unpacked(path.read_bytes()) | {"seconds": 0}))
    return path.read_bytes()


def without_seconds(text: str) -> str:
    """Return a table without the columns of seconds."""
    rows = list(csv.reader(io.StringIO(text)))
    kept = [position for position, name in enumerate(rows[0]) if not name.startswith("seconds_")]
    return "\n".join(",".join(row[position] for position in kept) for row in rows)


def read_log(base: Path) -> list[str]:
    """Return the lines that processes left before they died."""
    path = base / LOG
    return path.read_text().splitlines() if path.exists() else []


def last_line(place: Path) -> str:
    """Return what the last start said last."""
    return (place / "said.txt").read_text().strip().rpartition("\n")[2][:300]
