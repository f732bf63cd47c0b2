"""Run folders claimed once, tables that survive a round trip."""

import io
import json
import multiprocessing
import os
import threading
from collections.abc import Callable
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
from alutils.runs.folder import RunFolder, seal, sha256
from alutils.runs.schemas import check_acquisitions

CPU = torch.device("cpu")
CONFIG = {"kind": "rounds", "dataset": "d", "model": "m", "query": "random", "seed": 0}
NOTHING = pd.DataFrame(columns=["round", "rank", "index", "item", "score"])


def rounds_table(count: int) -> pd.DataFrame:
    """Return what the first rounds write, with one more label each."""
    numbers = np.arange(count)
    columns = {"round": numbers, "labelled": numbers + 1, "labelled_percent": numbers + 1.0, "miou": numbers / 100}
    return pd.DataFrame(columns | {"seconds_train": 1.0, "seconds_query": 0.0})


def acquired_table(count: int) -> pd.DataFrame:
    """Return what the first rounds acquire, one image each."""
    numbers = np.arange(count)
    items = [f"item{number}" for number in numbers]
    return pd.DataFrame({"round": numbers, "rank": 0, "index": numbers, "item": items, "score": numbers / 7})


def saved_run(rounds: int, finished: int = 0) -> RunFolder:
    """Return a run that has saved so many rounds one by one, and is finished if it has `finished` of them."""
    with RunFolder("e", "r").opened(CONFIG) as run:
        for done in range(1, rounds + 1):
            scores = np.arange(5.0 * done, dtype=np.float32).reshape(done, 5)
            run.save_rounds(rounds_table(done), acquired_table(done), scores)
        if rounds == finished:
            run.finish(CPU)
    return run


def test_a_table_written_again_has_the_same_bytes():
    ranks = {"round": [0, 1, 1], "rank": [0, 0, 1], "index": [2, 1, 0]}
    acquired = pd.DataFrame(ranks | {"item": ["0012", "NA", "x"], "score": [np.nan, 1 / 3, 0.1 + 0.2]})
    with RunFolder("e", "r").opened(CONFIG) as run:
        run.save_rounds(rounds_table(1), acquired)
        first = (run.path / "acquisitions.csv").read_bytes()
        again = run.acquisitions()
        assert again["item"].tolist() == ["0012", "NA", "x"]
        run.save_rounds(run.rounds(), again)
    assert (run.path / "acquisitions.csv").read_bytes() == first


def _work(held: Any, release: Any) -> None:
    with RunFolder("e", "r").opened(CONFIG) as run:
        held.set()
        release.wait(60)
        run.save_rounds(rounds_table(1), NOTHING)


@pytest.mark.slow
def test_a_second_process_on_the_same_run_waits_for_the_first(capsys: pytest.CaptureFixture[str]):
    context = multiprocessing.get_context("spawn")
    held, release = context.Event(), context.Event()
    worker = context.Process(target=_work, args=(held, release))
    worker.start()
    assert held.wait(60)
    threading.Timer(1.5, release.set).start()
    with RunFolder("e", "r").opened(CONFIG) as run:
        assert len(run.rounds()) == 1, "the first one's work is there"
    worker.join()
    assert "waiting for another process" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "/etc", ".hidden", "a\0b", "{x}", "-rf", "a\nb", "$(x)"])
def test_names_cannot_leave_the_results_folder(name: str):
    with pytest.raises(ParameterError, match="one folder name"):
        RunFolder("e", name)


