"""The files of a folder, and the names that a run can bear."""

import unicodedata
from collections.abc import Iterable
from pathlib import Path

from alutils.errors import DataError, unreadable
from alutils.paths import data_dir


def files_in(folder: Path) -> list[Path]:
    """Return what is in `folder` but for hidden files, by name; raise `DataError` if it cannot be listed."""
    try:
        return sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except (FileNotFoundError, NotADirectoryError) as error:
        where = " (ALUTILS_DATA says where data lie)" if folder.is_relative_to(data_dir()) else ""
        raise DataError(f"{folder}: no such folder; the data set needs it{where}") from error
    except OSError as error:
        raise unreadable(folder, error) from error


def check_names(paths: Iterable[Path]) -> None:
    """Raise `DataError` for a file name that would break the lines of a table or a message, or is not Unicode."""
    for path in paths:
        if any(unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") for character in path.name):
            raise DataError(
                f"{path.parent}: the file name {path.name!r} holds control characters or bytes that are not UTF-8;"
                " allowed: a name of one line, in UTF-8"
            )
