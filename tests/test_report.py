"""What is printed, and README's tables: written by a command, never by hand."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from alutils import report as report_module
from alutils import results as results_module
from alutils.analysis import THESIS_FIGURES
from alutils.paths import IMAGE_EXAMPLES
from alutils.readme_figures import FIGURES
from alutils.report import PAGES, README, fill_tables, main, markdown, report
from alutils.results import RunFolder


def finished(query: str, miou: list[float], seed: int = 0) -> None:
    config = {"kind": "rounds", "dataset": "d", "model": "m", "regime": "from_scratch", "query": query, "seed": seed}
    rounds = {"round": [0, 1], "labelled": [5, 10], "labelled_percent": [10.0, 20.0], "miou": miou}
    run = RunFolder("e", query)
    with run.opened(config):
        run.write_table("rounds", pd.DataFrame(rounds | {"seconds_train": 1.0, "seconds_query": 0.0}))
        run.finish(torch.device("cpu"))


def test_the_report_says_scores_gains_and_where_things_lie(results: Path):
    finished("random", [0.1, 0.2])
    finished("vote_entropy", [0.1, 0.25])
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
    for name in THESIS_FIGURES if page == README else ("camvid_small", "mnist_small"):
        assert markdown(name) in text


def test_a_thesis_figures_table_has_a_row_a_percent_and_both_gains():
    lines = markdown("bulk_all").splitlines()
    assert [line.split(" | ")[0] for line in lines if line.startswith("| ")] == [
        *("| %", "| ---", "| 20", "| 30", "| 40", "| 70", "| 100"),
    ]
    assert "0.6131 ± 0.0060 (5)" in lines[2], "consensus entropy of the thesis at 20 %"
    assert lines[0].count("gain") == 2
    assert "0.0019" in lines[-1], "the slope that the thesis states"


def test_publishing_takes_tables_histograms_and_the_maps_of_drawn_scenes(
    results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    for module in (report_module, results_module):
        monkeypatch.setattr(module, "PUBLISHED", tmp_path / "published")
    finished("random", [0.1, 0.2])
    finished("vote_entropy", [0.1, 0.25])
    RunFolder("e", "vote_entropy").write_array("scores", np.linspace(0, 1, 40, dtype=np.float32)[None])
    for dataset in ("streets", "camvid"):
        RunFolder("e", f"05_committee_maps-{dataset}-m").write_arrays("maps", {"image": np.zeros(3)})
    assert main(["publish", "e"]) == 0
    written = sorted(path.name for path in (tmp_path / "published").iterdir())
    assert written == ["e-histograms.csv", "e-maps.npz", "e-sure.csv", "e.csv", "e.json"]
    assert pd.read_csv(tmp_path / "published" / "e-histograms.csv")["count"].sum() == 40
    assert len(pd.read_csv(tmp_path / "published" / "e-sure.csv")) == 20


def test_an_experiment_may_begin_with_another_seed(results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for module in (report_module, results_module):
        monkeypatch.setattr(module, "PUBLISHED", tmp_path)
    finished("vote_entropy", [0.1, 0.25], seed=7)
    RunFolder("e", "vote_entropy").write_array("scores", np.linspace(0, 1, 40, dtype=np.float32)[None])
    assert main(["publish", "e"]) == 0
    assert set(pd.read_csv(tmp_path / "e-sure.csv")["seed"]) == {7}


@pytest.mark.parametrize("page", [README, *README.parent.glob("docs/*.md")], ids=lambda page: page.name)
def test_pages_point_to_files_that_exist(page: Path):
    targets = re.findall(r"\]\(([^)#]+)", page.read_text())
    assert targets or page != README
    assert [target for target in targets if "://" not in target and not (page.parent / target).exists()] == []


def test_every_picture_is_shown():
    shown = {Path(target).name for target in re.findall(r"!\[[^]]*\]\(([^)]+)", README.read_text())}
    assert shown == {path.name for path in IMAGE_EXAMPLES.glob("*.png")} == {f"{name}.png" for name in FIGURES}