def test_state_is_loaded_as_it_was_saved_and_as_data_only(tmp_path: Path):
    run = RunFolder("e", "r")
    assert run.load_state("checkpoint") is None
    with run.opened(CONFIG):
        run.save_state("checkpoint", {"round": 3, "model": {"w": torch.arange(3)}})
    state = run.load_state("checkpoint")
    assert state is not None
    assert state["round"] == 3
    assert state["model"]["w"].tolist() == [0, 1, 2]
    buffer = io.BytesIO()
    torch.save(Path, buffer)
    seal(buffer)
    (run.path / "model.pt").write_bytes(buffer.getvalue())
    with pytest.raises(DataError, match=r"model.pt: damaged \(Weights only load failed"):
        run.load_state("model")
    run.save_state("list", [1])  # type: ignore[arg-type]
    with pytest.raises(DataError, match=r"list.pt: damaged \(it holds a list instead of a dict\)"):
        run.load_state("list")


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
        with RunFolder("e", "r").opened(CONFIG):
            pass
    finished_run_of(CONFIG)
    content = json.loads((RunFolder("e", "r").path / "provenance.json").read_text())
    assert [entry["commit"] for entry in content["code"]] == ["first", "second"]
    assert not (RunFolder("e", "r").path / "code.json").exists()


def finished_run_of(config: dict[str, Any]) -> None:
    with RunFolder("e", "r").opened(config) as run:
        run.save_rounds(rounds_table(1), NOTHING)
        run.finish(CPU)


def test_a_recipe_is_a_config_without_what_may_differ():
    assert recipe_of({"query": "random", "seed": 1, "share": 10.0, "steps": 5, "data": "x"}) == {
        "steps": 5,
        "data": "x",
    }


@pytest.mark.usefixtures("quick_provenance")
@pytest.mark.parametrize("finished", [0, 3])
def test_what_was_saved_is_read(finished: int):
    run = saved_run(3, finished)
    pd.testing.assert_frame_equal(run.rounds(), rounds_table(3))
    pd.testing.assert_frame_equal(run.acquisitions(), acquired_table(3))
    assert run.scores().tolist() == np.arange(15.0).reshape(3, 5).tolist()
    assert (run.path / "checksums.json").exists() == (not finished)
    assert "checksums" not in run.provenance() if finished else True


def test_rounds_that_are_put_back_bring_their_acquisitions_and_scores():
    """As after a kill between the writes of one save, and as after a restored backup."""
    run = saved_run(1)
    earlier = (run.path / "rounds.csv").read_bytes()
    saved_run(3)
    (run.path / "rounds.csv").write_bytes(earlier)
    assert len(run.rounds()) == len(run.acquisitions()) == len(run.scores()) == 1
    run.save_rounds(rounds_table(2), acquired_table(2), np.ones((2, 5), np.float32))
    assert [saved["done"] for saved in json.loads((run.path / "checksums.json").read_text())["saved"]] == [1, 2]


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_run_of_another_config_is_set_apart_and_brought_back_whole(capsys: pytest.CaptureFixture[str]):
    first = CONFIG | {"steps": 5}
    with RunFolder("e", "r").opened(first) as run:
        run.save_rounds(rounds_table(2), acquired_table(2), np.ones((2, 5), np.float32))
        run.save_checkpoint(0, {"w": torch.ones(2)})
    saved = files_of(run.path)
    assert capsys.readouterr().out == ""
    for now, then in ((CONFIG | {"steps": 6}, first), (first, CONFIG | {"steps": 6})):
        with run.opened(now):
            assert run.config() == now
            assert len(run.rounds()) == (2 if now == first else 0)
        (apart,) = (run.path.parent / "superseded").iterdir()
        assert json.loads((apart / "config.json").read_text()) == then
        said = f"r had steps {then['steps']}, now {now['steps']}; the old run is kept as {apart}\n"
        assert capsys.readouterr().out == said
    assert files_of(run.path) == saved
    with run.opened(first):
        assert files_of(run.path) == saved
    assert capsys.readouterr().out == ""


def test_a_run_that_was_half_brought_back_is_brought_back_by_the_next_one():
    run = saved_run(2)
    saved, apart = files_of(run.path), run.set_apart()
    run.path.mkdir()
    (apart / "rounds.csv").rename(run.path / "rounds.csv")  # then the process was killed
    with run.opened(CONFIG):
        assert len(run.rounds()) == 2
    assert files_of(run.path) == saved
    assert not apart.exists()


def test_a_run_of_another_config_in_the_place_of_one_set_apart_is_one_line():
    apart = saved_run(1).set_apart()
    (apart / "config.json").write_text(json.dumps(CONFIG | {"seed": 1}))
    (apart / "checksums.json").unlink()
    with (
        pytest.raises(DataError, match=r"superseded/ has it under another config's name"),
        RunFolder("e", "r").opened(CONFIG),
    ):
        pass


