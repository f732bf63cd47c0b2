"""Run a preset's grid through Snakemake."""

import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

from tqdm import tqdm

from alutils.errors import ParameterError, did_you_mean
from alutils.files import is_locked, read_yaml, try_lock
from alutils.grid.gpus import visible_gpus
from alutils.grid.notebook import environment
from alutils.grid.notebooks import about
from alutils.grid.preset import Job, folder_of, load_jobs
from alutils.grid.state import JobState, state_of, states_of
from alutils.paths import ROOT
from alutils.progress import BARS, SECONDS_BETWEEN
from alutils.runs.config import COMPARED, setting_of
from alutils.runs.data import load_split, load_test_set
from alutils.runs.folder import RunFolder, begun_runs, finished_runs

SNAKEFILE = ROOT / "workflow" / "Snakefile"
PROFILES = ROOT / "workflow" / "profiles"
OF_A_RUN = re.compile(r"\d\d:\d\d:\d\d |waiting for ")  # what a run says, among what Snakemake says
QUOTED = "import shlex, sys; sys.executable = shlex.quote(sys.executable); from snakemake.cli import main; main()"
FAILED = re.compile(r"^error: (.*)$", re.MULTILINE)  # what a failing run says last


def command(preset: Path, cores: int, threads: int | None, profile: Path, others: Iterable[str]) -> list[str]:
    """Return the words that call Snakemake; on this machine each run has a GPU, or its threads of the cores."""
    settings = read_yaml(profile / "config.yaml")
    words = [sys.executable, *_snakemake(settings), "-s", str(SNAKEFILE), "--profile", str(profile)]
    given = settings.get("config", [])
    if not isinstance(given, list):
        raise ParameterError(f"{profile}/config.yaml: config is {given!r}; allowed: a list, as in [gpus=1]")
    if settings.get("executor", "local") == "local":
        gpus = len(visible_gpus())
        threads = threads or max(1, cores // gpus if gpus else 1)
        words += ["--cores", str(cores), *(["--resources", f"gpu={gpus}"] if gpus else [])]
    config = [*map(str, given), f"preset={preset.resolve()}", f"threads={threads or 1}"]
    return [*words, *others, "--config", *config]


def _snakemake(settings: dict[str, Any]) -> list[str]:
    """Return the words that let Python run Snakemake, which writes the path of its Python into jobs' scripts as it is.

    Raises `ParameterError` where a space in that path cannot be helped: on Slurm it is written by jobs, too.
    """
    is_plain = shlex.quote(sys.executable) == sys.executable
    executor = settings.get("executor", "local")
    if is_plain or executor == "local":
        return ["-m", "snakemake"]
    if executor == "cluster-generic":
        return ["-c", QUOTED]
    raise ParameterError(f"{sys.executable}: its path has a space or the like; allowed: none of these with {executor}")


def find_profile(name: str) -> Path:
    """Return the folder of a profile, given as a path or as a name in the project's `workflow/profiles/`."""
    for path in (PROFILES / name, Path(name)):
        if (path / "config.yaml").is_file():
            return path.resolve()
    known = sorted(path.name for path in PROFILES.iterdir())
    what = f"{did_you_mean(name, known)}known: {', '.join(known)}; or a folder with a config.yaml"
    raise ParameterError(f"{name} is no profile; {what}")


def run(preset: Path, words: list[str], profile: Path) -> int:
    """Run the grid; return the exit code. On a terminal each running job has a live line.

    All that Snakemake says is added to `snakemake.log` beside the runs. Programs in the profile's folder are found by
    name.
    """
    jobs, folder = load_jobs(preset), folder_of(preset)
    folder.mkdir(parents=True, exist_ok=True)
    check_data(preset.stem, jobs)
    set_others_apart(preset.stem, jobs)
    log = folder / "snakemake.log"
    if log.exists() and not log.is_file():
        raise ParameterError(f"{log} is in the way; allowed: a file, or none")
    with log.open("a") as file, environment({"PATH": f"{profile}:{os.environ['PATH']}"}):
        start = file.tell()
        process = subprocess.Popen(words, cwd=folder, stdout=file, stderr=file, process_group=0)

    def pass_on(number: int, frame: object = None) -> None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)  # Snakemake and its runs, for Snakemake alone would wait for them

    before = signal.signal(signal.SIGTERM, pass_on)
    try:
        _watch(process, log, start, preset.stem, jobs)
    except KeyboardInterrupt:
        pass_on(signal.SIGINT)
        process.wait()
        raise
    finally:
        signal.signal(signal.SIGTERM, before)
    with log.open(errors="replace") as file:
        file.seek(start)
        return _conclude(preset.stem, jobs, process.returncode, file.read(), log)


