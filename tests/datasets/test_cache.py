import errno
import os
import re
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from test_folder import load, write_data_set

from alutils.datasets import ImageDataset, cache, load_dataset
from alutils.errors import DataError

FEW_FILES = """
import os, resource, sys
from alutils.datasets import load_dataset
load_dataset(sys.argv[1], "train")
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
held = []
try:
    while True:
        held.append(os.open("/dev/null", os.O_RDONLY))
except OSError:
    pass
for _ in range(16):
    try:
        print(len(load_dataset(sys.argv[1], "train")))
    except ValueError as error:
        print(error)
    os.close(held.pop())
"""


@pytest.fixture
def description(tmp_path: Path) -> Path:
    return write_data_set(tmp_path / "data")


@pytest.fixture(autouse=True)
def caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of caches, which is not there yet."""
    monkeypatch.setenv("ALUTILS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def folders(caches: Path) -> list[Path]:
    return [path for path in caches.glob("yard-*") if path.is_dir()]


def same(first: ImageDataset, second: ImageDataset) -> bool:
    return np.array_equal(first.images, second.images) and np.array_equal(first.labels, second.labels)


def test_a_second_load_decodes_nothing(description: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = load(description, 2, 3)
    monkeypatch.setattr(cache, "_decode", None)
    second = load(description, 2, 3)
    assert same(first, second)
    assert first.fingerprint == second.fingerprint == cache.fingerprint(first.images, first.labels)
    assert isinstance(second.images, np.memmap)


def test_fingerprint_tells_arrays_apart() -> None:
    images, labels = np.zeros((2, 3, 4, 4), np.uint8), np.zeros((2, 4, 4), np.uint8)
    changed = images.copy()
    changed[1, 2, 3, 3] = 1
    prints = [cache.fingerprint(*arrays) for arrays in [(images, labels), (changed, labels), (images[:1], labels[:1])]]
    assert len(set(prints)) == 3
    assert all(re.fullmatch("[0-9a-f]{64}", one) for one in prints)


def test_a_changed_file_another_size_or_version_makes_a_new_cache(
    description: Path, caches: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = load(description, 2, 3)
    assert len(folders(caches)) == 1
    load(description, 3, 2)
    assert len(folders(caches)) == 2
    shutil.copy(description.parent / "photos/a.png", description.parent / "photos/b.png")
    assert not same(before, load(description, 2, 3))
    assert len(folders(caches)) == 3
    monkeypatch.setattr(cache, "VERSION", cache.VERSION + 1)
    load(description, 2, 3)
    assert len(folders(caches)) == 4


def test_a_file_that_is_edited_at_equal_size_and_time_makes_a_new_cache(description: Path, caches: Path) -> None:
    label = description.parent / "masks/b.png"
    mask = np.asarray(Image.open(label)).copy()
    before, status, size = load(description), label.stat(), label.stat().st_size
    for value in range(3):  # until one has as many bytes as before
        mask[0, 1] = value
        Image.fromarray(mask).save(label)
        if label.stat().st_size == size and value != before.labels[1, 0, 1]:
            break
    os.utime(label, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert label.stat().st_size == size
    assert load(description).labels[1, 0, 1] == value != before.labels[1, 0, 1]
    assert len(folders(caches)) == 2


def test_folders_of_equal_names_sizes_and_times_share_a_cache_only_if_their_contents_are_equal(
    tmp_path: Path, caches: Path
) -> None:
    descriptions = [write_data_set(tmp_path / name) for name in ("one", "two", "three")]
    pixels = np.asarray(Image.open(tmp_path / "three/photos/a.png")).copy()
    pixels[0, 0] = 255 - pixels[0, 0]
    for name in ("one", "two", "three"):
        path = tmp_path / name / "photos/a.png"
        Image.fromarray(pixels if name == "three" else np.asarray(Image.open(path))).save(path, "bmp")
        for file in (tmp_path / name).glob("*/*"):
            os.utime(file, ns=(0, 0))
    one, two, three = map(load, descriptions)
    assert same(one, two)
    assert len(folders(caches)) == 2
    assert np.array_equal(three.images[0, :, 0, 0], pixels[0, 0])
    assert not same(one, three)


def test_a_file_that_changes_while_it_is_decoded_is_one_line(
    description: Path, caches: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decode, photos = cache._decode, description.parent / "photos"

    def edited(*arguments: Any) -> Any:
        shutil.copy(photos / "a.png", photos / "b.png")
        return decode(*arguments)

    monkeypatch.setattr(cache, "_decode", edited)
    with pytest.raises(DataError, match=rf"^{re.escape(str(photos))}/b\.png: changed while it was decoded"):
        load(description)
    assert not folders(caches)


def test_a_class_that_becomes_void_makes_a_new_cache(description: Path, caches: Path) -> None:
    load(description)
    description.write_text(description.read_text().replace("- 7", "- 7\n- 8"))
    load(description)
    assert len(folders(caches)) == 2


def test_threads_that_start_at_once_build_once(
    description: Path, caches: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    built: list[Path] = []

    def slow_build(*arguments: Any) -> None:
        built.append(arguments[-1])
        time.sleep(0.2)
        build(*arguments)

    build = cache._build
    monkeypatch.setattr(cache, "_build", slow_build)
    with ThreadPoolExecutor(2) as workers:
        first, second = workers.map(lambda _: load(description), range(2))
    assert same(first, second)
    (folder,) = folders(caches)
    assert built == [folder.with_name(f"{folder.name}.{os.getpid()}.part")]


@pytest.mark.slow
def test_processes_that_start_at_once_give_the_same_arrays(description: Path, caches: Path) -> None:
    call = f"load_dataset({str(description)!r}, 'train')"
    program = f"from alutils.datasets import load_dataset; print({call}.fingerprint)"
    processes = [subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) for _ in range(2)]
    prints = [process.communicate(timeout=60)[0].decode().strip() for process in processes]
    assert prints == [load(description).fingerprint] * 2
    assert len(folders(caches)) == 1


def damaged(path: Path, how: str) -> None:
    """Damage a file of a cache, which is read-only."""
    content = path.read_bytes()
    time.sleep(0.02)  # until the clock of the file system ticks
    path.unlink()
    if how == "a folder":
        path.mkdir()
    elif how != "missing":
        other = content[:-1] + bytes([content[-1] ^ 1])
        path.write_bytes({"empty": b"", "cut": content[: len(content) // 2], "changed": other}[how])


@pytest.mark.parametrize("name", ["images.npy", "labels.npy", "fingerprint.json", "sha256.json"])
@pytest.mark.parametrize("how", ["empty", "cut", "changed", "missing", "a folder"])
def test_a_damaged_cache_is_one_line(name: str, how: str, description: Path, caches: Path) -> None:
    load(description)
    (folder,) = folders(caches)
    damaged(folder / name, how)
    with pytest.raises(DataError, match=rf"^{re.escape(str(folder))}: damaged cache; remove this folder.*$"):
        load(description)
    shutil.rmtree(folder)
    assert len(load(description)) == 2


def test_files_of_a_cache_cannot_be_written_by_accident(description: Path, caches: Path) -> None:
    load(description)
    (folder,) = folders(caches)
    assert len(list(folder.iterdir())) == 4
    assert all(path.stat().st_mode & 0o777 == 0o444 for path in folder.iterdir())


@pytest.mark.slow
def test_a_good_cache_that_cannot_be_read_gives_the_reason(description: Path) -> None:
    command = [sys.executable, "-c", FEW_FILES, str(description)]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    good = lines.index("2")
    assert good > 3, "several files are opened"
    for line in lines[:good]:
        assert "Too many open files" in line
        assert "remove" not in line


def test_an_array_that_the_disk_has_no_room_for_is_an_error_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page of a memory map that finds no room would kill the process."""
    reserved: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "posix_fallocate", lambda file, start, size: reserved.append((start, size)), raising=False)
    array = cache.new_array(tmp_path / "array.npy", (2, 3))
    assert (array.shape, array.dtype) == ((2, 3), np.uint8)
    assert reserved == [(0, (tmp_path / "array.npy").stat().st_size)]

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full, raising=False)
    with pytest.raises(OSError, match="No space left on device"):
        cache.new_array(tmp_path / "other.npy", (2, 3))


