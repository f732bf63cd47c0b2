"""Files and folders built once, and YAML that is read."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from alutils.errors import ParameterError
from alutils.files import built_once, read_yaml

BUILD = """
import sys, time
from pathlib import Path
from alutils.files import built_once

def build(beside):
    beside.mkdir()
    (beside / "first").write_text("1")
    print("building", flush=True)
    time.sleep(float(sys.argv[2]))
    (beside / "second").write_text("2")

path = built_once(Path(sys.argv[1]), build)
print(*sorted(file.name for file in path.iterdir()))
"""


def builder(path: Path, seconds: float) -> "subprocess.Popen[str]":
    """Start a process that builds a folder of two files, the second one `seconds` after the first."""
    return subprocess.Popen([sys.executable, "-c", BUILD, str(path), str(seconds)], stdout=subprocess.PIPE, text=True)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def write_word(beside: Path) -> None:
    beside.write_text("word")


def test_two_processes_build_once(tmp_path: Path) -> None:
    processes = [builder(tmp_path / "new" / "built", 0.5) for _ in range(2)]
    outputs = sorted(process.communicate(timeout=60)[0] for process in processes)
    assert outputs == ["building\nfirst second\n", "first second\n"]
    assert names(tmp_path / "new") == ["built", "built.lock"]


def test_what_is_built_is_not_built_again(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    assert built_once(path, write_word) == path
    assert path.read_text() == "word"
    assert built_once(path, lambda _: pytest.fail("built again")) == path
    assert names(tmp_path) == ["file.lock", "file.txt"]


@pytest.mark.parametrize("wrong", [ValueError("no"), KeyboardInterrupt()])
def test_a_failing_build_leaves_nothing(wrong: BaseException, tmp_path: Path) -> None:
    def fail(beside: Path) -> None:
        beside.mkdir()
        (beside / "half").write_text("1")
        raise wrong

    with pytest.raises(type(wrong)):
        built_once(tmp_path / "built", fail)
    assert names(tmp_path) == ["built.lock"]
    built_once(tmp_path / "built", write_word)
    assert names(tmp_path) == ["built", "built.lock"]


def test_a_full_disk_is_one_line_that_names_the_path(tmp_path: Path) -> None:
    def full(beside: Path) -> None:
        beside.write_text("half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    path = tmp_path / "built.npy"
    with pytest.raises(OSError, match=rf"cannot be written: No space left on device: '{path}'$"):
        built_once(path, full)
    assert names(tmp_path) == ["built.lock"]


def test_what_a_killed_builder_left_is_removed(tmp_path: Path) -> None:
    process = builder(tmp_path / "built", 60)
    assert process.stdout
    assert process.stdout.readline() == "building\n"
    process.kill()
    process.communicate()
    assert any(name.endswith(".part") for name in names(tmp_path))
    built_once(tmp_path / "built", write_word)
    assert names(tmp_path) == ["built", "built.lock"]


def test_a_builder_that_another_was_quicker_than_gives_way(tmp_path: Path) -> None:
    def slow(beside: Path) -> None:
        beside.mkdir()
        (tmp_path / "built").mkdir()
        (tmp_path / "built" / "quicker").touch()

    built_once(tmp_path / "built", slow)  # as where locks do not work
    assert names(tmp_path / "built") == ["quicker"]
    assert names(tmp_path) == ["built", "built.lock"]


def test_reads_a_mapping(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("name: x\nseeds: [0, 1]\nrate: 0.5\nsteps: null\n")
    assert read_yaml(path) == {"name": "x", "seeds": [0, 1], "rate": 0.5, "steps": None}


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"- a\n- b\n", b"word"),  # no mapping
        *(b"a: [1", b"a: b: c", b"? [1]\n: 2", b"\xff\xfe", b"a: \0"),  # no YAML
        *(b"date: 2020-13-45", b"number: 0b_"),  # YAML, but impossible values
        b"a: !!python/name:os.system",  # more than data
    ],
)
def test_anything_but_a_mapping_is_one_line(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "wrong.yaml"
    path.write_bytes(content)
    with pytest.raises(ParameterError, match=r"^.*wrong\.yaml.*$"):
        read_yaml(path)


def test_a_file_that_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match=r"^.*none\.yaml cannot be read.*$"):
        read_yaml(tmp_path / "none.yaml")
    with pytest.raises(ParameterError, match=r"^.*cannot be read.*$"):
        read_yaml(tmp_path)
