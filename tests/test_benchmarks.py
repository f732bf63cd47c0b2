"""Each benchmark runs, at tiny sizes; the pages hold the tables that the results give."""

import json
import signal
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from random import Random
from typing import Any

import pytest

from alutils.paths import ROOT
from alutils.results.pages import fill_tables

BENCHMARKS = ROOT / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))
NAMES = (
    *("scoring_memory", "feeding", "training_step", "overhead", "committee_scoring", "whole_loop", "selection"),
    *("content_hash", "first_round", "frozen_rounds", "few_labels", "labelling", "explorer"),
)


def quick(name: str) -> dict[str, Any]:
    """Return what a benchmark measures at tiny sizes."""
    command = [sys.executable, str(BENCHMARKS / f"{name}.py"), "--json", "--quick"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_benchmark_prints_one_json_object(name: str):
    result = quick(name)
    assert result["benchmark"] == name
    assert result["ours_s"] > 0
    assert all(seconds > 0 for seconds in result["rivals_s"].values())
    assert all(goal["measured"] > 0 for goal in result["goals"])
    assert result["machine"]["device"]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["parallel_kernels", "torture", "fuzz"])
def test_nothing_is_lost_or_left_behind_and_nothing_wrong_is_taken_for_right(name: str):
    """The short form: a few runs at once, a few kills, a few damaged files."""
    from measure import Goal

    goals = [Goal(**goal) for goal in quick(name)["goals"]]
    assert goals[0].at_least, "how often it was tried"
    for goal in goals:
        assert goal.is_reached, goal


WRITES = """
import sys
from pathlib import Path
from random import Random
from tearing import Tear

folder = Path(sys.argv[1])
Tear(folder, Random(0), at=2, only_writes=True).install()
for name in ("first.csv", "second.csv"):
    (folder / name).write_text("x" * 1000)
"""


def test_a_process_kills_itself_within_a_write(tmp_path: Path):
    done = subprocess.run([sys.executable, "-c", WRITES, str(tmp_path)], env={"PYTHONPATH": str(BENCHMARKS)})
    assert done.returncode == -signal.SIGKILL
    assert (tmp_path / "first.csv").read_text() == "x" * 1000
    assert 0 < len((tmp_path / "second.csv").read_text()) < 1000
    assert (tmp_path / "torn.log").read_text() == "within second.csv\n"


@pytest.mark.parametrize(
    ("suffix", "content"),
    [
        (".csv", b"a,b\n1,2\n"),
        (".json", b'{"a": [1, 2]}'),
        (".yaml", b"a: {b: 1}"),
        (".npy", b"\x93NUMPY(4,)"),
        (".x", b"x"),
    ],
)
def test_a_change_is_one_and_always_the_same(suffix: str, content: bytes):
    from damage import damaged

    for number in range(50):
        change, changed = damaged(content, suffix, Random(number), [b"other"])
        assert change
        assert changed != content
        assert damaged(content, suffix, Random(number), [b"other"]) == (change, changed)


def test_a_goal_is_reached_within_its_bound():
    from measure import Goal

    assert Goal("faster", 7.0, at_least=7).is_reached
    assert not Goal("faster", 6.9, at_least=7).is_reached
    assert not Goal("dearer", 1.4, at_most=1.3).is_reached
    assert Goal("faster", 0.1).is_reached
    assert [Goal("", 1, at_least=7).bound, Goal("", 1, at_most=2).bound] == ["at least 7", "at most 2"]


def test_sides_take_turns(capsys: pytest.CaptureFixture[str]):
    from measure import time_sides

    calls: list[str] = []
    seconds = time_sides({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, rounds=2)
    assert calls == ["a", "b", "a", "b"]
    assert set(seconds) == {"a", "b"}
    assert capsys.readouterr().out == "", "stdout is for the result"


def test_a_benchmark_whose_rival_is_not_installed_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch):
    import measure

    def needs_rival(_: bool) -> measure.Result:
        import_module("no_such_rival")

        raise AssertionError

    monkeypatch.setattr(sys, "argv", ["x.py"])
    with pytest.raises(SystemExit, match=r"^error: No module named 'no_such_rival'; `make benchmark` installs"):
        measure.run(needs_rival, "x.py")


def test_pages_hold_the_tables_of_the_results():
    import run_all

    pages = [page.read_text() for page in run_all.PAGES]
    for text in pages:
        assert fill_tables(text, "make benchmark", run_all.table) == text, "run `python benchmarks/run_all.py`"
    for name in ("benchmarks", "main_benchmarks", "overhead"):
        assert sum(run_all.table(name) in text for text in pages) == 1, name


def test_the_short_table_has_one_row_per_main_claim():
    import run_all

    rows = run_all.table("main_benchmarks").splitlines()[2:]
    assert [row.rsplit(" | ", 2)[1].strip("`") for row in rows] == [f"{name}.py" for name in run_all.MAIN]
    assert not [row for row in rows if "..." in row]


def test_an_unknown_benchmark_is_one_line(capsys: pytest.CaptureFixture[str]):
    import run_all

    assert run_all.main(["no_such"]) == 1
    assert capsys.readouterr().err.startswith("error: no_such is no benchmark; known: frozen_rounds, ")
