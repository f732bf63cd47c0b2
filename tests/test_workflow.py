"""A small grid through Snakemake: done once, killed hard and started again, refused when wrong."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

from alutils.paths import ROOT

PRESET = """
runs:
  - notebook: 01_mnist_sanity_checks
    parameters: {queries: [random, vote_entropy], rounds: 3, epochs: 4}
  - notebook: 06_figures
"""


def grid(preset: Path | str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "snakemake", "-s", str(ROOT / "workflow" / "Snakefile"), "--cores", "1"]
    options = ["--rerun-incomplete", "--nolock", "--quiet", "all", "--config", f"preset={preset}"]
    return subprocess.Popen([*command, *options], cwd=ROOT, stderr=subprocess.PIPE, text=True, start_new_session=True)


def tables(folder: Path) -> dict[str, pd.DataFrame]:
    """Return each run's rounds without seconds, and its acquisitions."""
    found = {str(path.relative_to(folder)): pd.read_csv(path) for path in sorted(folder.glob("*/*.csv"))}
    return {
        name: table.drop(columns=["seconds_train", "seconds_query"], errors="ignore") for name, table in found.items()
    }


@pytest.fixture
def presets(tmp_path: Path) -> tuple[Path, Path]:
    """Return two presets that differ in nothing but their name, and so in their results folder."""
    paths = tmp_path / "killed.yaml", tmp_path / "undisturbed.yaml"
    for path in paths:
        path.write_text(PRESET)
    return paths


def test_a_grid_killed_hard_ends_with_the_same_tables_and_runs_nothing_twice(presets: tuple[Path, Path], results: Path):
    killed, undisturbed = presets
    process = grid(killed)
    run = results / "killed" / "digits-mnist_cnn-random-seed0"
    while not (run / "rounds.csv").exists():
        assert process.poll() is None
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert not (run.parent / "06_figures" / "done").exists()
    for preset in (killed, undisturbed):
        _, messages = grid(preset).communicate()
        assert "06_figures: done in" in messages, messages
    one, other = tables(results / "killed"), tables(results / "undisturbed")
    assert list(one) == list(other)
    assert len(one) == 4
    for name, table in one.items():
        pd.testing.assert_frame_equal(table, other[name])
    again = grid(killed)
    assert again.communicate()[1] == "", "nothing is left to do"
    assert again.returncode == 0


def test_a_wrong_preset_is_one_line_and_starts_nothing(tmp_path: Path, results: Path):
    preset = tmp_path / "wrong.yaml"
    preset.write_text("runs: [{notebook: 01_mnist_sanity_checks, parameters: {sedes: [1]}}]")
    process = grid(preset)
    (line,) = process.communicate()[1].strip().splitlines()
    assert line.startswith("error: sedes is no parameter of 01_mnist_sanity_checks; known: ")
    assert process.returncode != 0
    assert not results.exists()
