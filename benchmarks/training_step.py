"""A training step against the arithmetic it needs, and against a plain float32 loop.

The step is that of `training.loop.Trainer` as a run takes it: channels last, bfloat16 autocast on a GPU. The plain loop
is float32, channels first, and looks at the loss after every step. Arithmetic is counted by torch over forward and
backward pass, and set against the rate of a large matrix product measured here. On a GPU, step times give the hours
of one such GPU for the thesis's whole Cityscapes grid.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from measure import Goal, Result, run, synchronize, time_sides
from torch import Tensor
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from alutils.models import SplitModel, build_model
from alutils.training.loop import Trainer, default_device
from alutils.training.recipe import Recipe

CLASSES = 19
RECIPE = Recipe(
    epochs=1, steps=None, batch_size=2, learning_rate=1e-4, weight_decay=1e-4, class_weights=False, void_class=False,
    augmentation="none", precision="auto",
)  # fmt: skip
# The thesis's grid in images trained on: shares of 2,880 images, epochs, 5 repetitions. Bulk: 20, 30, 40, 70 % for
# three queries, and all. Rounds: two committees, 5 epochs at each of 10 to 60 % and 10 at 70 %.
BULK_IMAGES = 2880 * (3 * (0.2 + 0.3 + 0.4 + 0.7) + 1) * 5
ROUND_IMAGES = 2880 * 2 * (5 * (0.1 + 0.2 + 0.3 + 0.4 + 0.5 + 0.6) + 10 * 0.7) * 5
GRID_IMAGES = {"deeplabv3_resnet101": 40 * BULK_IMAGES + ROUND_IMAGES, "vgg19_unet": 120 * BULK_IMAGES}


@dataclass(frozen=True)
class Batch:
    """Images (B, 3, H, W) of noise and labels (B, H, W)."""

    images: Tensor
    labels: Tensor

    @classmethod
    def of_noise(cls, count: int, height: int, width: int) -> "Batch":
        """Return a batch on the device."""
        images = torch.randn(count, 3, height, width, device=default_device())
        return cls(images, torch.randint(0, CLASSES, (count, height, width), device=default_device()))


def our_steps(name: str, batch: Batch, times: int) -> Callable[[], None]:
    """Return a function that takes `times` steps of a new network as a run does; one step is taken already."""
    trainer = Trainer(build_model(name, CLASSES, seed=0), RECIPE)

    def step() -> None:
        images = batch.images.to(memory_format=torch.channels_last)
        trainer.step(images, batch.labels, None, RECIPE.learning_rate)

    return repeated(step, times)


def plain_step(model: SplitModel, optimizer: torch.optim.Optimizer, batch: Batch) -> float:
    """Take a step of a plain float32 loop."""
    model.train()
    main, *auxiliary = model.training_logits(batch.images)
    loss = F.cross_entropy(main, batch.labels)
    for logits in auxiliary:
        loss = loss + 0.4 * F.cross_entropy(logits, batch.labels)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()


def plain_steps(name: str, batch: Batch, times: int) -> Callable[[], None]:
    """Return a function that takes `times` steps of a new network in a plain loop; one step is taken already."""
    model = build_model(name, CLASSES, seed=0).to(default_device())
    optimizer = torch.optim.Adam(model.parameters(), RECIPE.learning_rate, weight_decay=RECIPE.weight_decay)
    return repeated(lambda: plain_step(model, optimizer, batch), times)


def repeated(step: Callable[[], object], times: int) -> Callable[[], None]:
    """Return a function that takes `times` steps, and take one now."""
    step()

    def steps() -> None:
        for _ in range(times):
            step()

    return steps


def operations(name: str, batch: Batch) -> int:
    """Return the floating-point operations of one step."""
    model = build_model(name, CLASSES, seed=0).to(default_device())
    with FlopCounterMode(display=False) as counter:
        plain_step(model, torch.optim.SGD(model.parameters(), 0.0), batch)
    return counter.get_total_flops()


def matrix_product_rate() -> float:
    """Return operations a second of a large matrix product in the precision of our step."""
    on_gpu = default_device().type == "cuda"
    size, dtype = (8192, torch.bfloat16) if on_gpu else (2048, torch.float32)
    left, right = torch.randn(2, size, size, device=default_device()).to(dtype)
    seconds = []
    for _ in range(10):
        synchronize()
        started = time.perf_counter()
        left @ right
        synchronize()
        seconds.append(time.perf_counter() - started)
    return 2 * size**3 / min(seconds)


def measure(quick: bool) -> Result:
    """Time both loops on both networks."""
    on_gpu = default_device().type == "cuda"
    count, height, width = (2, 32, 64) if quick else ((8, 512, 1024) if on_gpu else (2, 128, 256))
    batch, times = Batch.of_noise(count, height, width), 20 if on_gpu else 1
    sides = {}
    for name in GRID_IMAGES:
        sides[f"ours {name}"] = our_steps(name, batch, times)
        sides[f"plain {name}"] = plain_steps(name, batch, times)
    seconds = {side: value / times for side, value in time_sides(sides, rounds=1 if quick else 5).items()}
    rate, goals, details = matrix_product_rate(), [], dict(seconds)
    details["matrix product, 1e12 operations a second"] = rate / 1e12
    for name in GRID_IMAGES:
        ours, plain = seconds[f"ours {name}"], seconds[f"plain {name}"]
        share = operations(name, batch) / ours / rate
        goals.append(
            Goal(f"training step, {name}: times faster than plain float32", plain / ours, 3 if on_gpu else None)
        )
        goals.append(Goal("... share of the matrix-product rate", share, 0.35 if on_gpu else None))
    if on_gpu:
        hours = sum(GRID_IMAGES[name] * seconds[f"ours {name}"] / count for name in GRID_IMAGES) / 3600
        goals.append(Goal("the thesis's Cityscapes grid, hours of one such GPU", hours, at_most=24))
    return Result(
        f"one step on {count} images of {height}x{width}, {CLASSES} classes",
        sum(seconds[f"ours {name}"] for name in GRID_IMAGES),
        rivals_s={"plain float32 loop": sum(seconds[f"plain {name}"] for name in GRID_IMAGES)},
        goals=goals,
        details=details,
    )


if __name__ == "__main__":
    run(measure, __file__)
