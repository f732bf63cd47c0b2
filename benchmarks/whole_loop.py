"""A whole experiment, five rounds of active learning on drawn scenes, against the same one written with baal.

Scenes, start sets, network, initial weights, optimizer, learning rates and number of steps are the same. Ours starts
without a cache, so that decoding counts; drawing the scenes and importing do not. Ours also runs in bfloat16, for which
`ModelWrapper` has no setting.
"""

import os
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from baal_loop import run_baal
from drawn_experiment import HEIGHT, drawn_experiment
from measure import Goal, Result, run, synchronize, time_sides
from torch.nn import functional as F

from alutils.datasets.streets import write_streets
from alutils.models import build_model
from alutils.runs.config import RoundsConfig
from alutils.runs.rounds import run_rounds
from alutils.training.loop import default_device

EPOCHS = 5  # of each training; the more, the more of both sides' time is the same training steps
SEEDS = 1  # experiments of each side

Run = Callable[[RoundsConfig], pd.DataFrame]


def measure(quick: bool) -> Result:
    """Draw the scenes, warm up, and let the sides take turns."""
    counts = {"train": 16, "val": 4} if quick else {"train": 400, "val": 100}
    config = experiment(rounds=2, epochs=5, committee_members=2) if quick else experiment()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["ALUTILS_DATA"] = folder
        root = Path(folder) / "cityscapes"
        write_streets(root, counts, height=HEIGHT, processes=1)
        sides: dict[str, Run] = {
            "ours": run_ours,
            "ours_bfloat16": lambda config: run_ours(replace(config, precision="bfloat16")),
            "baal_loop": partial(run_baal, root, is_cached=False),
            "baal_loop_mccaching": partial(run_baal, root, is_cached=True),
        }
        for side in sides.values():
            side(replace(config, rounds=1, epochs=1))  # what is imported at first use is now
        return compare(sides, config, counts["train"])


def experiment(**more: Any) -> RoundsConfig:
    """Return the experiment at seed 0."""
    return drawn_experiment("whole_loop", "consensus_entropy", **{"epochs": EPOCHS} | more)


def run_ours(config: RoundsConfig) -> pd.DataFrame:
    """Run the experiment in new folders for its results and its cache."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["ALUTILS_RESULTS"], os.environ["ALUTILS_CACHE"] = f"{folder}/results", f"{folder}/cache"
        return run_rounds(config)


def compare(sides: dict[str, Run], config: RoundsConfig, pool_size: int) -> Result:
    """Compare the sides' time and accuracy."""
    seconds, tables = timed(sides, config)
    ours_s, ours_bfloat16_s = seconds.pop("ours"), seconds.pop("ours_bfloat16")
    mious = mean_of(tables, lambda rounds: rounds["miou"].mean())
    fastest, best = min(seconds.values()), max(mious[name] for name in seconds)
    steps = sum(config.total_steps(budget) for budget in config.labelled_by_round(pool_size))
    floor_s = steps * step_seconds(config)
    return Result(
        f"{config.rounds} rounds on {pool_size} scenes of {HEIGHT}x{2 * HEIGHT}, {config.committee_members} members",
        ours_s,
        floor_s,
        seconds,
        [
            Goal("whole loop: times faster than baal's faster loop", fastest / ours_s, at_least=3),
            Goal("... the same, if all but the optimizer steps were free", fastest / floor_s),
            Goal("... the same, ours in bfloat16", fastest / ours_bfloat16_s, at_least=3),
            Goal("... mean IoU over all rounds, as a share of the better loop's", mious["ours"] / best, at_least=0.9),
            Goal("... the same, ours in bfloat16", mious["ours_bfloat16"] / best, at_least=0.9),
        ],
        {
            "optimizer_steps": steps,
            "seconds_ours_bfloat16": ours_bfloat16_s,
            "mean_iou": mious,
            "last_mean_iou": mean_of(tables, lambda rounds: rounds["miou"].iloc[-1]),
            "seconds_train_and_test": mean_of(tables, lambda rounds: rounds["seconds_train"].sum()),
            "seconds_query": mean_of(tables, lambda rounds: rounds["seconds_query"].sum()),
        },
    )


def timed(sides: dict[str, Run], config: RoundsConfig) -> tuple[dict[str, float], dict[str, list[pd.DataFrame]]]:
    """Return each side's seconds, and its table of rounds for each of the seeds 0, 1, ..."""
    tables: dict[str, list[pd.DataFrame]] = {name: [] for name in sides}

    def run_next(name: str) -> None:
        tables[name].append(sides[name](replace(config, seed=len(tables[name]))))

    return time_sides({name: partial(run_next, name) for name in sides}, SEEDS), tables


def mean_of(tables: dict[str, list[pd.DataFrame]], number: Callable[[pd.DataFrame], float]) -> dict[str, float]:
    """Return, for each side, the mean over its experiments of a number that a table of rounds gives."""
    return {
        name: round(float(statistics.mean(number(rounds) for rounds in found)), 4) for name, found in tables.items()
    }


def step_seconds(config: RoundsConfig, steps: int = 20) -> float:
    """Return the seconds of one optimizer step alone, on a batch that is already on the device."""
    device = default_device()
    model = build_model(config.model, 19, seed=0).to(device).to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.Adam(model.parameters(), config.learning_rate)
    images = torch.randn(config.batch_size, 3, HEIGHT, 2 * HEIGHT, device=device)
    images = images.to(memory_format=torch.channels_last)
    labels = torch.randint(19, (config.batch_size, HEIGHT, 2 * HEIGHT), device=device)
    seconds = []
    for _ in range(steps):
        synchronize()
        started = time.perf_counter()
        optimizer.zero_grad()
        F.cross_entropy(model(images), labels).backward()
        optimizer.step()
        synchronize()
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds)


if __name__ == "__main__":
    run(measure, __file__)
