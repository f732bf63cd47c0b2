"""A data set of drawn scenes, written in Cityscapes' own file layout."""

import os
from pathlib import Path

from PIL import Image

from alutils.contents import built_and_sealed
from alutils.datasets.streets.street import FRAMES_PER_DRIVE, check_height, draw_scene
from alutils.errors import check_choice
from alutils.processes import in_processes
from alutils.progress import bar

DRIVES_PER_CITY = 4
FIRST_INDEX = {"train": 0, "val": 10_000_000, "test": 20_000_000}  # so far apart that no two splits share a drive


def _write_scenes(root: Path, split: str, seed: int, height: int, frames: range) -> int:
    for number in frames:
        index = FIRST_INDEX[split] + number
        image, labels = draw_scene(seed, index, height)
        drive, frame = divmod(number, FRAMES_PER_DRIVE)
        city = f"{split}{drive // DRIVES_PER_CITY:02d}"
        stem = f"{city}_{drive % DRIVES_PER_CITY:06d}_{frame:06d}"
        for folder, suffix, pixels in (
            ("leftImg8bit", "leftImg8bit", image),
            ("gtFine", "gtFine_labelIds", labels),
        ):
            path = root / folder / split / city / f"{stem}_{suffix}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path, compress_level=1)
    return len(frames)


def write_streets(
    root: Path,
    counts: dict[str, int],
    *,
    seed: int = 0,
    height: int = 1024,
    train_step: int = 1,
    processes: int | None = None,
) -> None:
    """Write `counts[split]` scenes of each split to `root`, in Cityscapes' layout, unless `root` exists.

    The training split takes every `train_step`-th frame of its recording: from `FRAMES_PER_DRIVE` on, no two are of
    one drive. `processes` draw at once (default: one a core). Raises `DataError` if the files in `root` have changed.
    """
    check_height(height)
    for split in counts:
        check_choice("split", split, FIRST_INDEX)
    frames = {split: range(count) for split, count in counts.items()}
    if "train" in counts:
        frames["train"] = range(0, counts["train"] * train_step, train_step)
    built_and_sealed(root, lambda beside: _write_splits(beside, frames, seed, height, processes or os.cpu_count() or 1))


def _write_splits(root: Path, frames: dict[str, range], seed: int, height: int, processes: int) -> None:
    chunks = [
        (root, split, seed, height, of_split[start : start + FRAMES_PER_DRIVE])
        for split, of_split in frames.items()
        for start in range(0, len(of_split), FRAMES_PER_DRIVE)
    ]
    progress = bar(sum(map(len, frames.values())), "drawing street scenes")
    for drawn in in_processes(processes, 1, _write_scenes, chunks):
        progress.update(drawn)
    progress.close()
