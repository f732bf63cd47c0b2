"""What is printed, and README's tables: written by a command, never by hand."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import finished_full_run, finished_run, finished_runs_of

from alutils.__main__ import main
from alutils.datasets import load_dataset
from alutils.errors import DataError
from alutils.paths import IMAGE_EXAMPLES
from alutils.results.acquired import load_published_acquired
from alutils.results.analysis import THESIS_FIGURES
from alutils.results.pages import PAGES, README, fill_tables, markdown, report
from alutils.results.readme_figures import FIGURES
from alutils.results.tables import publish
from alutils.runs.folder import RunFolder

pytestmark = pytest.mark.usefixtures("quick_provenance")


def test_the_report_says_scores_gains_and_where_things_lie(results: Path):
    finished_run("random", 0, [0.1, 0.2])
    finished_run("vote_entropy", 0, [0.1, 0.25])
    text = report("e")
    assert "d m rounds: miou" in text
    assert "0.2500 (1)" in text
    assert "0.0500 (1)" in text
    assert f"{results}/e/*/notebook.ipynb" in text


def test_a_missing_experiment_is_one_line(capsys: pytest.CaptureFixture[str]):
    assert main(["show", "nothing"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "nothing: no finished run there" in line


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_holds_what_the_published_tables_say(page: Path):
    text = page.read_text()
    assert fill_tables(text) == text, "run `make figures`"
    held = {README: THESIS_FIGURES, README.parent / "docs" / "queries.md": ("queries", "modifiers")}
    for name in held.get(page, ("camvid_small", "mnist_small")):
        assert markdown(name) in text


def test_a_thesis_figures_table_has_a_row_a_percent_and_both_gains():
    lines = markdown("bulk_all").splitlines()
    assert [line.split(" | ")[0] for line in lines if line.startswith("| ")] == [
        *("| %", "| ---", "| 20", "| 30", "| 40", "| 70", "| 100"),
    ]
    assert "0.6131 ± 0.0060 (5)" in lines[2], "consensus entropy of the thesis at 20 %"
    assert lines[0].count("gain") == 2
    assert "0.0019" in lines[-1], "the slope that the thesis states"


def test_publishing_takes_tables_histograms_and_the_maps_of_drawn_scenes(published: Path):
    finished_run("random", 0, [0.1, 0.2])
    run = finished_run("vote_entropy", 0, [0.1, 0.25])
    run.write_array("scores", np.linspace(0, 1, 40, dtype=np.float32)[None])
    for dataset in ("streets", "camvid"):
        RunFolder("e", f"05_committee_maps-{dataset}-m").write_arrays("maps", {"image": np.zeros(3)})
    assert main(["publish", "e"]) == 0
    written = sorted(path.name for path in published.iterdir())
    assert written == ["e-histograms.csv", "e-maps.npz", "e-sure.csv", "e.csv", "e.json"]
    assert pd.read_csv(published / "e-histograms.csv")["count"].sum() == 40
    assert len(pd.read_csv(published / "e-sure.csv")) == 20


def test_an_experiment_may_begin_with_another_seed(published: Path):
    run = finished_run("vote_entropy", 7, [0.1, 0.25])
    run.write_array("scores", np.linspace(0, 1, 40, dtype=np.float32)[None])
    assert main(["publish", "e"]) == 0
    assert set(pd.read_csv(published / "e-sure.csv")["seed"]) == {7}


def test_histograms_are_of_entropies_of_images_alone(published: Path):
    finished_run("badge", 0, [0.1, 0.25]).write_array("scores", np.ones((1, 40, 3), np.float32))
    finished_run("bald", 0, [0.1, 0.25]).write_array("scores", np.ones((1, 40), np.float32))
    assert main(["publish", "e"]) == 0
    assert sorted(path.name for path in published.iterdir()) == ["e.csv", "e.json"]


def test_publishing_keeps_what_was_acquired_if_the_data_set_is_there(
    published: Path, capsys: pytest.CaptureFixture[str]
):
    digits = load_dataset("digits", "train")
    of_data: dict[str, Any] = {"dataset": "digits", "model": "mnist_cnn", "train_data": digits.fingerprint}
    finished_run("random", 0, [0.1, 0.2], acquired=[[0, 1], [2, 3]], **of_data)
    finished_run("vote_entropy", 0, [0.1, 0.2], acquired=[[0, 1], [2, 5]], **of_data)
    assert main(["publish", "e"]) == 0
    said = capsys.readouterr()
    assert str(published / "e-acquired.csv") in said.out.splitlines()
    assert said.err == "digits mnist_cnn: near-duplicates are sought among scenes only\n"
    acquired = load_published_acquired("e")[0].set_index(["what", "query", "name"])["mean"]
    assert acquired["overlap", "random", "vote_entropy"] == 50
    assert acquired["classes", "random"].sum() == pytest.approx(100)
    assert main(["compare", "e"]) == 0
    for text in (markdown("e_comparison"), capsys.readouterr().out):
        assert "Most alike: vote_entropy and random, 50 % in common with the same start" in text


def test_publishing_without_the_data_set_says_what_is_missing(published: Path, capsys: pytest.CaptureFixture[str]):
    finished_run("random", 0, [0.1, 0.2], acquired=[[0], [1]])
    assert main(["publish", "e"]) == 0
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("d m: what was acquired is not known without the data set: ")
    assert sorted(path.name for path in published.iterdir()) == ["e.csv", "e.json"]


def test_publishing_trainings_alone_has_nothing_to_note(published: Path, capsys: pytest.CaptureFixture[str]):
    finished_full_run(0, 0.9)
    assert main(["publish", "e"]) == 0
    assert capsys.readouterr().err == ""


CURVES = {"random": [[0.2, 0.3], [0.2, 0.4]], "vote_entropy": [[0.2, 0.5], [0.2, 0.61]]}


def test_compare_prints_tables_verdicts_and_notes(capsys: pytest.CaptureFixture[str]):
    finished_runs_of(CURVES)
    assert main(["compare", "e"]) == 0
    parts = capsys.readouterr().out.rstrip("\n").split("\n\n")
    assert parts[0] == "d m: area under the curve of mean IoU, gain over random paired by seed"
    assert [line.split()[0] for line in parts[1].splitlines()] == ["seeds", "query", "vote_entropy", "random"]
    assert "+0.1025 [+0.0707, +0.1343]" in parts[1]
    assert parts[2].startswith("By area, ahead of random: vote_entropy (+0.1025 [+0.0707, +0.1343], p 0.5000).")
    assert parts[-1] == "No full-data result: no finished training on all labels."


def test_compare_without_such_an_experiment_is_one_line(published: Path, capsys: pytest.CaptureFixture[str]):
    finished_run("random", 0, [0.1], experiment="there")
    assert main(["compare", "nothing"]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == "error: 'nothing' is no experiment with finished runs or a published table; known: there\n"


def test_what_is_refused_is_refused_before_pixels_are_read(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    finished_run("random", 0, [0.1, 0.2])
    finished_run("margin", 0, [0.1, 0.2], device="cuda")
    monkeypatch.setattr("alutils.results.pages.load_acquired", lambda experiment: pytest.fail("data are read"))
    assert main(["compare", "e"]) == 1
    assert "margin-0 has device 'cuda'" in capsys.readouterr().err


def test_a_page_takes_the_comparison_of_a_published_table(published: Path):
    finished_runs_of(CURVES, full=[0.9])
    publish("e")
    page = "<!-- e_comparison: written by `make figures` -->\nold\n<!-- end -->"
    filled = fill_tables(page)
    lines = filled.splitlines()
    assert "old" not in lines
    assert lines[3].startswith("| query | seeds | area | gain [95 %] | sign-flip p | verdict | ")
    assert lines[5].startswith("| vote_entropy | 2 | 0.3775 | +0.1025 [+0.0707, +0.1343] | 0.5000 | ahead of random | ")
    assert lines[6].startswith("| random | 2 | 0.2750 |  |  |  | ")
    assert sum(line.startswith("| query | ") for line in lines) == 2, "scores and labels"
    assert fill_tables(filled) == filled
    assert markdown("e_verdicts").splitlines() == lines[1:7], "the scores alone"


def test_a_page_without_its_published_table_is_one_line(published: Path):
    with pytest.raises(DataError, match=r"e\.csv: no such table; published: none$"):
        markdown("e_comparison")


@pytest.mark.parametrize("page", [README, *README.parent.glob("docs/*.md")], ids=lambda page: page.name)
def test_pages_point_to_files_that_exist(page: Path):
    targets = re.findall(r"\]\(([^)#]+)", page.read_text())
    assert targets or page != README
    assert [target for target in targets if "://" not in target and not (page.parent / target).exists()] == []


def test_every_picture_is_shown():
    text = "".join(page.read_text() for page in PAGES)
    shown = {Path(target).name for target in re.findall(r"!\[[^]]*\]\(([^)]+)", text)}
    assert shown == {path.name for path in IMAGE_EXAMPLES.glob("*.png")} == {f"{name}.png" for name in FIGURES}