def test_the_order_of_a_config_is_no_difference(capsys: pytest.CaptureFixture[str]):
    saved_run(1).set_apart()
    with RunFolder("e", "r").opened(dict(reversed(CONFIG.items()))) as run:
        assert len(run.rounds()) == 1
    assert capsys.readouterr().out == ""


def test_differences_are_named_in_order():
    names = [f"name{number}" for number in range(9)]
    assert results_module.differences(dict.fromkeys(reversed(names), 1), {"name0": 1, "z": 2}) == [*names[1:], "z"]


def test_files_that_mark_a_job_as_done_are_found_and_forgotten():
    run = saved_run(1)
    assert run.any_done_file() is None
    run.done_file("abc").touch()
    assert run.any_done_file() == run.done_file("abc")
    run.forget_done()
    assert run.any_done_file() is None
    assert run.notebook.parent == run.failed_notebook.parent == run.path


def test_the_config_comes_back_last(monkeypatch: pytest.MonkeyPatch):
    run = saved_run(1)
    run.set_apart()
    moved, replace = list[str](), Path.replace

    def noted(path: Path, target: Path) -> Path:
        moved.append(path.name)
        return replace(path, target)

    monkeypatch.setattr(Path, "replace", noted)
    with run.opened(CONFIG):
        pass
    assert moved[5] == "config.json"
    assert sorted(moved[:5]) == ["acquisitions.csv", "checksums.json", "code.json", "rounds.csv", "scores.npy"]


def test_files_of_a_job_lie_outside_the_folder_that_may_be_moved():
    run = RunFolder("e", "r")
    for path in (run.lock("run"), run.status_file):
        assert path.is_relative_to(run.path.parent)
        assert not path.is_relative_to(run.path)
    assert run.lock("run") != run.lock("job") != RunFolder("e", "s").lock("job")


@pytest.mark.usefixtures("quick_provenance")
def test_runs_are_listed_by_name_begun_and_finished():
    for name in ("b", "a", "c"):
        with RunFolder("e", name).opened(CONFIG) as run:
            run.save_rounds(rounds_table(1), NOTHING)
            if name != "a":
                run.finish(CPU)
    with RunFolder("other", "d").opened(CONFIG):
        pass
    assert [run.path.name for run in results_module.begun_runs("e")] == ["a", "b", "c"]
    assert [run.path.name for run in results_module.finished_runs("e")] == ["b", "c"]
    assert [run.path.name for run in results_module.begun_runs("other")] == ["d"]
    assert results_module.finished_runs("other") == []
    assert results_module.finished_experiments() == {"e"}
    times = [run.finished_ns() is not None for run in results_module.begun_runs("e")]
    assert times == [False, True, True]
    for listed in (results_module.begun_runs, results_module.finished_runs):
        with pytest.raises(ParameterError, match="one folder name"):
            listed("../e")


@pytest.mark.usefixtures("quick_provenance")
def test_a_finished_run_keeps_its_results_and_nothing_to_go_on_with():
    data = {"train_data": "abc", "test_data": "xyz"}
    with RunFolder("e", "r").opened(CONFIG | data) as run:
        run.save_rounds(rounds_table(2).assign(seconds_query=0.00049), acquired_table(2), np.ones((1, 5), np.float32))
        for member in range(3):
            run.save_checkpoint(member, {"member": member})
        assert [(run.load_checkpoint(member) or {})["member"] for member in range(3)] == [0, 1, 2]
        assert run.load_checkpoint(3) is None
        (run.path / ".checkpoint1.pt.part").touch()  # of a killed save
        run.save_state("model", {"w": torch.ones(2)})
        run.write_arrays("maps", {"one": np.arange(3), "two": np.zeros((9, 9))})
        assert {path.name for path in run.path.glob("*.pt")} == {
            *("checkpoint.pt", "checkpoint1.pt", "checkpoint2.pt", "model.pt"),
        }
        assert not run.is_finished
        run.finish(CPU)
    assert run.is_finished
    assert {path.name for path in run.path.iterdir()} == {
        *("acquisitions.csv", "config.json", "maps.npz", "model.pt", "provenance.json", "rounds.csv", "scores.npy"),
    }
    said = run.provenance()
    assert (said["seconds"], said["data"], said["device"]) == (2.001, data, "cpu")
    with np.load(run.path / "maps.npz") as arrays:
        assert {name: array.tolist() for name, array in arrays.items()} == {"one": [0, 1, 2], "two": [[0] * 9] * 9}
    with run.opened(CONFIG | data):
        assert not (run.path / "code.json").exists(), "nothing more will work on it"


