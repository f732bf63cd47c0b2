"""One notebook through papermill: its parameters checked first, its output whole, its failure one line."""

import errno
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import nbformat
import psutil
import pytest

from alutils.__main__ import main as command_line
from alutils.files import locked, write_whole

pytestmark = pytest.mark.slow


def main(arguments: list[str]) -> int:
    return command_line(["run", *arguments])


@pytest.fixture
def temporary() -> Iterator[Path]:
    """Return a fresh temporary folder; its path is short, for sockets lie in it."""
    folder = Path(tempfile.mkdtemp(prefix="t-"))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("tempfile.tempdir", str(folder))
        yield folder
    shutil.rmtree(folder)


def test_a_run_writes_the_executed_notebook_and_leaves_nothing_else(
    notebook: Path, results: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    values = tmp_path / "values.yaml"
    values.write_text("count: 1\nname: from file\n")
    assert main([str(notebook), "-f", str(values), "-p", "count", "2", "-p", "on", "true"]) == 0
    executed = nbformat.read(results / "e" / "small" / "notebook.ipynb", 4)
    assert executed.cells[-1].outputs[0].text == "2 0.5 from file True [1, 2] None\n"
    done, executed_notebook = sorted(path.name for path in (results / "e" / "small").iterdir())
    assert done.startswith("done-")
    assert executed_notebook == "notebook.ipynb"
    assert "small: done in" in capfd.readouterr().err


def test_a_bar_in_the_executed_notebook_is_not_a_line_a_tick(
    notebook: Path, results: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("ALUTILS_PROGRESS", "1")
    content = nbformat.read(notebook, 4)
    content.cells[-1].source = (
        "import time\nfrom alutils.progress import bar\nticks = bar(3, 'ticks')\n"
        "for _ in range(3):\n    time.sleep(0.6)\n    ticks.update()\nticks.close()"
    )
    nbformat.write(content, notebook)
    assert main([str(notebook)]) == 0
    executed = nbformat.read(results / "e" / "small" / "notebook.ipynb", 4)
    assert "ticks" not in str(executed.cells[-1].outputs)


def test_a_failing_cell_is_one_line_and_keeps_the_last_good_notebook(
    notebook: Path, results: Path, capfd: pytest.CaptureFixture[str]
):
    assert main([str(notebook)]) == 0
    good = (results / "e" / "small" / "notebook.ipynb").read_bytes()
    capfd.readouterr()
    assert main([str(notebook), "-p", "count", "-1"]) == 1
    last = capfd.readouterr().err.strip().splitlines()[-1]
    assert "error: small: AssertionError: count is below 0 (see " in last
    assert (results / "e" / "small" / "notebook.ipynb").read_bytes() == good
    failed = nbformat.read(results / "e" / "small" / "notebook.failed.ipynb", 4)
    assert any(output.output_type == "error" for cell in failed.cells for output in cell.get("outputs", []))
    assert main([str(notebook)]) == 0
    assert not (results / "e" / "small" / "notebook.failed.ipynb").exists()


def write_body(notebook: Path, body: str) -> None:
    """Replace what the notebook does after its parameters."""
    content = nbformat.read(notebook, 4)
    content.cells[-1].source = body
    nbformat.write(content, notebook)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("import time\ntime.sleep(60)", "a cell took more than the 1 s that --cell-timeout allows"),
        ("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)", "the kernel died, killed from outside or for lack"),
    ],
)
def test_a_cell_without_end_and_a_dead_kernel_are_one_line_and_shown_in_the_notebook(
    notebook: Path, results: Path, body: str, reason: str, capfd: pytest.CaptureFixture[str]
):
    write_body(notebook, body)
    assert main([str(notebook), "--cell-timeout", "1"]) == 1
    last = capfd.readouterr().err.strip().splitlines()[-1]
    assert f"error: small: {reason}" in last
    failed = nbformat.read(results / "e" / "small" / "notebook.failed.ipynb", 4)
    (error,) = [output for output in failed.cells[-1].outputs if output.output_type == "error"]
    assert error.evalue.startswith(reason)


