"""Decoding happens once; from then on an epoch's images cost next to nothing.

Sides: our first epoch, which builds the cache; decoding the same files alone (the floor); a later epoch of ours;
torchvision's Cityscapes with PIL resizing and a DataLoader of two workers. An epoch gives every image and label once,
in random order, in batches, flipped half of the time and normalised, on the device.
"""

import os
import shutil
import tempfile
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measure import Goal, Result, run, time_sides
from PIL import Image
from torch import Tensor

from alutils.datasets import ImageDataset, load_dataset
from alutils.datasets.base import IMAGENET_MEAN, IMAGENET_STD
from alutils.datasets.streets import write_streets
from alutils.training.augmentation import augment
from alutils.training.feeding import feed
from alutils.training.loop import default_device, epoch_batches
from alutils.training.recipe import AUGMENTATIONS

BATCH, WORKERS = 8, 2


def first_epoch(height: int) -> None:
    """Decode into a new cache, then give every image once."""
    shutil.rmtree(os.environ["ALUTILS_CACHE"], ignore_errors=True)
    epoch(load_dataset("cityscapes", "train", height, 2 * height))


def epoch(dataset: ImageDataset, augmentations: tuple[str, ...] = ("flip",)) -> None:
    """Give every image once."""
    generator = np.random.default_rng(0)
    batches = epoch_batches(np.arange(len(dataset)), BATCH, seed=0)
    change = partial(augment, names=augmentations, generator=generator)
    for _ in feed(dataset, batches, default_device(), change):
        pass


def decode_alone(root: Path) -> None:
    """Decode every file with as many threads as there are cores, and keep nothing."""

    def decode(path: Path) -> None:
        with Image.open(path) as image:
            image.load()

    files = [*root.rglob("leftImg8bit/train/*/*.png"), *root.rglob("gtFine/train/*/*_labelIds.png")]
    with ThreadPoolExecutor(os.cpu_count()) as workers:
        list(workers.map(decode, files))


def torchvision_loader(root: Path, height: int) -> torch.utils.data.DataLoader[Any]:
    """Return a loader over torchvision's Cityscapes, images and labels resized by PIL."""
    from torchvision import datasets, transforms
    from torchvision.transforms import InterpolationMode, functional

    normalise = transforms.Normalize(IMAGENET_MEAN, IMAGENET_STD)

    def prepare(image: Image.Image, label: Image.Image) -> tuple[Tensor, Tensor]:
        image = functional.resize(image, [height, 2 * height])
        label = functional.resize(label, [height, 2 * height], InterpolationMode.NEAREST)
        if torch.rand(1) < 0.5:
            image, label = functional.hflip(image), functional.hflip(label)
        return normalise(functional.to_tensor(image)), functional.pil_to_tensor(label)[0].long()

    scenes = datasets.Cityscapes(str(root), "train", "fine", "semantic", transforms=prepare)
    pinned = torch.cuda.is_available()
    return torch.utils.data.DataLoader(scenes, BATCH, shuffle=True, num_workers=WORKERS, pin_memory=pinned)


def rival_epoch(loader: torch.utils.data.DataLoader[Any]) -> None:
    """Give every image once."""
    for images, labels in loader:
        images.to(default_device(), non_blocking=True)
        labels.to(default_device(), non_blocking=True)


def measure(quick: bool) -> Result:
    """Draw scenes, then time all sides."""
    count, stored, height = (8, 64, 32) if quick else (96, 1024, 256)
    with tempfile.TemporaryDirectory() as folder:
        os.environ |= {"ALUTILS_DATA": folder, "ALUTILS_CACHE": f"{folder}/cache"}
        root = Path(folder) / "cityscapes"
        write_streets(root, {"train": count}, height=stored)
        first_epoch(height)
        dataset, loader = load_dataset("cityscapes", "train", height, 2 * height), torchvision_loader(root, height)
        sides = {
            "first_epoch": lambda: first_epoch(height),
            "floor": lambda: decode_alone(root),
            "torchvision_dataloader": lambda: rival_epoch(loader),
        }
        later = {"ours": lambda: epoch(dataset), "ours_all_augmentations": lambda: epoch(dataset, AUGMENTATIONS)}
        rounds = 1 if quick else 3
        seconds = time_sides(sides, rounds) | time_sides(later, 5 * rounds)
    rival = seconds["torchvision_dataloader"]
    return Result(
        f"an epoch over {count} drawn scenes of {stored}x{2 * stored}, given at {height}x{2 * height} in batches of"
        f" {BATCH}; ours is a later epoch, the floor is decoding alone",
        seconds["ours"],
        seconds["floor"],
        {"torchvision_dataloader": rival},
        [
            Goal(
                "feeding: the first epoch, times decoding alone", seconds["first_epoch"] / seconds["floor"], at_most=1.2
            ),
            Goal("... later epochs, times faster than DataLoader and PIL", rival / seconds["ours"], at_least=25),
        ],
        {name: seconds[name] for name in ("first_epoch", "ours_all_augmentations")},
    )


if __name__ == "__main__":
    run(measure, __file__)
