"""Maps of a frozen encoder: made once, whole, for everyone, whatever happens on the way."""

import errno
import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from alutils import contents
from alutils.datasets import Features, ImageDataset, features
from alutils.datasets.features import Encode, with_features
from alutils.errors import DataError

STRIDES = (4, 8, 32)  # of the fake encoder

PROCESS = """
import sys, time
import numpy as np
from test_features import maps_of, ten
from alutils.datasets import features

features.SAVE_EVERY = 0
seconds = float(sys.argv[1])

def encode(images):
    print(len(images), flush=True)
    time.sleep(seconds)
    return maps_of(images)

print(features.with_features(ten(), "fake", "digest", lambda: encode).features.levels[0].sum(dtype=np.float64))
"""


@pytest.fixture(autouse=True)
def caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of caches, which is not there yet; two images are encoded at a time, each is noted."""
    monkeypatch.setenv("ALUTILS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(features, "BATCH", 2)
    monkeypatch.setattr(features, "SAVE_EVERY", 0.0)
    return tmp_path / "cache"


def ten() -> ImageDataset:
    """Return ten images of 20x40 pixels."""
    images = np.random.default_rng(0).integers(0, 256, (10, 3, 20, 40)).astype(np.uint8)
    names = [f"scene{index}" for index in range(10)]
    return ImageDataset(
        "ten", "train", images, images[:, 0] % 3, names, ["a", "b", "c"], [(0, 0, 0)] * 3, (0.5,) * 3, (0.25,) * 3, ""
    )


def maps_of(images: np.ndarray) -> list[np.ndarray]:
    """Return maps that show every stride-th pixel in three channels, and its square in three more."""
    picked = [images[:, :, ::stride, ::stride].transpose(0, 2, 3, 1) / np.float32(16) for stride in STRIDES]
    return [np.concatenate([maps, maps**2], axis=3).astype(np.float16) for maps in picked]


class Spy:
    """An encoder that counts; it is stopped when it has encoded so many batches."""

    def __init__(self, stop_after: int = 99):
        self.loaded, self.asked, self.stop_after = 0, list[int](), stop_after

    def load(self) -> Encode:
        self.loaded += 1
        return self.encode

    def encode(self, images: np.ndarray) -> list[np.ndarray]:
        if len(self.asked) == self.stop_after:
            raise KeyboardInterrupt
        self.asked.append(len(images))
        return maps_of(images)


def encoded(dataset: ImageDataset, load: Callable[[], Encode] | None = None, digest: str = "digest") -> Features:
    found = with_features(dataset, "fake", digest, load or (lambda: maps_of)).features
    assert found is not None
    return found


def folders(caches: Path) -> list[Path]:
    return sorted(path for path in caches.glob("ten-*") if path.is_dir())


def files(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


# What is made


def test_levels_are_mapped_half_precision_each_at_its_stride(caches: Path):
    found = encoded(ten())
    assert found.strides == (4, 8, 20), "20x40 pixels have 1x2 maps at 1/20 and at 1/32"
    assert [level.shape for level in found.levels] == [(10, 6, 5, 10), (10, 6, 3, 5), (10, 6, 1, 2)]
    for level, maps in zip(found.levels, maps_of(ten().images), strict=True):
        assert level.dtype == np.float16
        assert isinstance(level.base, np.memmap)
        assert np.array_equal(level, maps.transpose(0, 3, 1, 2))
        assert not level.flags.writeable
    (folder,) = folders(caches)
    assert re.fullmatch("ten-train-20x40-fake-[0-9a-f]{12}", folder.name)
    assert {*files(folder)} == {"done.json", "level0.npy", "level1.npy", "level2.npy", "sha256.json", "statistics.npz"}
    assert all(path.stat().st_mode & 0o777 == 0o444 for path in folder.iterdir())


@pytest.mark.parametrize(("height", "width"), [(17, 40), (36, 64), (64, 33), (360, 480)])
def test_a_stride_is_found_for_odd_sizes(height: int, width: int):
    images = np.zeros((1, 3, height, width), np.uint8)
    assert encoded(replace(ten(), images=images, item_names=["one"])).strides[:2] == (4, 8)


def test_means_and_deviations_by_hand():
    images = np.zeros((2, 3, 8, 8), np.uint8)
    images[1, 0], images[:, 1, 4:] = 32, 16  # two sixteenths in the second image, one in all lower halves
    found = encoded(replace(ten(), images=images, item_names=["one", "two"]))
    np.testing.assert_allclose(found.means[0], [1, 0.5, 0, 2, 0.5, 0])
    np.testing.assert_allclose(found.stds[0], [1, 0.5, 0, 2, 0.5, 0])
    np.testing.assert_allclose(found.means[1], [1, 0, 0, 2, 0, 0])
    assert {array.dtype for array in [*found.means, *found.stds]} == {np.dtype(np.float32)}


def test_statistics_are_of_a_sample_in_full_precision(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(features, "SAMPLE", 3)
    found = encoded(ten())
    for level, mean, std in zip(found.levels, found.means, found.stds, strict=True):
        values = level[[0, 4, 9]].astype(np.float64)  # 4.5 is rounded to the even number
        np.testing.assert_allclose(mean, values.mean(axis=(0, 2, 3)), rtol=1e-6)
        np.testing.assert_allclose(std, values.std(axis=(0, 2, 3)), rtol=1e-6)


# When it is made


def test_a_second_call_does_not_even_load_the_encoder():
    spy = Spy()
    first, second = encoded(ten(), spy.load), encoded(ten(), spy.load)
    assert (spy.loaded, spy.asked) == (1, [2] * 5)
    assert first.digest == second.digest
    assert all(np.array_equal(one, other) for one, other in zip(first.levels, second.levels, strict=True))


def test_other_images_encoders_and_versions_have_other_maps_and_other_labels_have_not(
    caches: Path, monkeypatch: pytest.MonkeyPatch
):
    first, (folder,) = encoded(ten()), folders(caches)
    changed = ten().images.copy()
    changed[9, 2, 19, 39] ^= 1
    labels = ten().labels
    for count, dataset in [
        (1, replace(ten(), labels=labels ^ 1, fingerprint="1" * 64)),
        (1, replace(ten(), labels=labels.repeat(2, axis=1).repeat(2, axis=2), fingerprint="2" * 64)),
        (2, replace(ten(), images=changed)),
        (3, replace(ten(), split="test")),
        (4, replace(ten(), images=ten().images.reshape(10, 3, 40, 20))),
    ]:
        found = encoded(dataset)
        assert len(folders(caches)) == count
        assert found.digest == first.digest, "it is the encoder's"
    digests = {first.digest, encoded(ten(), digest="other").digest}
    monkeypatch.setattr(features, "VERSION", features.VERSION + 1)
    digests.add(encoded(ten()).digest)
    assert len(digests) == 3
    assert len(folders(caches)) == 6
    assert folder in folders(caches)


def test_images_in_a_file_are_told_apart_by_its_content(tmp_path: Path, caches: Path):
    for count, change in enumerate([0, 1], start=1):
        np.save(tmp_path / f"{change}.npy", ten().images ^ change)
        images = np.load(tmp_path / f"{change}.npy", mmap_mode="r")
        for _ in range(2):
            encoded(replace(ten(), images=images))
        assert len(folders(caches)) == count


# Builds that are stopped


@pytest.mark.parametrize("stop_after", [0, 1, 4, 5])
def test_a_stopped_build_goes_on_where_it_was(stop_after: int, caches: Path):
    encoded(ten())
    (folder,) = folders(caches)
    unbroken = files(folder)
    shutil.rmtree(folder)
    first, second = Spy(stop_after), Spy()
    if stop_after < 5:
        with pytest.raises(KeyboardInterrupt):
            encoded(ten(), first.load)
        assert [path.suffix for path in folders(caches)] == [".part"]
    encoded(ten(), second.load if stop_after < 5 else first.load)
    assert (first.asked, second.asked) == ([2] * stop_after, [2] * (5 - stop_after))
    assert files(folder) == unbroken
    assert folders(caches) == [folder]


@pytest.mark.parametrize("save_every", [0.0, 1000.0])
def test_what_was_not_noted_is_encoded_again(save_every: float, caches: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(features, "SAVE_EVERY", save_every)
    with pytest.raises(KeyboardInterrupt):
        encoded(ten(), Spy(3).load)
    spy = Spy()
    encoded(ten(), spy.load)
    assert spy.asked == [2] * (5 if save_every else 2)


@pytest.mark.slow
def test_a_build_stopped_at_any_moment_of_sealing_is_sealed_again(caches: Path, monkeypatch: pytest.MonkeyPatch):
    encoded(ten())
    (folder,) = folders(caches)
    unbroken = files(folder)
    for survives in range(100):
        shutil.rmtree(folder)
        with monkeypatch.context() as stopping:
            stops = stop_sealing_after(survives, stopping)
            with suppress(KeyboardInterrupt):
                encoded(ten())
        assert len(folders(caches)) == 1
        spy = Spy()
        encoded(ten(), spy.load)
        assert files(folder) == unbroken
        assert all(path.stat().st_mode & 0o222 == 0 for path in folder.iterdir())
        if stops[0] > 0:
            break  # there were not so many changes
        assert spy.asked == []
    assert survives > 8


def stop_sealing_after(survives: int, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Stop at a call that changes or hashes files, after so many, once all is encoded; return how many are left."""
    left = [survives]

    def stopping(original: Any) -> Any:
        def changed(*arguments: Any, **options: Any) -> Any:
            if left[0] == 0:
                raise KeyboardInterrupt
            left[0] -= 1
            return original(*arguments, **options)

        return changed

    def write_statistics(folder: Path) -> None:
        for name in ("chmod", "write_text", "unlink", "rename", "replace"):
            monkeypatch.setattr(Path, name, stopping(getattr(Path, name)))
        monkeypatch.setattr(contents, "content_hashes", stopping(contents.content_hashes))
        write(folder)

    write = features._write_statistics
    monkeypatch.setattr(features, "_write_statistics", write_statistics)
    return left


