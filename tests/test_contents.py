"""Files' contents by their hashes, remembered while a file is unchanged; folders that stay as they were built."""

import errno
import hashlib
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from alutils import contents
from alutils.contents import built_and_sealed, content_hashes
from alutils.errors import DataError

OLD = 10**18  # a time in 2001, in nanoseconds


@pytest.fixture(autouse=True)
def memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of remembered hashes; all files count as settled."""
    monkeypatch.setenv("ALUTILS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(contents, "SETTLED", -1.0)
    return tmp_path / "cache" / "contents"


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the names of the files that have been hashed, which grows."""
    names: list[str] = []

    def noted(path: Path) -> tuple[contents.State, str, float]:
        names.append(path.name)
        return hashed(path)

    hashed = contents._hashed
    monkeypatch.setattr(contents, "_hashed", noted)
    return names


def files(folder: Path, **texts: str) -> list[Path]:
    folder.mkdir(exist_ok=True)
    for name, text in texts.items():
        (folder / name).write_text(text)
    return [folder / name for name in texts]


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def test_unchanged_files_are_read_once(tmp_path: Path, read: list[str], monkeypatch: pytest.MonkeyPatch):
    paths = [*files(tmp_path / "x", a="1", b="2"), *files(tmp_path / "y", a="3")]
    expected = [sha256("1"), sha256("2"), sha256("3")]
    assert content_hashes(paths, "") == expected
    assert sorted(read) == ["a", "a", "b"]
    assert content_hashes(paths[::-1], "") == expected[::-1]
    monkeypatch.chdir(tmp_path / "x")
    assert content_hashes([Path("b"), Path("b")], "") == [sha256("2")] * 2
    assert len(read) == 3


def edit_in_place(path: Path) -> None:
    path.write_text("2")


def replace_by_another(path: Path) -> None:
    path.with_name("new").write_text("2")
    path.with_name("new").replace(path)


def point_elsewhere(path: Path) -> None:
    other = path.with_name("other")
    other.write_text("2")
    os.utime(other, ns=(OLD, OLD))
    path.unlink()
    path.symlink_to(other)


@pytest.mark.parametrize("change", [edit_in_place, replace_by_another, point_elsewhere])
def test_a_change_at_equal_size_and_time_is_seen(change: Callable[[Path], None], tmp_path: Path):
    (path,) = files(tmp_path / "x", a="1")
    os.utime(path, ns=(OLD, OLD))
    assert content_hashes([path], "") == [sha256("1")]
    time.sleep(0.02)  # a clock of file systems ticks every few milliseconds
    change(path)
    os.utime(path, ns=(OLD, OLD))
    assert content_hashes([path], "") == [sha256("2")]


def test_what_changed_just_now_is_not_remembered(tmp_path: Path, read: list[str], monkeypatch: pytest.MonkeyPatch):
    """It might change again within the same tick of the clock."""
    monkeypatch.setattr(contents, "SETTLED", 2.0)
    (path,) = files(tmp_path / "x", a="1")
    os.utime(path, ns=(OLD, OLD))
    for _ in range(2):
        assert content_hashes([path], "") == [sha256("1")]
    assert read == ["a", "a"]
    monkeypatch.setattr(contents.time, "time", lambda: path.stat().st_ctime + 2.1)
    for _ in range(2):
        content_hashes([path], "")
    assert read == ["a", "a", "a"]


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b'{"a": 1}', b'{"a": [[], 1]}', b"\xff", b'{"a": [[1], "x"]}'])
def test_a_damaged_memory_is_written_anew(content: bytes, tmp_path: Path, memory: Path, read: list[str]):
    paths = files(tmp_path / "x", a="1")
    content_hashes(paths, "")
    (remembered,) = memory.glob("*.json")
    remembered.write_bytes(content)
    for _ in range(2):
        assert content_hashes(paths, "") == [sha256("1")]
    assert read == ["a", "a"]


def test_what_was_hashed_before_an_error_is_remembered(tmp_path: Path, read: list[str]):
    paths = files(tmp_path / "x", a="1", b="2")
    os.mkfifo(tmp_path / "x" / "pipe")
    with pytest.raises(OSError, match="pipe"):
        content_hashes([*paths, tmp_path / "x" / "pipe"], "")
    assert content_hashes(paths, "") == [sha256("1"), sha256("2")]
    assert sorted(read) == ["a", "b", "pipe"]


