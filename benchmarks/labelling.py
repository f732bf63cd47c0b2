"""A folder of photographs gets its first batch within two minutes, each next one within half a minute, on two cores.

Times are those of the command `alutils next`, from its start to its end. The first one decodes and encodes all
photographs; the next one trains on 20 labels, asks the committee about all other photographs and writes the batch.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import yaml
from measure import Goal, Result, run
from PIL import Image

from alutils.datasets.folder import read_description
from alutils.paths import ROOT, data_dir


class Sizes(NamedTuple):
    """How many photographs there are, of which size, and how many are labelled at a time."""

    photographs: int = 367
    height: int = 360
    width: int = 480
    batch: int = 20
    rounds: int = 3


QUICK = Sizes(8, 48, 64, 3, 1)


def write_photographs(root: Path, sizes: Sizes) -> bool:
    """Write a folder of photographs, CamVid's or noise, and its description; tell whether they are CamVid's."""
    description = read_description(ROOT / "alutils/datasets/camvid.yaml")
    content = {"name": "own", "classes": description.classes, "ignore": description.ignore}
    content["splits"] = {"train": {"images": "photos", "labels": "labels"}}
    (root / "own.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    for folder in ("photos", "labels"):
        (root / folder).mkdir()
    source, generator = data_dir() / "camvid/train", np.random.default_rng(0)
    is_camvid = source.is_dir() and sizes != QUICK
    for number in range(sizes.photographs):
        if is_camvid:
            shutil.copy(sorted(source.iterdir())[number], root / "photos")
        else:
            pixels = generator.integers(0, 256, (sizes.height, sizes.width, 3), np.uint8)
            Image.fromarray(pixels).save(root / "photos" / f"{number:03}.jpg")
    return is_camvid


def label(root: Path, batch: Path, is_camvid: bool, sizes: Sizes) -> None:
    """Label a batch: with CamVid's labels, or stripes."""
    for file in pd.read_csv(batch / "next.csv", dtype={"file": str})["file"]:
        name = f"{Path(file).stem}.png"
        if is_camvid:
            shutil.copy(data_dir() / "camvid/trainannot" / name, root / "labels" / name)
        else:
            stripes = np.arange(sizes.width, dtype=np.uint8) // 8 % 11
            Image.fromarray(np.tile(stripes, (sizes.height, 1))).save(root / "labels" / name)


def seconds_of(root: Path, sizes: Sizes) -> float:
    """Return the seconds of one call of `alutils next`."""
    command = [sys.executable, "-m", "alutils", "next", str(root / "own.yaml"), "-k", str(sizes.batch)]
    started = time.perf_counter()
    subprocess.run(command, check=True, stdout=sys.stderr, cwd=ROOT)
    return time.perf_counter() - started


def measure(quick: bool) -> Result:
    """Ask for a first batch and several next ones; each is labelled before the following one."""
    sizes = QUICK if quick else Sizes()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        os.environ |= {"ALUTILS_CACHE": f"{root}/cache", "ALUTILS_RESULTS": f"{root}/results"}
        is_camvid = write_photographs(root, sizes)
        seconds = [seconds_of(root, sizes)]
        for number in range(1, sizes.rounds + 1):
            label(root, root / f"results/labelling/own/batch{number}", is_camvid, sizes)
            seconds.append(seconds_of(root, sizes))
    return Result(
        f"{sizes.photographs} photographs {'of CamVid' if is_camvid else 'of noise'}, {sizes.height}x{sizes.width},"
        f" {sizes.batch} at a time; the slowest of {sizes.rounds} next batches",
        max(seconds[1:]),
        goals=[
            Goal("labelling: seconds to a first batch", seconds[0], at_most=120),
            Goal("... to each next batch", max(seconds[1:]), at_most=30),
        ],
    )


if __name__ == "__main__":
    run(measure, __file__)
