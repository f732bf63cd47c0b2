"""The table of notebooks says what the notebooks do."""

import nbformat
import pytest

from alutils.grid.notebooks import NOTEBOOKS, OF_DIGITS, Notebook, about
from alutils.grid.parameters import check_parameters, find_notebook, gpus_wanted, input_files
from alutils.paths import NOTEBOOKS as FOLDER
from alutils.paths import ROOT


def code(name: str) -> str:
    cells = nbformat.read(find_notebook(name), 4).cells
    return "\n".join(cell.source for cell in cells if cell.cell_type == "code")


def test_every_notebook_is_in_the_table():
    assert sorted(NOTEBOOKS) == sorted(path.stem for path in FOLDER.glob("*.ipynb"))
    assert about("my_own") == Notebook()


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_is_what_the_table_says(name: str):
    source, known = code(name), NOTEBOOKS[name]
    reads = ("alutils.results.tables import Experiment", "alutils.explorer.widget")
    assert any(module in source for module in reads) == known.reads_results
    asks = ("alutils.runs.rounds", "alutils.runs.bulk", "alutils.labelling.rehearsal", "alutils.explorer.widget")
    assert any(module in source for module in asks) == known.uses_gpu
    if known.config:
        assert f"config = {known.config.__name__}.from_names(globals())" in source


def test_what_notebook_01_fixes_is_what_the_table_says():
    names: dict[str, object] = {}
    cells = nbformat.read(find_notebook("01_mnist_sanity_checks"), 4).cells
    exec(next(cell.source for cell in cells if "fixed = {" in cell.source), names)
    assert names["fixed"] == OF_DIGITS


def test_notebooks_that_read_results_depend_on_all_code_of_that_room():
    notebook = find_notebook("06_figures")
    files = input_files(notebook, check_parameters(notebook, {}))
    assert {path.relative_to(ROOT / "alutils" / "results") for path in files[1:]} == {
        path.relative_to(ROOT / "alutils" / "results") for path in (ROOT / "alutils" / "results").rglob("*.py")
    }
    rounds = find_notebook("03_active_learning_rounds")
    assert input_files(rounds, check_parameters(rounds, {})) == [rounds]


def test_only_notebooks_with_a_network_want_gpus():
    assert gpus_wanted("06_figures", {}) == 0
    assert gpus_wanted("04_bulk_training", {}) == gpus_wanted("my_own", {}) == 1
    assert gpus_wanted("03_active_learning_rounds", {"scoring_workers": 3}) == 3
