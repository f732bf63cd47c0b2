"""A grid does what is needed and no more: after an added seed, a changed figure, a changed recipe and back."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from alutils.paths import ROOT

pytestmark = pytest.mark.slow

PRESET = """
runs:
  - notebook: 03_active_learning_rounds
    parameters: {{height: 32, width: 64, rounds: 2, steps: {steps}, committee_members: 2}}
    grid: {{query: [random], seed: {seeds}}}
  - notebook: 06_figures
"""
RUN = "streets_tiny-unet_small-random-seed"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a copy of the project that a test may change."""
    for name in ("alutils", "notebooks", "workflow", "params"):
        shutil.copytree(ROOT / name, tmp_path / "project" / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name, last in {"03_active_learning_rounds": "run_rounds(config", "06_figures": "experiment: str"}.items():
        path = tmp_path / "project" / "notebooks" / f"{name}.ipynb"
        notebook = nbformat.read(path, 4)
        (end,) = [number for number, cell in enumerate(notebook.cells) if last in cell.source]
        notebook.cells = notebook.cells[: end + 1]  # what is drawn after that is not what is tested here
        nbformat.write(notebook, path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "project"))
    return tmp_path / "project"


def started(project: Path, **values: object) -> list[str]:
    """Run the grid with `values` in its preset; return the names of the jobs that were started."""
    (project / "params" / "small.yaml").write_text(PRESET.format(**values))
    said = called(project, "grid", "small", "--cores", "2").stderr.splitlines()
    return sorted(line.split()[-2].rstrip(":") for line in said if line.endswith(": started"))


def planned(project: Path, **values: object) -> list[str]:
    """Return the names of the jobs that a dry run lists."""
    (project / "params" / "small.yaml").write_text(PRESET.format(**values))
    return sorted(line.split()[0] for line in called(project, "grid", "small", "--dry-run").stdout.splitlines()[:-1])


def called(project: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    """Return what the command line says in the copy of the project."""
    command = [sys.executable, "-m", "alutils", *words]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, env=os.environ)
    assert done.returncode == 0, done.stderr
    return done


def test_only_what_is_needed_is_run(project: Path, results: Path):
    folder = results / "small"
    assert started(project, steps=2, seeds=[0]) == ["06_figures", f"{RUN}0"]
    first = (folder / f"{RUN}0" / "rounds.csv").read_bytes()
    style = project / "alutils" / "results" / "figures" / "style.py"
    assert started(project, steps=2, seeds=[0]) == []
    os.utime(style)
    assert re.match(r"0 of \d jobs would run", called(project, "grid", "small", "--dry-run").stdout)
    assert started(project, steps=2, seeds=[0]) == [], "touched, not changed"
    assert started(project, steps=2, seeds=[0, 1]) == ["06_figures", f"{RUN}1"], "an added seed"
    style.write_text(f"{style.read_text()}\n# thicker lines\n")
    assert started(project, steps=2, seeds=[0, 1]) == ["06_figures"], "a changed figure style"

    assert planned(project, steps=3, seeds=[0]) == ["06_figures", f"{RUN}0"]
    assert started(project, steps=3, seeds=[0]) == ["06_figures", f"{RUN}0"], "a changed recipe, a seed less"
    assert "recipe changed: steps 2, now 3; the old run is kept in" in (folder / "snakemake.log").read_text()
    assert len(list((folder / "superseded").iterdir())) == 2, "old runs are kept apart, that of the seed too"
    assert (folder / f"{RUN}0" / "rounds.csv").read_bytes() != first

    assert planned(project, steps=2, seeds=[0, 1]) == ["06_figures", f"{RUN}0", f"{RUN}1"]
    assert started(project, steps=2, seeds=[0, 1]) == ["06_figures", f"{RUN}0", f"{RUN}1"], "and back"
    assert (folder / f"{RUN}0" / "rounds.csv").read_bytes() == first, "read, not run"
    assert len(list((folder / "superseded").iterdir())) == 1


def test_a_wrong_preset_is_one_line_and_starts_nothing(tmp_path: Path, results: Path):
    preset = tmp_path / "wrong.yaml"
    preset.write_text("runs: [{notebook: 01_mnist_sanity_checks, parameters: {sedes: [1]}}]")
    snakemake = [sys.executable, "-m", "snakemake", "-s", str(ROOT / "workflow" / "Snakefile"), "--cores", "1"]
    for words in (
        [*snakemake, "--quiet", "all", "--config", f"preset={preset}"],
        [sys.executable, "-m", "alutils", "grid", str(preset)],
    ):
        done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True)
        (line,) = done.stderr.strip().splitlines()
        assert line.startswith(
            f"error: {preset}: sedes is no parameter of 01_mnist_sanity_checks; did you mean seeds? "
        )
        assert done.returncode != 0
        assert not results.exists()
