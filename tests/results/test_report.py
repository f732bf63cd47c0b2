"""What a grid ends with: scores and gains of an experiment, and where everything lies."""

import shutil
from pathlib import Path

import pytest
from conftest import finished_run

from alutils.errors import DataError
from alutils.results.publish import publish
from alutils.results.report import report

pytestmark = pytest.mark.usefixtures("quick_provenance")


def test_the_report_says_scores_gains_and_where_things_lie(results: Path):
    finished_run("random", 0, [0.1, 0.2])
    finished_run("vote_entropy", 0, [0.1, 0.25])
    text = report("e")
    assert "d m rounds: miou" in text
    assert "0.2500 (1)" in text
    assert ".venv/bin/alutils compare e, ... page e" in text
    assert "0.0500 (1)" in text
    assert f"{results}/e/*/notebook.ipynb" in text


def test_the_report_says_how_large_images_are():
    finished_run("random", 0, [0.1, 0.2], height=256, width=512)
    assert "d m rounds at 256x512: miou" in report("e")


def test_a_missing_experiment_is_one_line():
    with pytest.raises(DataError, match=r"^'nothing' has no finished run in [^\n]*$"):
        report("nothing")
    with pytest.raises(DataError, match=r"^no experiment is given; known: "):
        report("")


def test_a_published_experiment_is_reported_without_its_runs(published: Path, results: Path):
    finished_run("random", 0, [0.1, 0.2])
    publish("e")
    shutil.rmtree(results / "e")
    text = report("e")
    assert "0.2000 (1)" in text
    assert text.endswith(f"published table     {published / 'e.csv'}")
