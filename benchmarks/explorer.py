"""A movement of the explorer's slider shows its picture within 100 ms at 360x480 and 300 ms at 512x1024, on one core.

Runs on noise images of such sizes are explored: what is shown does not change how long it takes. "In the kernel" is
from the slider's value to the widget's new picture, with nothing computed ahead; "in the browser" from the key to the
new picture in JupyterLab, where the neighbours are computed ahead while a person looks.
"""

import os
import shutil
import statistics
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import nbformat
import numpy as np
import torch
import yaml
from browser import PICTURE, browser, chromium, jupyter_lab, milliseconds_to_picture, run_all_cells, show_cell
from drawn_experiment import drawn_experiment
from measure import Goal, Result, run
from PIL import Image

from alutils.explorer.ranking import UNLABELLED
from alutils.explorer.widget import Explorer
from alutils.runs.rounds import run_rounds


class Sizes(NamedTuple):
    """Images of each size, and how many movements of the slider are timed."""

    images: int = 40
    sizes: tuple[tuple[int, int], ...] = ((360, 480), (512, 1024))
    moves: int = 30


MOST = (100, 300)  # milliseconds to a picture, by size
QUICK = Sizes(12, ((32, 64),), 2)
CELL = (
    "from alutils.explorer.widget import Explorer\nexplorer = Explorer('{}')\nexplorer.set(which='{}')\nexplorer.widget"
)


def write_images(root: Path, count: int, height: int, width: int) -> Path:
    """Write noise images with labels of 19 classes, and the YAML file that describes them; return its path."""
    generator, folder = np.random.default_rng(0), root / f"noise{height}"
    for name in ("images", "labels"):
        (folder / name).mkdir(parents=True)
    for number in range(count):
        pixels = generator.integers(0, 256, (height // 8, width // 8, 3), np.uint8).repeat(8, 0).repeat(8, 1)
        Image.fromarray(pixels).save(folder / "images" / f"{number}.png")
        Image.fromarray(pixels[..., 0] % 19).save(folder / "labels" / f"{number}.png")
    split = {"images": "images", "labels": "labels"}
    classes = {f"class {number}": [number * 13, 100, 200] for number in range(19)}
    content = {"name": folder.name, "classes": classes, "splits": {"train": split, "test": split}}
    path = folder / f"{folder.name}.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def in_the_kernel(experiment: str, moves: int) -> float:
    """Return the median milliseconds from a movement to its picture, with nothing computed ahead."""
    explorer = Explorer(experiment)
    explorer._newest._ahead = lambda wanted: iter(())
    explorer.set(which=UNLABELLED)
    explorer.wait()
    found = []
    for rank in range(2, moves + 2):
        started = time.perf_counter()
        explorer.set(rank=rank)
        explorer.wait()
        found.append(1000 * (time.perf_counter() - started))
    return statistics.median(found)


def in_the_browser(root: Path, experiment: str, moves: int) -> float:
    """Return the median milliseconds from a key to its picture in JupyterLab."""
    notebooks = root / f"notebooks_{experiment}"
    notebooks.mkdir()
    cell = nbformat.v4.new_code_cell(CELL.format(experiment, UNLABELLED))
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    nbformat.write(nbformat.v4.new_notebook(cells=[cell], metadata=kernel), notebooks / "explore.ipynb")
    with jupyter_lab(notebooks, root / "settings", OMP_NUM_THREADS="1") as address, browser() as page:
        run_all_cells(page, address.format("explore.ipynb"), 120)
        show_cell(page, 0)
        page.wait_for_selector(PICTURE)
        return statistics.median(milliseconds_to_picture(page, 1, moves))


def measure(quick: bool) -> Result:
    """Explore a run of two rounds at each size."""
    sizes, details = QUICK if quick else Sizes(), dict[str, float]()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        os.environ |= {"ALUTILS_CACHE": f"{root}/cache", "ALUTILS_RESULTS": f"{root}/results"}
        for height, width in sizes.sizes:
            where = {"dataset": str(write_images(root, sizes.images, height, width)), "test_split": "test"}
            of_head = {"model": "frozen_small", "augmentation": "none", "steps": 5, "rounds": 2, "batch_size": 4}
            experiment = f"explored{height}"
            run_rounds(drawn_experiment(experiment, "vote_entropy", **where, **of_head))
            name = f"{height}x{width}"
            details[f"ms in the kernel, {name}"] = in_the_kernel(experiment, sizes.moves)
            if chromium():
                details[f"ms in the browser, {name}"] = in_the_browser(root, experiment, sizes.moves)
            shutil.rmtree(root / "results" / experiment)
    goals = []
    for (height, width), most in zip(sizes.sizes, MOST[: len(sizes.sizes)], strict=True):
        of_size = [value for name, value in details.items() if name.endswith(f"{height}x{width}")]
        goals.append(Goal(f"... milliseconds to a picture, {height}x{width}", max(of_size), at_most=most))
    goals[0] = Goal(goals[0].claim.replace("...", "explorer:"), goals[0].measured, at_most=100)
    return Result(
        f"median of {sizes.moves} movements, 19 classes, ten members; goals hold in kernel and browser",
        max(details.values()) / 1000,
        goals=goals,
        details=details,
    )


if __name__ == "__main__":
    run(measure, __file__)
