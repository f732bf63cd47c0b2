"""Where each job is, and why it would run; nothing is started and nothing written for it."""

import json
import os
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from alutils.__main__ import main
from alutils.datasets import load_dataset
from alutils.files import locked, write_whole
from alutils.grid.parameters import check_parameters, checksums
from alutils.grid.preset import Job, load_jobs
from alutils.grid.state import JobState, plan, state_of, states_of, status
from alutils.runs.config import RoundsConfig
from alutils.runs.folder import RunFolder

PRESET = """runs:
  - notebook: 03_active_learning_rounds
    parameters: {{steps: {steps}}}
    grid: {{query: [random], seed: {seeds}}}
  - notebook: 06_figures
"""


@pytest.fixture
def preset(tmp_path: Path) -> Path:
    path = tmp_path / "mine.yaml"
    path.write_text(PRESET.format(steps=2, seeds=[0, 1]))
    return path


@pytest.fixture
def job(preset: Path) -> Job:
    return next(iter(load_jobs(preset).values()))


def has_run(job: Job, seconds: int) -> None:
    """Leave what a job leaves that was done so many seconds after 2100; files that it depends on are older."""
    run = RunFolder("mine", job.name)
    if job.config:
        write_whole(run.path / "config.json", json.dumps(job.config))
        write_whole(run.path / "provenance.json", json.dumps({"versions": {}, "device": "cpu"}))
    run.forget_done()
    write_whole(run.done_file(job.key), json.dumps({"files": checksums(job.files)}))
    os.utime(run.done_file(job.key), (4102444800 + seconds,) * 2)


def reasons(preset: Path) -> list[str]:
    """Return the reason of each job, empty for what is done."""
    return [state.reason for state in states_of("mine", load_jobs(preset)).values()]


def test_a_job_runs_as_long_as_its_lock_is_held(job: Job):
    run = RunFolder("mine", job.name)
    assert state_of("mine", job).state == "new"
    assert str(state_of("mine", job)).split() == [job.name, "new"], "said once"
    write_whole(run.path / "config.json", json.dumps(job.config))
    assert state_of("mine", job).reason == "begun: goes on at round 0"
    write_whole(run.path / "rounds.csv", "round,labelled,miou\n0,10,0.25\n1,20,0.5\n")
    with locked(run.lock("job"), "it"):
        told = {"round": 3, "rounds": 4, "epoch": 2, "epochs": 10, "seconds_left": 240.0}
        write_whole(run.status_file, json.dumps(told))
        assert str(state_of("mine", job)).endswith("running      round 3/4, epoch 2/10, mIoU 0.500, 4 min left")
    assert run.lock("job").read_text() == "", "a lock only locks"
    assert str(state_of("mine", job)).endswith("begun        20 labelled, mIoU 0.500")
    assert state_of("mine", job).reason == "begun: goes on at round 2"
    has_run(job, 0)
    assert state_of("mine", job).state == "done"


@pytest.mark.parametrize("model", ["unet_small", "frozen_small"])
def test_a_run_that_began_goes_on_with_the_config_that_it_saved(model: str, preset: Path):
    preset.write_text(PRESET.format(steps=f"2, model: {model}", seeds=[0]))
    job = next(iter(load_jobs(preset).values()))
    config = RoundsConfig.from_names(check_parameters(job.notebook, job.given))
    data = load_dataset("digits", "train")
    if model == "frozen_small":
        data = replace(data, features=SimpleNamespace(digest="f"))  # type: ignore[arg-type]
    write_whole(RunFolder("mine", job.name).path / "config.json", json.dumps(config.as_dict(data, data)))
    assert state_of("mine", job).state == "begun"


@pytest.mark.parametrize(("seconds", "text"), [(5.2, "5 s"), (600, "10 min"), (9000, "2.5 h")])
def test_time_left_is_said_in_words_that_fit(seconds: float, text: str):
    assert str(JobState("x", "running", {"seconds_left": seconds})).endswith(f"{text} left")


def test_each_job_has_the_reason_for_which_it_would_run(preset: Path, tmp_path: Path):
    assert reasons(preset) == ["new", "new", "new"]
    first, second, figures = load_jobs(preset).values()
    has_run(first, 0)
    has_run(second, 0)
    has_run(figures, 10)
    assert reasons(preset) == ["", "", ""]

    has_run(second, 20)
    assert reasons(preset) == ["", "", f"{second.name} is newer"]
    has_run(figures, 30)

    preset.write_text(PRESET.format(steps=3, seeds=[0]))
    assert reasons(preset) == ["recipe changed: steps 2, now 3", f"{first.name} runs first"]
    states = [state.state for state in states_of("mine", load_jobs(preset)).values()]
    assert states == ["out of date", "out of date"]
    assert status(preset).splitlines()[-1] == "2 jobs: 2 out of date"

    preset.write_text(PRESET.format(steps=2, seeds=[0, 1, 2]))
    assert [reason.rpartition("-")[2] for reason in reasons(preset)] == ["", "", "new", "seed2 runs first"]