def test_the_last_row_is_read_as_text():
    run = RunFolder("e", "r")
    assert run.last_row() == {}
    assert saved_run(3).last_row() == {
        **{"round": "2", "labelled": "3", "labelled_percent": "3.0", "miou": "0.02"},
        **{"seconds_train": "1.0", "seconds_query": "0.0"},
    }


def test_runs_without_scores_have_none():
    with RunFolder("e", "r").opened(CONFIG) as run:
        assert run.rounds().empty
        assert run.acquisitions().empty
        assert run.scores().shape == (0, 0)
        run.save_rounds(rounds_table(1), acquired_table(1))
        assert (run.scores().shape, run.scores().dtype) == ((0, 0), np.float32)
        assert not (run.path / "scores.npy").exists()


def changed(name: str, old: str, new: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        text = (folder / name).read_text()
        assert old in text
        (folder / name).write_text(text.replace(old, new, 1))

    return change


def row(name: str, change: Callable[[list[str]], list[str]]) -> Callable[[Path], None]:
    return lambda folder: write_whole(
        folder / name, "".join(change((folder / name).read_text().splitlines(keepends=True)))
    )


def with_array(array: np.ndarray) -> Callable[[Path], None]:
    return lambda folder: np.save(folder / "scores.npy", array)


ROUNDS, ACQUIRED, CONFIG_FILE = "rounds.csv", "acquisitions.csv", "config.json"
TAMPERED = [  # how, and a part of the line that is said
    (changed(ROUNDS, "0.01", "0.02"), "rounds.csv: damaged (it is not what the run had saved)"),
    (changed(ROUNDS, "\n1,", "\n-1,"), "round of row 2 is -1; allowed: whole numbers from 0"),
    (changed(ROUNDS, "\n1,", "\n1.5,"), "round of row 2 is 1.5; allowed: whole numbers from 0"),
    (changed(ROUNDS, "\n1,", "\nx,"), "round of row 2 is x; allowed: whole numbers"),
    (changed(ROUNDS, "\n1,2,", "\n1,,"), "labelled of row 2 is nan; allowed: whole numbers from 1"),
    (changed(ROUNDS, "\n1,2,2.0", "\n1,2,1e30"), "labelled_percent of row 2 is 1e+30; allowed: numbers from 0 to 100"),
    (changed(ROUNDS, "\n1,2,2.0,0.01", "\n1,2,2.0,inf"), "miou of row 2 is inf; allowed: numbers from 0 to 1"),
    (changed(ROUNDS, "round,", "runde,"), "it has 0 columns round; allowed: one"),
    (changed(ROUNDS, "miou", "round"), "it has 2 columns round; allowed: one"),
    (row(ROUNDS, lambda rows: [*rows, rows[-1]]), "its rounds are [0, 1, 2, 2] with [1, 2, 3, 3] labels"),
    (row(ROUNDS, lambda rows: [rows[0], *rows[:0:-1]]), "its rounds are [2, 1, 0]"),
    (row(ROUNDS, lambda rows: [*rows, "3,4,4.0,0.03,1.0,0.0\n"]), "it has 4 rounds; allowed: "),
    (row(ROUNDS, lambda rows: [*rows[:-1], rows[-1][:-3]]), "its last line is cut off"),
    (row(ROUNDS, lambda rows: [*rows, "1,2,3,4,5,6,7,8\n"]), "Expected 6 fields"),
    (row(ROUNDS, lambda rows: [rows[0], *(f"9,{line}" for line in rows[1:])]), "more values than there are columns"),
    (row(ROUNDS, lambda rows: []), "its last line is cut off"),
    (row(ACQUIRED, lambda rows: rows[:3]), "acquisitions.csv: damaged (it is not what the run had saved)"),
    (row(ACQUIRED, lambda rows: [*rows[:3], rows[2]]), "acquisitions.csv: damaged (it is not what the run had saved)"),
    (changed(ACQUIRED, "item1", "item2"), "acquisitions.csv: damaged (it is not what the run had saved)"),
    (lambda folder: (folder / ACQUIRED).unlink(), "acquisitions.csv: cannot be read (No such file or directory)"),
    (lambda folder: (folder / "scores.npy").unlink(), "scores.npy: cannot be read (No such file or directory)"),
    (with_array(np.zeros((2, 5), np.float32)), "scores.npy: damaged (it is not what the run had saved)"),
    (with_array(np.zeros((3, 5), np.float32)), "scores.npy: damaged (it is not what the run had saved)"),
    (with_array(np.zeros((3, 5))), "it holds float64 of shape (3, 5); allowed: float32"),
    (with_array(np.zeros(3, np.float32)), "it holds float32 of shape (3,); allowed: float32, (rounds, P, ...)"),
    (with_array(np.array([None])), "scores.npy: damaged ("),
    (lambda folder: write_whole(folder / "scores.npy", b"x"), "scores.npy: damaged ("),
    (changed(CONFIG_FILE, '"seed": 0', '"seed": 1'), "config.json: damaged (it is not the config of what"),
    (changed(CONFIG_FILE, "{", "["), "config.json: damaged ("),
]


def read_everything(run: RunFolder) -> None:
    run.config(), run.rounds(), run.acquisitions(), run.scores()


@pytest.mark.usefixtures("quick_provenance")
@pytest.mark.parametrize("finished", [0, 3])
@pytest.mark.parametrize(("tamper", "message"), TAMPERED)
def test_tables_that_are_not_what_the_run_saved_are_one_line(
    tamper: Callable[[Path], None], message: str, finished: int
):
    run = saved_run(3, finished)
    tamper(run.path)
    before = {path: path.read_bytes() for path in run.path.iterdir()}
    with pytest.raises(DataError) as caught:
        read_everything(run)
    assert message in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
    assert {path: path.read_bytes() for path in run.path.iterdir()} == before


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("checksums.json", "[]"),
        ("checksums.json", "{}"),
        ("checksums.json", '{"config": 1, "saved": null}'),
        ("checksums.json", "[" * 100_000),
        ("checksums.json", "\ud800"),
        ("config.json", "[1]"),
        ("config.json", '{"kind": "rounds"}'),
        ("config.json", json.dumps(CONFIG | {"seed": "0"})),
    ],
)
def test_a_file_that_holds_something_else_is_one_line(name: str, text: str):
    run = saved_run(1)
    (run.path / name).write_bytes(text.encode(errors="surrogatepass"))
    if name == "config.json":
        (run.path / "checksums.json").unlink()
    with pytest.raises(DataError, match=f"{name}: damaged") as caught:
        read_everything(run)
    assert len(str(caught.value)) < 300 + len(str(run.path)) * 2