def start(seconds: float) -> "subprocess.Popen[str]":
    """Start a process that encodes ten images, eight and two, and takes so long for each of both."""
    folder, path = str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")
    environment = os.environ | {"PYTHONPATH": f"{folder}{os.pathsep}{path}"}
    command = [sys.executable, "-c", PROCESS, str(seconds)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)


@pytest.mark.slow
def test_a_killed_process_leaves_what_the_next_one_goes_on_with(caches: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(features, "BATCH", 8)
    encoded(ten())
    (folder,) = folders(caches)
    unbroken = files(folder)
    shutil.rmtree(folder)
    process = start(30)
    assert process.stdout is not None
    assert process.stdout.readline() == "8\n"
    process.kill()
    assert process.wait() == -signal.SIGKILL
    process.stdout.close()
    process = start(0.2)
    assert process.stdout is not None
    assert process.stdout.readline() == "8\n", "nothing was noted yet"
    assert process.stdout.readline() == "2\n"
    process.kill()  # when the first eight are noted
    process.wait()
    process.stdout.close()
    spy = Spy()
    encoded(ten(), spy.load)
    assert spy.asked == [2]
    assert files(folder) == unbroken


@pytest.mark.slow
def test_two_processes_at_once_encode_once(caches: Path):
    processes = [start(0.3) for _ in range(2)]
    said = sorted(process.communicate(timeout=60)[0].split() for process in processes)
    assert [process.returncode for process in processes] == [0, 0]
    total = str(encoded(ten()).levels[0].sum(dtype=np.float64))
    assert said == sorted([["8", "2", total], [total]])
    assert len(folders(caches)) == 1


# What is refused


def test_room_is_taken_before_anything_is_written(caches: Path, monkeypatch: pytest.MonkeyPatch):
    reserved: list[int] = []

    def allocate(descriptor: int, start: int, size: int) -> None:
        reserved.append(size)
        if len(reserved) > 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    spy = Spy()
    with monkeypatch.context() as full:
        full.setattr(os, "posix_fallocate", allocate)
        with pytest.raises(OSError, match="cannot be written: No space left on device") as caught:
            encoded(ten(), spy.load)
    assert "\n" not in str(caught.value)
    assert re.fullmatch(r"ten-train-20x40-fake-[0-9a-f]{12}", Path(caught.value.filename).name)
    assert spy.asked == [2], "one batch says how large maps are"
    assert reserved[0] > 10 * 6 * 5 * 10 * 2 - 1
    assert folders(caches) == [], "what room there is belongs to others"
    assert len(encoded(ten()).levels) == 3


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 65520.0])
def test_maps_that_are_not_finite_are_one_line_that_names_the_image(value: float, caches: Path):
    def encode(images: np.ndarray) -> list[np.ndarray]:
        maps = [level.astype(np.float32) for level in maps_of(images)]
        maps[1][images[:, 0, 0, 0] == ten().images[7, 0, 0, 0], 0, 0, 2] = value
        with np.errstate(over="ignore"):
            return [level.astype(np.float16) for level in maps]

    assert (ten().images[:, 0, 0, 0] == ten().images[7, 0, 0, 0]).sum() == 1
    with pytest.raises(DataError, match=r"^scene7: the encoder's maps are not finite in float16; allowed: another"):
        encoded(ten(), lambda: encode)
    assert folders(caches) == [], "nobody can go on with it"


def test_the_largest_number_of_half_precision_is_kept():
    found = encoded(ten(), lambda: lambda images: [np.full((len(images), 5, 10, 1), 65504, np.float16)])
    assert found.levels[0].max() == 65504
    assert (found.means[0], found.stds[0]) == (65504, 0)


@pytest.mark.parametrize(
    ("name", "how"),
    [("level1.npy", "changed"), ("level1.npy", "cut"), ("statistics.npz", "missing"), ("sha256.json", "changed")],
)
def test_a_damaged_cache_is_one_line(name: str, how: str, caches: Path):
    encoded(ten())
    (folder,) = folders(caches)
    content = (folder / name).read_bytes()
    time.sleep(0.02)  # until the clock of the file system ticks
    (folder / name).unlink()
    if how != "missing":
        other = content[:-1] + bytes([content[-1] ^ 1])
        (folder / name).write_bytes(other if how == "changed" else content[: len(content) // 2])
    with pytest.raises(DataError, match=rf"^{re.escape(str(folder))}: damaged cache; remove this folder.*$"):
        encoded(ten())
    shutil.rmtree(folder)
    assert len(encoded(ten()).levels) == 3
