"""Run one notebook with checked parameters.

    python -m alutils.grid.notebook NOTEBOOK [-f PARAMS.yaml] [-p NAME VALUE]... [--cell-timeout SECONDS]

The executed notebook is written whole into the run's folder below the results folder. A wrong parameter is
one line on stderr and exit code 1, before anything starts; so is a failing cell, whose notebook is kept there
as `notebook.failed.ipynb`. A second start of a finished run only reads it.
"""

import argparse
import logging
import math
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import nbformat
import papermill
from nbclient.exceptions import CellTimeoutError, DeadKernelError
from papermill.exceptions import PapermillExecutionError
from traitlets.config import Config

from alutils.errors import DataError, ParameterError, check_range, one_line
from alutils.files import is_locked, locked, read_yaml, write_whole
from alutils.grid.gpus import claimed
from alutils.grid.parameters import check_parameters, done_file, find_notebook, gpus_wanted, run_name
from alutils.progress import BARS, STATUS
from alutils.runs.folder import RunFolder

START_TIMEOUT = 600  # seconds for a kernel to start, on a machine that many runs share


def run_notebook(notebook: Path, given: Mapping[str, Any], cell_timeout: int | None = None) -> Path:
    """Run `notebook` with the parameters `given`; return the path of the executed notebook.

    While another process runs the same, this one waits, and then has nothing left to do. Raises `ParameterError`
    before anything starts, or `RuntimeError` with the failing cell's error.
    """
    parameters = check_parameters(notebook, given)
    name = run_name(notebook.stem, parameters)
    run = RunFolder(parameters["experiment"], name)
    title = name if name.startswith(notebook.stem) else f"{notebook.stem} {name}"
    done, result = run.path / done_file(notebook.stem, parameters), run.path / "notebook.ipynb"
    was_done, status = done.exists(), run.lock("job")
    with locked(status, title), claimed(gpus_wanted(notebook.stem, parameters)) as gpus:
        if done.exists() and not was_done:
            _say(f"{title}: done by another process")
            return result
        started, last_finish = time.monotonic(), _time_of(run.path / "provenance.json")
        _say(f"{title}: started")
        for marker in run.path.glob("done-*"):
            marker.unlink()
        with _environment({STATUS: str(status)} | gpus):
            _execute(notebook, parameters, run.path, title, cell_timeout)
        (run.path / "notebook.failed.ipynb").unlink(missing_ok=True)
        write_whole(done, time.strftime("%Y-%m-%d %H:%M:%S\n"))
        status.write_text("")
        only_read = last_finish and last_finish == _time_of(run.path / "provenance.json")
        how = ", only read: it was finished before" if only_read else ""
        _say(f"{title}: done in {time.monotonic() - started:.0f} s{how}")
    return result


def _time_of(path: Path) -> int | None:
    return path.stat().st_mtime_ns if path.exists() else None


@contextmanager
def _environment(changes: Mapping[str, str]) -> Iterator[None]:
    """Change environment variables, which kernels inherit, for a while."""
    before = dict(os.environ)
    os.environ.update(changes)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _execute(notebook: Path, parameters: dict[str, Any], folder: Path, title: str, cell_timeout: int | None) -> None:
    """Let papermill run `notebook` and keep what it gives in `folder`, as executed or as failed notebook."""
    with _temporary_folder() as temporary:
        output = temporary / "notebook.ipynb"
        try:
            _run_papermill(notebook, output, parameters, cell_timeout)
        except (PapermillExecutionError, CellTimeoutError, DeadKernelError) as error:
            reason = _reason(error, cell_timeout)
            raise RuntimeError(f"{title}: {reason} ({_keep_failed(output, folder, reason)})") from error
        write_whole(folder / "notebook.ipynb", output.read_bytes())


def _run_papermill(notebook: Path, output: Path, parameters: dict[str, Any], cell_timeout: int | None) -> None:
    """Let papermill run `notebook` into `output`, its kernel on sockets that are files beside `output`.

    Over TCP, kernels that start at the same time now and then take each other's port.
    """
    logging.getLogger("traitlets").setLevel(logging.CRITICAL)  # says what is in the error, too
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
        coalesce_streams=True,  # a bar in the executed notebook is its last state, not a line a tick
    )


def _reason(error: Exception, cell_timeout: int | None) -> str:
    """Return in one line why a notebook failed."""
    if isinstance(error, PapermillExecutionError):
        return " ".join(f"{error.ename}: {error.evalue}".split())
    if isinstance(error, CellTimeoutError):
        return f"a cell took more than the {cell_timeout} s that --cell-timeout allows"
    return "the kernel died, killed from outside or for want of memory"


def _keep_failed(output: Path, folder: Path, reason: str) -> str:
    """Keep what was executed as `notebook.failed.ipynb`, its error in the failing cell; return where it is."""
    content = nbformat.read(output, 4)
    started = [
        cell for cell in content.cells if cell.metadata.get("papermill", {}).get("status", "pending") != "pending"
    ]
    if started and not any(shown.output_type == "error" for cell in started for shown in cell.get("outputs", [])):
        shown = nbformat.v4.new_output("error", ename="Stopped", evalue=reason, traceback=[reason])
        started[-1].setdefault("outputs", []).append(shown)
    failed = folder / "notebook.failed.ipynb"
    try:
        write_whole(failed, nbformat.writes(content))
    except OSError as error:
        return f"and its notebook is lost: {error.strerror}"
    return f"see {failed}"


@contextmanager
def _temporary_folder() -> Iterator[Path]:
    """Yield a folder that is removed at the end or, if this process is killed, when a later one starts."""
    base = Path(tempfile.gettempdir())
    base = base if len(str(base)) < 60 else Path("/tmp")  # the path of a socket has 107 characters at most
    for folder in base.glob("alutils-run-*"):
        _sweep(folder)
    with tempfile.TemporaryDirectory(prefix="alutils-run-", dir=base) as temporary:
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
    sys.stderr.write(f"{time.strftime('%H:%M:%S')} {line}\n")  # in one piece, unlike print: others write there too
    sys.stderr.flush()


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m alutils.grid.notebook", description="Run one notebook.")
    parser.add_argument("notebook", metavar="NOTEBOOK", help="its path, or its name in notebooks/")
    parser.add_argument("-f", metavar="PARAMS.yaml", action="append", default=[], help="a YAML file of parameters")
    parser.add_argument("-p", metavar=("NAME", "VALUE"), nargs=2, action="append", default=[], help="a parameter")
    parser.add_argument("--cell-timeout", metavar="SECONDS", type=int, help="let no cell take longer")
    chosen = parser.parse_args(arguments)
    try:
        check_range("cell_timeout", 1 if chosen.cell_timeout is None else chosen.cell_timeout, 1, math.inf, "seconds")
        run_notebook(find_notebook(chosen.notebook), _given(chosen.f, chosen.p), chosen.cell_timeout)
    except (ParameterError, DataError, RuntimeError, OSError) as error:
        _say(f"error: {one_line(error)}")
        return 1
    except KeyboardInterrupt:
        _say("stopped; the same command goes on with what was saved")
        return 130
    return 0


def _given(files: Iterable[str], pairs: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """Return the parameters of all YAML files, then those of the command line, later ones winning."""
    given: dict[str, Any] = {}
    for file in files:
        given |= read_yaml(Path(file))
    return given | dict(pairs)


if __name__ == "__main__":
    sys.exit(main())
