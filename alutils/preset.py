"""What a grid consists of: a preset is a YAML file of notebooks, parameters, and lists of parameters."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from alutils.config import BulkConfig
from alutils.errors import ParameterError
from alutils.paths import PARAMS, results_dir
from alutils.run import check_parameters, find_notebook, run_name
from alutils.yaml_files import read_yaml

PRESET_KEYS = {"recipe", "runs"}
ENTRY_KEYS = {"notebook", "parameters", "grid"}
LAST = "06_figures"  # reads what all others made


@dataclass(frozen=True)
class Job:
    """One notebook run: `given` are the parameters that differ from the notebook's defaults."""

    name: str
    notebook: Path
    given: dict[str, Any]
    needs: list[str]


def find_preset(name: str) -> Path:
    """Return the path of a preset given by path, or by its name in the project's `params/`."""
    for path in (Path(name), PARAMS / f"{name}.yaml"):
        if path.suffix == ".yaml" and path.is_file():
            return path
    known = ", ".join(sorted(path.stem for path in PARAMS.glob("*.yaml")))
    raise ParameterError(f"{name} is no preset; known: {known}")


def load_jobs(preset: Path) -> dict[str, Job]:
    """Return the jobs of a preset by name; all parameters are checked.

    A preset holds `runs`, a list of `notebook`, `parameters` and `grid` (lists, of which every combination is
    run), and `recipe`, notes of values that `runs` refer to. Its experiment is called like the file.
    """
    content = read_yaml(preset)
    _check_keys(str(preset), content, PRESET_KEYS)
    jobs: dict[str, Job] = {}
    for job in _all_jobs(content.get("runs") or [], preset.stem):
        if job.name in jobs:
            raise ParameterError(f"{preset}: two runs would be called {job.name}; vary what its name is made of")
        jobs[job.name] = job
    for job in jobs.values():
        if job.notebook.stem == LAST:
            job.needs.extend(name for name in jobs if name != job.name)
        else:
            job.needs[:] = [name for name in job.needs if name in jobs]
    return jobs


def _all_jobs(entries: list[Any], experiment: str) -> Iterator[Job]:
    for entry in entries:
        if not isinstance(entry, dict) or "notebook" not in entry:
            raise ParameterError(f"{entry!r} is no run; allowed: notebook, parameters, grid")
        _check_keys(f"the run of {entry['notebook']}", entry, ENTRY_KEYS)
        notebook = find_notebook(str(entry["notebook"]))
        fixed, grid = (_mapping(notebook.stem, key, entry.get(key) or {}) for key in ("parameters", "grid"))
        for name, values in grid.items():
            if not isinstance(values, list):
                raise ParameterError(f"{notebook.stem}: {name} in grid is {values!r}; allowed: a list")
        for combination in product(*grid.values()):
            given = {"experiment": experiment} | fixed | dict(zip(grid, combination, strict=True))
            parameters = check_parameters(notebook, given)
            yield Job(run_name(notebook.stem, parameters), notebook, given, _needs(notebook, parameters))


def _mapping(notebook: str, key: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict) or "experiment" in value:
        raise ParameterError(f"{notebook}: {key} is {value!r}; allowed: names with values, but experiment")
    return value


def _needs(notebook: Path, parameters: Mapping[str, Any]) -> list[str]:
    """Return the name of the run whose order of acquisition a bulk training uses."""
    if notebook.stem != "04_bulk_training":
        return []
    source = BulkConfig.from_names(parameters).order_run_name
    return [source] if source else []


def _check_keys(where: str, content: Mapping[str, Any], allowed: set[str]) -> None:
    for key in content:
        if key not in allowed:
            raise ParameterError(f"{where}: {key} is unknown; allowed: {', '.join(sorted(allowed))}")


def folder_of(preset: Path) -> Path:
    """Return the folder that a preset's runs lie in."""
    return results_dir() / preset.stem
