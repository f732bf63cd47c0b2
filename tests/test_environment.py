"""The three lists of dependencies (pyproject.toml, requirements.lock, environment.yml) agree."""

import re
import tomllib
from functools import cache
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from alutils.files import read_yaml
from alutils.paths import ROOT

PYPROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
WANTED = [*PYPROJECT["project"]["dependencies"], *PYPROJECT["dependency-groups"]["dev"]]


@cache
def locked() -> list[tuple[Requirement, list[str]]]:
    """Return each entry of the lock with its hashes."""
    text = (ROOT / "requirements.lock").read_text().replace("\\\n", " ")
    lines = [line.split("#")[0].strip() for line in text.splitlines()]
    entries = [re.split(r"\s+--hash=", line) for line in lines if line]
    return [(Requirement(entry), hashes) for entry, *hashes in entries]


@pytest.mark.parametrize("wanted", WANTED)
def test_every_dependency_is_locked_at_an_allowed_version(wanted: str) -> None:
    requirement = Requirement(wanted)
    name = canonicalize_name(requirement.name)
    pins = [entry for entry, _ in locked() if canonicalize_name(entry.name) == name]
    assert pins
    assert all(requirement.specifier.contains(next(iter(pin.specifier)).version) for pin in pins)


def test_every_entry_is_pinned_and_hashed() -> None:
    for entry, hashes in locked():
        assert re.fullmatch(r"==[^*,]+", str(entry.specifier)), entry
        assert hashes, entry
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", one) for one in hashes), entry


def test_the_lock_names_no_address_and_no_path() -> None:
    assert all(entry.url is None for entry, _ in locked())
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    assert not [line for line in lines if "://" in line or re.search(r"^\s*(-e|-r|-c|-f|--[^h]|[./])", line)]
    assert not [line for line in lines if re.search(r"(^|[\s=@])(/|~|file:)", line)]


def test_the_conda_environment_is_python_and_the_lock() -> None:
    environment = read_yaml(ROOT / "environment.yml")
    python, pip, from_pip = environment["dependencies"]
    python = Requirement(python)
    assert environment["channels"] == ["conda-forge"]
    assert python.name == "python"
    assert python.specifier == SpecifierSet(PYPROJECT["project"]["requires-python"])
    assert pip == "pip"
    assert from_pip == {"pip": ["-r requirements.lock"]}


def test_the_libraries_that_ours_is_compared_with_are_pinned() -> None:
    wanted = {Requirement(text).name: Requirement(text) for text in PYPROJECT["dependency-groups"]["dev"]}
    for name in ("baal", "cityscapesscripts", "modal-python", "scikit-activeml"):
        assert re.fullmatch(r"==[^*,]+", str(wanted[name].specifier)), name
