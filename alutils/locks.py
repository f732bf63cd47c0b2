"""Locks on files: the operating system lets go of them when the process that holds one ends, however it ends."""

import fcntl
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

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
