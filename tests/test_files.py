"""Files replaced whole, files and folders built once, and YAML that is read."""

import errno
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import BaseModel, ConfigDict, Field, field_validator

from alutils.errors import ParameterError
from alutils.files import built_once, own_folder, read_mapping, read_yaml, validated, write_whole

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


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, limits, seen = tmp_path / "folder" / "file.txt", resource.getrlimit(resource.RLIMIT_FSIZE), list[str]()
    write_whole(path, "old")
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(OSError, match=rf"cannot be written: File too large: '{path}'$"):
            write_whole(path, "x" * 100_000)  # of which there is room for a part
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_text() == "old"

    def full(_: int) -> None:
        seen.append(path.read_text())
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)  # a disk may say only then that it is full
        with pytest.raises(OSError, match="cannot be written: No space left on device"):
            write_whole(path, "longer")
    assert seen == ["old"], "until all is written, the old one is read"
    assert path.read_text() == "old"
    assert names(path.parent) == ["file.txt"]
    write_whole(path, b"new")
    assert path.read_text() == "new"
    assert names(path.parent) == ["file.txt"]


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


def test_a_pipe_or_too_much_is_not_read_as_yaml(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.yaml")
    with pytest.raises(ParameterError, match=r"^.*pipe\.yaml cannot be read \(not a regular file\); allowed: "):
        read_yaml(tmp_path / "pipe.yaml")
    (tmp_path / "large.yaml").write_bytes(b"a: " + b"x" * 2**20)
    with pytest.raises(ParameterError, match=r"^.*large\.yaml has more than 1048576 bytes$"):
        read_yaml(tmp_path / "large.yaml")


NO_MAPPINGS = [
    b"",
    b"{",
    b'{"a": 1',
    b"[1]",
    b"null",
    b"1",
    b"\xff\xfe",
    b"[" * 100_000,
    b'{"a": 1' + b"0" * 5000 + b"}",
]


@pytest.mark.parametrize("content", NO_MAPPINGS)
def test_what_is_no_json_mapping_is_as_if_it_were_not_there(content: bytes, tmp_path: Path) -> None:
    assert read_mapping(tmp_path / "none") == {}
    (tmp_path / "some").write_bytes(content)
    assert read_mapping(tmp_path / "some") == {}
    os.mkfifo(tmp_path / "pipe")
    assert read_mapping(tmp_path / "pipe") == {}
    (tmp_path / "some").write_text('{"a": [1]}')
    assert read_mapping(tmp_path / "some") == {"a": [1]}


def test_a_folder_of_ones_own_is_made_once_and_never_taken_from_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = own_folder(tmp_path)
    assert folder.stat().st_mode & 0o777 == 0o700
    assert own_folder(tmp_path) == folder
    folder.chmod(0o750)
    with pytest.raises(OSError, match="not a folder of this user alone"):
        own_folder(tmp_path)
    other = os.getuid() + 1
    monkeypatch.setattr("os.getuid", lambda: other)
    (tmp_path / f"alutils-{other}").mkdir(mode=0o700)
    with pytest.raises(OSError, match="not a folder of this user alone"):
        own_folder(tmp_path)
    (tmp_path / f"alutils-{other}").rmdir()
    (tmp_path / f"alutils-{other}").symlink_to(folder)
    with pytest.raises(OSError, match="not a folder of this user alone"):
        own_folder(tmp_path)


class Wheel(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    radius: float = Field(gt=0)
    name: str = ""


class Cart(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    wheels: list[Wheel] = []
    named: dict[str, Wheel | None] = {}
    load: int | list[int] = Field(0, description="kilograms, one number or several")
    colour: str = "red"

    @field_validator("colour")
    @classmethod
    def _is_a_colour(cls, value: str) -> str:
        if value not in ("red", "blue"):
            raise ValueError("allowed: red, blue")
        return value


def test_what_is_right_is_an_instance_of_the_model() -> None:
    cart = validated(Cart, {"wheels": [{"radius": 1}], "load": [1, 2]}, "cart.yaml")
    assert cart == Cart(wheels=[Wheel(radius=1.0)], load=[1, 2])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"wheel": []}, "wheel is unknown; did you mean wheels? allowed: wheels, named, load, colour"),
        ({"load": "x", "oxen": 2}, "oxen is unknown; allowed: wheels, named, load, colour"),
        ({"load": "x"}, "load is 'x'; allowed: kilograms, one number or several"),
        ({"load": [1, "x"]}, "load is [1, 'x']; allowed: kilograms, one number or several"),
        ({"wheels": [{"radius": 1}, {}]}, "wheels.1.radius is missing; Field required"),
        ({"wheels": [{"radius": -1}]}, "wheels.0.radius is -1; Input should be greater than 0"),
        ({"wheels": [{"radius": 1, "rim": 2}]}, "wheels.0.rim is unknown; allowed: radius, name"),
        ({"named": {"name": {"radius": 1, "rim": 2}}}, "named.name.rim is unknown; allowed: radius, name"),
        ({"colour": "pink"}, "colour is 'pink'; allowed: red, blue"),
        ([], "Input should be a valid dictionary or instance of Cart"),
    ],
)
def test_a_mistake_names_key_value_and_what_is_allowed(content: object, message: str) -> None:
    with pytest.raises(ParameterError) as caught:
        validated(Cart, content, "cart.yaml")
    assert str(caught.value) == f"cart.yaml: {message}"


def test_a_mistake_is_one_short_line() -> None:
    for content in ({"colour": "a\n" * 1000}, {"load": {"a": ["b"] * 1000}}, {"x" * 1000: 1}):
        with pytest.raises(ParameterError, match=r"^cart\.yaml: .*$") as caught:
            validated(Cart, content, "cart.yaml")
        assert len(str(caught.value)) < 300


def test_pydantic_is_loaded_by_who_needs_it() -> None:
    program = "import sys, alutils.files, alutils.datasets; print('pydantic' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True).stdout == "False\n"
