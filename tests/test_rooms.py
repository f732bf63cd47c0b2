"""The house stands as its map says: every module is on it, and no room imports from one below it."""

import ast
import re
from pathlib import Path

import pytest

import alutils
from alutils.paths import ROOT

PACKAGE = ROOT / "alutils"
GROUND = "ground floor"
OUTSIDE = {"__init__", "__main__"}  # what is in front of the house, not in it


def house() -> dict[str, list[str]]:
    """Return the modules of each room, from the map in the package's docstring, in its order."""
    rooms: dict[str, list[str]] = {}
    for indent, name in re.findall(r"^( {4})?(\w[\w ]*?) {2,}\S", alutils.__doc__ or "", re.MULTILINE):
        if indent:
            rooms[[*rooms][-1]].append(name)
        else:
            rooms[name] = []
    return rooms


def modules_in(folder: Path) -> set[str]:
    """Return the modules of a folder; a package inside a room is one of its modules."""
    packages = {path.parent.name for path in folder.glob("*/__init__.py")}
    return ({path.stem for path in folder.glob("*.py")} | packages) - OUTSIDE


def imported_rooms(path: Path) -> set[str]:
    """Return the rooms, or ground-floor modules, that a file imports from."""
    rooms = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        if isinstance(node, ast.ImportFrom) and node.module == "alutils":
            names = [f"alutils.{alias.name}" for alias in node.names]
        rooms |= {name.split(".")[1] for name in names if name.startswith("alutils.")}
    return rooms


def test_the_map_and_the_tree_agree():
    rooms = house()
    ground = rooms.pop(GROUND)
    assert modules_in(PACKAGE) == {*ground, *rooms}
    for room, modules in rooms.items():
        assert modules_in(PACKAGE / room) == {*modules}, room


@pytest.mark.parametrize("room", house())
def test_a_room_imports_from_rooms_above_it_only(room: str):
    order = [*house()]
    folder = PACKAGE / room
    files = sorted(folder.rglob("*.py")) if room != GROUND else [PACKAGE / f"{name}.py" for name in house()[GROUND]]
    allowed = {*house()[GROUND], *order[1 : order.index(room) + 1]}
    for path in files:
        assert imported_rooms(path) <= allowed, path.relative_to(ROOT)


def test_tests_mirror_the_rooms():
    folders = {path.parent.name for path in (ROOT / "tests").glob("*/test_*.py")}
    assert folders == house().keys() - {GROUND}
