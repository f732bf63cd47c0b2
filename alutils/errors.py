"""The two errors a user can cause; each message is one line saying what is wrong and what is allowed."""

import difflib
from collections.abc import Iterable


class ParameterError(ValueError):
    """A parameter has an unknown name, a wrong type or an impossible value."""


class DataError(ValueError):
    """A file of a data set is missing, unreadable or breaks a rule; the message names the file."""


def check_choice(name: str, value: object, allowed: Iterable[str]) -> None:
    """Raise `ParameterError` unless `value` is one of `allowed`."""
    allowed = list(allowed)
    if value not in allowed:
        raise ParameterError(f"{name} is {value!r}; allowed: {', '.join(allowed)}{did_you_mean(value, allowed)}")


def did_you_mean(value: object, known: Iterable[str]) -> str:
    """Return the end of a message that suggests the known name most like `value`; empty if none is like it."""
    near = difflib.get_close_matches(str(value), list(known), n=1, cutoff=0.5)
    return f"; did you mean {near[0]}?" if near else ""


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
