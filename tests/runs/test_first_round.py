"""First rounds made once: what is read is what would have been made, byte for byte, or it is not read."""

import errno
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import DIGITS, ROUNDS, SECONDS, stopped, tables

from alutils.datasets import ImageDataset, load_dataset
from alutils.files import write_whole
from alutils.progress import Status
from alutils.runs import data, first_round, folder, networks
from alutils.runs.config import REGIMES, RoundsConfig
from alutils.runs.folder import RunFolder, is_sealed
from alutils.runs.rounds import run_rounds
from alutils.training.loop import Trainer

pytestmark = pytest.mark.usefixtures("tiny_everywhere", "quick_provenance")
RANDOM = replace(ROUNDS, query="random")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of first rounds in an empty cache."""
    monkeypatch.setenv("ALUTILS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "first-rounds"


@pytest.fixture
def trainings(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Return a list that will hold, for each training, the number of its images and its first epoch."""
    seen: list[tuple[int, int]] = []

    def spy(trainer: Trainer, dataset: ImageDataset, indices: np.ndarray, **options: Any) -> None:
        seen.append((len(indices), options["first_epoch"]))
        train(trainer, dataset, indices, **options)

    train = Trainer.train
    monkeypatch.setattr(Trainer, "train", spy)
    return seen


def content(config: RoundsConfig) -> list[bytes]:
    """Return the tables of a finished run as they stand in their files, seconds left out of `rounds.csv`."""
    run = RunFolder(config.experiment, config.run_name)
    assert tables(config)[0], "they can be read"
    rounds = (run.path / "rounds.csv").read_text().splitlines()
    positions = [rounds[0].split(",").index(name) for name in SECONDS]
    rows = [[value for at, value in enumerate(row.split(",")) if at not in positions] for row in rounds]
    files = [run.path / name for name in ("acquisitions.csv", "clips.csv")]  # digits have no clips
    return [repr(rows).encode(), *(path.read_bytes() for path in files if path.exists()), tables(config)[3]]


@contextmanager
def nothing_shared() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(networks, "shared", lambda path, make, take_over: make())
        yield


def alone(config: RoundsConfig) -> list[bytes]:
    """Return the content of a run that shares nothing."""
    with nothing_shared():
        config = replace(config, experiment="alone")
        run_rounds(config)
    return content(config)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("regime", "maker", "reader", "left"),
    [
        ("from_scratch", "random", "bald+balanced+power1", 0),
        ("from_scratch", "random", "vote_entropy+windows2x3", 0),
        ("from_scratch", "bald+windows2x3", "core_set", 0),
        ("from_scratch", "random", "vote_entropy+ensemble3", 2),
        ("from_scratch", "bald+ensemble2", "vote_entropy", 0),
        *((regime, "consensus_entropy", "random", 0) for regime in REGIMES),
        *((regime, "bald+ensemble2", "vote_entropy+ensemble3", 1) for regime in REGIMES),
    ],
)
def test_a_sibling_reads_the_first_round_and_ends_with_the_same_bytes(
    regime: str, maker: str, reader: str, left: int, trainings: list[tuple[int, int]]
):
    """The reader has other networks left to train if it is a larger ensemble; regions are whole images at first."""
    changes: dict[str, Any] = {"regime": regime, "step": 50.0, "rounds": 2}  # 3 images, then 6 more
    first, second = (replace(ROUNDS, query=query, **changes) for query in (maker, reader))
    expected = [alone(first), alone(second)]
    started = time.monotonic()
    rows = [run_rounds(first).iloc[0]]
    trainings.clear()
    rows += [run_rounds(second).iloc[0]]
    assert [content(first), content(second)] == expected
    assert [images for images, _ in trainings].count(3) == left
    assert 0 < rows[1]["seconds_train"] < time.monotonic() - started


