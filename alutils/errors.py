"""The errors a user can cause; each message is one short line saying what is wrong and what is allowed."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches

LONGEST = 290  # characters of a message


def shortened(text: str, longest: int = LONGEST) -> str:
    """Return `text` in one line of at most `longest` characters: its start, which says what is wrong, and its end.

    A character that would control a terminal becomes "?".
    """
    line = "".join(character if character.isprintable() else "?" for character in " ".join(text.split()))
    end = longest // 3
    return line if len(line) <= longest else f"{line[: longest - end - 5]} ... {line[-end:]}"


class OneLine(ValueError):
    """An error whose message is one line of at most `LONGEST` characters."""

    def __init__(self, message: str):
        super().__init__(shortened(message))


class ParameterError(OneLine):
    """A parameter has an unknown name, a wrong type or an impossible value."""


class DataError(OneLine):
    """A file of a data set is missing, unreadable or breaks a rule; the message names the file."""


def unreadable(path: object, error: OSError) -> DataError:
    """Return the error for a file or folder that the system does not let one read, and why."""
    return DataError(f"{path}: cannot be read ({error.strerror})")


@contextmanager
def collecting(problems: list[str] | None) -> Iterator[None]:
    """Add the message of a `DataError` to `problems` and go on; with `None`, let it pass."""
    try:
        yield
    except DataError as error:
        if problems is None:
            raise
        problems.append(str(error))


class RunError(RuntimeError):
    """A notebook failed. Its line says which and where it is kept, around a message of at most `LONGEST` characters."""


def check_choice(name: str, value: object, allowed: Iterable[str]) -> None:
    """Raise `ParameterError` unless `value` is one of `allowed`."""
    allowed = list(allowed)
    if value not in allowed:
        said = shortened(repr(value), 80)
        raise ParameterError(f"{name} is {said}; {did_you_mean(str(value), allowed)}allowed: {', '.join(allowed)}")


def did_you_mean(text: str, known: Iterable[str], after: str = "") -> str:
    """Return "did you mean ...? " with the nearest of the `known` words and `after` behind it; "" if none is near."""
    nearest = get_close_matches(text, list(known), 1)
    return f"did you mean {nearest[0]}{after}? " if nearest else ""


def check_range(name: str, value: float, low: float, high: float, unit: str = "") -> None:
    """Raise `ParameterError` unless `low <= value <= high`."""
    if not low <= value <= high:
        unit = f" {unit}" if unit else ""
        said = shortened(str(value), 40) if isinstance(value, int) else f"{value:.10g}"
        raise ParameterError(f"{name} is {said}{unit}; allowed: {low:.10g} to {high:.10g}{unit}")


def one_line(error: Exception) -> str:
    """Return an error's message in one short line; for a file that could not be used, its path and why."""
    if isinstance(error, RunError):
        return " ".join(str(error).split())
    if isinstance(error, OSError) and error.filename:
        return shortened(f"{error.filename}: {error.strerror}")
    return shortened(str(error))