def test_of_two_that_start_the_same_run_the_second_waits_and_has_nothing_to_do(notebook: Path, results: Path):
    write_body(
        notebook, "import time\ntime.sleep(3)\nwith open(f'{experiment}.log', 'a') as log:\n    log.write('ran ')"
    )
    words = [sys.executable, "-m", "alutils", "run", str(notebook)]
    both = [subprocess.Popen(words, cwd=notebook.parent, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    said = sorted(process.communicate()[1] for process in both)
    assert [process.returncode for process in both] == [0, 0]
    assert (notebook.parent / "e.log").read_text() == "ran "
    assert sum("waiting for another process that works on small" in text for text in said) == 1
    assert sum("small: done by another process" in text for text in said) == 1


def test_ctrl_c_is_one_line_and_leaves_no_kernel(notebook: Path, results: Path, tmp_path: Path):
    write_body(notebook, "import os, time\nopen('kernel', 'w').write(str(os.getpid()))\ntime.sleep(60)")
    words = [sys.executable, "-m", "alutils", "run", str(notebook)]
    process = subprocess.Popen(
        words,
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # ignored where tests run in the background
    )
    while not (tmp_path / "kernel").exists() or not (tmp_path / "kernel").read_text():
        assert process.poll() is None
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    lines = process.communicate()[1].splitlines()
    assert process.returncode == 130
    assert lines[-1].endswith("stopped; the same command goes on with what was saved")
    assert len(lines) == 2, lines
    deadline = time.monotonic() + 20
    while psutil.pid_exists(int((tmp_path / "kernel").read_text())):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_a_full_disk_keeps_the_reason(
    notebook: Path, results: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
):
    """The failed notebook cannot be kept, and then the line says both."""

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    assert main([str(notebook), "-p", "count", "-1"]) == 1
    last = capfd.readouterr().err.strip().splitlines()[-1]
    assert "AssertionError: count is below 0 (and its notebook is lost: cannot be written: No space left" in last
    assert main([str(notebook)]) == 1
    assert "notebook.ipynb: cannot be written: No space left on device" in capfd.readouterr().err


def test_what_a_killed_run_left_is_swept_away(notebook: Path, results: Path, temporary: Path):
    own = temporary / f"alutils-{os.getuid()}"
    own.mkdir(mode=0o700)
    dead, living, new = (own / f"run-{name}" for name in ("dead", "living", "new"))
    for folder in (dead, living, new):
        folder.mkdir()
        (folder / "connection.json").write_text("{}")
        if folder != new:
            os.utime(folder, (0, 0))
    with locked(living / "lock", "it"):
        os.utime(living, (0, 0))
        assert main([str(notebook)]) == 0
    assert sorted(own.iterdir()) == [living, new]


def test_a_second_start_of_a_finished_run_says_that_it_only_reads(results: Path, capfd: pytest.CaptureFixture[str]):
    words = [
        "03_active_learning_rounds",
        *["-p", "rounds", "1", "-p", "steps", "1", "-p", "height", "32", "-p", "width", "64"],
    ]
    assert main(words) == 0
    assert "only read" not in capfd.readouterr().err
    assert main(words) == 0
    assert capfd.readouterr().err.strip().endswith(", only read: it was finished before")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["no_such_notebook"], "no_such_notebook is no notebook"),
        (["03_active_learning_rounds", "-p", "querry", "random"], "querry is no parameter"),
        (["03_active_learning_rounds", "-p", "start", "100", "-p", "rounds", "3"], "120 percent; allowed: 0 to 100"),
        (["03_active_learning_rounds", "-p", "experiment", "../x"], "'../x' is no name for an experiment"),
        (["03_active_learning_rounds", "-f", "nowhere.yaml"], "nowhere.yaml cannot be read"),
    ],
)
def test_what_is_wrong_is_said_before_a_kernel_starts(
    arguments: list[str], message: str, capfd: pytest.CaptureFixture[str], results: Path
):
    assert main(arguments) == 1
    (line,) = capfd.readouterr().err.strip().splitlines()
    assert message in line
    assert not results.exists()


def test_starting_a_run_does_not_load_torch():
    code = "import sys, alutils.grid.notebook, alutils.grid.preset; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], env=os.environ).returncode == 0


# How a kernel ended


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("os.kill(os.getpid(), signal.SIGBUS)", r"the kernel died, a memory-mapped file.* was shortened .*\(SIGBUS\)"),
        ("os.kill(os.getpid(), signal.SIGSEGV)", r"the kernel died, compiled code .*\(SIGSEGV\)"),
        ("os.kill(os.getpid(), signal.SIGUSR2)", r"the kernel died, by a signal \(SIGUSR2\)"),
        ("os._exit(3)", "the kernel died, ended by itself with exit code 3"),
        ("raise ValueError('long ' * 1000 + 'end')", r"ValueError: long long .* \.\.\. .*long end"),
        ("raise ValueError('\x1b[31mred\\nline')", r"ValueError: \?\[31mred line"),
    ],
)
def test_how_a_kernel_ended_is_one_line(
    notebook: Path, results: Path, body: str, reason: str, capfd: pytest.CaptureFixture[str]
):
    write_body(notebook, f"import os, signal\n{body}")
    assert main([str(notebook)]) == 1
    started, last = capfd.readouterr().err.splitlines()
    assert started.endswith(": started")
    place = f" (see {results / 'e' / 'small' / 'notebook.failed.ipynb'})"
    assert last.endswith(place)
    assert re.fullmatch(f"error: small: {reason}", last.removesuffix(place))
    assert len(last.removesuffix(place)) <= 300 + len("small: ")


