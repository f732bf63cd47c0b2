"""The tables of an experiment, from its runs and as published."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import finished_full_run, finished_run

from alutils.errors import DataError
from alutils.results.publish import publish
from alutils.results.tables import Experiment, check_agreement, known_experiments


def test_an_experiment_is_one_tidy_table_of_its_finished_runs(results: Path):
    finished_run("random", 0, [0.1, 0.3])
    finished_run("vote_entropy", 0, [0.1, 0.4])
    (results / "e" / "unfinished").mkdir()
    table = Experiment.of_runs("e").table
    assert len(table) == 4
    assert list(table.columns[:6]) == ["kind", "dataset", "model", "regime", "query", "order_model"]
    command = "alutils run 03_active_learning_rounds -p experiment nothing"
    with pytest.raises(DataError, match=f"no finished run there; `{command}` makes some"):
        Experiment.of_runs("nothing")


def test_what_a_kind_of_run_lacks_is_missing_in_the_table():
    finished_run("random", 0, [0.1, 0.3])
    finished_run("vote_entropy", 0, [0.1, 0.4], kind="bulk", order_model="m", skip=10.0)
    table = Experiment.of_runs("e").table
    assert table["order_model"].fillna("none").tolist() == ["m", "m", "none", "none"]
    assert table["skip"].fillna(-1).tolist() == [10, 10, -1, -1]


def test_runs_of_different_recipes_are_not_compared():
    finished_run("random", 0, [0.1, 0.3], "a", steps=100)
    finished_run("vote_entropy", 0, [0.1, 0.4], "b", steps=200)
    with pytest.raises(DataError, match="a has steps 100, b has 200; runs that are compared must agree"):
        _ = Experiment.of_runs("e").table


def test_a_copy_of_a_run_is_not_counted_as_another_seed():
    finished_run("random", 0, [0.5])
    finished_run("random", 0, [0.5], "random-0-old")
    with pytest.raises(DataError, match="random-0-old is random-0 once more; move one of them out of that folder"):
        _ = Experiment.of_runs("e").table


def test_agreement_is_asked_of_each_group_alone():
    runs = {"a": (1, {"x": 1}), "b": (2, {"x": 2}), "c": (1, {"x": 1})}
    check_agreement("here", runs)
    with pytest.raises(
        DataError, match=r"^here: b has y None, d has 3; runs that are compared must agree in it, so move one"
    ):
        check_agreement("here", runs | {"d": (2, {"x": 2, "y": 3})})


@pytest.mark.usefixtures("quick_provenance")
def test_records_tell_start_sets_apart_whatever_their_order(published: Path):
    finished_run("random", 0, [0.1, 0.2], acquired=[[1, 2], [3]])
    finished_run("vote_entropy", 0, [0.1, 0.2], acquired=[[2, 1], [4]])
    finished_run("random", 1, [0.1, 0.2], acquired=[[2, 3], [1]])
    finished_run("random", 2, [0.1, 0.2])
    finished_full_run(0, 0.9, acquired=[[1, 2]])
    starts = {run: record.get("start_set") for run, record in Experiment.of_runs("e").records.items()}
    assert starts["random-0"] == starts["vote_entropy-0"]
    assert len({starts["random-0"], starts["random-1"], None}) == 3
    assert starts["random-2"] is starts["all-0"] is None, "no acquisitions, no rounds"
    publish("e")
    assert {run: record.get("start_set") for run, record in Experiment.published("e").records.items()} == starts


@pytest.mark.usefixtures("quick_provenance")
def test_known_are_experiments_with_a_finished_run_or_a_published_table(published: Path, results: Path):
    finished_run("random", 0, [0.1], experiment="b")
    finished_run("random", 0, [0.1], experiment="c")
    finished_run("random", 1, [0.1], experiment="unfinished").path.joinpath("provenance.json").unlink()
    publish("c")
    (published / "a.json").write_text("{}")
    assert known_experiments() == ["a", "b", "c"]


def lines(change: Callable[[list[str]], list[str]]) -> Callable[[str], str]:
    return lambda text: "".join(change(text.splitlines(keepends=True)))


def content(change: Callable[[Any], object]) -> Callable[[str], str]:
    return lambda text: json.dumps(change(json.loads(text)))


DAMAGED = [  # a published file, what is done to it, a part of what is said
    ("e.csv", lines(lambda rows: [*rows, rows[-1]]), "its rounds are [0, 1, 1]"),
    ("e.csv", lines(lambda rows: [*rows[:2], *rows[3:]]), "its rounds are [1] with [20] labels"),
    ("e.csv", lines(lambda rows: [*rows, next(row for row in rows if row.startswith("bulk"))]), "row 6 is there twice"),
    ("e.csv", lambda text: text.replace("0.3", "1e30"), "miou of row 3 is 1e+30; allowed: numbers from 0 to 1"),
    ("e.csv", lambda text: text.replace("seed", "sead"), "it has 0 columns seed; allowed: one"),
    ("e.csv", lambda text: text[:-2], "its last line is cut off"),
    ("e.csv", lambda text: "", "its last line is cut off"),
    ("e.json", lambda text: text[:-9], "e.json: damaged ("),
    ("e.json", content(lambda found: [found]), "it holds a list instead of a dict"),
    ("e.json", content(lambda found: found | {"runs": None}), "runs"),
    ("e.json", content(lambda found: found | {"runs": {"a": {"config": {}}}}), "runs.a"),
]


@pytest.mark.usefixtures("quick_provenance")
@pytest.mark.parametrize(("name", "damage", "message"), DAMAGED)
def test_published_files_that_are_damaged_are_one_line(
    name: str, damage: Callable[[str], str], message: str, published: Path
):
    finished_run("random", 0, [0.1, 0.3])
    finished_run("vote_entropy", 0, [0.1, 0.4])
    finished_full_run(0, 0.9)
    publish("e")
    (published / name).write_text(damage((published / name).read_text()))
    with pytest.raises(DataError) as caught:
        _ = Experiment.published("e").table, Experiment.published("e").records
    said = str(caught.value)
    assert said.startswith(str(published / name))
    assert message in said
    assert len(said.splitlines()) == 1
    assert "remove" not in said, "what is published is not to be made again"
