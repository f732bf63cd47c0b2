"""The reference: a page for each room of the package, from its map and its docstrings."""

import pkgutil
import re
from collections.abc import Iterator
from importlib import import_module
from inspect import isfunction
from typing import Any

import alutils

ENTRY = re.compile(r"(?P<names>\*{0,2}\w+(?:, \*{0,2}\w+)*) : (?P<meaning>.*)")
GROUND = "ground floor"
OF_NAMEDTUPLE = "Alias for field number"


def rooms() -> dict[str, tuple[str, list[str]]]:
    """Return, for each room of the package's map, what it is for and the names of its modules."""
    house: dict[str, tuple[str, list[str]]] = {}
    for indent, name, what in re.findall(r"^( {4})?(\w[\w ]*?) {2,}(\S.*)", alutils.__doc__ or "", re.MULTILINE):
        if indent:
            [*house.values()][-1][1].append(name)
        else:
            house[name] = (what, [])
    return house


def slug(room: str) -> str:
    """Return the name of a room's page."""
    return room.replace(" ", "-")


def modules(inside: str, names: list[str]) -> Iterator[str]:
    """Yield the full names of modules inside a package, and of those inside them."""
    for name in names:
        full = f"{inside}.{name}"
        yield full
        inner = getattr(import_module(full), "__path__", [])  # of a package
        yield from (found.name for found in pkgutil.iter_modules(inner, f"{full}."))


def room_page(room: str, what: str, names: list[str]) -> str:
    """Return the page of a room in reStructuredText: what the room itself gives, then a section for each module."""
    inside = "alutils" if room == GROUND else f"alutils.{room}"
    parts = [_heading(room[0].upper() + room[1:], "=")]
    parts.append(f"{what[0].upper()}{what[1:]}." if room == GROUND else _automodule(inside))
    for name in modules(inside, names):
        parts += [_heading(name.removeprefix("alutils."), "-"), _automodule(name)]
    return "\n\n".join(parts) + "\n"


def _automodule(name: str) -> str:
    return f".. automodule:: {name}\n   :members:"


def _heading(title: str, line: str) -> str:
    return f"{title}\n{line * len(title)}"


def reference_pages() -> dict[str, str]:
    """Return a page for each room, by its place on the site."""
    return {f"reference/{slug(room)}.rst": room_page(room, *of_room) for room, of_room in rooms().items()}


def as_rst(lines: list[str]) -> list[str]:
    """Return a plain docstring in reStructuredText.

    Code in single backticks becomes code, lines such as `name : meaning` become a list of definitions, and an indented
    paragraph stays as it is. No other sign has a meaning.
    """
    converted: list[str] = []
    for paragraph in re.split(r"\n\s*\n", "\n".join(lines).strip("\n")):
        of_paragraph = paragraph.split("\n")
        if ENTRY.fullmatch(of_paragraph[0]):
            converted += [line for text in of_paragraph for line in _definition(text)]
        elif all(text.startswith(" ") for text in of_paragraph):
            converted += ["::", "", *(f"    {text}" for text in of_paragraph)]
        else:
            converted += _plain(paragraph).split("\n")
        converted.append("")
    return converted


def _definition(line: str) -> list[str]:
    """Return a line of a list of `name : meaning`; a line that is indented goes on with the meaning before it."""
    if found := ENTRY.fullmatch(line):
        return [", ".join(f"``{name}``" for name in found["names"].split(", ")), f"    {_plain(found['meaning'])}"]
    return [f"    {_plain(line.strip())}"]


def _plain(text: str) -> str:
    """Return text whose only sign with a meaning is the backtick around code; a dash at its start makes a list."""
    parts = re.split(r"`([^`]+)`", text)
    return "".join(
        f"``{part}``" + ("\\ " if re.match(r"\w", after) else "") if index % 2 else re.sub(r"([\\*|_])", r"\\\1", part)
        for index, (part, after) in enumerate(zip(parts, [*parts[1:], ""], strict=True))
    )


def convert_docstring(app: Any, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    """Convert a docstring that autodoc has read, in place."""
    lines[:] = as_rst(lines)


def readable_signature(
    app: Any, what: str, name: str, thing: Any, options: Any, signature: str | None, returned: str | None
) -> tuple[str | None, str | None]:
    """Return a signature with `...` for values that are no Python, such as `<factory>`: Sphinx could not parse it."""
    return signature and re.sub(r"= <.*?>(?=[,)])", "= ...", signature), returned


def skip_member(app: Any, what: str, name: str, thing: Any, skip: bool, options: Any) -> bool | None:
    """Leave out what has no docstring of this package: fields of named tuples, and functions of other packages."""
    of_namedtuple = str(getattr(thing, "__doc__", "")).startswith(OF_NAMEDTUPLE)
    elsewhere = isfunction(thing) and not thing.__module__.startswith(alutils.__name__)
    return True if of_namedtuple or elsewhere else None
