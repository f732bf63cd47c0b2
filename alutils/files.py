"""Files written whole, locks on them, and the YAML that people write.

The operating system lets go of a lock when the process that holds it ends, however it ends.
"""

import fcntl
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeVar

import yaml

from alutils.errors import ParameterError

if TYPE_CHECKING:  # not every call needs it, and it takes a while to load
    from pydantic import BaseModel

Model = TypeVar("Model", bound="BaseModel")

QUIET = 1.0  # seconds of waiting before a line says so


def try_lock(path: Path, kind: int = fcntl.LOCK_EX) -> IO[str] | None:
    """Return the open file `path`, made if need be, locked until it is closed; `None` if another has the lock."""
    path.parent.mkdir(parents=True, exist_ok=True)
    file = path.open("a")
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    return file


@contextmanager
def locked(path: Path, purpose: str) -> Iterator[None]:
    """Hold the exclusive lock on `path`; wait while another process has it, and say that it works on `purpose`."""
    started, said = time.monotonic(), False
    while (file := try_lock(path)) is None:
        if not said and time.monotonic() - started > QUIET:
            print(f"waiting for another process that works on {purpose}", file=sys.stderr, flush=True)  # noqa: T201
            said = True
        time.sleep(0.1)
    with file:
        yield


def is_locked(path: Path) -> bool:
    """Tell whether a process holds the lock on `path`."""
    if not path.exists():
        return False
    file = try_lock(path, fcntl.LOCK_SH)
    if file:
        file.close()
    return file is None


def write_whole(path: Path, content: str | bytes | memoryview) -> None:
    """Replace the file `path` by `content`, so that a reader sees the old or the new file, never a part.

    Raises `OSError`, the old file unharmed, if there is no room. One process at a time may write a path.
    """
    content = content.encode() if isinstance(content, str) else content
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.part")
    try:
        with beside.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise OSError(error.errno, f"cannot be written: {error.strerror}", str(path)) from error
    beside.replace(path)


def read_yaml(path: Path) -> dict[str, Any]:
    """Return the mapping that a YAML file holds; raise `ParameterError` if there is none."""
    try:
        content = yaml.safe_load(path.read_text())
    except OSError as error:
        raise ParameterError(f"{path} cannot be read ({error.strerror}); allowed: a YAML file") from error
    except (yaml.YAMLError, ValueError) as error:
        raise ParameterError(f"{path} is not YAML ({' '.join(str(error).split())})") from error
    if not isinstance(content, dict):
        what = "is empty" if content is None else f"holds a {type(content).__name__}"
        raise ParameterError(f"{path} {what}; allowed: names with values")
    return content


def validated(model: type[Model], content: Any, where: str) -> Model:
    """Return `content` as an instance of `model`, a pydantic model; raise `ParameterError` for its first mistake.

    where : what the message starts with, such as the path of the file that holds `content`
    """
    from pydantic import ValidationError

    try:
        return model.model_validate(content)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(map(str, first["loc"]))
        value = repr(first["input"])[:100]
        raise ParameterError(f"{where}: {key} is {value}; {first['msg'].removeprefix('Value error, ')}") from error
