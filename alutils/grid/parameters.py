"""A notebook's parameters: declared in its cell tagged `parameters`, checked before anything starts.

Nothing here loads torch or papermill, so a mistake is said at once.
"""

import ast
import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, create_model

from alutils import paths
from alutils.datasets import DATASETS
from alutils.datasets.folder import read_description
from alutils.errors import ParameterError, check_choice, did_you_mean, shortened
from alutils.files import is_file, open_regular, read_yaml, validated
from alutils.grid.notebooks import NOTEBOOKS, about
from alutils.models import MODELS
from alutils.queries.own import query_file
from alutils.yaml_text import parsed

TYPES: dict[str, type] = {"int": int, "float": float, "str": str, "bool": bool, "list": list}


def find_notebook(name: str, base: Path = Path()) -> Path:
    """Return the path of a notebook, given as a path from `base` or as a name in the project's `notebooks/`."""
    for path in (base / name, paths.NOTEBOOKS / Path(name).name, paths.NOTEBOOKS / f"{Path(name).name}.ipynb"):
        if path.suffix == ".ipynb" and is_file(path):
            return path
    known = sorted(path.stem for path in paths.NOTEBOOKS.glob("*.ipynb"))
    raise ParameterError(f"{shortened(name, 80)} is no notebook; {did_you_mean(name, known)}known: {', '.join(known)}")