@pytest.mark.slow
def test_the_first_of_two_siblings_makes_its_first_round_and_the_second_one_reads_it(
    cache: Path, trainings: list[tuple[int, int]]
):
    """The second one scores the pool with the network that it read."""
    other = replace(ROUNDS, experiment="other")
    expected = [alone(RANDOM), alone(ROUNDS)]
    trainings.clear()
    made = run_rounds(RANDOM)
    assert [images for images, _ in trainings] == [3, 6, 9]
    trainings.clear()
    read = run_rounds(other)
    assert [images for images, _ in trainings] == [6, 9]
    assert read["seconds_train"][0] == made["seconds_train"][0], "a table says what a round costs"
    assert [content(RANDOM), content(other)] == expected
    (kept,) = cache.glob("*.pt")
    state = folder.unpacked(kept.read_bytes())
    assert state.keys() == {"model", "measures", "clips", "seconds"}, "new networks need no optimizer of an earlier one"


def other_labels(monkeypatch: pytest.MonkeyPatch) -> None:
    """Change one pixel of a scene that is labelled at first; its file would have another fingerprint, too."""
    labels = data.load_dataset("", "train").labels.copy()
    first = RunFolder("e", ROUNDS.run_name).acquisitions()["index"][0]
    labels[first, 5, 5] = (labels[first, 5, 5] + 1) % 3
    other_data(monkeypatch, "train", labels=labels)


def other_data(monkeypatch: pytest.MonkeyPatch, changed: str, **changes: Any) -> None:
    scenes = {split: data.load_dataset("", split) for split in ("train", "test")}
    scenes[changed] = replace(scenes[changed], **changes)
    monkeypatch.setattr(data, "load_dataset", lambda name, split, *size, **labels: scenes[split])


def other_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    def changed(*arguments: Any, **named: Any) -> torch.nn.Module:
        network = build(*arguments, **named)
        torch.nn.init.zeros_(next(network.parameters()))
        return network

    build = networks.build_model
    monkeypatch.setattr(networks, "build_model", changed)


DIFFERENT: dict[str, dict[str, Any] | Callable[[pytest.MonkeyPatch], Any]] = {
    "seed": {"seed": 1},
    "recipe": {"learning_rate": 0.02},
    "regime": {"regime": "incremental"},
    "size of the start set": {"start": 34.0},
    "choice of the start set": {"start_query": "strided_random"},
    "labels": other_labels,
    "training data": lambda patch: other_data(patch, "train", fingerprint="0" * 64),
    "test data": lambda patch: other_data(patch, "test", fingerprint="0" * 64),
    "initial weights": other_weights,
    "code": lambda patch: patch.setattr(first_round, "package_digest", lambda: "other"),
    "code unknown": lambda patch: patch.setattr(first_round, "package_digest", lambda: None),
    "threads": lambda patch: patch.setattr(torch, "get_num_threads", lambda: 2),
    "device": lambda patch: patch.setattr(first_round, "device_name", lambda device: "other"),
    "instructions": lambda patch: patch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "other"),
    "torch": lambda patch: patch.setattr(torch, "__version__", "0.0.1"),
    "torchvision": lambda patch: patch.setattr(first_round, "version", lambda package: "0.0.1"),
    "numpy": lambda patch: patch.setattr(np, "__version__", "0.0.1"),
}


@pytest.mark.parametrize("what", DIFFERENT)
def test_what_determines_a_first_round_differs_and_nothing_is_read(
    what: str, trainings: list[tuple[int, int]], cache: Path, monkeypatch: pytest.MonkeyPatch
):
    run_rounds(replace(ROUNDS, rounds=1))
    change, config = DIFFERENT[what], replace(RANDOM, rounds=1, experiment="other")
    trainings.clear()
    if isinstance(change, dict):
        config = replace(config, **change)
    else:
        change(monkeypatch)
    run_rounds(config)
    assert len(trainings) == 1
    assert len(list(cache.glob("*.pt"))) == 2 - (what == "code unknown")


