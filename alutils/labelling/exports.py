"""What an annotation tool has exported, opened with care: a folder, a zip file or a single file, made by others."""

import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from alutils.errors import DataError, one_line, unreadable
from alutils.files import open_regular

MOST = 256 * 2**20  # bytes of one file
MOST_OF_ALL = 4 * 2**30  # bytes of all files that are read
MOST_FILES = 100_000


class Export:
    """The files of an export by name; each is read when asked for, within limits. Raises `DataError`."""

    def __init__(self, path: Path):
        self.path, self.room = path, MOST_OF_ALL
        self._zip: zipfile.ZipFile | None = None
        try:
            if path.is_dir():
                found = [one.relative_to(path).as_posix() for one in sorted(path.rglob("*")) if not one.is_dir()]
                self.names = [name for name in found if not name.split("/")[-1].startswith(".")]
            elif zipfile.is_zipfile(path):
                self._zip = zipfile.ZipFile(path)
                self.names = [one.filename for one in self._zip.infolist() if not one.is_dir()]
            else:
                with open_regular(path):
                    self.names = [path.name]
        except OSError as error:
            raise unreadable(path, error) from error
        except zipfile.BadZipFile as error:
            raise DataError(f"{path}: a damaged zip file ({one_line(error)[:80]})") from error
        if len(self.names) > MOST_FILES:
            raise DataError(f"{path}: {len(self.names)} files; allowed: at most {MOST_FILES}")
        for name in self.names:
            check_inside(name, path)

    def read(self, name: str) -> bytes:
        """Return the content of a file."""
        try:
            with self._open(name) as file:
                content = file.read(min(MOST, self.room) + 1)
        except OSError as error:
            raise unreadable(f"{self.path}: {name}", error) from error
        except (zipfile.BadZipFile, RuntimeError, NotImplementedError, EOFError, ValueError) as error:
            raise DataError(f"{self.path}: {name}: cannot be read ({one_line(error)[:80]})") from error
        if len(content) > min(MOST, self.room):
            raise DataError(f"{self.path}: {name}: unpacks to more than {min(MOST, self.room) >> 20} MiB")
        self.room -= len(content)
        return content

    def _open(self, name: str):
        if self._zip is not None:
            return self._zip.open(name)
        return open_regular(self.path / name if self.path.is_dir() else self.path)

    def named(self, ending: str) -> str | None:
        """Return the first name that is `ending`, or ends with it below a folder; `None` if there is none."""
        fitting = (name for name in self.names if name == ending or name.endswith(f"/{ending}"))
        return next(fitting, None)

    def below(self, folder: str, suffix: str) -> Iterator[str]:
        """Yield the names of files in a folder, wherever it is; "" stands for any folder."""
        for name in self.names:
            if name.lower().endswith(suffix) and (not folder or f"/{folder}" in f"/{name}"):
                yield name


def check_inside(name: str, path: Path) -> None:
    """Raise `DataError` for a name in an export that leads out of a folder."""
    if "\\" in name or "\0" in name or ".." in PurePosixPath(name).parts or PurePosixPath(name).is_absolute():
        raise DataError(f"{path}: the name {name[:80]!r} leads out of its folder; allowed: names below it")
