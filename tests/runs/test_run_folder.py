"""Files replaced whole, run folders claimed once, tables that survive a round trip."""

import json
import multiprocessing
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import finished_full_run, finished_run

from alutils.errors import DataError, ParameterError
from alutils.files import write_whole
from alutils.results.tables import (
    check_agreement,
    known_experiments,
    load_experiment,
    load_published,
    load_published_records,
    load_records,
    publish,
)
from alutils.runs import folder as results_module
from alutils.runs.config import recipe_of
from alutils.runs.folder import RunFolder

CPU = torch.device("cpu")


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path):
    path = tmp_path / "folder" / "file.txt"
    write_whole(path, "old")
    with pytest.raises(UnicodeEncodeError):
        write_whole(path, "\ud800")
    assert path.read_text() == "old"
    write_whole(path, b"new")
    assert path.read_text() == "new"
    assert [p.name for p in path.parent.iterdir()] == ["file.txt"]


def test_a_table_written_again_has_the_same_bytes():
    run = RunFolder("e", "r")
    table = pd.DataFrame({"round": [0, 1, 1], "item": ["0012", "NA", "x"], "score": [np.nan, 1 / 3, 0.1 + 0.2]})
    run.write_table("acquisitions", table)
    first = (run.path / "acquisitions.csv").read_bytes()
    again = run.read_table("acquisitions")
    assert again["item"].tolist() == ["0012", "NA", "x"]
    run.write_table("acquisitions", again)
    assert (run.path / "acquisitions.csv").read_bytes() == first


def _work(held: Any, release: Any) -> None:
    with RunFolder("e", "r").opened({"a": 1}) as run:
        held.set()
        release.wait(60)
        run.write_table("rounds", pd.DataFrame({"round": [0]}))


def test_a_second_process_on_the_same_run_waits_for_the_first(capsys: pytest.CaptureFixture[str]):
    context = multiprocessing.get_context("spawn")
    held, release = context.Event(), context.Event()
    worker = context.Process(target=_work, args=(held, release))
    worker.start()
    assert held.wait(60)
    threading.Timer(1.5, release.set).start()
    with RunFolder("e", "r").opened({"a": 1}) as run:
        assert len(run.read_table("rounds")) == 1, "the first one's work is there"
    worker.join()
    assert "waiting for another process" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "/etc", ".hidden", "a\0b", "{x}", "-rf", "a\nb", "$(x)"])
def test_names_cannot_leave_the_results_folder(name: str):
    with pytest.raises(ParameterError, match="one folder name"):
        RunFolder("e", name)


def test_state_is_loaded_as_it_was_saved_and_as_data_only(tmp_path: Path):
    run = RunFolder("e", "r")
    assert run.load_state("checkpoint") is None
    with run.opened({}):
        run.save_state("checkpoint", {"round": 3, "model": {"w": torch.arange(3)}})
    state = run.load_state("checkpoint")
    assert state is not None
    assert state["round"] == 3
    assert state["model"]["w"].tolist() == [0, 1, 2]
    torch.save(Path, run.path / "model.pt")
    with pytest.raises(DataError, match=r"model.pt: damaged \(Weights only load failed"):
        run.load_state("model")


def test_provenance_is_written_once_and_names_what_matters():
    finished_run("random", 0, [0.1, 0.5], "r")
    path = RunFolder("e", "r").path / "provenance.json"
    content = json.loads(path.read_text())
    assert content["versions"]["torch"] == torch.__version__.split("+")[0]
    assert content["versions"]["pytest"] == pytest.__version__, "every package, not only those in use"
    (code,) = content["code"]
    assert set(code) == {"commit", "clean"}
    assert content["peak_memory"] > 50e6
    assert content["seconds"] == 3.5
    path.write_text(json.dumps({"kept": True}))
    RunFolder("e", "r").finish(CPU)
    assert json.loads(path.read_text()) == {"kept": True}


def test_all_code_that_worked_on_a_run_is_in_its_provenance(monkeypatch: pytest.MonkeyPatch):
    for commit in ("first", "second", "second"):
        monkeypatch.setattr(results_module, "code", lambda commit=commit: {"commit": commit, "clean": True})
        with RunFolder("e", "r").opened({}):
            pass
    finished_run_of({})
    content = json.loads((RunFolder("e", "r").path / "provenance.json").read_text())
    assert [entry["commit"] for entry in content["code"]] == ["first", "second"]
    assert not (RunFolder("e", "r").path / "code.json").exists()