def test_networks_of_an_ensemble_are_told_apart(cache: Path):
    run_rounds(replace(ROUNDS, query="bald+ensemble3", rounds=1))
    states = [folder.unpacked(path.read_bytes()) for path in cache.glob("*.pt")]
    assert len({str(state["model"]) for state in states}) == 3
    assert sorted(bool(state["measures"]) for state in states) == [False, False, True]


def test_code_that_changes_is_other_code_and_unknown_once_it_is_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    package = tmp_path / "alutils"
    (package / "room").mkdir(parents=True)
    (package / "room" / "module.py").write_text("x = 1")
    monkeypatch.setattr(first_round, "ROOT", tmp_path)
    monkeypatch.setattr(first_round, "LOADED", time.time() + 60)
    digests = [digest_now()]
    (package / "room" / "module.py").write_text("x = 2")
    digests.append(digest_now())
    (package / "room" / "module.py").rename(package / "module.py")
    digests.append(digest_now())
    (package / "__pycache__").mkdir()
    (package / "__pycache__" / "module.pyc").write_text("")
    assert digest_now() == digests[-1]
    assert len({*digests}) == 3
    assert None not in digests
    monkeypatch.setattr(first_round, "LOADED", (package / "module.py").stat().st_ctime)
    assert digest_now() is None


def digest_now() -> str | None:
    return first_round.package_digest.__wrapped__()


def test_this_package_is_known():
    first_round.package_digest.cache_clear()
    assert first_round.package_digest() is not None


def flipped(kept: bytes) -> bytes:
    middle = len(kept) // 2
    return kept[:middle] + bytes([kept[middle] ^ 1]) + kept[middle + 1 :]


def said(capfd: pytest.CaptureFixture[str]) -> list[str]:
    """Return the lines on stderr, but for the warning of a size that does not suit the network."""
    return [line for line in capfd.readouterr().err.splitlines() if "height x width" not in line]


@pytest.mark.slow
@pytest.mark.parametrize("damage", [lambda kept: kept[:-1], flipped, lambda kept: b""], ids=["cut", "flipped", "empty"])
def test_a_damaged_file_is_not_taken_for_right_but_made_anew(
    damage: Callable[[bytes], bytes], cache: Path, trainings: list[Any], capfd: pytest.CaptureFixture[str]
):
    expected = alone(RANDOM)
    run_rounds(ROUNDS)
    (path,) = cache.glob("*.pt")
    path.write_bytes(damage(path.read_bytes()))
    trainings.clear()
    assert said(capfd) == []
    run_rounds(RANDOM)
    assert len(trainings) == 3
    assert said(capfd) == [f"{path}: damaged (it is not what was kept); the first round is made anew"]
    assert content(RANDOM) == expected
    assert is_sealed(path.read_bytes())
    trainings.clear()
    run_rounds(replace(RANDOM, experiment="third"))
    assert len(trainings) == 2
    assert said(capfd) == []


def test_a_file_that_cannot_be_read_is_one_line(cache: Path, capfd: pytest.CaptureFixture[str]):
    run_rounds(replace(ROUNDS, rounds=1))
    (path,) = cache.glob("*.pt")
    path.unlink()
    path.mkdir()
    run_rounds(replace(RANDOM, rounds=1))
    unread, unkept = said(capfd)
    assert unread == f"{path}: cannot be read (not a regular file); the first round is made anew"
    assert unkept.endswith(": Is a directory; the first round is not kept for other queries")


def no_room(*_: Any) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "kept.pt")


@pytest.mark.slow
def test_a_full_disk_is_one_line_and_the_run_goes_on(
    cache: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
):
    expected = alone(RANDOM)
    monkeypatch.setattr(first_round, "write_whole", no_room)
    run_rounds(RANDOM)
    assert said(capfd) == ["kept.pt: No space left on device; the first round is not kept for other queries"]
    assert content(RANDOM) == expected
    assert not list(cache.glob("*.pt"))


