"""A process that kills itself at one of its file operations: before it, after it, or in the middle of a write.

As `sitecustomize.py` on the path of modules, this file does so at random in every Python process, if
`TORTURE_BASE` names the folder whose files count.
"""

import builtins
import io
import os
import re
import signal
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any, NoReturn

BASE = "TORTURE_BASE"
LOG = "torn.log"
OPERATIONS = ("open", "fsync", "mkdir", "rmdir", "remove", "unlink", "rename", "replace")
MEAN = 40  # file operations after which a process of a grid kills itself
KINDS = {  # what the files are called in a record, by a part of their path
    r"/\.snakemake/|snakemake\.log": "Snakemake's files",
    r"\.yaml$": "YAML files",
    r"/\.locks/|\.lock$|/lock$": "locks",
    r"/\.status/|/status\.json": "status files",
    r"/temporary/": "temporary files",
    r"/contents/": "remembered hashes",
    r"superpixels": "superpixels",
    r"\.png$": "images and labels",
    r"/done-\w+": "done files",
    r"/\.?(checkpoint)\d*\.pt": "checkpoints",
    r"/\.?([\w.]+\.(csv|npy|json|pt|ipynb))": r"\1",
}
real_open, real_write = os.open, os.write


class Tear:
    """Counts the file operations of this process below `base`, and kills it at number `at`.

    only_writes : whether only writes are counted towards `at`
    operations, writes : what was counted so far
    generator : draws whether the kill comes before or after an operation, and after how many bytes of a write
    """

    def __init__(self, base: Path, generator: Random, at: int, only_writes: bool = False):
        self.base, self.generator, self.left, self.only_writes = base, generator, at, only_writes
        self.operations = self.writes = 0

    def install(self) -> None:
        """Watch all files that this process opens from now on."""
        for name in OPERATIONS:
            setattr(os, name, self._around(name, getattr(os, name)))
        setattr(os, "write", self._os_write)  # noqa: B010 - a type checker forbids the assignment
        setattr(io, "open", self._open)  # noqa: B010
        setattr(builtins, "open", self._open)  # noqa: B010

    def is_last(self, path: str, is_write: bool = False) -> bool:
        """Count an operation on the file `path`; tell whether the process dies at it."""
        if not path.startswith(f"{self.base}{os.sep}") or path.endswith(LOG):
            return False
        self.operations += 1
        self.writes += is_write
        self.left -= is_write or not self.only_writes
        return self.left == 0 and (is_write or not self.only_writes)

    def write_a_part(self, write: Callable[[memoryview], object], content: Any, path: str) -> NoReturn:
        """Write the first bytes of `content`, and die."""
        content = memoryview(content).cast("B")
        count = self.generator.randrange(len(content) + 1)
        if count:
            write(content[:count])
        self.die("within" if 0 < count < len(content) else "beside", path)

    def die(self, where: str, path: str) -> NoReturn:
        """Add a line to the log, and kill this process."""
        note(self.base, f"{where} {kind_of(path)}")
        os.kill(os.getpid(), signal.SIGKILL)
        raise SystemExit

    def _around(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def operation(target: Any, *arguments: Any, **options: Any) -> Any:
            path = path_of(target, options.get("dir_fd") or options.get("src_dir_fd"))
            if not self.is_last(path):
                return real(target, *arguments, **options)
            if self.generator.random() < 0.5:
                real(target, *arguments, **options)
            return self.die("beside", path)

        return operation

    def _os_write(self, descriptor: int, content: Any) -> int:
        path = path_of(descriptor)
        if self.is_last(path, is_write=True):
            self.write_a_part(lambda part: real_write(descriptor, part), content, path)
        return real_write(descriptor, content)

    def _open(
        self,
        file: Any,
        mode: str = "r",
        buffering: int = -1,
        encoding: str | None = None,
        errors: str | None = None,
        newline: str | None = None,
        closefd: bool = True,
        opener: Callable[[str, int], int] | None = None,
    ) -> Any:
        """Open a file like `open` does; writes to it may be torn."""
        raw = TornFile(self, file, mode, closefd, opener)
        if buffering == 0:
            return raw
        size = buffering if buffering > 1 else io.DEFAULT_BUFFER_SIZE
        kind: Any = io.BufferedRandom if "+" in mode else io.BufferedReader if raw.readable() else io.BufferedWriter
        buffer = kind(raw, size)
        return buffer if "b" in mode else io.TextIOWrapper(buffer, encoding, errors, newline, buffering == 1)


class TornFile(io.FileIO):
    """A file that may kill the process when it is opened and when it is written to."""

    def __init__(self, tear: Tear, file: Any, mode: str, closefd: bool, opener: Callable[[str, int], int] | None):
        self.tear, self.path = tear, path_of(file)
        is_last = tear.is_last(self.path)
        if is_last and tear.generator.random() < 0.5:
            tear.die("beside", self.path)
        super().__init__(file, mode.replace("b", "").replace("t", ""), closefd, opener)
        if is_last:
            tear.die("beside", self.path)

    def write(self, content: Any) -> int:
        """Write all of `content`, or a part of it."""
        if self.tear.is_last(self.path, is_write=True):
            self.tear.write_a_part(super().write, content, self.path)
        return super().write(content)


def path_of(target: Any, folder: int | None = None) -> str:
    """Return the path of a file that is given by its path, or by its descriptor where the system can tell it."""
    try:
        if isinstance(target, int):
            return str(Path(f"/proc/self/fd/{target}").readlink())
        path = os.fsdecode(target)
        return os.path.join(path_of(folder), path) if folder is not None else os.path.abspath(path)  # noqa: PTH118, PTH100
    except (OSError, TypeError):
        return ""


def kind_of(path: str) -> str:
    """Return what a file is called in a record; temporary files are called like those that they become."""
    path = re.sub(r"(\.\d+)?\.part", "", path)
    for pattern, kind in KINDS.items():
        if found := re.search(pattern, path):
            return found.expand(kind)
    return "folders and others"


def note(base: Path, line: str) -> None:
    """Add a line to the log of the kills."""
    log = real_open(base / LOG, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    real_write(log, f"{line}\n".encode())
    os.close(log)


if __name__ == "sitecustomize" and os.environ.get(BASE):
    chance = Random()
    Tear(Path(os.environ[BASE]), chance, 1 + int(chance.expovariate(1 / MEAN)), chance.random() < 0.5).install()
