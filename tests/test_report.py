"""What is printed, and README's tables: written by a command, never by hand."""

from pathlib import Path

import pandas as pd
import pytest
import torch

from alutils.report import README, fill_tables, main, markdown, report
from alutils.results import RunFolder


def finished(query: str, miou: list[float]) -> None:
    config = {"kind": "rounds", "dataset": "d", "model": "m", "query": query, "seed": 0}
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


def test_readme_holds_what_the_published_tables_say():
    text = README.read_text()
    assert fill_tables(text) == text, "run `make figures`"
    assert markdown("camvid_small") in text
    assert markdown("mnist_small") in text


def test_readme_shows_only_pictures_that_exist():
    pictures = [line.split("](")[1].rstrip(")") for line in README.read_text().splitlines() if line.startswith("![")]
    assert pictures
    assert all((README.parent / picture).is_file() for picture in pictures)
