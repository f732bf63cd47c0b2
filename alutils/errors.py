"""The two errors a user can cause; each message is one line saying what is wrong and what is allowed."""

from collections.abc import Iterable
from difflib import get_close_matches


class ParameterError(ValueError):
    """A parameter has an unknown name, a wrong type or an impossible value."""


class DataError(ValueError):
    """A file of a data set is missing, unreadable or breaks a rule; the message names the file."""


def check_choice(name: str, value: object, allowed: Iterable[str]) -> None:
    """Raise `ParameterError` unless `value` is one of `allowed`."""
    allowed = list(allowed)
    if value not in allowed:
        raise ParameterError(f"{name} is {value!r}; {did_you_mean(str(value), allowed)}allowed: {', '.join(allowed)}")


def did_you_mean(text: str, known: Iterable[str], after: str = "") -> str:
    """Return "did you mean ...? " with the nearest of the `known` words and `after` behind it; "" if none is near."""
    nearest = get_close_matches(text, list(known), 1)
    return f"did you mean {nearest[0]}{after}? " if nearest else ""


def check_range(name: str, value: float, low: float, high: float, unit: str = "") -> None:
    """Raise `ParameterError` unless `low <= value <= high`."""
    if not low <= value <= high:
        unit = f" {unit}" if unit else ""
        raise ParameterError(f"{name} is {value:.10g}{unit}; allowed: {low:.10g} to {high:.10g}{unit}")


def one_line(error: Exception) -> str:
    """Return an error's message in one line; for a file that could not be used, its path and why."""
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename}: {error.strerror}"
    return " ".join(str(error).split())
