"""Run one notebook with checked parameters.

The executed notebook is written whole into the run's folder below the results folder. A failing cell is a
`RuntimeError` of one line; its notebook is kept there, too. A second start of a finished run only reads it.
"""

import json
import logging
import os
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from alutils.errors import RunError, shortened
from alutils.files import is_locked, locked, own_folder, write_whole
from alutils.grid.gpus import claimed
from alutils.grid.notebooks import about
from alutils.grid.parameters import (
    check_names,
    check_parameters,
    checksums,
    config_of,
    done_key,
    gpus_wanted,
    input_files,
    run_name,
)
from alutils.limits import explained
from alutils.progress import BARS, STATUS
from alutils.runs.folder import RunFolder

# papermill, nbformat and the kernel are imported where they are used: they take a second, and mistakes are said first.

START_TIMEOUT = 600  # seconds for a kernel to start, on a machine that many runs share


def run_notebook(notebook: Path, given: Mapping[str, Any], cell_timeout: int | None = None) -> Path:
    """Run `notebook` with the parameters `given`; return the path of the executed notebook.

    While another process runs the same, this one waits, and then has nothing left to do. Raises `ParameterError`
    before anything starts, or `DataError` if an experiment whose results would be shown is not there; later,
    `RuntimeError` with the failing cell's error.
    """
    parameters = check_parameters(notebook, given)
    check_names(notebook.stem, parameters)
    if about(notebook.stem).reads_results and parameters["experiment"] != check_parameters(notebook, {})["experiment"]:
        from alutils.results.tables import Experiment, check_experiment  # loads pandas, which takes a second

        check_experiment(parameters["experiment"])
        if about(notebook.stem).uses_gpu:  # it asks the networks of runs, so that a published table is not enough
            Experiment.of_runs(parameters["experiment"])
    name = run_name(notebook.stem, parameters)
    run = RunFolder(parameters["experiment"], name)
    title = name if name.startswith(notebook.stem) else f"{notebook.stem} {name}"
    done = run.done_file(done_key(notebook.stem, parameters))
    was_done = done.exists()
    with locked(run.lock("job"), title), claimed(gpus_wanted(notebook.stem, parameters)) as gpus:
        if done.exists() and not was_done:
            _say(f"{title}: done by another process")
            return run.notebook
        started, finished_before = time.monotonic(), run.finished_ns()
        changed = run.changes(config_of(notebook.stem, parameters))
        _say(f"{title}: started")
        if changed:
            _say(f"{title}: recipe changed: {changed}; the old run is kept in {run.path.parent / 'superseded'}")
        inputs = checksums(input_files(notebook, parameters))
        run.forget_done()
        with _told_in(run.status_file) as status, environment(status | gpus):
            _execute(notebook, parameters, run, title, cell_timeout)
        run.failed_notebook.unlink(missing_ok=True)
        write_whole(done, json.dumps({"at": time.strftime("%Y-%m-%d %H:%M:%S"), "files": inputs}, indent=2) + "\n")
        only_read = finished_before and finished_before == run.finished_ns()
        how = ", only read: it was finished before" if only_read else ""
        _say(f"{title}: done in {time.monotonic() - started:.0f} s{how}")
    return run.notebook


@contextmanager
def _told_in(status: Path) -> Iterator[dict[str, str]]:
    """Let a run say in the file `status` how far it is; yield the environment that asks for it."""
    status.parent.mkdir(parents=True, exist_ok=True)
    status.unlink(missing_ok=True)
    yield {STATUS: str(status)}
    status.unlink(missing_ok=True)


@contextmanager
def environment(changes: Mapping[str, str]) -> Iterator[None]:
    """Change environment variables for a while; kernels inherit them."""
    before = dict(os.environ)
    os.environ.update(changes)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _execute(notebook: Path, parameters: dict[str, Any], run: RunFolder, title: str, cell_timeout: int | None) -> None:
    """Let papermill run `notebook`; keep the result in the folder of `run`, as its executed or its failed notebook."""
    with _temporary_folder() as temporary:
        output = temporary / notebook.name
        try:
            _run_papermill(notebook, output, parameters, cell_timeout)
        except Exception as error:  # a notebook may be anything, and so may what ends it
            reason = shortened(explained(_reason(error, output, cell_timeout)))
            raise RunError(f"{title}: {reason} ({_keep_failed(output, run, reason)})") from error
        write_whole(run.notebook, output.read_bytes())