def test_without_room_for_a_memory_it_goes_on(tmp_path: Path, memory: Path):
    paths = files(tmp_path / "x", a="1")
    memory.parent.write_text("a file where the cache should be")
    for _ in range(2):
        assert content_hashes(paths, "") == [sha256("1")]


def test_a_memory_that_is_a_pipe_is_not_waited_for(tmp_path: Path, memory: Path):
    paths = files(tmp_path / "x", a="1")
    content_hashes(paths, "")
    (remembered,) = memory.glob("*.json")
    remembered.unlink()
    os.mkfifo(remembered)
    assert content_hashes(paths, "") == [sha256("1")]


@pytest.mark.slow
def test_processes_at_once_add_to_one_memory(tmp_path: Path, read: list[str]):
    program = "import sys; from pathlib import Path; from alutils import contents; contents.SETTLED = -1\n"
    program += "for name in sys.argv[1:]: contents.content_hashes([Path(name)], '')"
    paths = files(tmp_path / "x", **{f"f{number}": str(number) for number in range(40)})
    parts = paths[::2], paths[1::2]
    processes = [subprocess.Popen([sys.executable, "-c", program, *map(str, part)]) for part in parts]
    assert [process.wait(60) for process in processes] == [0, 0]
    assert content_hashes(paths, "") == [sha256(str(number)) for number in range(40)]
    content_hashes(paths, "")
    assert len(read) < 40, "each is read once more at most"


def test_a_missing_and_a_special_file_are_named(tmp_path: Path):
    os.mkfifo(tmp_path / "pipe")
    for name, number in (("none", errno.ENOENT), ("pipe", errno.EINVAL)):
        with pytest.raises(OSError, match=name) as caught:
            content_hashes([tmp_path / name], "")
        assert (caught.value.errno, caught.value.filename) == (number, str(tmp_path / name))


# Folders that stay as they were built


def build(beside: Path) -> None:
    (beside / "part").mkdir()
    (beside / "part" / "a").write_text("1")
    (beside / "b").write_text("2")


def test_a_sealed_folder_is_built_once_and_read_only(tmp_path: Path, read: list[str], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(contents, "SETTLED", 2.0)
    folder = built_and_sealed(tmp_path / "sealed", build)
    assert (folder / "part" / "a").read_text() == "1"
    assert all(not path.stat().st_mode & 0o222 for path in folder.rglob("*") if path.is_file())
    built_and_sealed(folder, lambda _: pytest.fail("built again"))
    once = len(read)
    (folder / ".DS_Store").touch()
    built_and_sealed(folder, build)
    assert len(read) == once, "an unchanged folder is not read"


def cut_seal(folder: Path) -> None:
    seal = folder / contents.SEAL
    seal.chmod(0o644)
    seal.write_bytes(seal.read_bytes()[:-20])


def empty_seal(folder: Path) -> None:
    (folder / contents.SEAL).unlink()
    (folder / contents.SEAL).write_text("{}")


def swap(folder: Path) -> None:
    for name, text in (("b", "1"), ("part/a", "2")):
        (folder / name).chmod(0o644)
        (folder / name).write_text(text)


def replace_by_a_file(folder: Path) -> None:
    folder.rename(folder.with_name("elsewhere"))
    folder.touch()


@pytest.mark.parametrize("damage", [cut_seal, empty_seal, swap, replace_by_a_file])
def test_a_damaged_folder_is_one_line(damage: Callable[[Path], None], tmp_path: Path):
    folder = built_and_sealed(tmp_path / "sealed", build)
    time.sleep(0.02)  # until the clock of the file system ticks
    damage(folder)
    message = rf"^{re.escape(str(folder))}: damaged cache; remove this folder and start again \(.+\)$"
    with pytest.raises(DataError, match=message):
        built_and_sealed(folder, build)


@pytest.mark.parametrize("number", [errno.EACCES, errno.EMFILE, errno.EIO])
def test_a_good_folder_that_cannot_be_read_gives_the_reason(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    folder = built_and_sealed(tmp_path / "sealed", build)

    def fail(path: Path) -> None:
        raise OSError(number, os.strerror(number), str(path))

    monkeypatch.setattr(contents, "open_regular", fail)
    with pytest.raises(DataError, match=rf"^{re.escape(str(folder))}/.*: cannot be read \({os.strerror(number)}\)$"):
        built_and_sealed(folder, build)
