"""Hashes of files' contents, remembered while a file is unchanged; folders whose files are as they were built."""

import errno
import hashlib
import json
import os
import re
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from alutils.errors import DataError, unreadable
from alutils.files import built_once, open_regular, read_mapping, try_lock, write_whole
from alutils.paths import cache_dir
from alutils.progress import bar

SETTLED = 2.0  # seconds; a file that changed later than that may change again and show the same times
SEAL = "sha256.json"  # the file of a sealed folder that holds the hash of each other file

State = list[int]  # size, time of change of the content and of the inode in nanoseconds, number of the inode
Memory = dict[str, tuple[State, str]]  # by the names of a folder's files


def content_hashes(paths: Sequence[Path], what: str, *, may_change: bool = True) -> list[str]:
    """Return the hexadecimal SHA-256 of each file's content; a bar names the files as `what`.

    Hashes are remembered in the cache, by a file's absolute path, and a file is read again only if its size, times or
    inode differ. If they cannot be kept there, they are computed each time. The number of the device is not compared:
    it changes from one machine of a cluster to the next. Raises `OSError`, which names the file, if one is missing,
    unreadable or not a regular file.

    may_change : whether a file that changed just now may change again at once; then it is not remembered yet
    """
    paths = [path.absolute() for path in paths]
    memories = {folder: _recalled(folder) for folder in {path.parent for path in paths}}
    found: dict[Path, str] = {}
    for path in paths:
        state, digest = memories[path.parent].get(path.name, ([], ""))
        if state == _state(path.stat()):
            found[path] = digest
    new = [path for path in dict.fromkeys(paths) if path not in found]
    found |= _learn(new, what, SETTLED if may_change else 0)
    return [found[path] for path in paths]


def _learn(paths: Sequence[Path], what: str, settled: float) -> dict[Path, str]:
    """Hash files at once, and remember the hash of each that changed more than `settled` seconds ago."""
    found: dict[Path, str] = {}
    learnt: dict[Path, Memory] = {path.parent: {} for path in paths}
    progress = bar(len(paths), f"hashing {what}")
    try:
        with ThreadPoolExecutor(os.cpu_count()) as workers:
            for path, (state, digest, age) in zip(paths, workers.map(_hashed, paths), strict=True):
                found[path] = digest
                if state and age > settled:
                    learnt[path.parent][path.name] = state, digest
                progress.update()
    finally:  # who is interrupted goes on from there
        progress.close()
        for folder, memory in learnt.items():
            if memory:
                _remember(folder, memory)
    return found


def _state(status: os.stat_result) -> State:
    return [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino]


def _hashed(path: Path) -> tuple[State, str, float]:
    """Return a file's state, its hash, and the seconds since it changed; no state if it changes right now."""
    now = time.time()
    try:
        with open_regular(path) as file:
            status = os.fstat(file.fileno())
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            is_unchanged = _state(status) == _state(os.fstat(file.fileno()))
    except OSError as error:  # one while reading has no name
        raise OSError(error.errno, error.strerror, str(path)) from error
    return _state(status) if is_unchanged else [], digest, now - max(status.st_mtime, status.st_ctime)


def _memory_file(folder: Path) -> Path:
    return cache_dir() / "contents" / f"{hashlib.sha256(os.fsencode(folder)).hexdigest()[:24]}.json"


def _recalled(folder: Path) -> Memory:
    memory = read_mapping(_memory_file(folder))
    try:
        return {
            name: (state, digest) for name, (state, digest) in memory.items() if re.fullmatch("[0-9a-f]{64}", digest)
        }
    except (ValueError, TypeError):  # however it is damaged, all can be hashed again
        return {}


def _remember(folder: Path, learnt: Memory) -> None:
    path = _memory_file(folder)
    with suppress(OSError):  # such as a read-only cache
        lock = try_lock(path.with_suffix(".lock"))
        if lock:  # else another process is writing what it learnt
            with lock:
                write_whole(path, json.dumps(_recalled(folder) | learnt))


def built_and_sealed(folder: Path, build: Callable[[Path], object], *, resumable: bool = False) -> Path:
    """Return `folder`, with the files that `build(beside)` wrote into the folder `beside`, unchanged since.

    It is built if it is not there. Its files are read-only, because a process that has mapped a file dies when another
    one empties it. Raises `DataError` if the folder is damaged, and gives the reason if it cannot be read.

    resumable : `beside` may hold what a killed or failed builder wrote; otherwise it is new
    """

    def build_and_seal(beside: Path) -> None:
        beside.mkdir(exist_ok=resumable)
        build(beside)
        _seal(beside)

    _check(built_once(folder, build_and_seal, resumable=resumable))
    return folder


def _seal(folder: Path) -> None:
    (folder / SEAL).unlink(missing_ok=True)  # of a builder that was killed right here
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    digests = content_hashes(paths, folder.name)
    names = [path.relative_to(folder).as_posix() for path in paths]
    (folder / SEAL).write_text(json.dumps(dict(zip(names, digests, strict=True)), indent=1))
    for path in [*paths, folder / SEAL]:
        path.chmod(path.stat().st_mode & 0o444)


def _check(folder: Path) -> None:
    """Raise `DataError` unless each file of a sealed folder has the content that it was built with."""
    try:
        with open_regular(folder / SEAL) as file:
            sealed = dict(json.load(file))
        found = content_hashes([folder / name for name in sealed], folder.name, may_change=False)
        wrong = [name for name, digest in zip(sealed, found, strict=True) if sealed[name] != digest]
        reason = f"{wrong[0]} has changed" if wrong else "" if sealed else f"{SEAL} is empty"
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.EINVAL):  # EINVAL: not a regular file
            raise unreadable(error.filename, error) from error
        reason = f"{Path(error.filename).name}: {error.strerror}"
    except (ValueError, TypeError, RecursionError):
        reason = f"{SEAL} has changed"
    if reason:
        raise DataError(f"{folder}: damaged cache; remove this folder and start again ({reason})")
