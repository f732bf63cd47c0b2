"""One notebook through papermill: its parameters checked first, its output whole, its failure one line."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest

from alutils.errors import ParameterError
from alutils.progress import bar
from alutils.run import check_parameters, find_notebook, main, run_name

PARAMETERS = """experiment: str = "e"  # folder
count: int = 3  # things
rate: float = 0.5  # share
name: str = "x"  # word
on: bool = False  # switch
items: list = [1, 2]  # numbers
size: int = None  # pixels or None"""


@pytest.fixture
def notebook(tmp_path: Path) -> Path:
    """Return a notebook that says its parameters, and fails for a negative count."""
    parameters = nbformat.v4.new_code_cell(PARAMETERS, metadata={"tags": ["parameters"]})
    body = nbformat.v4.new_code_cell(
        "print(count, rate, name, on, items, size)\nassert count >= 0, 'count is below 0'\nleft = 'over'"
    )
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    path = tmp_path / "small.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=[parameters, body], metadata=kernel), path)
    return path


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, {"count": 3, "rate": 0.5, "size": None}),
        ({"count": "7", "rate": "1e-3", "name": "12", "on": "true"}, {"count": 7, "rate": 0.001, "name": "12"}),
        ({"items": "[a, b]", "size": "64"}, {"items": ["a", "b"], "size": 64}),
        ({"rate": "1.5e3"}, {"rate": 1500.0}),
        ({"rate": 1, "size": "None"}, {"rate": 1.0, "size": None}),
    ],
)
def test_parameters_are_read_as_the_type_declared(notebook: Path, given: Any, expected: dict[str, Any]):
    values = check_parameters(notebook, given)
    assert {name: values[name] for name in expected} == expected
    assert all(type(values[name]) is type(value) for name, value in expected.items())


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"cuont": 3}, "cuont is no parameter of small; known: experiment, count, rate"),
        ({"count": 3.5}, "count is 3.5, of type float; allowed: int"),
        ({"count": "many"}, "count is 'many', of type str; allowed: int"),
        ({"count": True}, "count is True, of type bool; allowed: int"),
        ({"count": None}, "count is None, of type NoneType; allowed: int"),
        ({"on": 1}, "on is 1, of type int; allowed: bool"),
        ({"name": 5}, "name is 5, of type int; allowed: str"),
        ({"items": "a"}, "items is 'a', of type str; allowed: list"),
        ({"size": "big"}, "size is 'big', of type str; allowed: int or None"),
        ({"rate": "2020-13-45"}, "rate is '2020-13-45', of type str; allowed: float"),
        ({"rate": ": ["}, "rate is ': [', of type str; allowed: float"),
    ],
)
def test_wrong_parameters_are_one_line(notebook: Path, given: dict[str, Any], message: str):
    with pytest.raises(ParameterError) as caught:
        check_parameters(notebook, given)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_notebook_that_cannot_be_checked_is_refused(tmp_path: Path):
    for source, message in [("n = 1  # x", "n has no type"), ("n: int = 1  # x", "has no parameter experiment")]:
        cell = nbformat.v4.new_code_cell(source, metadata={"tags": ["parameters"]})
        kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
        nbformat.write(nbformat.v4.new_notebook(cells=[cell], metadata=kernel), tmp_path / "other.ipynb")
        with pytest.raises(ParameterError, match=message):
            check_parameters(tmp_path / "other.ipynb", {})


def test_a_notebook_is_found_by_name_and_by_path(notebook: Path):
    assert find_notebook(str(notebook)) == notebook
    assert find_notebook("03_active_learning_rounds").name == "03_active_learning_rounds.ipynb"
    with pytest.raises(ParameterError, match="nothing is no notebook; known: 01_mnist_sanity_checks, 02_"):
        find_notebook("nothing")


