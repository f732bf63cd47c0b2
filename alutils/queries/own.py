"""A query from a file of one's own, `my_scores.py:my_query`: checked without running the file, run when it is used."""

import ast
import hashlib
import runpy
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from alutils.errors import ParameterError, did_you_mean, one_line
from alutils.paths import ROOT

COMMITTEE_STATISTICS = ("mean_probability", "vote_share", "mean_entropy")  # keys of committee.STATISTICS, without torch


def split_text(text: str) -> tuple[str, list[str]]:
    """Return a query's name and the modifiers after it, without spaces around `+`; a file's path may hold a `+`."""
    stem, found, rest = text.rpartition(".py:")
    name, *modifiers = (part.strip() for part in rest.split("+"))
    return stem + found + name, modifiers


def file_and_name(query_name: str) -> tuple[Path, str] | None:
    """Return the file that a query is in and its name there; `None` for a query of the registry.

    The path is relative to the current folder or, if there is no such file there, to the project.
    """
    stem, found, name = query_name.rpartition(".py:")
    return (Path(f"{stem}.py"), name) if found else None


def query_file(text: str) -> Path | None:
    """Return the file that a query's text names; `None` for a query of the registry."""
    place = file_and_name(split_text(text)[0])
    return place[0] if place else None


def query_digest(text: str) -> str | None:
    """Return the sha256 of the file that a query's text names; `None` for a query of the registry."""
    path = query_file(text)
    return hashlib.sha256(_content(path)).hexdigest() if path else None


def is_score(path: Path, name: str) -> bool:
    """Return whether `name` is a function at the top level of a file, which is read but not run.

    A name that is assigned or imported there is not known to be one. Raises `ParameterError` if there is no such file
    or name, if the file is not Python, or if the function has a parameter that is no committee statistic.
    """
    content = _content(path)
    try:
        statements = ast.parse(content, str(path)).body
    except (SyntaxError, ValueError) as error:
        line = getattr(error, "lineno", None)
        where = f"{path}, line {line}" if line else str(path)
        raise ParameterError(f"{where}: {getattr(error, 'msg', error)}; allowed: a Python file") from None
    functions = {statement.name: statement for statement in statements if isinstance(statement, ast.FunctionDef)}
    names = [*functions, *_assigned(statements)]
    if name not in names:
        known = ", ".join(dict.fromkeys(names)) or "none, as it defines nothing"
        raise ParameterError(f"{path} has no {name!r}; {did_you_mean(name, names)}allowed: {known}")
    if name not in functions:
        return False
    check_statistics(f"{path}: {name}", _required(functions[name].args))
    return True


def _required(given: ast.arguments) -> list[str]:
    """Return the names of the parameters that have no default value."""
    positional = [*given.posonlyargs, *given.args]
    required = positional[: len(positional) - len(given.defaults)]
    required += [one for one, default in zip(given.kwonlyargs, given.kw_defaults, strict=True) if default is None]
    required += [one for one in (given.vararg, given.kwarg) if one is not None]
    return [one.arg for one in required]


def check_statistics(where: str, parameters: Iterable[str]) -> None:
    """Raise `ParameterError` unless all parameters of a score are committee statistics."""
    for parameter in parameters:
        if parameter not in COMMITTEE_STATISTICS:
            meant = did_you_mean(parameter, COMMITTEE_STATISTICS)
            allowed = ", ".join(COMMITTEE_STATISTICS)
            raise ParameterError(f"{where} has the parameter {parameter!r}; {meant}allowed: {allowed}")


def run_file(path: Path, name: str) -> Any:
    """Return what `name` stands for after running the file; an error in the file is one line."""
    try:
        return runpy.run_path(str(_found(path)), run_name=path.stem)[name]
    except Exception as error:
        raise ParameterError(f"{path}: {type(error).__name__} while it is run: {one_line(error)}") from error


def _found(path: Path) -> Path:
    """Return where a file is: below the current folder or else, as in a preset, below the project."""
    return ROOT / path if not path.exists() and (ROOT / path).exists() else path


def _content(path: Path) -> bytes:
    try:
        return _found(path).read_bytes()
    except OSError as error:
        allowed = "FILE.py:NAME, with the file's path from the current folder"
        raise ParameterError(f"{path.absolute()}: {error.strerror}; allowed: {allowed}") from None


def _assigned(statements: list[ast.stmt]) -> list[str]:
    """Return the names that are assigned or imported at the top level."""
    names: list[str] = []
    for statement in statements:
        if isinstance(statement, ast.Import | ast.ImportFrom):
            names += [alias.asname or alias.name for alias in statement.names]
        elif isinstance(statement, ast.Assign | ast.AnnAssign):
            targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
            names += [target.id for target in targets if isinstance(target, ast.Name)]
    return names