def test_an_array_that_cannot_be_read_gives_the_reason(tmp_path: Path) -> None:
    np.save(tmp_path / "array.npy", np.arange(3))
    assert cache.mapped(tmp_path / "array.npy").tolist() == [0, 1, 2]
    with pytest.raises(DataError, match=r"/none\.npy: cannot be read \(No such file or directory\)$"):
        cache.mapped(tmp_path / "none.npy")


def test_labels_stay_at_their_size_on_request(description: Path, caches: Path) -> None:
    stored, small = load(description), load(description, 2, 2)
    native = load_dataset(str(description), "train", 2, 2, native_labels=True)
    assert (native.images == small.images).all()
    assert (native.labels == stored.labels).all()
    assert native.labels.shape != small.labels.shape
    assert native.fingerprint not in (stored.fingerprint, small.fingerprint)
    assert same(load_dataset(str(description), "train", native_labels=True), stored)
    assert native.stored_size == small.stored_size == stored.stored_size == (4, 4)


def test_labels_of_several_sizes_have_no_native_resolution(description: Path) -> None:
    for path in description.parent.glob("*/b.png"):
        Image.open(path).resize((8, 8), Image.Resampling.NEAREST).save(path)
    with pytest.raises(
        DataError, match=r"b.png: size \(8, 8\), the first has \(4, 4\); .* test_resolution can be training"
    ):
        load_dataset(str(description), "train", 2, 2, native_labels=True)


def test_a_failing_build_leaves_nothing(description: Path, caches: Path) -> None:
    mask = description.parent / "masks/b.png"
    content = mask.read_bytes()
    mask.write_bytes(content[:50])
    with pytest.raises(DataError, match=r"masks/b\.png"):
        load(description)
    assert not folders(caches)
    mask.write_bytes(content)
    assert len(load(description)) == 2  # and the lock is free again
