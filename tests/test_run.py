"""One notebook through papermill: its parameters checked first, its output whole, its failure one line."""

import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from alutils.run import main


def test_a_run_writes_the_executed_notebook_and_leaves_nothing_else(
    notebook: Path, results: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    values = tmp_path / "values.yaml"
    values.write_text("count: 1\nname: from file\n")
    assert main([str(notebook), "-f", str(values), "-p", "count", "2", "-p", "on", "true"]) == 0
    executed = nbformat.read(results / "e" / "small" / "notebook.ipynb", 4)
    assert executed.cells[-1].outputs[0].text == "2 0.5 from file True [1, 2] None\n"
    done, executed_notebook = sorted(path.name for path in (results / "e" / "small").iterdir())
    assert done.startswith("done-")
    assert executed_notebook == "notebook.ipynb"
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