def test_changed_code_of_figures_or_a_changed_notebook_is_a_reason_but_touching_them_is_none(
    preset: Path, monkeypatch: pytest.MonkeyPatch
):
    jobs = load_jobs(preset)
    for number, job in enumerate(jobs.values()):
        has_run(job, number)
    monkeypatch.setattr("alutils.grid.state._newer_than", lambda file, when: "mine" not in file.parts)
    assert reasons(preset) == ["", "", ""], "newer, of the same content"
    for job in jobs.values():
        done = RunFolder("mine", job.name).done_file(job.key)
        done.write_text(json.dumps({"files": {**checksums(job.files), str(job.files[-1].resolve()): "another"}}))
    run, again, figures = reasons(preset)
    assert run == again == "03_active_learning_rounds.ipynb changed"
    assert figures.endswith(".py changed")


def test_a_dry_run_lists_what_would_run_and_makes_no_folder(
    preset: Path, results: Path, capsys: pytest.CaptureFixture[str]
):
    assert main(["grid", str(preset), "--dry-run"]) == 0
    *lines, last = capsys.readouterr().out.splitlines()
    assert [line.split() for line in lines] == [[name, "new"] for name in load_jobs(preset)]
    assert last == "3 of 3 jobs would run"
    assert not results.exists()
    first, *_ = load_jobs(preset).values()
    has_run(first, 0)
    assert first.name not in plan(preset)
    assert plan(preset).endswith("2 of 3 jobs would run")


def test_a_failed_job_shows_its_error(job: Job):
    run = RunFolder("mine", job.name)
    error = {"output_type": "error", "ename": "DataError", "evalue": "no\nlabel"}
    write_whole(run.failed_notebook, json.dumps({"cells": [{"outputs": [error]}, {}]}))
    assert state_of("mine", job).state == "failed"
    assert str(state_of("mine", job)).endswith(f"DataError: no label (see {run.failed_notebook})")
    write_whole(run.failed_notebook, "torn")
    assert "its notebook cannot be read" in str(state_of("mine", job))


WRONG = [b"", b"{", b"[1]", b"null", b"3", b'"x"', b"\xff", b"[" * 100_000, b'{"files": 3}', b'{"files": {"x": [1]}}']
WRONG += [b'{"cells": 3}', b'{"cells": [3]}', b'{"cells": [{"outputs": [3]}]}', b'{"cells": [{"outputs": null}]}']
WRONG += [
    b'{"rounds": 3}',
    b'{"rounds": 3, "round": 1, "epoch": 1, "epochs": 2, "seconds_left": "x"}',
    b'{"miou": "x"}',
]
PIPE = b"a pipe"


def put(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    path.write_bytes(content) if content != PIPE else os.mkfifo(path)


@pytest.mark.parametrize("content", [*WRONG, PIPE])
def test_whatever_the_files_of_a_job_hold_there_is_a_line_for_it(content: bytes, job: Job):
    run = RunFolder("mine", job.name)
    put(run.failed_notebook, content)
    state = state_of("mine", job)
    assert state.state == "failed"
    assert "\n" not in str(state)
    with locked(run.lock("job"), "it"):
        put(run.status_file, content)
        state = state_of("mine", job)
        assert state.state == "running"
        assert "\n" not in str(state)
    run.failed_notebook.unlink()
    put(run.done_file(job.key), content)
    os.utime(run.done_file(job.key), (0, 0))
    assert state_of("mine", job).reason == "03_active_learning_rounds.ipynb changed"


@pytest.mark.parametrize("content", ["", "round\n", "round,labelled\nx,y\n", "a\n1\n", "round,miou\n1,x\n", "\0"])
def test_whatever_a_table_holds_there_is_a_line_for_its_job(content: str, job: Job):
    run = RunFolder("mine", job.name)
    write_whole(run.path / "config.json", json.dumps(job.config))
    write_whole(run.path / "rounds.csv", content)
    assert "\n" not in str(state_of("mine", job))
    assert state_of("mine", job).reason.startswith("begun: ")


@pytest.mark.parametrize("content", ["[1]", "3", '"x"', "[" * 100_000, "{", "\0"])
def test_a_damaged_config_is_said_in_the_line_of_its_job(content: str, job: Job):
    run = RunFolder("mine", job.name)
    write_whole(run.path / "config.json", content)
    state = state_of("mine", job)
    assert state.state == "begun"
    assert "config.json: damaged" in state.reason
    assert len(state.reason) < 300
