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
from conftest import finished_run

from alutils.errors import DataError, ParameterError
from alutils.files import write_whole
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


@pytest.mark.slow
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


def test_a_recipe_is_a_config_without_what_may_differ():
    assert recipe_of({"query": "random", "seed": 1, "share": 10.0, "steps": 5, "data": "x"}) == {
        "steps": 5,
        "data": "x",
    }