def test_a_full_disk_of_results_is_not_said_to_be_the_caches(
    cache: Path, results: Path, monkeypatch: pytest.MonkeyPatch
):
    def full(path: Path, written: Any) -> None:
        if path.name == "checkpoint.pt":
            no_room()
        write_whole(path, written)

    monkeypatch.setattr(folder, "write_whole", full)
    with pytest.raises(OSError, match="No space left on device"):
        run_rounds(RANDOM)
    assert not list(cache.glob("*.pt"))


@pytest.mark.slow
def test_a_cache_that_cannot_be_written_is_read(
    trainings: list[Any], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
):
    def refuse(*_: Any) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), "kept.pt")

    expected = [alone(RANDOM), alone(replace(RANDOM, seed=1))]
    run_rounds(ROUNDS)
    monkeypatch.setattr(first_round, "locked", refuse)
    monkeypatch.setattr(first_round, "write_whole", refuse)
    trainings.clear()
    run_rounds(RANDOM)
    assert len(trainings) == 2
    assert said(capfd) == []
    run_rounds(replace(RANDOM, seed=1))
    assert said(capfd) == ["kept.pt: Read-only file system; the first round is not kept for other queries"]
    assert [content(RANDOM), content(replace(RANDOM, seed=1))] == expected


@pytest.mark.slow
@pytest.mark.parametrize(
    ("regime", "query", "is_cache_lost"),
    [
        ("from_scratch", "consensus_entropy", False),
        ("incremental", "consensus_entropy", False),
        ("incremental", "vote_entropy+ensemble2", True),
        ("new_data_only", "random", True),
    ],
)
def test_a_reader_killed_at_any_write_ends_with_the_same_bytes(
    regime: str, query: str, is_cache_lost: bool, cache: Path
):
    """With its own checkpoint it goes on even if what it had read is no longer there."""
    config = replace(ROUNDS, regime=regime, query=query, rounds=2)
    expected, survives = alone(config), 0
    run_rounds(replace(config, query="bald+ensemble2", experiment="maker"))
    made = {path: path.read_bytes() for path in cache.glob("*.pt")}
    while True:
        for path, of_maker in made.items():
            path.write_bytes(of_maker)
        here = replace(config, experiment=f"reader{survives}")
        was_killed = stopped(here, survives)
        if is_cache_lost:
            for path in made:
                path.unlink()
        run_rounds(here)
        assert content(here) == expected
        assert not list(RunFolder(here.experiment, here.run_name).path.glob("*checkpoint*"))
        if not was_killed:
            break
        survives += 1
    assert survives > 8


