"""How far a grid is, in a line a job; how Snakemake is called; what is said at the end."""

import json
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from alutils import grid
from alutils.errors import ParameterError
from alutils.grid import PROFILES, JobState, command, find_profile, main, state_of, status
from alutils.locks import locked
from alutils.paths import ROOT
from alutils.preset import Job, load_jobs
from alutils.results import RunFolder, write_whole

NOTEBOOK = """experiment: str = "e"  # folder
dataset: str = "good"  # what to do"""
BODY = "print(dataset)\nassert dataset != 'bad', 'as asked'"


@pytest.fixture
def preset(tmp_path: Path) -> Path:
    """Return a preset of three jobs of a quick notebook; the second one fails."""
    parameters = nbformat.v4.new_code_cell(NOTEBOOK, metadata={"tags": ["parameters"]})
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    cells = [parameters, nbformat.v4.new_code_cell(BODY)]
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=kernel), tmp_path / "small.ipynb")
    path = tmp_path / "my preset.yaml"
    path.write_text(f"runs: [{{notebook: {tmp_path}/small.ipynb, grid: {{dataset: [good, bad, fine]}}}}]")
    return path


@pytest.fixture
def job(preset: Path) -> Job:
    return load_jobs(preset)["small-good"]


def test_a_failed_job_is_named_last_and_the_others_go_on(preset: Path, results: Path):
    words = [sys.executable, "-m", "alutils.grid", "run", str(preset), "--cores", "2"]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 1
    failed = results / "my preset" / "small-bad" / "notebook.failed.ipynb"
    assert done.stderr.splitlines()[-2:] == [
        "2 of 3 jobs done; the same command goes on with the others",
        f"error: small-bad: AssertionError: as asked (see {failed})",
    ]
    assert (results / "my preset" / "small-fine" / "notebook.ipynb").exists()
    assert "%" not in done.stderr, "no bar in a log"
    assert not list(ROOT.glob(".snakemake/incomplete/*bad*")), "what Snakemake keeps lies with the results"
    lines = status(preset).splitlines()
    assert [re.split("  +", line)[1].split()[0] for line in lines[:3]] == ["done", "failed", "done"]
    assert lines[1].endswith(f"AssertionError: as asked (see {failed})")
    assert lines[3] == "3 jobs: 2 done, 1 failed"


def test_a_job_runs_as_long_as_its_lock_is_held(job: Job):
    run = RunFolder("e", job.name)
    assert state_of("e", job).state == "waiting"
    write_whole(run.path / "config.json", "{}")
    assert state_of("e", job).state == "begun"
    write_whole(run.path / "rounds.csv", "round,labelled,miou\n0,10,0.25\n1,20,0.5\n")
    with locked(run.lock("job"), "it"):
        told = {"round": 3, "rounds": 4, "epoch": 2, "epochs": 10, "seconds_left": 240.0}
        run.lock("job").write_text(json.dumps(told))
        assert str(state_of("e", job)).endswith("running   round 3/4, epoch 2/10, mIoU 0.500, 4 min left")
    assert str(state_of("e", job)).endswith("begun     20 labelled, mIoU 0.500")
    write_whole(run.path / job.done, "")
    assert state_of("e", job).state == "done"


@pytest.mark.parametrize(("seconds", "text"), [(5.2, "5 s"), (600, "10 min"), (9000, "2.5 h")])
def test_time_left_is_said_in_words_that_fit(seconds: float, text: str):
    assert str(JobState("x", "running", {"seconds_left": seconds})).endswith(f"{text} left")


def test_runs_share_the_cores_and_where_there_are_gpus_these(preset: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(grid, "visible_gpus", list)
    words = " ".join(command(preset, 8, None, PROFILES / "local", []))
    assert "--cores 8" in words
    assert words.endswith("threads=1")
    assert "gpu=" not in words
    monkeypatch.setattr(grid, "visible_gpus", lambda: ["0", "1"])
    words = " ".join(command(preset, 8, None, PROFILES / "local", ["--dry-run"]))
    assert "--cores 8 --resources gpu=2 --dry-run" in words
    assert words.endswith("threads=4")
    assert "--cores" not in command(preset, 8, None, PROFILES / "slurm", [])


def test_a_profile_is_found_by_name_or_path_else_the_known_are_named(tmp_path: Path):
    (tmp_path / "config.yaml").write_text("jobs: 3")
    assert find_profile("slurm") == PROFILES / "slurm"
    assert find_profile(str(tmp_path)) == tmp_path
    with pytest.raises(ParameterError, match=r"pbs is no profile; known: local, slurm; or a folder"):
        find_profile("pbs")


def test_what_a_grid_cannot_start_with_is_one_line(capsys: pytest.CaptureFixture[str], results: Path):
    for words in (["run", "nothing"], ["status", "nothing"], ["run", "demo", "--cores", "0"]):
        assert main(words) == 1
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith(("error: nothing is no preset; known: ", "error: cores is 0; allowed: 1 to"))
    assert not results.exists()