def test_a_runs_name_says_what_it_is():
    defaults = check_parameters(find_notebook("03_active_learning_rounds"), {"seed": 3, "dataset": "a/my.yaml"})
    assert run_name("03_active_learning_rounds", defaults) == "my-unet_small-vote_entropy-seed3"
    assert run_name("06_figures", {}) == "06_figures"
    assert run_name("02_street_scenes", {"dataset": "a/my.yaml"}) == "02_street_scenes-my"


def test_a_run_writes_the_executed_notebook_and_leaves_nothing_else(
    notebook: Path, results: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    values = tmp_path / "values.yaml"
    values.write_text("count: 1\nname: from file\n")
    assert main([str(notebook), "-f", str(values), "-p", "count", "2", "-p", "on", "true"]) == 0
    executed = nbformat.read(results / "e" / "small" / "notebook.ipynb", 4)
    assert executed.cells[-1].outputs[0].text == "2 0.5 from file True [1, 2] None\n"
    assert [path.name for path in (results / "e" / "small").iterdir()] == ["notebook.ipynb"]
    assert "small: done in" in capfd.readouterr().err


def test_a_bar_in_the_executed_notebook_is_not_a_line_a_tick(
    notebook: Path, results: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("ALUTILS_PROGRESS", "1")
    content = nbformat.read(notebook, 4)
    content.cells[-1].source = (
        "import time\nfrom alutils.progress import bar\nticks = bar(3, 'ticks')\n"
        "for _ in range(3):\n    time.sleep(0.6)\n    ticks.update()\nticks.close()"
    )
    nbformat.write(content, notebook)
    assert main([str(notebook)]) == 0
    executed = nbformat.read(results / "e" / "small" / "notebook.ipynb", 4)
    assert "ticks" not in str(executed.cells[-1].outputs)


def test_a_quick_loop_shows_no_bar(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]):
    monkeypatch.setenv("ALUTILS_PROGRESS", "1")
    ticks = bar(3, "ticks")
    ticks.update(3)
    ticks.close()
    assert capfd.readouterr().err == ""


def test_a_failing_cell_is_one_line_and_keeps_the_last_good_notebook(
    notebook: Path, results: Path, capfd: pytest.CaptureFixture[str]
):
    assert main([str(notebook)]) == 0
    good = (results / "e" / "small" / "notebook.ipynb").read_bytes()
    capfd.readouterr()
    assert main([str(notebook), "-p", "count", "-1"]) == 1
    last = capfd.readouterr().err.strip().splitlines()[-1]
    assert "error: small: AssertionError: count is below 0 (see " in last
    assert (results / "e" / "small" / "notebook.ipynb").read_bytes() == good
    failed = nbformat.read(results / "e" / "small" / "notebook.failed.ipynb", 4)
    assert any(output.output_type == "error" for cell in failed.cells for output in cell.get("outputs", []))
    assert main([str(notebook)]) == 0
    assert not (results / "e" / "small" / "notebook.failed.ipynb").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["no_such_notebook"], "no_such_notebook is no notebook"),
        (["03_active_learning_rounds", "-p", "querry", "random"], "querry is no parameter"),
        (["03_active_learning_rounds", "-p", "start", "100", "-p", "rounds", "3"], "120 percent; allowed: 0 to 100"),
        (["03_active_learning_rounds", "-p", "experiment", "../x"], "'../x' is no name for an experiment"),
        (["03_active_learning_rounds", "-f", "nowhere.yaml"], "nowhere.yaml cannot be read"),
    ],
)
def test_what_is_wrong_is_said_before_a_kernel_starts(
    arguments: list[str], message: str, capfd: pytest.CaptureFixture[str], results: Path
):
    assert main(arguments) == 1
    (line,) = capfd.readouterr().err.strip().splitlines()
    assert message in line
    assert not results.exists()


def test_starting_a_run_does_not_load_torch():
    code = "import sys, alutils, alutils.run, alutils.preset; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], env=os.environ).returncode == 0
