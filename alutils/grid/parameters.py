"""A notebook's parameters, declared in its first code cell and checked before anything starts, and what they name."""

import ast
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

import papermill
import yaml

from alutils.errors import ParameterError
from alutils.paths import NOTEBOOKS
from alutils.runs.config import BulkConfig, RoundsConfig

CONFIGS: dict[str, type[RoundsConfig] | type[BulkConfig]] = {
    "03_active_learning_rounds": RoundsConfig,
    "04_bulk_training": BulkConfig,
}
WITHOUT_NETWORK = {"02_street_scenes", "06_figures", "07_compare_queries"}  # they need no GPU
TYPES = {"int": int, "float": float, "str": str, "bool": bool, "list": list}


def find_notebook(name: str, base: Path = Path()) -> Path:
    """Return the path of a notebook given by path from `base` on, or by its name in the project's `notebooks/`."""
    for path in (base / name, NOTEBOOKS / Path(name).name, NOTEBOOKS / f"{Path(name).name}.ipynb"):
        if path.suffix == ".ipynb" and path.is_file():
            return path
    known = ", ".join(sorted(path.stem for path in NOTEBOOKS.glob("*.ipynb")))
    raise ParameterError(f"{name} is no notebook; known: {known}")


def check_parameters(notebook: Path, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return all parameters of `notebook`: its defaults, overridden by `given`, each of the declared type.

    Raises `ParameterError` for a name the notebook does not have, or a value of another type.
    """
    declared = _declared(notebook, notebook.stat().st_mtime_ns)
    for name, entry in declared.items():
        if entry["inferred_type_name"] not in TYPES:
            raise ParameterError(f"{notebook}: {name} has no type; allowed: {', '.join(TYPES)}, as in n: int = 1")
    if "experiment" not in declared:
        raise ParameterError(f"{notebook} has no parameter experiment, the folder its run goes to")
    for name in given:
        if name not in declared:
            raise ParameterError(f"{name} is no parameter of {notebook.stem}; known: {', '.join(declared)}")
    defaults = {name: ast.literal_eval(entry["default"]) for name, entry in declared.items()}
    types = {name: entry["inferred_type_name"] for name, entry in declared.items()}
    values = {name: _convert(name, value, types[name], defaults[name]) for name, value in given.items()}
    return defaults | values


@cache
def _declared(notebook: Path, changed: int) -> dict[str, Any]:
    return papermill.inspect_notebook(notebook)


def _convert(name: str, value: Any, declared: str, default: Any) -> Any:
    """Return `value` as the `declared` type; text is read as that type, as it comes from a command line."""
    if default is None and value in (None, "None", "null"):
        return None
    if isinstance(value, str) and declared != "str":
        value = _read_text(value)
    wanted = TYPES[declared]
    if wanted is float and type(value) is int:
        return float(value)
    if type(value) is not wanted:
        allowed = f"{declared} or None" if default is None else declared
        raise ParameterError(f"{name} is {value!r}, of type {type(value).__name__}; allowed: {allowed}")
    return value


def _read_text(text: str) -> Any:
    try:
        # YAML takes 1e-3 and 1.5e3 for words
        return float(text) if re.fullmatch(r"[-+]?\d+\.?\d*[eE][-+]?\d+", text) else yaml.safe_load(text)
    except (yaml.YAMLError, ValueError):
        return text


def run_name(notebook: str, parameters: Mapping[str, Any]) -> str:
    """Return the name of the folder that a notebook's run with all its `parameters` goes to.

    Raises `ParameterError` for parameters that cannot go together.
    """
    config = CONFIGS.get(notebook)
    if config:
        return config.from_names(parameters).run_name
    return "-".join([notebook, *(Path(parameters[name]).stem for name in ("dataset", "model") if name in parameters)])


def config_of(notebook: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return the config, but the data, of the one run that a notebook makes; nothing if it makes none or several."""
    config = CONFIGS.get(notebook)
    return {"kind": config.kind} | asdict(config.from_names(parameters)) if config else {}


def gpus_wanted(notebook: str, parameters: Mapping[str, Any]) -> int:
    """Return how many GPUs a notebook's run uses where there are some."""
    return 0 if notebook in WITHOUT_NETWORK else parameters.get("scoring_workers", 1)


def done_file(notebook: str, parameters: Mapping[str, Any]) -> str:
    """Return the name of the file that says that a notebook has run with all its `parameters`."""
    content = json.dumps([notebook, parameters], sort_keys=True)
    return f"done-{hashlib.sha256(content.encode()).hexdigest()[:8]}"
