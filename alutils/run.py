"""Run one notebook with checked parameters.

    python -m alutils.run NOTEBOOK [-f PARAMS.yaml] [-p NAME VALUE]...

The executed notebook is written whole into the run's folder below the results folder. A wrong parameter is
one line on stderr and exit code 1, before anything starts; so is a failing cell, whose notebook is kept there
as `notebook.failed.ipynb`.
"""

import argparse
import ast
import os
import re
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import papermill
import yaml
from papermill.exceptions import PapermillExecutionError
from traitlets.config import Config

from alutils.config import BulkConfig, RoundsConfig
from alutils.errors import DataError, ParameterError
from alutils.paths import NOTEBOOKS
from alutils.progress import SWITCH
from alutils.results import RunFolder, write_whole
from alutils.yaml_files import read_yaml

CONFIGS: dict[str, type[RoundsConfig] | type[BulkConfig]] = {
    "03_active_learning_rounds": RoundsConfig,
    "04_bulk_training": BulkConfig,
}
TYPES = {"int": int, "float": float, "str": str, "bool": bool, "list": list}


def find_notebook(name: str) -> Path:
    """Return the path of a notebook given by path, or by its name in the project's `notebooks/`."""
    for path in (Path(name), NOTEBOOKS / Path(name).name, NOTEBOOKS / f"{Path(name).name}.ipynb"):
        if path.suffix == ".ipynb" and path.is_file():
            return path
    known = ", ".join(sorted(path.stem for path in NOTEBOOKS.glob("*.ipynb")))
    raise ParameterError(f"{name} is no notebook; known: {known}")


def check_parameters(notebook: Path, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return all parameters of `notebook`: its defaults, overridden by `given`, each of the declared type.

    Raises `ParameterError` for a name the notebook does not have, or a value of another type.
    """
    declared = papermill.inspect_notebook(notebook)
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


def run_notebook(notebook: Path, given: Mapping[str, Any]) -> Path:
    """Run `notebook` with the parameters `given`; return the path of the executed notebook.

    Raises `ParameterError` before anything starts, or `RuntimeError` with the failing cell's error.
    """
    parameters = check_parameters(notebook, given)
    name = run_name(notebook.stem, parameters)
    folder = RunFolder(parameters["experiment"], name).path
    title = name if name.startswith(notebook.stem) else f"{notebook.stem} {name}"
    started = time.monotonic()
    _say(f"{title}: started")
    with tempfile.TemporaryDirectory(prefix="alutils-") as temporary:
        output = Path(temporary) / "notebook.ipynb"
        try:
            _execute(notebook, output, parameters)
        except PapermillExecutionError as error:
            failed = folder / "notebook.failed.ipynb"
            write_whole(failed, output.read_bytes())
            reason = " ".join(f"{error.ename}: {error.evalue}".split())
            raise RuntimeError(f"{title}: {reason} (see {failed})") from error
        write_whole(folder / "notebook.ipynb", output.read_bytes())
    (folder / "notebook.failed.ipynb").unlink(missing_ok=True)
    _say(f"{title}: done in {time.monotonic() - started:.0f} s")
    return folder / "notebook.ipynb"


def _execute(notebook: Path, output: Path, parameters: dict[str, Any]) -> None:
    """Let papermill run `notebook` into `output`, its kernel on sockets that are files beside `output`.

    Over TCP, kernels that start at the same time now and then take each other's port.
    """
    on_terminal = sys.stderr.isatty()
    os.environ.setdefault(SWITCH, "1" if on_terminal else "0")
    config = Config({"KernelManager": {"transport": "ipc", "ip": str(output.with_name("kernel"))}})
    config.NotebookClient.shutdown_kernel = "immediate"  # all is saved; unloading torch takes seconds
    papermill.execute_notebook(
        notebook,
        output,
        parameters,
        progress_bar=False,
        stderr_file=sys.stderr if on_terminal else None,
        config=config,
        coalesce_streams=True,  # a bar in the executed notebook is its last state, not a line a tick
    )


def _say(line: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {line}", file=sys.stderr, flush=True)  # noqa: T201


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m alutils.run", description="Run one notebook.")
    parser.add_argument("notebook", metavar="NOTEBOOK", help="its path, or its name in notebooks/")
    parser.add_argument("-f", metavar="PARAMS.yaml", action="append", default=[], help="a YAML file of parameters")
    parser.add_argument("-p", metavar=("NAME", "VALUE"), nargs=2, action="append", default=[], help="a parameter")
    chosen = parser.parse_args(arguments)
    try:
        run_notebook(find_notebook(chosen.notebook), _given(chosen.f, chosen.p))
    except (ParameterError, DataError, RuntimeError, OSError) as error:
        _say(f"error: {error}")
        return 1
    return 0


def _given(files: Iterable[str], pairs: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """Return the parameters of all YAML files, then those of the command line, later ones winning."""
    given: dict[str, Any] = {}
    for file in files:
        given |= read_yaml(Path(file))
    return given | dict(pairs)


if __name__ == "__main__":
    sys.exit(main())