def given_parameters(files: Iterable[str], pairs: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """Return the parameters that YAML files and then pairs of name and text give; later ones win."""
    given: dict[str, Any] = {}
    for file in files:
        given |= read_yaml(Path(file))
    return given | dict(pairs)


def check_parameters(notebook: Path, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return all parameters of `notebook`: its defaults, replaced by `given`, each of the declared type.

    Text is read as the declared type, because it may come from a command line. Raises `ParameterError` for a name that
    the notebook does not have or a value of another type.
    """
    model = _declared(notebook, notebook.stat().st_mtime_ns)
    fields = model.model_fields
    for name in given:
        if name not in fields:
            known = f"{did_you_mean(name, fields)}known: {', '.join(fields)}"
            raise ParameterError(f"{shortened(name, 80)} is no parameter of {notebook.stem}; {known}")
    read = {name: _read(value, fields[name].annotation, fields[name].default) for name, value in given.items()}
    return validated(model, read, notebook.stem).model_dump()


@cache
def _declared(notebook: Path, changed: int) -> type[BaseModel]:
    """Return a pydantic model of what the notebook's parameters cell declares, as in `n: int = 1`."""
    try:
        fields = {}
        for statement in _parameters_cell(notebook).body:
            name, kind, default = _declaration(statement, notebook)
            optional = default is None
            allowed = f"{kind.__name__} or None" if optional else kind.__name__
            fields[name] = (kind | None if optional else kind, Field(default, description=allowed))
        if "experiment" not in fields:
            raise ParameterError(f"{notebook} has no parameter experiment, the folder its run goes to")
        config = ConfigDict(strict=True, protected_namespaces=())
        return create_model("Parameters", __config__=config, **fields)  # type: ignore[call-overload]
    except ParameterError:
        raise
    except Exception as error:  # a file from elsewhere may raise anything
        raise ParameterError(f"{notebook}: its parameters cannot be read ({error})") from error


def _declaration(statement: ast.stmt, notebook: Path) -> tuple[str, type, Any]:
    """Return the name, type and default of one parameter."""
    target = statement.targets[0] if isinstance(statement, ast.Assign) else getattr(statement, "target", statement)
    name = ast.unparse(target)
    kind = TYPES.get(ast.unparse(statement.annotation)) if isinstance(statement, ast.AnnAssign) else None
    if kind is None or not isinstance(statement, ast.AnnAssign) or statement.value is None:
        raise ParameterError(f"{notebook}: {name} has no type; allowed: {', '.join(TYPES)}, as in n: int = 1")
    return name, kind, ast.literal_eval(statement.value)


def _parameters_cell(notebook: Path) -> ast.Module:
    with open_regular(notebook) as file:
        cells = json.load(file)["cells"]
    tagged = [cell["source"] for cell in cells if "parameters" in cell["metadata"].get("tags", [])]
    return ast.parse("".join(tagged[0]) if tagged else "")


def _read(value: Any, kind: Any, default: Any) -> Any:
    """Return a value as YAML reads it, unless text is what is wanted."""
    if default is None and value in ("None", "null"):
        return None
    if not isinstance(value, str) or kind in (str, str | None):
        return value
    try:
        # YAML takes 1e-3 and 1.5e3 for words
        return float(value) if re.fullmatch(r"[-+]?\d+\.?\d*[eE][-+]?\d+", value) else parsed(value)
    except ValueError:
        return value


def check_names(notebook: str, parameters: Mapping[str, Any], base: Path = Path()) -> None:
    """Raise `ParameterError` unless the data set, models and runs that the `parameters` name can exist.

    Only the notebooks of the project are checked: others may mean something else by these names. The path of a data
    set's YAML file is relative to `base`.
    """
    if notebook not in NOTEBOOKS:
        return
    if "dataset" in parameters:
        check_dataset(parameters["dataset"], base)
    for name in ("model", "order_model"):
        if name in parameters:
            check_choice(name, parameters[name], MODELS)
    run_name(notebook, parameters)
    about(notebook).needs(parameters)
    for path in _query_files(parameters, base):
        if not is_file(path):
            raise ParameterError(f"query is in {path}; there is no such file")


def check_dataset(name: str, base: Path = Path()) -> None:
    """Raise `ParameterError` unless `name` is a known data set or the path, from `base`, of a YAML file.

    Raises `DataError` if that file has a wrong key or value.
    """
    if not name.endswith((".yaml", ".yml")):
        check_choice("dataset", name, [*DATASETS, "<a folder's description>.yaml"])
    elif not is_file(path := base / name):
        meant = did_you_mean(path.name, [file.name for file in path.parent.glob("*.y*ml")])
        said = f"dataset is {shortened(str(path), 120)}; there is no such file"
        raise ParameterError(f"{said}; {meant}allowed: the path of an existing YAML file")
    else:
        read_description(path)


def run_name(notebook: str, parameters: Mapping[str, Any]) -> str:
    """Return the name of the folder that a notebook's run with all its `parameters` goes to.

    Raises `ParameterError` for parameters that cannot go together.
    """
    config = about(notebook).config
    if config:
        return config.from_names(parameters).run_name
    return "-".join([notebook, *(Path(parameters[name]).stem for name in ("dataset", "model") if name in parameters)])


def config_of(notebook: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return the config of a notebook's one run as a dict, without the data; empty for other notebooks."""
    config = about(notebook).config
    return config.from_names(parameters).parameters if config else {}


def gpus_wanted(notebook: str, parameters: Mapping[str, Any]) -> int:
    """Return how many GPUs a notebook's run uses on a machine that has some."""
    return parameters.get("scoring_workers", 1) if about(notebook).uses_gpu else 0


def input_files(notebook: Path, parameters: Mapping[str, Any], base: Path = Path()) -> list[Path]:
    """Return the files that a notebook's run depends on: itself, figure code, a data set's YAML, query files."""
    files = [notebook]
    if about(notebook.stem).reads_results:
        files += sorted((paths.ROOT / "alutils" / "results").rglob("*.py"))
    if str(parameters.get("dataset")).endswith((".yaml", ".yml")):
        files.append(base / parameters["dataset"])
    return files + _query_files(parameters, base)


def _query_files(parameters: Mapping[str, Any], base: Path) -> list[Path]:
    asked = [parameters.get("query", ""), *parameters.get("queries", [])]
    return [base / file for file in map(query_file, map(str, asked)) if file]


def done_key(notebook: str, parameters: Mapping[str, Any]) -> str:
    """Return a checksum of a notebook's name and all its `parameters`."""
    content = json.dumps([notebook, parameters], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()[:8]


def checksums(files: Iterable[Path]) -> dict[str, str]:
    """Return a checksum of each file's content, by its path."""
    return {str(file.resolve()): checksum(file.resolve(), file.stat().st_mtime_ns) for file in files}


@cache
def checksum(file: Path, changed: int) -> str:
    """Return a checksum of a file's content as it was at the time `changed`, in nanoseconds."""
    with open_regular(file) as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()[:16]