def test_a_run_that_an_earlier_version_finished_is_read():
    """It has no checksums, but what its tables hold is checked."""
    run = saved_run(2, 2)
    path = run.path / "provenance.json"
    path.write_text(json.dumps({name: x for name, x in json.loads(path.read_text()).items() if name != "checksums"}))
    read_everything(run)
    changed(ACQUIRED, "\n1,0,", "\n1,1,")(run.path)
    with pytest.raises(DataError, match="rank of row 2 is out of order"):
        read_everything(run)
    changed(ACQUIRED, ",score", ",height")(run.path)
    with pytest.raises(DataError, match="it has 0 columns score"):
        read_everything(run)
    changed(ROUNDS, "0.01", "2")(run.path)
    with pytest.raises(DataError, match=r"miou of row 2 is 2\.0; allowed: numbers from 0 to 1"):
        read_everything(run)


def test_rounds_without_checksums_are_not_gone_on_with():
    run = saved_run(2)
    (run.path / "checksums.json").unlink()
    with pytest.raises(DataError, match=r"checksums.json: damaged \(it is missing\)"):
        run.rounds()


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([[0, 0, 0], [0, 1, 0]], "row 2 acquires something again"),
        ([[1, 0, 0], [0, 0, 1]], "its rounds are not in order"),
        ([[0, 0, 0], [0, 2, 1]], "rank of row 2 is out of order"),
    ],
)
def test_acquisitions_come_in_order_and_once(rows: list[list[int]], message: str):
    table = pd.DataFrame(rows, columns=["round", "rank", "index"])
    with pytest.raises(ValueError, match=message):
        check_acquisitions(table)
    check_acquisitions(table.assign(round=[0, 1], rank=0, index=[0, 0], region=[1, 2]))


