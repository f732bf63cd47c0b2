"""The hashes of a data set's files: computed at its first start, remembered at each later one.

The floor reads the files and does nothing else. Files lie in the page cache of the system: what a disk adds depends on
the disk. With `ALUTILS_DATA`, the real CamVid is timed as well.
"""

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from measure import Goal, Result, run, time_sides

from alutils import contents
from alutils.contents import content_hashes
from alutils.paths import data_dir

MANY, SMALL = 25_000, 40_000  # files, and bytes of each
FEW, LARGE = 250, 2_000_000


def write_files(folder: Path, count: int, size: int) -> list[Path]:
    """Write `count` files that all differ; return their paths."""
    folder.mkdir()
    common = np.random.default_rng(0).bytes(size - 8)
    paths = [folder / f"{number:05d}.jpg" for number in range(count)]
    for number, path in enumerate(paths):
        path.write_bytes(number.to_bytes(8, "little") + common)
    return paths


def read(paths: list[Path]) -> None:
    """Read each file."""
    for path in paths:
        path.read_bytes()


def sides_of(name: str, paths: list[Path]) -> dict[str, Callable[[], object]]:
    """Return the sides for some files: they are read, hashed without a memory, and hashed with one."""

    def first() -> None:
        shutil.rmtree(os.environ["ALUTILS_CACHE"], ignore_errors=True)
        content_hashes(paths, name)

    return {
        f"{name} read": lambda: read(paths),
        f"{name} first": first,
        f"{name} later": lambda: content_hashes(paths, name),
    }


def measure(quick: bool) -> Result:
    """Time both starts of many small files, of few large ones, and of CamVid where it is."""
    many, few, contents.SETTLED = (100, 4, 0.0) if quick else (MANY, FEW, 0.0)
    with tempfile.TemporaryDirectory() as temporary:
        os.environ["ALUTILS_CACHE"] = str(Path(temporary, "cache"))
        sides = sides_of("small", write_files(Path(temporary, "small"), many, SMALL))
        sides |= sides_of("large", write_files(Path(temporary, "large"), few, LARGE))
        camvid = sorted((data_dir() / "camvid").glob("*/*.*"))
        if camvid:
            sides |= sides_of("camvid", camvid)
        seconds = time_sides(sides, rounds=1 if quick else 3)
    details = {
        f"{many} files of {SMALL / 1e6:g} MB: first start, seconds": seconds["small first"],
        f"{many} files of {SMALL / 1e6:g} MB: later starts, seconds": seconds["small later"],
        f"{few} files of {LARGE / 1e6:g} MB: first start, seconds": seconds["large first"],
    }
    if camvid:
        details["CamVid: first start, seconds"] = seconds["camvid first"]
        details["CamVid: later starts, seconds"] = seconds["camvid later"]
    speed, later = few * LARGE / 1e9 / seconds["large first"], 1e6 * seconds["small later"] / many
    return Result(
        f"contents of {many} small and {few} large files: hashed (ours), read (the floor)",
        seconds["small first"] + seconds["large first"],
        seconds["small read"] + seconds["large read"],
        goals=[
            Goal("contents: large files hashed at first, GB a second", speed, at_least=0.5),
            Goal("... later starts, microseconds a file", later, at_most=80),
        ],
        details=details,
    )


if __name__ == "__main__":
    run(measure, __file__)
