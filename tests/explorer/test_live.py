"""A cell that says how far a grid is, and stops when all is done."""

import time
from pathlib import Path

import pytest

from alutils.errors import ParameterError
from alutils.explorer import live
from alutils.explorer.live import watch


@pytest.fixture
def preset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(live, "SECONDS", 0.01)
    path = tmp_path / "e.yaml"
    path.write_text("runs:\n- notebook: 03_active_learning_rounds\n  parameters: {query: random}\n")
    return path


def until(condition) -> None:
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_cell_follows_a_grid(preset: Path, monkeypatch: pytest.MonkeyPatch):
    states = [live.states(preset)]
    monkeypatch.setattr(live, "states", lambda path: states[-1])
    shown = watch(str(preset))
    assert "1 jobs: 1 new" in shown.value
    (job,) = states[0]
    states.append([type(job)(job.name, "running", {"round": 1, "rounds": 3, "epoch": 2, "epochs": 10})])
    until(lambda: "round 1/3, epoch 2/10" in shown.value)
    states.append([type(job)(job.name, "done", {"labelled": 60})])
    until(lambda: "1 jobs: 1 done" in shown.value)


def test_a_preset_that_is_being_edited_is_said_and_followed_further(preset: Path):
    shown = watch(str(preset))
    good = preset.read_text()
    preset.write_text("runs: [")
    until(lambda: "e.yaml" in shown.value and "jobs" not in shown.value)
    assert "e.yaml" in shown.value
    preset.write_text(good)
    until(lambda: "1 jobs: 1 new" in shown.value)
    assert "e.yaml" not in shown.value


def test_an_unknown_preset_is_one_line():
    with pytest.raises(ParameterError, match="dmeo is no preset; did you mean demo"):
        watch("dmeo")
