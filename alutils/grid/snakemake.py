"""Run a preset's grid through Snakemake, and tell how far it is.

python -m alutils.grid.snakemake run PRESET [--cores N] [--profile NAME]    run what is missing, show the results
python -m alutils.grid.snakemake status PRESET                              print a line a job
"""

import argparse
import json
import os
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from tqdm import tqdm

from alutils.errors import DataError, ParameterError, check_range, one_line
from alutils.files import is_locked, read_yaml, try_lock
from alutils.grid.gpus import visible_gpus
from alutils.grid.preset import Job, find_preset, folder_of, load_jobs
from alutils.paths import ROOT, results_dir
from alutils.progress import SECONDS_BETWEEN, read_status
from alutils.runs.config import COMPARED, setting_of
from alutils.runs.folder import RunFolder

SNAKEFILE = ROOT / "workflow" / "Snakefile"
PROFILES = ROOT / "workflow" / "profiles"
OF_A_RUN = re.compile(r"\d\d:\d\d:\d\d |waiting for ")  # what a run says, among what Snakemake does
STATES = ("done", "running", "failed", "begun", "waiting")


@dataclass(frozen=True)
class JobState:
    """Where a job is; `where` holds what its run told last and the last row of its table, as far as there are."""

    name: str
    state: str
    where: dict[str, Any]
    reason: str = ""

    def __str__(self) -> str:
        """Return a line."""
        where, parts = self.where, []
        if "rounds" in where:
            parts.append(f"round {where['round']}/{where['rounds']}")
            parts.append(f"epoch {where['epoch']}/{where['epochs']}")
        elif "labelled" in where:
            parts.append(f"{where['labelled']} labelled")
        for measure, title in (("miou", "mIoU"), ("accuracy", "accuracy")):
            if where.get(measure):
                parts.append(f"{title} {float(where[measure]):.3f}")
                break
        if where.get("seconds_left") is not None:
            parts.append(f"{_duration(where['seconds_left'])} left")
        return "  ".join([f"{self.name:48} {self.state:8}", ", ".join(parts) or self.reason]).rstrip()


def _duration(seconds: float) -> str:
    minutes, hours = seconds / 60, seconds / 3600
    return f"{seconds:.0f} s" if seconds < 120 else f"{minutes:.0f} min" if minutes < 120 else f"{hours:.1f} h"


def state_of(experiment: str, job: Job) -> JobState:
    """Return where a job is, from what lies in its folder and whether a process holds its lock."""
    run = RunFolder(experiment, job.name)
    if (run.path / job.done).exists():
        return JobState(job.name, "done", run.last_row())
    if is_locked(run.lock("job")):
        return JobState(job.name, "running", run.last_row() | read_status(run.lock("job")))
    failed = run.path / "notebook.failed.ipynb"
    if failed.exists():
        return JobState(job.name, "failed", {}, f"{_error_in(failed)} (see {failed})")
    is_begun = (run.path / "config.json").exists() and not any(run.path.glob("done-*"))
    return JobState(job.name, "begun", run.last_row()) if is_begun else JobState(job.name, "waiting", {})


def _error_in(notebook: Path) -> str:
    """Return the error in a failed notebook in one line."""
    try:
        cells = json.loads(notebook.read_text())["cells"]
        outputs = [output for cell in cells for output in cell.get("outputs", []) if output["output_type"] == "error"]
    except (OSError, ValueError, KeyError):
        return "its notebook cannot be read"
    return " ".join(f"{outputs[-1]['ename']}: {outputs[-1]['evalue']}".split()) if outputs else "stopped"


def status(preset: Path) -> str:
    """Return a line a job of the preset, and how many are done, running, failed, begun or waiting."""
    states = [state_of(preset.stem, job) for job in load_jobs(preset).values()]
    counts = Counter(state.state for state in states)
    summary = ", ".join(f"{counts[state]} {state}" for state in STATES if counts[state])
    return "\n".join([*map(str, states), f"{len(states)} jobs: {summary}"])