def _run_papermill(notebook: Path, output: Path, parameters: dict[str, Any], cell_timeout: int | None) -> None:
    """Let papermill run `notebook` into `output`, its kernel on sockets that are files beside `output`.

    Over TCP, kernels that start at the same time now and then take each other's port.
    """
    import papermill
    from traitlets.config import Config

    from alutils.grid.kernel import Kernel

    Kernel.process = None  # of an earlier run
    for name in ("traitlets", "papermill"):  # they would repeat the error
        logging.getLogger(name).setLevel(logging.CRITICAL)
    on_terminal = sys.stderr.isatty()
    os.environ.setdefault(BARS, "1" if on_terminal else "0")
    connection = {"connection_file": str(output.with_name("connection.json")), "transport": "ipc"}
    config = Config({"KernelManager": connection | {"ip": str(output.with_name("kernel"))}})
    config.NotebookClient.shutdown_kernel = "immediate"  # all is saved; unloading torch takes seconds
    papermill.execute_notebook(
        notebook,
        output,
        parameters,
        progress_bar=False,
        stderr_file=sys.stderr if on_terminal else None,
        start_timeout=START_TIMEOUT,
        execution_timeout=cell_timeout,
        config=config,
        kernel_manager_class=Kernel,
        coalesce_streams=True,  # of a bar, the executed notebook keeps the last state, not one line per tick
    )


def _reason(error: Exception, output: Path, cell_timeout: int | None) -> str:
    """Return why a notebook failed."""
    from nbclient.exceptions import CellTimeoutError
    from papermill.exceptions import PapermillExecutionError

    from alutils.grid.kernel import how_it_ended

    if isinstance(error, PapermillExecutionError):
        return f"{error.ename}: {error.evalue}" if error.traceback else _errors_said(output)
    if isinstance(error, CellTimeoutError):
        return f"a cell took more than the {cell_timeout} s that --cell-timeout allows"
    return how_it_ended() or f"{type(error).__name__}: {error}"


def _errors_said(output: Path) -> str:
    """Return the errors that a failed cell told on stderr, as where memory is too short to show them in its output."""
    import nbformat

    cells = [cell for cell in nbformat.read(output, 4).cells if cell.metadata.get("papermill", {}).get("exception")]
    said = "".join(shown.text for cell in cells for shown in cell.outputs if shown.get("name") == "stderr")
    errors = re.findall(r"^(?!Traceback|During|The above)[A-Za-z].*", said, re.MULTILINE)
    return "; ".join(dict.fromkeys(errors)) or "a cell failed without an error"


def _keep_failed(output: Path, run: RunFolder, reason: str) -> str:
    """Keep the cells that were executed, with the error in the failing one; return a note that says where."""
    import nbformat

    try:
        content = nbformat.read(output, 4)
    except Exception:  # it was not begun, or only a part of it could be written
        return "and its notebook is lost"
    started = [
        cell for cell in content.cells if cell.metadata.get("papermill", {}).get("status", "pending") != "pending"
    ]
    if started and not any(shown.output_type == "error" for cell in started for shown in cell.get("outputs", [])):
        shown = nbformat.v4.new_output("error", ename="Stopped", evalue=reason, traceback=[reason])
        started[-1].setdefault("outputs", []).append(shown)
    try:
        write_whole(run.failed_notebook, nbformat.writes(content))
    except OSError as error:
        return f"and its notebook is lost: {error.strerror}"
    return f"see {run.failed_notebook}"


@contextmanager
def _temporary_folder() -> Iterator[Path]:
    """Yield a folder that is removed at the end or, if this process is killed, when a later one starts."""
    base = Path(tempfile.gettempdir())
    base = own_folder(base if len(str(base)) < 60 else Path("/tmp"))  # a socket's path has 107 characters at most
    for folder in base.glob("run-*"):
        _sweep(folder)
    with tempfile.TemporaryDirectory(prefix="run-", dir=base) as temporary:
        folder = Path(temporary)
        with locked(folder / "lock", str(folder)):
            yield folder


def _sweep(folder: Path) -> None:
    """Remove `folder` if the process that made it is gone; one that was just made may not yet be locked."""
    with suppress(OSError):
        is_old = time.time() - folder.stat().st_mtime > 60
        if is_old and not is_locked(folder / "lock"):
            shutil.rmtree(folder, ignore_errors=True)


def _say(line: str) -> None:
    sys.stderr.write(f"{time.strftime('%H:%M:%S')} {line}\n")  # one write: other processes write there, too
    sys.stderr.flush()