def test_a_finished_run_has_all_its_rounds():
    run = saved_run(3, 3)
    text = (run.path / ROUNDS).read_text()
    for rows in (1, 2, 3):
        (run.path / ROUNDS).write_text("".join(text.splitlines(keepends=True)[:rows]))
        with pytest.raises(DataError, match=r"rounds.csv: damaged \(it has . rounds; allowed: 3\)"):
            run.rounds()
    (run.path / ROUNDS).unlink()
    with pytest.raises(DataError, match=r"rounds.csv: cannot be read \(No such file or directory\)"):
        run.rounds()


def test_a_network_is_a_file_that_torch_reads():
    run = saved_run(1)
    run.save_state("model", {"w": torch.arange(3)})
    assert torch.load(run.path / "model.pt", weights_only=True)["w"].tolist() == [0, 1, 2]
    content, length = (run.path / "model.pt").read_bytes(), len(sha256(b""))
    assert int.from_bytes(content[-length - 2 : -length], "little") == length, "as the format of archives wants it"


def test_a_network_that_an_earlier_version_kept_is_read():
    run = saved_run(1, 1)
    torch.save({"w": torch.arange(3)}, run.path / "model.pt")
    with pytest.raises(DataError, match=r"model.pt: damaged \(it is not what the run had saved\)"):
        run.load_state("model")
    path = run.path / "provenance.json"
    path.write_text(json.dumps({name: x for name, x in json.loads(path.read_text()).items() if name != "checksums"}))
    assert (run.load_state("model") or {})["w"].tolist() == [0, 1, 2]


def test_a_bit_of_a_checkpoint_that_tipped_over_is_noticed():
    """torch itself does not look at the checksums that its files carry."""
    run = saved_run(1)
    run.save_state("checkpoint", {"w": torch.arange(1000.0)})
    content = bytearray((run.path / "checkpoint.pt").read_bytes())
    content[content.find(torch.arange(1000.0).numpy().tobytes()[:64]) + 40] ^= 1
    (run.path / "checkpoint.pt").write_bytes(content)
    with pytest.raises(DataError, match=r"checkpoint.pt: damaged \(it is not what the run had saved\)"):
        run.load_state("checkpoint")


@pytest.mark.parametrize("said", [{}, {"versions": {}}, {"versions": {"torch": 2}, "device": "cpu"}])
def test_a_provenance_that_says_something_else_is_one_line(said: dict[str, Any]):
    run = saved_run(1, 1)
    (run.path / "provenance.json").write_text(json.dumps(said))
    with pytest.raises(DataError, match=r"provenance.json: damaged"):
        run.provenance()


def test_a_pipe_in_a_run_folder_is_not_waited_for():
    run = saved_run(1)
    for name in (ROUNDS, "checksums.json", "scores.npy"):
        kept = (run.path / name).read_bytes()
        (run.path / name).unlink()
        os.mkfifo(run.path / name)
        with pytest.raises(DataError, match="not a regular file"):
            read_everything(run)
        assert bool(run.last_row()) == (name != ROUNDS)
        (run.path / name).unlink()
        (run.path / name).write_bytes(kept)
