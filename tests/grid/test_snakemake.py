"""How far a grid is, in one line per job; how Snakemake is called; what is said at the end."""

import contextlib
import fcntl
import os
import pty
import re
import shlex
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

import nbformat
import numpy as np
import psutil
import pytest
from PIL import Image

from alutils.__main__ import main
from alutils.errors import ParameterError
from alutils.files import read_yaml, write_whole
from alutils.grid import snakemake as grid
from alutils.grid.preset import load_jobs
from alutils.grid.snakemake import PROFILES, command, find_profile, grouped
from alutils.grid.state import status
from alutils.runs.folder import RunFolder

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


@pytest.mark.slow
def test_a_failed_job_is_named_last_and_the_others_go_on(preset: Path, results: Path):
    words = [sys.executable, "-m", "alutils", "grid", str(preset), "--cores", "2"]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 1
    failed = results / "my preset" / "small-bad" / "notebook.failed.ipynb"
    assert done.stderr.splitlines()[-2:] == [
        "2 of 3 jobs done; the same command goes on with the others",
        f"error: small-bad: AssertionError: as asked (see {failed})",
    ]
    assert (results / "my preset" / "small-fine" / "notebook.ipynb").exists()
    assert "%" not in done.stderr, "no bar in a log"
    assert (results / "my preset" / ".snakemake").is_dir(), "what Snakemake keeps lies with the results"
    assert [line[9:] for line in done.stderr.splitlines() if "started" in line] == [
        f"small-{name}: started" for name in re.findall(r"small-(\w+): started", done.stderr)
    ]
    lines = status(preset).splitlines()
    assert [re.split("  +", line)[1].split()[0] for line in lines[:3]] == ["done", "failed", "done"]
    assert lines[1].endswith(f"AssertionError: as asked (see {failed})")
    assert lines[3] == "3 jobs: 2 done, 1 failed"


def test_runs_share_the_cores_and_where_there_are_gpus_these(preset: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "executable", "/env/bin/python")
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
    write_whole(preset.parent / "mine" / "config.yaml", "executor: slurm\nconfig: [gpus=1]\n")
    words = " ".join(command(preset, 8, None, find_profile(str(preset.parent / "mine")), []))
    assert words.endswith(f"--config gpus=1 preset={preset} threads=1")


def test_a_python_that_slurms_jobs_could_not_start_is_one_line(preset: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "executable", "/my env/bin/python")
    with pytest.raises(ParameterError, match=r"^/my env/bin/python: its path has a space .* with slurm$"):
        command(preset, 8, None, PROFILES / "slurm", [])
    assert command(preset, 8, None, PROFILES / "local", [])[:3] == [sys.executable, "-m", "snakemake"]