def finished_run_of(config: dict[str, Any]) -> None:
    with RunFolder("e", "r").opened(config) as run:
        run.write_table("rounds", pd.DataFrame({"round": [0], "seconds_train": 1.0, "seconds_query": 0.0}))
        run.finish(CPU)


def test_an_experiment_is_one_tidy_table_of_its_finished_runs(results: Path):
    finished_run("random", 0, [0.1, 0.3])
    finished_run("vote_entropy", 0, [0.1, 0.4])
    (results / "e" / "unfinished").mkdir()
    table = load_experiment("e")
    assert len(table) == 4
    assert list(table.columns[:6]) == ["kind", "dataset", "model", "regime", "query", "order_model"]
    with pytest.raises(
        DataError, match="no finished run there; `alutils run 03_active_learning_rounds -p experiment nothing`"
    ):
        load_experiment("nothing")


def test_what_a_kind_of_run_lacks_is_missing_in_the_table():
    finished_run("random", 0, [0.1, 0.3])
    finished_run("vote_entropy", 0, [0.1, 0.4], kind="bulk", order_model="m", skip=10.0)
    table = load_experiment("e")
    assert table["order_model"].fillna("none").tolist() == ["m", "m", "none", "none"]
    assert table["skip"].fillna(-1).tolist() == [10, 10, -1, -1]


def test_publishing_keeps_the_numbers_and_says_where_they_come_from(published: Path):
    finished_run("random", 0, [0.1, 0.123456789], "a")
    path = publish("e")
    assert load_published("e")["miou"].tolist() == [0.1, 0.123457]
    content = json.loads(path.with_suffix(".json").read_text())
    assert content["runs"]["a"]["config"]["query"] == "random"
    assert content["runs"]["a"]["provenance"]["seconds"] == 3.5
    assert content["versions"][content["runs"]["a"]["provenance"]["versions"]]["numpy"] == np.__version__
    with pytest.raises(DataError, match="no such table; published: e"):
        load_published("f")


def test_runs_of_different_recipes_are_not_compared():
    finished_run("random", 0, [0.1, 0.3], "a", steps=100)
    finished_run("vote_entropy", 0, [0.1, 0.4], "b", steps=200)
    with pytest.raises(DataError, match="a has steps 100, b has 200; runs that are compared must agree"):
        load_experiment("e")


def test_a_copy_of_a_run_is_not_counted_as_another_seed():
    finished_run("random", 0, [0.5])
    finished_run("random", 0, [0.5], "random-0-old")
    with pytest.raises(DataError, match="random-0-old is random-0 once more; move one of them out of that folder"):
        load_experiment("e")


def test_agreement_is_asked_of_each_group_alone():
    runs = {"a": (1, {"x": 1}), "b": (2, {"x": 2}), "c": (1, {"x": 1})}
    check_agreement("here", runs)
    with pytest.raises(DataError, match=r"^here: b has y None, d has 3; runs that are compared must agree in it$"):
        check_agreement("here", runs | {"d": (2, {"x": 2, "y": 3})})


def test_a_recipe_is_a_config_without_what_may_differ():
    assert recipe_of({"query": "random", "seed": 1, "share": 10.0, "steps": 5, "data": "x"}) == {
        "steps": 5,
        "data": "x",
    }


@pytest.mark.usefixtures("quick_provenance")
def test_records_tell_start_sets_apart_whatever_their_order(published: Path):
    finished_run("random", 0, [0.1, 0.2], acquired=[[1, 2], [3]])
    finished_run("vote_entropy", 0, [0.1, 0.2], acquired=[[2, 1], [4]])
    finished_run("random", 1, [0.1, 0.2], acquired=[[2, 3], [1]])
    finished_run("random", 2, [0.1, 0.2])
    finished_full_run(0, 0.9, acquired=[[1, 2]])
    starts = {run: record.get("start_set") for run, record in load_records("e").items()}
    assert starts["random-0"] == starts["vote_entropy-0"]
    assert len({starts["random-0"], starts["random-1"], None}) == 3
    assert starts["random-2"] is starts["all-0"] is None, "no acquisitions, no rounds"
    publish("e")
    assert {run: record.get("start_set") for run, record in load_published_records("e").items()} == starts


@pytest.mark.usefixtures("quick_provenance")
def test_known_are_experiments_with_a_finished_run_or_a_published_table(published: Path, results: Path):
    finished_run("random", 0, [0.1], experiment="b")
    finished_run("random", 0, [0.1], experiment="c")
    finished_run("random", 1, [0.1], experiment="unfinished").path.joinpath("provenance.json").unlink()
    publish("c")
    (published / "a.json").write_text("{}")
    assert known_experiments() == ["a", "b", "c"]
