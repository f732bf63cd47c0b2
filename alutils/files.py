"""Files written whole, files built once, locks, and what people and other processes write, read with care.

The operating system releases a lock when the process that holds it ends, however it ends.
"""

import errno
import fcntl
import json
import os
import shutil
import stat
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from io import BufferedReader
from pathlib import Path
from types import UnionType
from typing import IO, TYPE_CHECKING, Annotated, Any, TypeVar, Union, get_args, get_origin

from alutils.errors import ParameterError, did_you_mean, shortened
from alutils.yaml_text import LARGEST, parsed

if TYPE_CHECKING:  # pydantic takes a while to load, and few calls need it
    from pydantic import BaseModel

Model = TypeVar("Model", bound="BaseModel")

QUIET = 1.0  # seconds that a process waits before it says so


def open_regular(path: Path) -> BufferedReader:
    """Open the file `path` for reading; raise `OSError` unless it is a regular file, since a pipe has no end."""
    return os.fdopen(_regular(path, os.O_RDONLY), "rb")


def _regular(path: Path, flags: int) -> int:
    """Return a descriptor of the regular file `path`, without waiting for anything."""
    descriptor = os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC, 0o666)
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return descriptor
    os.close(descriptor)
    raise OSError(errno.EINVAL, "not a regular file", str(path))


def is_file(path: Path) -> bool:
    """Tell whether `path` is a file; a name that is too long for one is none."""
    try:
        return path.is_file()
    except OSError:
        return False


def try_lock(path: Path, kind: int = fcntl.LOCK_EX) -> IO[str] | None:
    """Lock the file `path`, which is made if it does not exist; return `None` if another process holds the lock.

    The lock is held until the returned file is closed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    file = os.fdopen(_regular(path, os.O_RDWR | os.O_CREAT), "r+")
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    return file


@contextmanager
def locked(path: Path, purpose: str) -> Iterator[None]:
    """Hold the exclusive lock on the file `path`; wait while another process holds it.

    After `QUIET` seconds of waiting, one line says that the other process works on `purpose`.
    """
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


def own_folder(base: Path) -> Path:
    """Return a folder in `base`, which all users of a machine may share, that only this user can write or read.

    Raises `OSError` if its place is taken by something else, such as a link or the folder of another user.
    """
    path = base / f"alutils-{os.getuid()}"
    with suppress(FileExistsError):
        path.mkdir(mode=0o700)
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or stat.S_IMODE(found.st_mode) != 0o700:
        raise OSError(
            errno.EPERM, "not a folder of this user alone; remove it, or set TMPDIR to another one", str(path)
        )
    return path


def built_once(path: Path, build: Callable[[Path], object], *, resumable: bool = False) -> Path:
    """Return the file or folder `path`; if it does not exist, let `build` make it first.

    `build(beside)` makes a file or a folder at `beside`, which is renamed to `path` when it is whole. One process
    builds at a time and others wait for it. What a failed or a killed builder left behind is removed.

    resumable : what it left at `beside` stays, and the next `build` goes on with it

    Raises `OSError`, which names `path`, if it cannot be written, for example because the disk is full.
    """
    if not path.exists():
        with locked(path.with_name(f"{path.stem}.lock"), str(path)):
            if not path.exists():
                _build(path, build, resumable)
    return path


def _build(path: Path, build: Callable[[Path], object], resumable: bool) -> None:
    for left in path.parent.glob(f"{path.stem}.*.part{path.suffix}"):  # by killed builders
        _remove(left)
    own = "" if resumable else f".{os.getpid()}"  # the children of a killed one may still write
    beside = path.with_name(f"{path.stem}{own}.part{path.suffix}")
    try:
        build(beside)
        beside.rename(path)
    except OSError as error:
        if not path.exists():  # where locks do not work, another builder may have been quicker
            raise OSError(error.errno, f"cannot be written: {error.strerror}", str(path)) from error
    finally:
        if not resumable:
            _remove(beside)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def write_whole(path: Path, content: str | bytes | memoryview) -> None:
    """Replace the content of the file `path`; a reader sees the old or the new file, never a part of it.

    Raises `OSError` if there is no room; the old file is then unharmed. Only one process at a time may write a path.
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
    """Return the mapping that the YAML file `path` holds; raise `ParameterError` if it holds none."""
    try:
        with open_regular(path) as file:
            content = parsed(file.read(LARGEST + 1))
    except OSError as error:
        raise ParameterError(f"{path} cannot be read ({error.strerror}); allowed: a YAML file") from error
    except ParameterError as error:
        raise ParameterError(f"{path} {error}") from error
    if not isinstance(content, dict):
        what = "is empty" if content is None else f"holds a {type(content).__name__}"
        raise ParameterError(f"{path} {what}; allowed: names with values")
    return content


