"""What every benchmark shares: sides timed in turn in one process tree, goals, one JSON object."""

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from alutils.provenance import device_name
from alutils.training.loop import default_device

PACKAGES = ("torch", "torchvision", "numpy", "scikit-learn", "baal", "scikit-activeml")


@dataclass(frozen=True)
class Goal:
    """What is claimed, as measured, beside the bound it should keep: `at_least`, `at_most`, or none here."""

    claim: str
    measured: float
    at_least: float | None = None
    at_most: float | None = None

    @property
    def is_reached(self) -> bool:
        """Tell whether the measured number keeps the bound."""
        low, high = self.at_least, self.at_most
        return (low is None or self.measured >= low) and (high is None or self.measured <= high)

    @property
    def bound(self) -> str:
        """Return the bound in words."""
        if self.at_least is not None:
            return f"at least {self.at_least:g}"
        return "no goal here" if self.at_most is None else f"at most {self.at_most:g}"


@dataclass(frozen=True)
class Result:
    """What a benchmark measured; seconds are medians over the rounds in which all sides took turns.

    what : what was run, in one line
    floor_s : seconds of what no program could do without
    rivals_s : seconds of other programs for the same work, by name
    details : further numbers, by name
    """

    what: str
    ours_s: float
    floor_s: float | None = None
    rivals_s: dict[str, float] = field(default_factory=dict)
    goals: list[Goal] = field(default_factory=list)
    details: dict[str, Any] = field(default_factory=dict)


def time_sides(sides: Mapping[str, Callable[[], object]], rounds: int = 3) -> dict[str, float]:
    """Return each side's median seconds over `rounds` rounds A B C, A B C, ...; one line per side goes to stderr."""
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, run in sides.items():
            synchronize()
            started = time.perf_counter()
            run()
            synchronize()
            seconds[name].append(time.perf_counter() - started)
            print(f"{name}: {seconds[name][-1]:.3f} s", file=sys.stderr)
    return {name: statistics.median(values) for name, values in seconds.items()}


def synchronize() -> None:
    """Wait until a GPU has done what it was given."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def machine() -> dict[str, Any]:
    """Return what the numbers were measured on."""
    return {
        "device": device_name(default_device()),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "versions": {name: found for name in PACKAGES if (found := _version(name))},
    }


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def run(measure: Callable[[bool], Result], script: str) -> None:
    """Run the command line of the benchmark in the file `script`; `measure` is told whether to be quick.

    With `--json` one JSON object is printed, else one line per number. Exit code 1 if a goal is not reached.
    """
    parser = argparse.ArgumentParser(description=sys.modules["__main__"].__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--quick", action="store_true", help="tiny sizes: shows that it runs, measures nothing")
    options = parser.parse_args()
    os.environ["ALUTILS_PROGRESS"] = "0"
    try:
        with redirect_stdout(sys.stderr):  # some rivals print
            result = measure(options.quick)
    except ModuleNotFoundError as error:
        sys.exit(f"error: {error}; `make benchmark` installs what ours is compared with")
    content = {"benchmark": Path(script).stem} | asdict(result) | {"machine": machine()}
    if options.json:
        print(json.dumps(content, indent=1))
    else:
        print(as_text(result))
    if not options.quick and not all(goal.is_reached for goal in result.goals):
        sys.exit(1)


def as_text(result: Result) -> str:
    """Return one line per number."""
    sides = {"ours": result.ours_s, "floor": result.floor_s} | result.rivals_s
    lines = [result.what]
    lines += [f"{name:24} {seconds:10.4f} s" for name, seconds in sides.items() if seconds is not None]
    lines += [f"{name:24} {value}" for name, value in result.details.items()]
    for goal in result.goals:
        verdict = "reached" if goal.is_reached else "MISSED"
        lines += [f"{verdict:8} {goal.claim}: {goal.measured:.3g} ({goal.bound})"]
    return "\n".join(lines)