@pytest.mark.parametrize("text", ["config: 5", "config: null", "config: {gpus: 1}", "- 1", "executor: [", "1: 2"])
def test_a_wrong_profile_is_one_line(text: str, preset: Path, capsys: pytest.CaptureFixture[str]):
    write_whole(preset.parent / "mine" / "config.yaml", text)
    assert main(["grid", str(preset), "--profile", str(preset.parent / "mine")]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "mine/config.yaml" in line


def test_a_pipe_in_the_place_of_the_log_is_one_line(preset: Path, results: Path, capsys: pytest.CaptureFixture[str]):
    (results / preset.stem).mkdir(parents=True)
    os.mkfifo(results / preset.stem / "snakemake.log")
    assert main(["grid", str(preset)]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "snakemake.log is in the way" in line


def test_what_is_no_text_in_the_log_does_not_stop_a_grid(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    log = tmp_path / "log"
    log.write_bytes(b"12:00:00 \xff: started\n12:00:01 \xc3")
    with log.open(errors="replace") as said:
        grid._print_new(said, set())
        assert capsys.readouterr().err == "12:00:00 \N{REPLACEMENT CHARACTER}: started\n"
        log.write_bytes(log.read_bytes() + b"\xa9: started\n")
        grid._print_new(said, set())
        assert capsys.readouterr().err == "12:00:01 \u00e9: started\n"


def test_a_profile_is_found_by_name_or_path_else_the_known_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "config.yaml").write_text("jobs: 3")
    assert find_profile("slurm") == PROFILES / "slurm"
    monkeypatch.chdir(tmp_path.parent)
    assert find_profile(tmp_path.name) == tmp_path
    with pytest.raises(ParameterError, match=r"pbs is no profile; known: kubernetes, local, slurm; or a folder"):
        find_profile("pbs")


def test_what_a_grid_cannot_start_with_is_one_line(capsys: pytest.CaptureFixture[str], results: Path):
    for words in (["grid", "nothing"], ["status", "nothing"], ["grid", "demo", "--cores", "0"]):
        assert main(words) == 1
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith(("error: nothing is no preset; allowed: ", "error: cores is 0; allowed: 1 to"))
    assert not results.exists()


@pytest.mark.slow
def test_a_run_that_fails_before_its_notebook_is_named_too(
    preset: Path, results: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
):
    """Here it cannot make a folder where a file is."""
    write_whole(results / preset.stem / "small-bad", "a file")
    assert main(["grid", str(preset)]) == 1
    last = capfd.readouterr().err.splitlines()[-1]
    assert last.startswith("error: ")
    assert "small-bad" in last


def test_equal_errors_are_one_line_with_their_number():
    errors = [f"small-{n}: AssertionError: as asked (see /x/small-{n}/failed.ipynb)" for n in range(3)]
    assert grouped([*errors, "other: KeyError: 'x' (see /y)"]) == [
        f"3 runs failed alike, such as {errors[0]}",
        "other: KeyError: 'x' (see /y)",
    ]


@pytest.mark.slow
def test_equal_errors_of_a_grid_are_shown_once_when_they_come_and_once_at_the_end(
    preset: Path, results: Path, capfd: pytest.CaptureFixture[str]
):
    preset.write_text(preset.read_text().replace("[good, bad, fine]", "[bad, good, other]"))
    text = (preset.parent / "small.ipynb").read_text()
    (preset.parent / "small.ipynb").write_text(text.replace("dataset != 'bad'", "dataset == 'good'"))
    assert main(["grid", str(preset), "--cores", "2"]) == 1
    lines = capfd.readouterr().err.splitlines()
    errors = [line for line in lines if line.startswith("error: ")]
    assert len(errors) == 2
    assert errors[1].startswith("error: 2 runs failed alike, such as small-")
    assert lines[-1] == errors[1]


PHOTOS = """runs:
  - notebook: 03_active_learning_rounds
    parameters: {dataset: photos/mine.yaml, unit: images, start: 1, step: 1, rounds: 2}
    grid: {seed: [0, 1]}
"""


def test_a_wrong_label_file_is_one_line_before_any_run_starts(
    tmp_path: Path, results: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
):
    for part in ("images", "labels"):
        (tmp_path / "photos" / part).mkdir(parents=True)
    for name in "ab":
        Image.fromarray(np.zeros((32, 64, 3), np.uint8)).save(tmp_path / "photos" / "images" / f"{name}.png")
        Image.fromarray(np.full((32, 64), 7, np.uint8)).save(tmp_path / "photos" / "labels" / f"{name}.png")
    splits = "{train: {images: images, labels: labels}, test: {images: images, labels: labels}}"
    (tmp_path / "photos" / "mine.yaml").write_text(f"name: mine\nclasses: {{a: [0, 0, 0]}}\nsplits: {splits}\n")
    (tmp_path / "grid.yaml").write_text(PHOTOS)
    monkeypatch.setattr("alutils.grid.preset.ROOT", tmp_path)
    monkeypatch.setattr("alutils.grid.snakemake.ROOT", tmp_path)
    assert main(["grid", str(tmp_path / "grid.yaml")]) == 1
    (line,) = capfd.readouterr().err.splitlines()
    assert "label value 7 is neither a class nor ignored" in line
    assert not list((results / "grid").iterdir()), "Snakemake was not started"


def test_data_are_loaded_once_for_all_runs_that_are_missing(
    tmp_path: Path, results: Path, monkeypatch: pytest.MonkeyPatch
):
    loaded: list[str] = []
    monkeypatch.setattr(grid, "load_split", lambda config, split: loaded.append(f"{config.dataset} {split}"))
    monkeypatch.setattr(grid, "load_test_set", lambda config: loaded.append(f"{config.dataset} {config.test_split}"))
    path = tmp_path / "mine.yaml"
    path.write_text("runs: [{notebook: 03_active_learning_rounds, grid: {seed: [0, 1]}}, {notebook: 04_bulk_training}]")
    jobs = load_jobs(path)
    grid.check_data("mine", jobs)
    assert loaded == ["streets_tiny train", "streets_tiny test"]
    for job in jobs.values():
        write_whole(RunFolder("mine", job.name).done_file(job.key), "")
    grid.check_data("mine", jobs)
    assert len(loaded) == 2, "nothing is missing"


@pytest.mark.slow
def test_what_stops_snakemake_itself_is_said(preset: Path, results: Path, capfd: pytest.CaptureFixture[str]):
    assert main(["grid", str(preset), "--no-such-option"]) == 2
    last = capfd.readouterr().err.splitlines()[-1]
    assert last.startswith("error: Snakemake: ")
    assert "unrecognized arguments: --no-such-option (see " in last


@pytest.mark.slow
def test_a_live_line_is_shown_for_each_running_job_on_a_terminal(preset: Path, results: Path):
    """A terminal of 24 lines and 100 columns."""
    text = (preset.parent / "small.ipynb").read_text()
    (preset.parent / "small.ipynb").write_text(text.replace("print(dataset)", "import time; time.sleep(6)"))
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
    words = [sys.executable, "-m", "alutils", "grid", str(preset), "--cores", "2"]
    process = subprocess.Popen(words, stdout=theirs, stderr=theirs)
    os.close(theirs)
    shown = b""
    with contextlib.suppress(OSError):  # the other side is closed
        while part := os.read(ours, 1000):
            shown += part
    assert process.wait() == 1
    assert re.search(r"small-\w+ +running.*\n.*small-\w+ +running", shown.decode()), shown.decode()


KUBECTL = """
import shlex, subprocess, sys, yaml
from pathlib import Path
here = Path(__file__).parent
if sys.argv[1] == "create":
    manifest = yaml.safe_load(sys.stdin)
    pod = manifest["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    number = len(list(here.glob("job*.yaml")))
    (here / f"job{number}.yaml").write_text(yaml.safe_dump(manifest))
    ended = [shlex.quote(f"{here}/job{number}.{code}") for code in (1, 0)]
    words = f"{shlex.join(container['command'])} && touch {ended[0]} || touch {ended[1]}"
    subprocess.Popen(words, shell=True, cwd=container["workingDir"], stdin=-3, stdout=-3, stderr=-3)
    print(f"job.batch/job{number}")
else:
    name = sys.argv[2].removeprefix("job.batch/")
    ended = {path.suffix for path in here.glob(f"{name}.[01]")}
    print({"": "/", ".1": "1/", ".0": "/1"}["".join(ended)])
"""


@pytest.mark.slow
def test_kubernetes_jobs_are_made_and_followed_through_kubectl(
    preset: Path, results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """With a `kubectl` that runs what a Job would: what is asked of a cluster is shown, not a cluster.

    The paths of the environment, of the results and of `kubectl` have spaces.
    """
    (tmp_path / "my env").symlink_to(sys.prefix)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "my env" / "bin" / "python"))
    monkeypatch.setenv("ALUTILS_RESULTS", str(results := tmp_path / "my results"))
    program = tmp_path / "its bin" / "kubectl"
    write_whole(program.with_suffix(".py"), KUBECTL)
    write_whole(program, f'#!/bin/sh\nexec {shlex.join([sys.executable, f"{program}.py"])} "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    for name, value in {"CLAIM": "shared", "VOLUME": "/shared", "IMAGE": "python:3.11"}.items():
        monkeypatch.setenv(f"ALUTILS_{name}", value)
    words = ["grid", str(preset), "--profile", "kubernetes", "--seconds-between-status-checks", "1"]
    assert main(words) == 1, "one of the three fails"
    assert sorted(path.parent.name for path in results.glob("*/*/notebook.ipynb")) == ["small-fine", "small-good"]
    manifests = [read_yaml(path) for path in program.parent.glob("job*.yaml")]
    assert len(manifests) == 3
    spec = manifests[0]["spec"]["template"]["spec"]
    assert spec["volumes"] == [{"name": "shared", "persistentVolumeClaim": {"claimName": "shared"}}]
    assert spec["containers"][0]["resources"] == {"requests": {"cpu": 1, "memory": "8000Mi"}, "limits": {}}
    assert {"name": "ALUTILS_RESULTS", "value": str(results)} in spec["containers"][0]["env"]


@pytest.mark.slow
def test_whoever_ends_a_grid_ends_its_runs_too(tmp_path: Path, results: Path):
    preset = tmp_path / "ended.yaml"
    parameters = {"height": 32, "width": 64, "rounds": 2, "steps": 100_000, "committee_members": 2}
    preset.write_text(f"runs: [{{notebook: 03_active_learning_rounds, parameters: {parameters}}}]")
    grid = subprocess.Popen([sys.executable, "-m", "alutils", "grid", str(preset)], stderr=subprocess.PIPE, text=True)
    family = psutil.Process(grid.pid)
    while not [*results.glob("ended/*/config.json")]:
        assert grid.poll() is None
        time.sleep(0.2)
    started = family.children(recursive=True)
    assert len(started) >= 3, "Snakemake, the run, its kernel"
    grid.terminate()
    said = grid.communicate(timeout=60)[1]
    assert "0 of 1 jobs done; the same command goes on with the others" in said
    _, left = psutil.wait_procs(started, timeout=10)
    assert left == []
