"""Where each job of a grid is, and why it would run."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alutils.errors import DataError, shortened
from alutils.files import is_locked, read_mapping
from alutils.grid.parameters import checksums
from alutils.grid.preset import Job, load_jobs
from alutils.progress import duration, read_status
from alutils.runs.folder import RunFolder

WIDTH = 48  # characters of a name in a table, at least
STATES = ("done", "out of date", "running", "failed", "begun", "new")


@dataclass(frozen=True)
class JobState:
    """Where a job is.

    state : one of `STATES`
    where : how far its run is: what it last wrote into its status file, and the last row of its table
    reason : why it would run; empty if it would not
    """

    name: str
    state: str
    where: dict[str, Any]
    reason: str = ""

    def __str__(self) -> str:
        """Return a line for a person."""
        return self.line(WIDTH)

    def line(self, width: int) -> str:
        """Return a line for a person, in which the name has so many characters."""
        told = _progress(self.where) if self.state in ("done", "running", "begun") else self.reason
        told = "" if told == self.state else told
        return f"{self.name:{width}} {self.state:11}  {told}".rstrip()


def _progress(where: dict[str, Any]) -> str:
    try:
        return ", ".join(_numbers(where))
    except (KeyError, ValueError, TypeError):
        return "how far it is cannot be read"


def _numbers(where: dict[str, Any]) -> list[str]:
    parts = []
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
        parts.append(f"{duration(where['seconds_left'])} left")
    return parts


def states_of(experiment: str, jobs: dict[str, Job]) -> dict[str, JobState]:
    """Return where each job is, by name."""
    states: dict[str, JobState] = {}
    for job in sorted(jobs.values(), key=lambda job: _depth(job, jobs)):
        states[job.name] = state_of(experiment, job, [states[name] for name in job.needs])
    return {name: states[name] for name in jobs}


def _depth(job: Job, jobs: dict[str, Job]) -> int:
    """Return 0 for a job that needs none, 1 for one that needs such, 2 for one that needs all others."""
    return 2 if any(jobs[name].needs for name in job.needs) else 1 if job.needs else 0


def state_of(experiment: str, job: Job, needs: Iterable[JobState] = ()) -> JobState:
    """Return where a job is, from the files in its folder and whether a process holds its lock.

    needs : where the jobs are that it needs
    """
    run = RunFolder(experiment, job.name)
    if run.done_file(job.key).exists():
        changed = _changed_input(run.done_file(job.key), experiment, job, needs)
        return JobState(job.name, "out of date" if changed else "done", run.last_row(), changed)
    if is_locked(run.lock("job")):
        where = run.last_row() | read_status(run.status_file)
        return JobState(job.name, "running", where, "another process works on it")
    if run.failed_notebook.exists():
        return JobState(job.name, "failed", {}, f"{_error_in(run.failed_notebook)} (see {run.failed_notebook})")
    return JobState(job.name, *_not_done(run, job))


def _not_done(run: RunFolder, job: Job) -> tuple[str, dict[str, Any], str]:
    """Return state, progress and reason of a job that has not run with these parameters."""
    try:
        known, changed = run.config(), run.changes(job.config)
    except DataError as error:
        return "begun", {}, str(error)
    if changed:
        return "out of date", {}, f"recipe changed: {changed}"
    if known and not run.finished_ns():
        row = run.last_row()
        return "begun", row, f"begun: goes on at round {_next_round(row)}"
    if run.any_done_file():
        return "out of date", {}, "parameters changed"
    return ("begun", run.last_row(), "its training is finished, its notebook is not") if known else ("new", {}, "new")


def _next_round(row: dict[str, str]) -> str:
    try:
        return str(int(row["round"]) + 1 if row else 0)
    except (KeyError, ValueError, TypeError):
        return "unknown, for rounds.csv is damaged"


def _changed_input(done: Path, experiment: str, job: Job, needs: Iterable[JobState]) -> str:
    """Return which input changed after `done` was written; empty if none did. Snakemake goes by the same."""
    when, kept = done.stat().st_mtime_ns, _kept_checksums(done)
    for file in job.files:
        if _newer_than(file, when) and checksums([file]).items() - kept.items():
            return f"{file.name} changed"
    for need in needs:
        if need.state != "done":
            return f"{need.name} runs first"
        made = RunFolder(experiment, need.name).any_done_file()
        if made and _newer_than(made, when):
            return f"{need.name} is newer"
    return ""


def _newer_than(file: Path, when: int) -> bool:
    return file.stat().st_mtime_ns > when


def _kept_checksums(done: Path) -> dict[str, str]:
    """Return the checksums in the file `done`; none if it is damaged, for then all files count as changed."""
    kept = read_mapping(done).get("files")
    return {name: str(value) for name, value in kept.items()} if isinstance(kept, dict) else {}


def _error_in(notebook: Path) -> str:
    """Return the error in a failed notebook in one line."""
    try:
        cells = read_mapping(notebook)["cells"]
        outputs = [output for cell in cells for output in cell.get("outputs", []) if output["output_type"] == "error"]
        return shortened(f"{outputs[-1]['ename']}: {outputs[-1]['evalue']}") if outputs else "stopped"
    except (KeyError, TypeError, AttributeError):
        return "its notebook cannot be read"


def states(preset: Path) -> list[JobState]:
    """Return where each job of the preset is."""
    return [*states_of(preset.stem, load_jobs(preset)).values()]


def summary(found: Sequence[JobState]) -> str:
    """Return one line per job, and how many jobs are in each state."""
    counts = Counter(state.state for state in found)
    in_words = ", ".join(f"{counts[state]} {state}" for state in STATES if counts[state])
    return "\n".join([*(state.line(_widest(found)) for state in found), f"{len(found)} jobs: {in_words}"])


def _widest(found: Sequence[JobState]) -> int:
    """Return the width of a column of names."""
    return max([WIDTH, *(len(state.name) for state in found)])


def status(preset: Path) -> str:
    """Return the summary of a preset."""
    return summary(states(preset))


def plan(preset: Path) -> str:
    """Return a line for each job of the preset that would run, with the reason, and how many these are."""
    found = states(preset)
    would_run = [state for state in found if state.state != "done"]
    width = _widest(would_run)
    lines = [f"{state.name:{width}} {'failed: ' * (state.state == 'failed')}{state.reason}" for state in would_run]
    return "\n".join([*lines, f"{len(would_run)} of {len(found)} jobs would run"])