def kernel(folder: Path, program: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a shell program be the kernel called odd."""
    spec = {"argv": ["sh", "-c", program, "{connection_file}"], "display_name": "odd", "language": "python"}
    write_whole(folder / "kernels" / "odd" / "kernel.json", json.dumps(spec))
    monkeypatch.setenv("JUPYTER_PATH", str(folder))


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("odd", r"the kernel died, ended by itself with exit code 3 \(no thread left\)"),
        ("none", r"NoSuchKernel: .*none.*"),
        ("", r"ValueError: No kernel name found in notebook.*"),
    ],
)
def test_a_kernel_that_does_not_start_is_one_line(
    notebook: Path,
    results: Path,
    tmp_path: Path,
    name: str,
    reason: str,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
):
    kernel(tmp_path, "echo first >&2; echo no thread left >&2; exit 3", monkeypatch)
    content = nbformat.read(notebook, 4)
    content.metadata = {"kernelspec": {"name": name, "display_name": name, "language": "python"}} if name else {}
    nbformat.write(content, notebook)
    assert main([str(notebook)]) == 1
    _, last = capfd.readouterr().err.splitlines()
    assert re.fullmatch(rf"error: small: {reason} \(.*\)", last)


@pytest.mark.parametrize(
    ("body", "gigabytes", "reason"),
    [
        ("bytearray(9 * 2**30)", 4, r"error: small: MemoryError.*; memory is limited to 4\.3 GB \(ulimit -v 4194304\)"),
        ("import os\nos._exit(1)", 4, r"error: small: the kernel died, .* exit code 1; memory is limited to 4\.3 GB "),
        ("raise ValueError('mine')", 4, r"error: small: ValueError: mine \(see"),
        ("pass", 0.1, r"error: memory is limited to 0\.1 GB \(ulimit -v 104858\); allowed: 1048576 or more"),
    ],
)
def test_a_limit_on_memory_is_named_where_it_may_be_the_cause(
    notebook: Path, results: Path, body: str, gigabytes: float, reason: str
):
    write_body(notebook, body)
    limit = int(gigabytes * 2**30)
    words = [sys.executable, "-m", "alutils", "run", str(notebook)]
    done = subprocess.run(
        ["sh", "-c", f'ulimit -v {limit // 1024 + (gigabytes < 1)}; exec "$@"', "sh", *words],
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 1
    assert re.match(reason, done.stderr.splitlines()[-1]), done.stderr
    assert len(done.stderr.splitlines()) <= 2


def test_only_folders_of_ones_own_are_swept_away(notebook: Path, results: Path, temporary: Path):
    """Those that others may have made stay, and so does what a link leads to."""
    theirs, elsewhere = temporary / "alutils-run-theirs", temporary / "elsewhere"
    own = temporary / f"alutils-{os.getuid()}"
    for folder in (theirs, elsewhere):
        folder.mkdir()
        (folder / "file").touch()
        os.utime(folder, (0, 0))
    own.mkdir(mode=0o700)
    (own / "run-link").symlink_to(elsewhere)
    assert main([str(notebook)]) == 0
    assert (theirs / "file").exists()
    assert (elsewhere / "file").exists()


def taken_by_a_link(place: Path) -> None:
    (place.parent / "elsewhere").mkdir(mode=0o700)
    place.symlink_to(place.parent / "elsewhere")


def taken_by_all(place: Path) -> None:
    place.mkdir()
    place.chmod(0o777)


@pytest.mark.parametrize("take", [Path.touch, os.mkfifo, taken_by_a_link, taken_by_all])
def test_a_place_that_is_taken_is_one_line(
    take: Callable[[Path], None],
    notebook: Path,
    results: Path,
    temporary: Path,
    capfd: pytest.CaptureFixture[str],
):
    take(temporary / f"alutils-{os.getuid()}")
    assert main([str(notebook)]) == 1
    assert "not a folder of this user alone" in capfd.readouterr().err.splitlines()[-1]
    assert not list(temporary.glob("elsewhere/*"))
