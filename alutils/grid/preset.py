"""A preset, a YAML file of notebooks, parameters and lists of parameters, and the jobs that it lists."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from math import prod
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

from alutils.errors import ParameterError, check_range, did_you_mean, shortened
from alutils.files import is_file, read_yaml, validated
from alutils.grid.notebooks import about
from alutils.grid.parameters import (
    check_names,
    check_parameters,
    config_of,
    done_key,
    find_notebook,
    gpus_wanted,
    input_files,
    run_name,
)
from alutils.paths import PARAMS, ROOT, results_dir
from alutils.runs.folder import check_name

MOST_RUNS = 100_000
PRESETS = "the name of a file in params/, such as demo, camvid_small or mnist_small"


class Entry(BaseModel):
    """One entry of a preset's `runs`: a notebook and its parameters; every combination of `grid`'s lists is a run."""

    model_config = ConfigDict(strict=True, extra="forbid")

    notebook: str = Field(description="the name or the path of a notebook")
    parameters: dict[str, Any] | None = Field(None, description="names with values, but experiment")
    grid: dict[str, list[Any]] | None = Field(None, description="a list of values for each name, such as [0, 1]")
    cell_timeout: int | None = Field(None, ge=1, description="seconds, a whole number from 1")

    @field_validator("parameters", "grid")
    @classmethod
    def _experiment_is_the_presets(cls, value: dict[str, Any] | None) -> dict[str, Any] | None:
        if value and "experiment" in value:
            raise ValueError("allowed: all names but experiment, which is the preset's name")
        return value


class Preset(BaseModel):
    """A preset's content; `recipe` holds values that `runs` refer to."""

    model_config = ConfigDict(strict=True, extra="forbid")

    recipe: Any = None
    runs: list[Entry] | None = Field(None, description="a list of runs, each with a notebook")


@dataclass(frozen=True)
class Job:
    """One notebook run.

    given : the parameters that differ from the notebook's defaults
    needs : names of the jobs that run before it
    files : its other inputs; if one of them changes, it is run again
    key : a checksum of its parameters, for the file that says that it has run
    config : the config of its run, without the data; empty for a notebook that makes no run, or several
    """

    name: str
    notebook: Path
    given: dict[str, Any]
    needs: list[str]
    files: list[Path]
    key: str
    gpus: int
    cell_timeout: int | None
    config: dict[str, Any]

    @property
    def arguments(self) -> list[str]:
        """Return the arguments of `alutils run`."""
        words = [str(self.notebook)]
        for name, value in self.given.items():
            words += ["-p", name, value if isinstance(value, str) else json.dumps(value)]
        return words + (["--cell-timeout", str(self.cell_timeout)] if self.cell_timeout else [])


def known_presets() -> list[str]:
    """Return the names of the project's presets."""
    return sorted(path.stem for path in PARAMS.glob("*.yaml"))


def find_preset(name: str) -> Path:
    """Return the path of a preset, given as a path or as a name in the project's `params/`."""
    for path in (Path(name), PARAMS / f"{name}.yaml"):
        if path.suffix == ".yaml" and is_file(path):
            return path
    what = f"{shortened(name, 80)} is no preset" if name else "no preset is given"
    meant = did_you_mean(name, known_presets())
    raise ParameterError(f"{what}; {meant}allowed: {PRESETS}, or the path of a .yaml file")


def load_jobs(preset: Path) -> dict[str, Job]:
    """Return the jobs of a preset by name; all parameters are checked.

    The experiment is called like the file. Paths in a preset are relative to the project.
    """
    check_name(preset.stem)
    content = validated(Preset, read_yaml(preset), str(preset))
    check_range(
        f"runs of {preset}", sum(prod(map(len, (run.grid or {}).values())) for run in content.runs or []), 0, MOST_RUNS
    )
    jobs: dict[str, Job] = {}
    for job in _all_jobs(content.runs or [], preset):
        if job.name in jobs:
            raise ParameterError(f"{preset}: two runs would be called {job.name}; vary what its name is made of")
        jobs[job.name] = job
    others = [name for name, job in jobs.items() if not about(job.notebook.stem).reads_results]
    for job in jobs.values():
        reads_all = about(job.notebook.stem).reads_results
        job.needs[:] = others if reads_all else [name for name in job.needs if name in jobs]
    return jobs


def _all_jobs(entries: list[Entry], preset: Path) -> Iterator[Job]:
    try:
        for entry in entries:
            notebook, grid = find_notebook(entry.notebook, ROOT), entry.grid or {}
            for combination in product(*grid.values()):
                varied = dict(zip(grid, combination, strict=True))
                given = {"experiment": preset.stem} | (entry.parameters or {}) | varied
                yield _job(notebook, given, entry.cell_timeout)
    except ParameterError as error:
        raise ParameterError(f"{preset}: {error}") from error


def _job(notebook: Path, given: dict[str, Any], cell_timeout: int | None) -> Job:
    parameters = check_parameters(notebook, given)
    check_names(notebook.stem, parameters, ROOT)
    files = input_files(notebook, parameters, ROOT)
    for file in files:
        if not is_file(file):
            raise ParameterError(f"{notebook.stem}: {file} is needed; there is no such file")
    return Job(
        run_name(notebook.stem, parameters),
        notebook,
        given,
        about(notebook.stem).needs(parameters),
        files,
        done_key(notebook.stem, parameters),
        gpus_wanted(notebook.stem, parameters),
        cell_timeout,
        config_of(notebook.stem, parameters),
    )


def folder_of(preset: Path) -> Path:
    """Return the folder that a preset's runs go to."""
    return results_dir() / preset.stem
