"""Several processes do what one does, in the same order, and hand on what went wrong."""

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from alutils.errors import DataError
from alutils.processes import in_processes
from alutils.progress import BARS


def _square(number: int) -> tuple[int, int, str]:
    return number**2, os.getpid(), os.environ.get("OMP_NUM_THREADS", "")


def _fail(number: int) -> int:
    if number == 1:
        raise DataError(f"there is no {number}")
    return number


def test_one_process_is_this_one(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv(BARS, raising=False)
    found = list(in_processes(1, 1, _square, [(number,) for number in range(4)]))
    assert [(square, process) for square, process, _ in found] == [(number**2, os.getpid()) for number in range(4)]
    assert BARS not in os.environ, "bars go on"
    assert list(in_processes(4, 1, _square, [])) == []
    assert next(in_processes(4, 1, _square, [(3,)]))[:2] == (9, os.getpid()), "a process for one task would not pay off"


@pytest.mark.slow
def test_several_processes_give_the_same_in_the_same_order():
    found = list(in_processes(2, 3, _square, [(number,) for number in range(20)]))
    squares, processes, threads = zip(*found, strict=True)
    assert list(squares) == [number**2 for number in range(20)]
    assert os.getpid() not in processes
    assert {*threads} == {"3"}
    children = {child.pid for child in psutil.Process().children()}
    assert not children & {*processes}, "they have ended"
    with pytest.raises(DataError, match="there is no 1"):
        list(in_processes(2, 3, _fail, [(0,), (1,), (2,)]))


@pytest.mark.slow
def test_a_script_needs_no_guard(tmp_path: Path):
    script = tmp_path / "script.py"
    script.write_text(
        "from alutils.processes import in_processes\n"
        "def work(number):\n    return number + 1\n"
        "print(list(in_processes(2, 1, work, [(1,), (2,)])))\n"
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=100)
    assert done.stdout == "[2, 3]\n"
    assert done.stderr == ""
