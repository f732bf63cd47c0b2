"""Bars only where they help; a status file that says where a run is and when it will be done."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from alutils import progress
from alutils.progress import STATUS, Status, bar, read_status


def test_a_quick_loop_shows_no_bar(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]):
    monkeypatch.setenv("ALUTILS_PROGRESS", "1")
    ticks = bar(3, "ticks")
    ticks.update(3)
    ticks.close()
    assert capfd.readouterr().err == ""


def test_a_log_gets_one_line_at_the_end(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]):
    monkeypatch.setenv("ALUTILS_PROGRESS", "1")
    monkeypatch.setattr(progress, "DELAY", 0)
    ticks = bar(300, "ticks")
    for _ in range(300):
        ticks.update()
    assert capfd.readouterr().err == ""
    ticks.close()
    assert capfd.readouterr().err == "ticks: 300 of 300 in 0 s\n"


def test_of_a_bar_in_a_notebook_nothing_is_left(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ALUTILS_PROGRESS", "1")
    loop = "from alutils import progress\nprogress.DELAY = 0\nticks = progress.bar(3, '<ticks>')\n"
    loop += "ticks.refresh()\nticks.update(3)\nticks.refresh()\nticks.close()"
    cell = nbformat.v4.new_code_cell(loop)
    executed = NotebookClient(nbformat.v4.new_notebook(cells=[cell]), kernel_name="python3").execute()
    shown = [output for output in executed.cells[0].outputs if output.output_type != "stream" or output.text]
    assert [output.data["text/html"] for output in shown] == [""]


def test_the_time_left_comes_from_what_this_process_has_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    clock = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: clock[0])
    monkeypatch.setenv(STATUS, str(tmp_path / "status"))
    status = Status(total_steps=100)
    status.tell(40, round=2)  # done by a process before
    assert read_status(tmp_path / "status") == {"round": 2, "seconds_left": None}
    clock[0] += 10
    status.tell(60, round=3)
    assert read_status(tmp_path / "status") == {"round": 3, "seconds_left": 20.0}
    clock[0] += 0.5
    status.tell(61, round=4)
    assert read_status(tmp_path / "status")["round"] == 3, "not more often than once a second"


def test_a_status_that_cannot_be_written_or_read_stops_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(STATUS, str(tmp_path / "nowhere" / "status"))
    Status(10).tell(1)
    (tmp_path / "half").write_text('{"round": ')
    (tmp_path / "empty").write_text("")
    assert [read_status(tmp_path / name) for name in ("nowhere", "half", "empty")] == [{}, {}, {}]
