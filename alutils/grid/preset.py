"""What a grid consists of: a preset is a YAML file of notebooks, parameters, and lists of parameters."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from alutils.errors import ParameterError
from alutils.files import read_yaml
from alutils.grid.parameters import check_parameters, config_of, done_file, find_notebook, gpus_wanted, run_name
from alutils.paths import PARAMS, ROOT, results_dir
from alutils.runs.config import BulkConfig, rounds_name
from alutils.runs.folder import check_name

PRESET_KEYS = {"recipe", "runs"}
ENTRY_KEYS = {"notebook", "parameters", "grid", "cell_timeout"}
LAST = {  # notebooks that read what all others made, and the modules whose change changes what they show
    "06_figures": ("analysis", "thesis", "figures/curves", "figures/style", "figures/thesis"),
    "07_compare_queries": (
        *("acquired", "analysis", "comparison", "comparison_text", "significance"),
        *("figures/comparison", "figures/style"),
    ),
}


@dataclass(frozen=True)
class Job:
    """One notebook run.

    given : the parameters that differ from the notebook's defaults
    needs : names of the jobs before it
    files : what it depends on beside these; if one changes, it is run again
    done : name of the file in its folder that says that it has run
    config : what `config.json` will hold, but the data; empty where a notebook's job is not one run
    """

    name: str
    notebook: Path
    given: dict[str, Any]
    needs: list[str]
    files: list[Path]
    done: str
    gpus: int
    cell_timeout: int | None
    config: dict[str, Any]

    @property
    def arguments(self) -> list[str]:
        """Return what `python -m alutils.grid.notebook` is called with."""
        words = [str(self.notebook)]
        for name, value in self.given.items():
            words += ["-p", name, value if isinstance(value, str) else json.dumps(value)]
        return words + (["--cell-timeout", str(self.cell_timeout)] if self.cell_timeout else [])


def find_preset(name: str) -> Path:
    """Return the path of a preset given by path, or by its name in the project's `params/`."""
    for path in (Path(name), PARAMS / f"{name}.yaml"):
        if path.suffix == ".yaml" and path.is_file():
            return path
    known = ", ".join(sorted(path.stem for path in PARAMS.glob("*.yaml")))
    raise ParameterError(f"{name} is no preset; known: {known}; or the path of a .yaml file")


def load_jobs(preset: Path) -> dict[str, Job]:
    """Return the jobs of a preset by name; all parameters are checked.

    A preset holds `runs`, a list of `notebook`, `parameters` and `grid` (lists, of which every combination is
    run), and `recipe`, notes of values that `runs` refer to. Its experiment is called like the file; paths in it are
    relative to the project.
    """
    check_name(preset.stem)
    content = read_yaml(preset)
    _check_keys(str(preset), content, PRESET_KEYS)
    jobs: dict[str, Job] = {}
    runs = content.get("runs") or []
    if not isinstance(runs, list):
        raise ParameterError(f"{preset}: runs is {runs!r}; allowed: a list of runs")
    for job in _all_jobs(runs, preset.stem):
        if job.name in jobs:
            raise ParameterError(f"{preset}: two runs would be called {job.name}; vary what its name is made of")
        jobs[job.name] = job
    for job in jobs.values():
        if job.notebook.stem in LAST:
            job.needs.extend(name for name, other in jobs.items() if other.notebook.stem not in LAST)
        else:
            job.needs[:] = [name for name in job.needs if name in jobs]
    return jobs


def _all_jobs(entries: list[Any], experiment: str) -> Iterator[Job]:
    for entry in entries:
        if not isinstance(entry, dict) or "notebook" not in entry:
            raise ParameterError(f"{entry!r} is no run; allowed: notebook, parameters, grid, cell_timeout")
        _check_keys(f"the run of {entry['notebook']}", entry, ENTRY_KEYS)
        notebook = find_notebook(str(entry["notebook"]), ROOT)
        fixed, grid = (_mapping(notebook.stem, key, entry.get(key) or {}) for key in ("parameters", "grid"))
        for name, values in grid.items():
            if not isinstance(values, list):
                raise ParameterError(f"{notebook.stem}: {name} in grid is {values!r}; allowed: a list")
        timeout = entry.get("cell_timeout")
        if timeout is not None and (type(timeout) is not int or timeout < 1):
            raise ParameterError(
                f"{notebook.stem}: cell_timeout is {timeout!r}; allowed: seconds, a whole number from 1"
            )
        for combination in product(*grid.values()):
            given = {"experiment": experiment} | fixed | dict(zip(grid, combination, strict=True))
            yield _job(notebook, given, timeout)


def _job(notebook: Path, given: dict[str, Any], cell_timeout: int | None) -> Job:
    parameters = check_parameters(notebook, given)
    files = [notebook, *(ROOT / "alutils" / "results" / f"{module}.py" for module in LAST.get(notebook.stem, ()))]
    if str(parameters.get("dataset")).endswith((".yaml", ".yml")):
        files.append(ROOT / parameters["dataset"])
        if not files[-1].is_file():
            raise ParameterError(f"{notebook.stem}: dataset is {files[-1]}; there is no such file")
    return Job(
        run_name(notebook.stem, parameters),
        notebook,
        given,
        _needs(notebook, parameters),
        files,
        done_file(notebook.stem, parameters),
        gpus_wanted(notebook.stem, parameters),
        cell_timeout,
        config_of(notebook.stem, parameters),
    )


def _mapping(notebook: str, key: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict) or "experiment" in value:
        raise ParameterError(f"{notebook}: {key} is {value!r}; allowed: names with values, but experiment")
    return value


def _needs(notebook: Path, parameters: Mapping[str, Any]) -> list[str]:
    """Return names of runs: the one whose order a bulk training uses, those that the notebook on digits shows."""
    if notebook.stem == "04_bulk_training":
        source = BulkConfig.from_names(parameters).order_run_name
        return [source] if source else []
    if notebook.stem == "01_mnist_sanity_checks":
        shown = product(*(parameters[name] for name in ("regimes", "queries", "seeds")))
        return [rounds_name(parameters["dataset"], "mnist_cnn", *names) for names in shown]
    return []


def _check_keys(where: str, content: Mapping[str, Any], allowed: set[str]) -> None:
    for key in content:
        if key not in allowed:
            raise ParameterError(f"{where}: {key} is unknown; allowed: {', '.join(sorted(allowed))}")


def folder_of(preset: Path) -> Path:
    """Return the folder that a preset's runs lie in."""
    return results_dir() / preset.stem
