"""Every notebook, run as `alutils run` runs it with parameters that take seconds, and its form."""

import ast
import re
import subprocess
from dataclasses import fields
from pathlib import Path
from typing import Any

import nbformat
import pytest

from alutils.grid.notebook import run_notebook
from alutils.grid.parameters import TYPES, check_parameters, find_notebook
from alutils.paths import NOTEBOOKS
from alutils.runs.config import BulkConfig, RoundsConfig

ALL = sorted(NOTEBOOKS.glob("*.ipynb"))
QUICK: dict[str, Any] = {"height": 32, "width": 64, "steps": 3, "rounds": 2, "committee_members": 2}
READ_RUNS = ("06_figures", "07_compare_queries", "09_explore")


def code_cells(path: Path) -> list[nbformat.NotebookNode]:
    return [cell for cell in nbformat.read(path, 4).cells if cell.cell_type == "code"]


@pytest.mark.slow
def test_bulk_training_takes_digits_too(results: Path):
    digits = {"dataset": "digits", "height": 28, "width": 28, "model": "mnist_cnn", "augmentation": "none"}
    run_notebook(find_notebook("04_bulk_training"), digits | {"class_weights": False, "steps": 3})
    assert list((results / "scratch").glob("digits-mnist_cnn-bulk-*/done-*"))


@pytest.mark.slow
def test_figures_are_drawn_and_queries_compared_from_finished_runs(results: Path):
    for query in ("random", "bald"):
        run_notebook(find_notebook("03_active_learning_rounds"), QUICK | {"query": query})
    for name in READ_RUNS:
        run_notebook(find_notebook(name), {"experiment": "scratch"})
    (figure,) = (results / "scratch" / "06_figures").glob("*.png")
    assert figure.name == "streets_tiny-unet_small-rounds.png"
    compared = {path.name for path in (results / "scratch" / "07_compare_queries").glob("*.*")}
    assert {"streets_tiny-unet_small-by_query.csv", "streets_tiny-unet_small-curves.png"} <= compared


def as_committed(path: Path) -> nbformat.NotebookNode:
    """Return a notebook as git's index has it: outputs may lie in the working tree. Without git, as it lies there."""
    shown = subprocess.run(["git", "show", f":./{path.name}"], cwd=path.parent, capture_output=True, text=True)
    return nbformat.reads(shown.stdout, 4) if shown.returncode == 0 else nbformat.read(path, 4)


@pytest.mark.parametrize("path", ALL, ids=lambda path: path.stem)
def test_a_notebook_is_committed_without_outputs(path: Path):
    for cell in as_committed(path).cells:
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None


@pytest.mark.parametrize("path", ALL, ids=lambda path: path.stem)
def test_a_notebook_has_the_form_that_readers_and_papermill_rely_on(path: Path):
    notebook = nbformat.read(path, 4)
    assert re.match(r"# \d\. \w", notebook.cells[0].source), "a title"
    assert "**Claim:**" in notebook.cells[0].source
    assert "## Differences from the thesis" in notebook.cells[-1].source
    for cell in code_cells(path):
        assert len(cell.source.splitlines()) <= 30 or "parameters" in cell.metadata.get("tags", [])
        assert not re.search(r"ipywidgets\.(Output|interact)", cell.source), "its answers can hang nbclient"
    (parameters,) = [cell for cell in code_cells(path) if "parameters" in cell.metadata.get("tags", [])]
    for line in parameters.source.splitlines():
        declaration, meaning = line.split("  # ")
        (statement,) = ast.parse(declaration).body
        assert isinstance(statement, ast.AnnAssign), "name: type = value  # meaning"
        assert ast.unparse(statement.annotation) in TYPES
        ast.literal_eval(statement.value)  # type: ignore[arg-type]
        assert "=" not in meaning, "papermill would take the value to end there"


@pytest.mark.parametrize(
    ("name", "config", "others"),
    [
        ("03_active_learning_rounds", RoundsConfig, {"scoring_workers"}),
        ("04_bulk_training", BulkConfig, {"keep_predictions"}),
    ],
)
def test_a_notebooks_parameters_are_its_configs_fields(
    name: str, config: type[RoundsConfig] | type[BulkConfig], others: set[str]
):
    """And what changes no number."""
    assert set(check_parameters(find_notebook(name), {})) == {field.name for field in fields(config)} | others