def check_data(experiment: str, jobs: dict[str, Job]) -> None:
    """Load each data set of the jobs that would run, once; raise `DataError` or `ParameterError` for what is wrong.

    This fills the cache, so that the runs need not wait for each other to do so.
    """
    states, checked = states_of(experiment, jobs), set()
    with environment({BARS: "1" if sys.stderr.isatty() else "0"}):
        for job in jobs.values():
            kind = about(job.notebook.stem).config
            data = tuple(
                job.config.get(name) for name in ("dataset", "height", "width", "test_split", "test_resolution")
            )
            if kind is None or states[job.name].state == "done" or data in checked:
                continue
            checked.add(data)
            config = kind.from_names(job.config)
            if config.dataset.endswith((".yaml", ".yml")):
                config = replace(config, dataset=str(ROOT / config.dataset))
            load_split(config, "train")
            load_test_set(config)


def set_others_apart(experiment: str, jobs: dict[str, Job]) -> None:
    """Move runs of a changed recipe that the preset no longer lists to `superseded/`, out of its tables and figures.

    Runs that it does list are moved when their job starts.
    """
    recipes = {setting_of(job.config): job.config for job in jobs.values() if job.config}
    for run in begun_runs(experiment):
        known = run.config()
        recipe = recipes.get(setting_of(known), {})
        changed = [name for name in recipe.keys() - COMPARED if known.get(name) != recipe[name]]
        if changed and run.path.name not in jobs and (lock := try_lock(run.lock("run"))):
            with lock:
                what = f"not in the preset, and made with another {', '.join(sorted(changed))}"
                _say(f"{run.path.name}: {what}; it is kept as {run.set_apart()}")


def _watch(process: "subprocess.Popen[bytes]", log: Path, start: int, experiment: str, jobs: dict[str, Job]) -> None:
    """Print what the runs say into `log` from `start` on; on a terminal, below it, a live line for each of them."""
    lines: dict[str, tqdm[Any]] = {}
    is_live, reasons = sys.stderr.isatty(), set[str]()
    with log.open(errors="replace") as said:
        said.seek(start)
        while process.poll() is None:
            time.sleep(SECONDS_BETWEEN)
            _print_new(said, reasons)
            if is_live:
                running = [job for job in jobs.values() if is_locked(RunFolder(experiment, job.name).lock("job"))]
                _redraw(lines, [state_of(experiment, job) for job in running])
        _redraw(lines, [])
        _print_new(said, reasons)


def _print_new(said: IO[str], reasons: set[str]) -> None:
    """Print the lines of runs in what is new in `said`; of errors those for a reason that is not in `reasons` yet."""
    while True:
        start, line = said.tell(), said.readline()
        if not line.endswith("\n"):  # its end is still to come
            said.seek(start)
            return
        error = FAILED.match(line)
        if OF_A_RUN.match(line) or (error and _reason(error[1]) not in reasons):
            tqdm.write(line.rstrip(), file=sys.stderr)
        if error:
            reasons.add(_reason(error[1]))


def _redraw(lines: "dict[str, tqdm[Any]]", states: list[JobState]) -> None:
    running = {state.name: state for state in states if state.state == "running"}
    for name in lines.keys() - running.keys():
        lines.pop(name).close()
    for name, state in running.items():
        if name not in lines:
            lines[name] = tqdm(bar_format="{desc}", leave=False, file=sys.stderr)
        lines[name].set_description_str(str(state))


def _conclude(experiment: str, jobs: dict[str, Job], code: int, said: str, log: Path) -> int:
    """Print the result table or, as the last lines, what failed; return the exit code.

    What failed is what the runs `said` into the log. Where they said it elsewhere, as on a cluster, it is what their
    failed notebooks hold, or else what Snakemake said last.
    """
    states = list(states_of(experiment, jobs).values())
    missing = [state for state in states if state.state != "done"]
    if code == 0 and not missing and finished_runs(experiment):
        from alutils.results.report import report  # pandas, which not every call needs, takes a second to load

        print(report(experiment))  # noqa: T201
        return 0
    goes_on = "; the same command goes on with the others" if missing else ""
    _say(f"{len(states) - len(missing)} of {len(states)} jobs done{goes_on}")
    if code:
        errors = FAILED.findall(said) or [
            f"{state.name}: {state.reason}" for state in missing if state.state == "failed"
        ]
        for error in grouped(errors) or [f"Snakemake: {_last_line(said)} (see {log})"]:
            _say(f"error: {error}")
    return code


def grouped(errors: Iterable[str]) -> list[str]:
    """Return a line for each reason for which runs failed, with their number if several failed for it."""
    alike: dict[str, list[str]] = {}
    for error in errors:
        alike.setdefault(_reason(error), []).append(error)
    return [
        one if not others else f"{1 + len(others)} runs failed alike, such as {one}" for one, *others in alike.values()
    ]


def _reason(error: str) -> str:
    """Return an error line without the name of its run and without the place of its notebook."""
    return re.sub(r" \(see .*\)$", "", error.partition(": ")[2] or error)


def _last_line(text: str) -> str:
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "ended")


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)  # noqa: T201
