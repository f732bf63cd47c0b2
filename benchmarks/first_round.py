"""A grid of eight queries of one seed on drawn scenes, whose first round is made once, against each run on its own.

Both sides run one after the other in this process, with scenes that are drawn and decoded before. All rounds take the
same number of optimizer steps.
"""

import os
import statistics
import tempfile
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

from drawn_experiment import HEIGHT, drawn_experiment
from measure import Goal, Result, run, time_sides

from alutils.datasets.streets import write_streets
from alutils.runs import networks
from alutils.runs.config import RoundsConfig
from alutils.runs.folder import RunFolder
from alutils.runs.rounds import ActiveLearning, run_rounds
from alutils.training.loop import Trainer

QUERIES = (
    *("random", "strided_random", "consensus_entropy", "vote_entropy"),
    *("margin", "bald", "core_set", "vote_entropy+mixture0.6-0.2-0.2"),
)
SECONDS = ["seconds_train", "seconds_query"]


def measure(is_quick: bool) -> Result:
    """Draw the scenes, decode them, and let the sides take turns."""
    counts = {"train": 16, "val": 4} if is_quick else {"train": 200, "val": 60}
    config = drawn_experiment("grid", QUERIES[0], **{"rounds": 2, "steps": 2} if is_quick else {"steps": 40})
    with tempfile.TemporaryDirectory() as folder:
        os.environ |= {f"ALUTILS_{name.upper()}": f"{folder}/{name}" for name in ("data", "cache", "results")}
        write_streets(Path(folder, "data", "cityscapes"), counts, height=HEIGHT, processes=1)
        with unshared():
            run_rounds(replace(config, experiment="warm-up", rounds=1, steps=1))
        return compare(config, QUERIES[:3] if is_quick else QUERIES)


def compare(config: RoundsConfig, queries: Sequence[str]) -> Result:
    """Compare the sides' time, trainings and tables."""
    of_side: dict[str, Grid] = {name: Grid(config, name, queries) for name in ("ours", "alone")}
    seconds = time_sides({name: side.run for name, side in of_side.items()}, rounds=1)
    ours, alone = of_side.values()
    made, read = statistics.median(alone.seconds), statistics.median(ours.seconds[1:])
    same = sum(one == other for one, other in zip(ours.tables(), alone.tables(), strict=True))
    times = seconds["alone"] / seconds["ours"]
    return Result(
        f"{len(queries)} queries of one seed, {config.rounds} rounds of {config.steps} steps",
        seconds["ours"],
        seconds["ours"] - sum(ours.seconds[1:]),
        {"alone": seconds["alone"]},
        [
            Goal(f"first round: {len(queries)} queries of a seed, times faster than alone", times, at_least=1.1),
            Goal("... first rounds that were trained", ours.trained, at_most=1),
            Goal("... runs with the same tables as alone", same, at_least=len(queries)),
            Goal("... reading a first round, by the time to make it", read / made, at_most=0.1),
        ],
        {"first rounds trained alone": alone.trained, "seconds to make one": made, "seconds to read one": read},
    )


class Grid:
    """One side: the runs of all queries, one after the other.

    seconds : of the first round of each run
    trained : how many first rounds were trained
    """

    def __init__(self, config: RoundsConfig, side: str, queries: Sequence[str]):
        self.configs = [replace(config, experiment=side, query=query) for query in queries]
        self.is_alone, self.seconds, self.trained = side == "alone", list[float](), 0

    def run(self) -> None:
        """Run all queries."""
        first_round, train = ActiveLearning.first_round, Trainer.train

        def timed(learning: ActiveLearning) -> Any:
            started, before = time.perf_counter(), spy.call_count
            made = first_round(learning)
            self.seconds.append(time.perf_counter() - started)
            self.trained += spy.call_count - before
            return made

        with (
            patch.object(Trainer, "train", autospec=True, side_effect=train) as spy,
            patch.object(ActiveLearning, "first_round", timed),
            unshared() if self.is_alone else nullcontext(),
        ):
            for config in self.configs:
                run_rounds(config)

    def tables(self) -> list[tuple[str, bytes]]:
        """Return the tables of each run, seconds left out of `rounds.csv`."""
        runs = [RunFolder(config.experiment, config.run_name) for config in self.configs]
        return [
            (run.rounds().drop(columns=SECONDS).to_csv(), (run.path / "acquisitions.csv").read_bytes()) for run in runs
        ]


def unshared() -> AbstractContextManager[Any]:
    """Return a context in which each run makes its first round itself."""
    return patch.object(networks, "first_round_file", lambda *_: None)


if __name__ == "__main__":
    run(measure, __file__)