def read_mapping(path: Path) -> dict[str, Any]:
    """Return the mapping that the JSON file `path` holds; an empty one if there is no such file, or something else."""
    try:
        with open_regular(path) as file:
            content = json.load(file)
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def validated(model: type[Model], content: Any, where: str) -> Model:
    """Return `content` as an instance of `model`, a pydantic model; raise `ParameterError` for a mistake in it.

    The message names the key, its value and what is allowed: the description of the field where the model has one,
    else what pydantic says. Unknown keys come first.

    where : what the message starts with, such as the path of the file that holds `content`
    """
    from pydantic import ValidationError

    try:
        return model.model_validate(content)
    except ValidationError as error:
        first = min(error.errors(include_url=False), key=lambda mistake: mistake["type"] != "extra_forbidden")
        raise ParameterError(f"{where}: {_described(model, content, first)}") from error


def _described(model: type["BaseModel"], content: Any, mistake: Any) -> str:
    """Return what is wrong and what is allowed, for one of the mistakes that pydantic lists."""
    keys, kind = _keys_of(content, mistake["loc"]), mistake["type"]
    if kind == "missing":
        keys.append(mistake["loc"][-1])
    name = shortened(".".join(map(str, keys)), 80)
    if kind == "extra_forbidden":
        known, _ = _known(model, keys[:-1])
        return f"{name} is unknown; {did_you_mean(str(keys[-1]), known)}allowed: {', '.join(known)}"
    _, allowed = _known(model, keys)
    says_it_itself = kind == "value_error" or not allowed
    rule = mistake["msg"].removeprefix("Value error, ") if says_it_itself else f"allowed: {allowed}"
    if kind == "missing":
        return f"{name} is missing; {rule}"
    return f"{name} is {shortened(repr(mistake['input']), 80)}; {rule}" if name else rule


def _keys_of(content: Any, location: Iterable[Any]) -> list[Any]:
    """Return the keys of a location that lead through `content`; pydantic mixes names of types into them."""
    keys = []
    for key in location:
        is_in_list = isinstance(content, list) and isinstance(key, int)
        if is_in_list or (isinstance(content, dict) and key in content):
            keys.append(key)
            content = content[key]
    return keys


def _known(model: type["BaseModel"], keys: Iterable[Any]) -> tuple[list[str], str]:
    """Return the fields of the models that `keys` lead to from `model`, and the last description on the way."""
    kinds, description = _parts(model), ""
    for key in keys:
        fields = [kind.model_fields[key] for kind in kinds if key in getattr(kind, "model_fields", ())]
        description = next((field.description for field in fields if field.description), description)
        inside = [get_args(kind)[-1] for kind in kinds if get_args(kind)]  # of lists and mappings
        kinds = [part for kind in [*(field.annotation for field in fields), *inside] for part in _parts(kind)]
    return [name for kind in kinds for name in getattr(kind, "model_fields", ())], description


def _parts(kind: Any) -> list[Any]:
    """Return the types that make up a type: those of a union, and that of an annotated one."""
    if get_origin(kind) is Annotated:
        return _parts(get_args(kind)[0])
    if get_origin(kind) in (Union, UnionType):
        return [part for member in get_args(kind) for part in _parts(member)]
    return [kind]
