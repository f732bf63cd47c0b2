"""A small grid killed with SIGKILL at random moments: does anything get lost, do the tables stay the same?

Each time either every process of the grid is killed, as when a node vanishes, or one at random: the grid, Snakemake,
a run or its kernel. Then the grid is started again, also while what survived is still at work. `--kills N`.
"""

import argparse
import csv
import io
import os
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import numpy as np
import psutil
from measure import Goal, Result, run

PRESET = """
recipe: &recipe {steps: 12, batch_size: 2}
runs:
  - notebook: 03_active_learning_rounds
    parameters: {<<: *recipe, rounds: 3, committee_members: 2}
    grid: {query: [random, vote_entropy]}
  - notebook: 04_bulk_training
    parameters: {<<: *recipe, share: 20}
    grid: {query: [vote_entropy]}
  - notebook: 06_figures
"""
KILLS = 100
GRACE = 120  # seconds in which what outlived a killed parent may finish what it is at, but not more


def torture(kills: int, is_quick: bool) -> Result:
    """Kill a grid `kills` times, starting with a new one whenever one finished, and count what went wrong."""
    kills = 2 if is_quick else kills
    generator = np.random.default_rng(0)
    with tempfile.TemporaryDirectory(prefix="torture-") as folder:
        base = Path(folder)
        os.environ |= {"ALUTILS_RESULTS": str(base / "results"), "TMPDIR": str(base / "temporary")}
        (base / "temporary").mkdir()
        started = time.monotonic()
        assert start(base, "undisturbed").wait() == 0
        seconds = time.monotonic() - started
        expected = tables(base / "results" / "undisturbed")
        done, finished, lost, different = 0, 0, 0, 0
        seen: dict[str, str] = {}
        is_finished = False
        while done < kills or not is_finished:
            process = start(base, f"killed{finished}")
            try:
                process.wait(generator.uniform(0, seconds / 2) if done < kills else None)
            except subprocess.TimeoutExpired:
                kill(base, generator)
                done += 1
            now = round_tables(base / "results" / f"killed{finished}")
            lost += sum(not now.get(name, "").startswith(text) for name, text in seen.items())
            seen = now
            is_finished = process.poll() == 0
            if is_finished:
                different += tables(base / "results" / f"killed{finished}") != expected
                finished, seen = finished + 1, {}
            print(f"{done} kills, {finished} grids finished, {lost} lost, {different} different", file=sys.stderr)
        left = processes_left(base)
    goals = [
        Goal("torture: SIGKILLs of a grid or of one of its processes", done, at_least=kills),
        Goal("... after which finished rounds were lost", lost, at_most=0),
        Goal("... grids whose tables differ from an undisturbed one's", different, at_most=0),
        Goal("... processes left behind at the end", left, at_most=0),
    ]
    what = f"{done} SIGKILLs in {finished} grids of 4 jobs; an undisturbed one takes {seconds:.0f} s"
    return Result(what, seconds, goals=goals, details={"grids": finished})


def start(base: Path, name: str) -> "subprocess.Popen[bytes]":
    """Start the grid called `name`, or what is left of it."""
    preset = base / f"{name}.yaml"
    preset.write_text(PRESET)
    log = (base / f"{name}.log").open("a")
    command = [sys.executable, "-m", "alutils", "grid", str(preset), "--cores", "2"]
    return subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)


def kill(base: Path, generator: np.random.Generator) -> None:
    """Kill every process that works in `base`, or one of them."""
    victims = working_in(base)
    if len(victims) and generator.random() < 0.5:
        victims = [victims[generator.integers(len(victims))]]
    for victim in victims:
        try:
            victim.kill()
        except psutil.NoSuchProcess:
            continue


def working_in(base: Path) -> list[psutil.Process]:
    """Return the processes whose results folder lies in `base`, but this one."""
    found = []
    for process in psutil.process_iter(["pid", "status", "environ"]):
        known = process.info
        is_here = (known["environ"] or {}).get("ALUTILS_RESULTS") == str(base / "results")
        if is_here and known["pid"] != os.getpid() and known["status"] != psutil.STATUS_ZOMBIE:
            found.append(process)
    return sorted(found, key=lambda process: process.pid)


def processes_left(base: Path) -> int:
    """Return how many processes there still are when all should have gone."""
    deadline = time.monotonic() + GRACE
    while working_in(base) and time.monotonic() < deadline:
        time.sleep(1)
    return len(working_in(base))


def round_tables(folder: Path) -> dict[str, str]:
    """Return each run's `rounds.csv`, as it is."""
    return {path.parent.name: path.read_text() for path in folder.glob("*/rounds.csv")}


def tables(folder: Path) -> dict[str, str]:
    """Return each run's tables, timings left out."""
    found = {str(path.relative_to(folder)): path.read_text() for path in folder.glob("*/*.csv")}
    return {name: without_seconds(text) for name, text in sorted(found.items())}


def without_seconds(text: str) -> str:
    """Return a table without the columns of seconds."""
    rows = list(csv.reader(io.StringIO(text)))
    kept = [position for position, name in enumerate(rows[0]) if not name.startswith("seconds_")]
    return "\n".join(",".join(row[position] for position in kept) for row in rows)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--kills", type=int, default=KILLS)
    options, sys.argv[1:] = parser.parse_known_args()
    run(partial(torture, options.kills), __file__)
