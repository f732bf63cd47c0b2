"""Finished runs for tests of the explorer."""

from dataclasses import replace
from functools import cache

from conftest import ROUNDS

from alutils.explorer.opened import OpenedRun
from alutils.runs.config import RoundsConfig
from alutils.runs.folder import RunFolder
from alutils.runs.rounds import run_rounds

SCENES = replace(ROUNDS, query="vote_entropy", committee_members=4)  # 3, 6, 9 of 12 images
REGIONS = replace(SCENES, query="vote_entropy+windows2x2")
DIGITS = replace(
    SCENES, dataset="digits", height=28, width=28, model="mnist_cnn", augmentation="none", class_weights=False,
    unit="images", start=10, step=10, rounds=2,
)  # fmt: skip


@cache
def opened(config: RoundsConfig) -> OpenedRun:
    """Return a run that several tests look at, finished once."""
    run = finished(config)
    assert len(run.train_set) == len(run.test_set) or not run.train_set.is_dense  # both are loaded
    return run


def finished(config: RoundsConfig) -> OpenedRun:
    """Return a run in the results of this test."""
    run_rounds(config)
    return OpenedRun(RunFolder("e", config.run_name))
