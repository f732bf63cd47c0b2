"""A training step where few pixels have a label: the logits of these alone, against those of all pixels.

Both sides are `training.loop.Trainer` in float32 on one core, with a batch of maps of noise as large as those of CamVid
at 360x480; the one is given no other way than to compute all. Labels are windows of an 8x8 grid, drawn at random.
"""

from collections.abc import Callable
from unittest.mock import patch

import numpy as np
import torch
from measure import Goal, Result, run, time_sides
from torch import Tensor

from alutils.datasets import IGNORE_INDEX, Features
from alutils.models import build_model
from alutils.models.base import Maps
from alutils.models.frozen import FEW_PIXELS
from alutils.training.loop import Trainer
from alutils.training.recipe import Recipe

LEVELS = {4: (24, 90, 120), 8: (40, 45, 60), 16: (112, 23, 30), 32: (320, 12, 15)}  # by stride, as of `DEFAULT_ENCODER`
IMAGES, CLASSES, GRID, HEIGHT, WIDTH = 4, 11, 8, 360, 480
WINDOWS = {1: 4.0, 2: 3.0, 4: 2.5, 8: 1.5}  # labelled windows of each image's 64: how many times faster it should be
RECIPE = Recipe(
    epochs=1, steps=None, batch_size=IMAGES, learning_rate=1e-3, weight_decay=1e-4, class_weights=False,
    void_class=False, augmentation="none", precision="float32",
)  # fmt: skip


def features() -> Features:
    """Return what a network on these maps is built from."""
    levels = tuple(np.zeros((1, *shape), np.float16) for shape in LEVELS.values())
    zeros, ones = ([make(level.shape[1], np.float32) for level in levels] for make in (np.zeros, np.ones))
    return Features("", levels, tuple(LEVELS), tuple(zeros), tuple(ones))


def labels_with(windows: int) -> Tensor:
    """Return labels (N, H, W) of which each image has so many windows."""
    drawn = np.random.default_rng(0)
    rows, columns = np.arange(HEIGHT) * GRID // HEIGHT, np.arange(WIDTH) * GRID // WIDTH
    window_of = rows[:, None] * GRID + columns
    labels = torch.from_numpy(drawn.integers(0, CLASSES, (IMAGES, HEIGHT, WIDTH), dtype=np.uint8))
    for image in labels:
        chosen = drawn.permutation(GRID**2)[:windows]
        image[~torch.from_numpy(np.isin(window_of, chosen))] = IGNORE_INDEX
    return labels


def steps(labels: Tensor, few_pixels: float, times: int) -> Callable[[], None]:
    """Return a function that takes so many steps of a new network."""
    generator = torch.Generator().manual_seed(0)
    levels = [torch.randn(IMAGES, *shape, generator=generator).half() for shape in LEVELS.values()]
    maps = Maps(
        [level.to(memory_format=torch.channels_last) for level in levels], torch.Size([IMAGES, 3, HEIGHT, WIDTH])
    )
    trainer = Trainer(build_model("frozen_small", CLASSES, seed=0, features=features()), RECIPE, torch.device("cpu"))

    def take() -> None:
        with patch("alutils.models.frozen.FEW_PIXELS", few_pixels):
            for _ in range(times):
                trainer.step(maps, labels, None, RECIPE.learning_rate)

    return take


def measure(quick: bool) -> Result:
    """Let both sides take turns, for several numbers of windows."""
    torch.set_num_threads(1)
    times = 1 if quick else 20
    sides = {}
    for windows in WINDOWS:
        labels = labels_with(windows)
        sides[f"{windows} alone"] = steps(labels, FEW_PIXELS, times)
        sides[f"{windows} all"] = steps(labels, 0.0, times)
    time_sides(sides, 1)  # what torch sets up at its first call is not counted
    seconds = time_sides(sides, 1 if quick else 5)
    first = next(iter(WINDOWS))
    return Result(
        f"{times} steps of {IMAGES} images of noise, {HEIGHT}x{WIDTH}, frozen_small, float32, one thread",
        seconds[f"{first} alone"],
        None,
        {"all pixels": seconds[f"{first} all"]},
        [
            Goal(
                f"{'few labels: ' if windows == first else '... '}a step where {windows} of 64 windows of each image"
                f" {'has' if windows == 1 else 'have'} a label, times faster than with the logits of all pixels",
                seconds[f"{windows} all"] / seconds[f"{windows} alone"],
                at_least=goal,
            )
            for windows, goal in WINDOWS.items()
        ],
        {f"milliseconds a step, {name}": 1000 * value / times for name, value in seconds.items()},
    )


if __name__ == "__main__":
    run(measure, __file__)