@pytest.mark.slow
@pytest.mark.parametrize("regime", ["from_scratch", "incremental"])
def test_a_run_killed_in_its_first_round_goes_on_from_its_checkpoint_and_then_shares(
    regime: str, trainings: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(networks, "SAVE_EVERY", 0.0)
    first, second = (replace(config, regime=regime, epochs=3) for config in (ROUNDS, RANDOM))
    expected = [alone(first), alone(second)]
    assert stopped(first, 4)  # the config, the code and the checkpoints of two epochs
    trainings.clear()
    run_rounds(first)
    assert trainings == [(3, 2), (6, 0), (9, 0)]
    trainings.clear()
    run_rounds(second)
    assert trainings == [(6, 0), (9, 0)]
    assert [content(first), content(second)] == expected


def test_a_first_round_that_is_read_is_told_as_done_and_not_as_fast(monkeypatch: pytest.MonkeyPatch):
    """Of an ensemble: the first network is another query's, the second one is trained here."""
    told: list[tuple[int, int, int, int]] = []

    def spy(status: Status, steps_done: int, **where: Any) -> None:
        tell(status, steps_done, **where)
        told.append((steps_done, status.first, where["round"], where["epoch"]))

    tell = Status.tell
    run_rounds(replace(RANDOM, rounds=2))
    monkeypatch.setattr(Status, "tell", spy)
    run_rounds(replace(ROUNDS, query="bald+ensemble2", rounds=2))
    assert told[:4] == [(4, 4, 1, 2), (4, 4, 1, 0), (6, 4, 1, 1), (8, 4, 1, 2)]
    assert told[-1] == (20, 4, 2, 2)  # two epochs of 3 and of 6 images, two at a time, twice
    told.clear()
    run_rounds(replace(ROUNDS, query="bald+ensemble3", rounds=2, experiment="other"))
    assert told[:2] == [(4, 4, 1, 2), (8, 8, 1, 2)], "nothing of that was done here"


def test_a_run_without_a_sibling_is_told_as_before(monkeypatch: pytest.MonkeyPatch):
    told: list[int] = []
    monkeypatch.setattr(Status, "tell", lambda status, steps_done, **where: told.append(steps_done))
    run_rounds(replace(RANDOM, rounds=2))
    assert told == [0, 2, 4, 4, 7, 10]


PROCESS = """
import json, sys, time
from pathlib import Path
from alutils.runs.config import RoundsConfig
from alutils.runs.rounds import run_rounds
from alutils.training.loop import Trainer

train, log, gate = Trainer.train, Path(sys.argv[2]), Path(sys.argv[3])

def noted(trainer, dataset, indices, **options):
    with log.open("a") as file:
        file.write(f"{len(indices)}\\n")
    while not gate.exists():
        time.sleep(0.02)
    train(trainer, dataset, indices, **options)

Trainer.train = noted
run_rounds(RoundsConfig(**json.loads(sys.argv[1])))
"""


class Started:
    """A run in a process of its own, which trains once the file `gate` is there; it logs its trainings."""

    def __init__(self, config: RoundsConfig, base: Path):
        self.log, self.said = base / f"{config.query}.log", base / f"{config.query}.err"
        parameters = json.dumps({field.name: getattr(config, field.name) for field in fields(config)})
        command = [sys.executable, "-c", PROCESS, parameters, str(self.log), str(base / "gate")]
        with self.said.open("w") as said:
            self.process = subprocess.Popen(command, stderr=said)

    def trained(self) -> list[str]:
        return self.log.read_text().split() if self.log.exists() else []

    def wait_until(self, is_so: Callable[[], object]) -> None:
        stop = time.monotonic() + 120
        while not is_so():
            assert self.process.poll() is None, self.said.read_text()
            assert time.monotonic() < stop
            time.sleep(0.05)


@pytest.mark.slow
@pytest.mark.parametrize("is_killed", [False, True])
def test_of_two_at_once_one_trains_and_the_other_waits_for_it(
    is_killed: bool, tmp_path: Path, trainings: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch
):
    """If the one that trains is killed, the other one trains."""
    first, second = DIGITS, replace(DIGITS, query="random")
    gate = tmp_path / "gate"
    maker = Started(first, tmp_path)
    maker.wait_until(maker.trained)
    waiter = Started(second, tmp_path)
    waiter.wait_until(lambda: "waiting for another process that works on" in waiter.said.read_text())
    assert not waiter.trained()
    if is_killed:
        maker.process.kill()
        maker.process.wait()
    gate.touch()
    assert waiter.process.wait(120) == 0, waiter.said.read_text()
    assert maker.process.wait(120) == (-9 if is_killed else 0), maker.said.read_text()
    assert waiter.trained() == (["30", "60"] if is_killed else ["60"])
    assert maker.trained() == (["30"] if is_killed else ["30", "60"])
    trainings.clear()
    monkeypatch.setattr(data, "load_dataset", load_dataset)
    run_rounds(replace(first, query="vote_entropy"))
    assert [images for images, _ in trainings] == [60], "it is kept whoever made it"
    assert content(second) == alone(second)
