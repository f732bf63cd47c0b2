"""Run every benchmark and write their tables into README and `docs/`.

    python benchmarks/run_all.py [NAME ...]

Each result is kept in `results/published/benchmarks/<name>-<cpu or cuda>.json`. Without a NAME all benchmarks run; with
names, the results of all others stay as they are.
"""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from measure import Goal

from alutils.files import write_whole
from alutils.paths import published_dir
from alutils.results.pages import all_pages, fill_tables
from alutils.training.loop import default_device

HERE = Path(__file__).parent
RESULTS = published_dir() / "benchmarks"
SPEED = [
    *("frozen_rounds", "few_labels", "committee_scoring", "scoring_memory", "feeding", "selection"),
    *("whole_loop", "first_round", "training_step", "startup", "content_hash"),
    *("parallel_kernels", "overhead", "labelling", "explorer"),
]
RELIABILITY = ["torture", "fuzz", "mutation"]
NAMES = [*SPEED, *RELIABILITY]
MAIN = {  # benchmark: the claim of it that README's short table shows
    "committee_scoring": "committee scoring: times faster than T passes",
    "feeding": "... later epochs, times faster than DataLoader and PIL",
    "selection": "selection: k-center, times faster than the fastest other",
    "whole_loop": "whole loop: times faster than baal's faster loop",
}
PAGES = all_pages()


def run_one(name: str) -> bool:
    """Run one benchmark and keep its result; tell whether it reached its goals."""
    command = [sys.executable, str(HERE / f"{name}.py"), "--json"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if done.stdout:
        write_whole(RESULTS / f"{name}-{default_device().type}.json", done.stdout)
    return done.returncode == 0


def table(name: str) -> str:
    """Return the text between a page's markers.

    `benchmarks` has one row per claim of speed, `main_benchmarks` one row per claim of `MAIN`, and `reliability` one
    row per other claim. The name of a benchmark has one row per further number that it measured.
    """
    results = [json.loads(path.read_text()) for path in sorted(RESULTS.glob("*.json"))]
    results.sort(key=lambda result: NAMES.index(result["benchmark"]))
    if name in NAMES:
        return "\n\n".join(details(result) for result in results if result["benchmark"] == name)
    lines = ["| claim | measured | goal | script | machine |", "|---|---|---|---|---|"]
    choose = main_goals if name == "main_benchmarks" else all_goals
    shown = RELIABILITY if name == "reliability" else SPEED
    lines += [row(result, goal) for result in results if result["benchmark"] in shown for goal in choose(result)]
    return "\n".join(lines)


def all_goals(result: dict[str, Any]) -> list[Goal]:
    """Return the goals of a benchmark's result."""
    return [Goal(**goal) for goal in result["goals"]]


def main_goals(result: dict[str, Any]) -> list[Goal]:
    """Return the goal that README shows, with the benchmark's subject in place of "...", or none."""
    goals = all_goals(result)
    chosen = [goal for goal in goals if goal.claim == MAIN.get(result["benchmark"])]
    return [replace(goal, claim=goal.claim.replace("...", f"{goals[0].claim.partition(':')[0]}:")) for goal in chosen]


def details(result: dict[str, Any]) -> str:
    """Return a benchmark's further numbers as a table."""
    device = f"{result['machine']['device']}, {result['machine']['cores']} cores"
    lines = [f"| `{result['benchmark']}.py`, {device} | |", "|---|---|"]
    return "\n".join([*lines, *(f"| {name} | {value:.3g} |" for name, value in result["details"].items())])


def row(result: dict[str, Any], goal: Goal) -> str:
    """Return a claim's line of the table."""
    device = f"{result['machine']['device']}, {result['machine']['threads']} threads"
    digits = "g" if goal.measured == int(goal.measured) else ".3g"  # counts are whole
    measured = f"{goal.measured:{digits}}" + ("" if goal.is_reached else " (**missed**)")
    return f"| {goal.claim} | {measured} | {goal.bound} | `{result['benchmark']}.py` | {device} |"


def main(names: list[str]) -> int:
    """Run the benchmarks `names`, all if there is none; return the exit code."""
    unknown = [name for name in names if name not in NAMES]
    if unknown:
        print(f"error: {', '.join(unknown)} is no benchmark; known: {', '.join(NAMES)}", file=sys.stderr)
        return 1
    reached = [run_one(name) for name in names or NAMES]
    for page in PAGES:
        page.write_text(fill_tables(page.read_text(), "make benchmark", table))
    return 0 if all(reached) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
