"""Grids and runs killed with SIGKILL, between writes and within them: is anything lost, are all files the same?

Nine of ten kills are those of small runs that kill themselves at a file operation (`torn_runs.py`). The others hit a
grid from outside, every process of it, as when a node vanishes, or one at random: the grid, Snakemake, a run or its
kernel; or its processes kill themselves at their file operations. Then the grid is started again, also while what
survived is still at work. `--kills N`.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from random import Random

import psutil
import tearing
from measure import Goal, Result, run
from torn_runs import Counts, read_log, same_each_time, tear_runs

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
QUICK_PRESET = """
runs:
  - notebook: 03_active_learning_rounds
    parameters: {dataset: digits, model: mnist_cnn, height: 28, width: 28, augmentation: none, rounds: 2, steps: 2}
"""
KILLS, QUICK_KILLS = 1000, 9
OF_GRIDS = 0.1  # the share of the kills that are those of grids
GRACE = 120  # seconds in which what outlived a killed parent may finish what it is at, but not more
REFUSALS = 3  # times in a row that a grid may fail without being killed; what survived may be in its way


def torture(kills: int, is_quick: bool) -> Result:
    """Kill grids and small runs `kills` times in all, and count what went wrong."""
    kills = QUICK_KILLS if is_quick else kills
    with tempfile.TemporaryDirectory(prefix="torture-") as folder:
        base = Path(folder)
        started = time.monotonic()
        runs = tear_runs(base / "runs", round(kills * (1 - OF_GRIDS)), Random(0), is_quick)
        between = time.monotonic()
        grid = Grids(base / "grid", QUICK_PRESET if is_quick else PRESET)
        grids = grid.kill(max(1, kills - runs.kills), Random(0))
        ended = time.monotonic()
        left = processes_left(grid.base)
    print(*runs.examples, *grids.examples, sep="\n", file=sys.stderr)
    seconds = {"seconds a kill of a small run": (between - started) / runs.kills}
    seconds |= {"seconds a kill of a grid": (ended - between) / grids.kills}
    return record(runs, grids, kills, left, seconds)


def record(runs: Counts, grids: Counts, kills: int, left: int, seconds: dict[str, float]) -> Result:
    """Return what was counted, beside what it must be."""
    both = runs + grids
    within = sum(count for place, count in both.torn.items() if place.startswith("within"))
    goals = [
        Goal("torture: SIGKILLs of grids, of their processes and of small runs", both.kills, at_least=kills),
        Goal("... of them within a write, a part of which was done", within, at_least=kills // 4),
        Goal("... after which finished rounds were lost", both.lost, at_most=0),
        Goal("... runs and grids whose files differ from an undisturbed one's", both.different, at_most=0),
        Goal("... runs and grids that did not go on", both.failed, at_most=0),
        Goal("... temporary files left behind at the end", both.left, at_most=0),
        Goal("... processes left behind at the end", left, at_most=0),
    ]
    what = f"{runs.kills} SIGKILLs of {runs.finished} small runs, {grids.kills} of {grids.finished} grids"
    places = {f"kills {place}": count for place, count in sorted(both.torn.items())}
    return Result(what, seconds["seconds a kill of a small run"], goals=goals, details=seconds | places)


class Grids:
    """Grids of one preset in one folder, each killed until it finishes; `number` is that of the present one."""

    def __init__(self, base: Path, preset: str):
        self.base, self.preset, self.number = base, preset, 0
        self.seen: dict[str, str] = {}
        (base / "temporary").mkdir(parents=True)
        shutil.copy(tearing.__file__, base / "sitecustomize.py")
        started = time.monotonic()
        assert self.start(is_torn=False).wait() == 0, self.log.read_text()
        self.seconds = time.monotonic() - started
        self.expected, self.number = tables(self.folder), 1

    @property
    def name(self) -> str:
        """Return the name of the present grid."""
        return f"grid{self.number}"

    @property
    def folder(self) -> Path:
        """Return the results folder of the present grid."""
        return self.base / "results" / self.name

    @property
    def log(self) -> Path:
        """Return the file of what the present grid says."""
        return self.base / f"{self.name}.log"

    def start(self, is_torn: bool) -> "subprocess.Popen[bytes]":
        """Start the present grid, or what is left of it; its processes kill themselves if it `is_torn`."""
        preset = self.base / f"{self.name}.yaml"
        preset.write_text(self.preset)
        folders = {"RESULTS": self.base / "results", "CACHE": self.base / "cache"}
        changes = {f"ALUTILS_{name}": str(folder) for name, folder in folders.items()}
        changes |= {"TMPDIR": str(self.base / "temporary")}
        if is_torn:
            path = [str(self.base), *filter(None, [os.environ.get("PYTHONPATH")])]
            changes |= {tearing.BASE: str(self.base), "PYTHONPATH": os.pathsep.join(path)}
        command = [sys.executable, "-m", "alutils", "grid", str(preset), "--cores", "2"]
        with self.log.open("a") as log:
            return subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True, env=os.environ | changes)

    def kill(self, kills: int, generator: Random) -> Counts:
        """Kill grids `kills` times, the last one until it has finished nevertheless; return what happened."""
        counts, refusals, is_begun = Counts(), 0, False
        while counts.kills < kills or is_begun:
            before = counts.kills
            code = self.start_once(counts, generator, is_spared=before >= kills)
            counts.lost += self._lost(counts)
            refusals = refusals + 1 if code and counts.kills == before else 0
            print(f"{self.name}: {counts}", file=sys.stderr)
            is_begun = code != 0 and refusals <= REFUSALS
            if not is_begun:
                self._end(code == 0, counts)
                refusals = 0
        return counts

    def start_once(self, counts: Counts, generator: Random, is_spared: bool) -> int | None:
        """Start the grid, let it be killed unless it `is_spared`; return its exit code, `None` if it still runs."""
        is_torn = not is_spared and counts.kills > 0 and generator.random() < 0.5
        process, known = self.start(is_torn), len(read_log(self.base))
        try:
            most = self.seconds * 2 if is_torn else generator.uniform(0, self.seconds / 2)
            process.wait(None if is_spared else most)
        except subprocess.TimeoutExpired:
            kill(working_in(self.base), generator)
            counts.kills += 1
            counts.torn["of grids from outside"] += 1
        torn = read_log(self.base)[known:]
        counts.kills += len(torn)
        counts.torn.update(torn)
        return process.poll()

    def _lost(self, counts: Counts) -> int:
        """Return how many tables of rounds no longer begin with the rounds that were finished before."""
        now = {path.parent.name: path.read_text() for path in self.folder.glob("*/rounds.csv")}
        lost = [name for name, text in self.seen.items() if not now.get(name, "").startswith(text)]
        counts.examples += [f"{self.folder / name} lost {self.seen[name]!r}" for name in lost]
        self.seen = now
        return len(lost)

    def _end(self, is_finished: bool, counts: Counts) -> None:
        """Compare a finished grid with the undisturbed one, note why another was given up; go on to the next."""
        if is_finished:
            self._compare(counts)
        else:
            counts.failed += 1
            counts.examples.append(f"{self.folder} does not go on: {self.log.read_text()[-1000:]}")
        self.number, self.seen = self.number + 1, {}

    def _compare(self, counts: Counts) -> None:
        found = tables(self.folder)
        names = {name for name in found.keys() | self.expected.keys() if found.get(name) != self.expected.get(name)}
        counts.finished += 1
        counts.left += len(list(self.folder.rglob("*.part*")))
        counts.different += bool(names)
        counts.examples += [f"{self.folder} differs in {', '.join(sorted(names))[:1000]}"] if names else []


def kill(victims: list[psutil.Process], generator: Random) -> None:
    """Kill some processes, or one of them."""
    if victims and generator.random() < 0.5:
        victims = [generator.choice(victims)]
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


def tables(folder: Path) -> dict[str, bytes]:
    """Return each run's tables and scores, timings left out."""
    paths = [*folder.glob("*/*.csv"), *folder.glob("*/*.npy")]
    return {str(path.relative_to(folder)): same_each_time(path) for path in paths}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--kills", type=int, default=KILLS)
    options, sys.argv[1:] = parser.parse_known_args()
    run(partial(torture, options.kills), __file__)