def command(preset: Path, cores: int, threads: int | None, profile: Path, others: Iterable[str]) -> list[str]:
    """Return the Snakemake call; on this machine, runs share its GPUs one by one, or its cores."""
    words = [sys.executable, "-m", "snakemake", "-s", str(SNAKEFILE), "--profile", str(profile)]
    settings = read_yaml(profile / "config.yaml")
    if settings.get("executor", "local") == "local":
        gpus = len(visible_gpus())
        threads = threads or max(1, cores // gpus if gpus else 1)
        words += ["--cores", str(cores), *(["--resources", f"gpu={gpus}"] if gpus else [])]
    config = [*settings.get("config", []), f"preset={preset.resolve()}", f"threads={threads or 1}"]
    return [*words, *others, "--config", *config]


def find_profile(name: str) -> Path:
    """Return the folder of a profile given by path, or by its name in the project's `workflow/profiles/`."""
    for path in (PROFILES / name, Path(name)):
        if (path / "config.yaml").is_file():
            return path.resolve()
    known = ", ".join(sorted(path.name for path in PROFILES.iterdir()))
    raise ParameterError(f"{name} is no profile; known: {known}; or a folder with a config.yaml")


def run(preset: Path, words: list[str], profile: Path) -> int:
    """Run the grid; return the exit code. A line a running job is shown on a terminal, else log lines only.

    All that Snakemake says is added to `snakemake.log` beside the runs. Programs in the profile's folder are found by
    name.
    """
    jobs, folder = load_jobs(preset), folder_of(preset)
    folder.mkdir(parents=True, exist_ok=True)
    set_others_apart(preset.stem, jobs)
    environment = os.environ | {"PATH": f"{profile}:{os.environ['PATH']}"}
    log = folder / "snakemake.log"
    with log.open("a") as file:
        start = file.tell()
        process = subprocess.Popen(words, cwd=folder, env=environment, stdout=file, stderr=file)
    try:
        _watch(process, log, start, preset.stem, jobs)
    except KeyboardInterrupt:
        process.wait()
        _say("stopped; the same command goes on with what was saved")
        return 130
    with log.open() as file:
        file.seek(start)
        return _conclude(preset.stem, jobs, process.returncode, file.read(), log)


def set_others_apart(experiment: str, jobs: dict[str, Job]) -> None:
    """Keep runs of a setting's old recipe, of which the preset has no job any more, out of its tables and figures.

    Runs that it has a job for are set apart when that job starts.
    """
    recipes = {setting_of(job.config): job.config for job in jobs.values() if job.config}
    for path in sorted((results_dir() / experiment).glob("*/config.json")):
        run = RunFolder(experiment, path.parent.name)
        known = run.config()
        recipe = recipes.get(setting_of(known), {})
        changed = [name for name in recipe.keys() - COMPARED if known.get(name) != recipe[name]]
        if changed and run.path.name not in jobs and (lock := try_lock(run.lock("run"))):
            with lock:
                _say(f"{run.path.name}: not of the preset, of another {', '.join(sorted(changed))}: {run.set_apart()}")


def _watch(process: "subprocess.Popen[bytes]", log: Path, start: int, experiment: str, jobs: dict[str, Job]) -> None:
    """Print what the runs say into `log` from `start` on; on a terminal, below it, a live line for each of them."""
    lines: dict[str, tqdm[Any]] = {}
    is_live = sys.stderr.isatty()
    with log.open() as said:
        said.seek(start)
        while process.poll() is None:
            time.sleep(SECONDS_BETWEEN)
            _print_new(said)
            if is_live:
                running = [job for job in jobs.values() if is_locked(RunFolder(experiment, job.name).lock("job"))]
                _redraw(lines, [state_of(experiment, job) for job in running])
        _redraw(lines, [])
        _print_new(said)


def _print_new(said: IO[str]) -> None:
    while line := said.readline():
        if not line.endswith("\n"):  # its end is still to come
            said.seek(said.tell() - len(line.encode()))
            return
        if OF_A_RUN.match(line):
            tqdm.write(line.rstrip(), file=sys.stderr)


def _redraw(lines: "dict[str, tqdm[Any]]", states: list[JobState]) -> None:
    running = {state.name: state for state in states if state.state == "running"}
    for name in lines.keys() - running.keys():
        lines.pop(name).close()
    for name, state in running.items():
        if name not in lines:
            lines[name] = tqdm(bar_format="{desc}", leave=False, file=sys.stderr)
        lines[name].set_description_str(str(state))


def _conclude(experiment: str, jobs: dict[str, Job], code: int, said: str, log: Path) -> int:
    """Print the result table or, at last, what failed; return the exit code.

    That is what runs `said` into the log or, where they said it elsewhere, what their failed notebooks hold, or what
    Snakemake said last.
    """
    from alutils.results import pages as report  # pandas, which not every call needs, takes a second to load

    states = [state_of(experiment, job) for job in jobs.values()]
    missing = [state for state in states if state.state != "done"]
    if code == 0 and not missing and any((results_dir() / experiment).glob("*/provenance.json")):
        return report.main(["show", experiment])
    goes_on = "; the same command goes on with the others" if missing else ""
    _say(f"{len(states) - len(missing)} of {len(states)} jobs done{goes_on}")
    errors = re.findall(r"^[\d:]{8} error: (.*)$", said, re.MULTILINE)
    failed = [f"{state.name}: {state.reason}" for state in missing if state.state == "failed"]
    for error in (errors or failed or [f"Snakemake: {_last_line(said)} (see {log})"]) if code else []:
        _say(f"error: {error}")
    return code


def _last_line(text: str) -> str:
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "ended")


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)  # noqa: T201


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m alutils.grid.snakemake", description="Run a grid, or tell how far it is."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    starts = commands.add_parser("run", help="run what is missing; further options go to Snakemake")
    starts.add_argument("--cores", type=int, default=os.cpu_count(), help="of this machine, shared by all runs")
    starts.add_argument(
        "--threads", type=int, help="of each run (default: 1, on a machine with GPUs its share of cores)"
    )
    starts.add_argument("--profile", default="local", help="a folder in workflow/profiles/, or another one")
    for command_parser in (starts, commands.add_parser("status", help="print a line a job")):
        command_parser.add_argument("preset", metavar="PRESET", help="a name in params/, or the path of a YAML file")
    chosen, others = parser.parse_known_args(arguments)
    try:
        preset = find_preset(chosen.preset)
        if chosen.command == "status":
            print(status(preset))  # noqa: T201
            return 0
        check_range("cores", chosen.cores, 1, 100_000)
        check_range("threads", chosen.threads or 1, 1, 1000)
        profile = find_profile(chosen.profile)
        return run(preset, command(preset, chosen.cores, chosen.threads, profile, others), profile)
    except (ParameterError, DataError, OSError) as error:
        _say(f"error: {one_line(error)}")
        return 1


if __name__ == "__main__":
    sys.exit(main())
