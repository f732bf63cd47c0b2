"""A lock is held by one process, and by none once that one is dead."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from alutils.files import is_locked, locked, open_regular, try_lock

HOLD = """
import sys, time
from pathlib import Path
from alutils.files import locked
with locked(Path(sys.argv[1]), "it"):
    print("held", flush=True)
    time.sleep(float(sys.argv[2]))
"""


def hold(path: Path, seconds: float) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", HOLD, str(path), str(seconds)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout
    assert process.stdout.readline() == "held\n"
    return process


def test_a_killed_process_holds_no_lock(tmp_path: Path):
    path = tmp_path / "new" / "lock"
    assert not is_locked(path)
    process = hold(path, 60)
    assert is_locked(path)
    assert try_lock(path) is None
    process.kill()
    process.communicate()
    assert not is_locked(path)
    file = try_lock(path)
    assert file
    file.close()


@pytest.mark.slow
def test_who_waits_long_says_for_what(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    for seconds, message in ((0.3, ""), (1.6, "waiting for another process that works on the run\n")):
        process = hold(tmp_path / "lock", seconds)
        started = time.monotonic()
        with locked(tmp_path / "lock", "the run"):
            assert time.monotonic() - started > seconds - 0.3
        process.communicate()
        assert capsys.readouterr().err == message


def test_a_pipe_is_neither_locked_nor_read(tmp_path: Path):
    """Opening a pipe waits for who opens its other end, perhaps for ever."""
    os.mkfifo(tmp_path / "pipe")
    for use in (try_lock, is_locked, open_regular):
        with pytest.raises(OSError, match="not a regular file"):
            use(tmp_path / "pipe")
