"""Peak memory of scoring grows neither with the pool nor with T, and is close to that of one forward pass.

Each number is the peak of a process of its own above what it held before (weights and images): on a CPU its
anonymous memory, looked at every two milliseconds; on a GPU the most that was allocated.
"""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from committee_scoring import CLASSES, noise_images, ours, plain_forward
from measure import Goal, Result, run, synchronize

from alutils.models import build_model
from alutils.training.loop import default_device


def held_mb() -> float:
    """Return this process's anonymous memory, or what torch has allocated on the GPU, in MB."""
    if torch.cuda.is_available():
        return torch.cuda.memory_allocated() / 1e6
    status = Path("/proc/self/status").read_text()
    return int(status.split("RssAnon:")[1].split()[0]) * 1024 / 1e6


def peak_mb(work: Callable[[], object]) -> float:
    """Return the most that was held during `work`, above what was held before it, in MB."""
    before, seen, done = held_mb(), [0.0], threading.Event()

    def watch() -> None:
        while not done.wait(0.002):
            seen[0] = max(seen[0], held_mb())

    watcher = threading.Thread(target=watch)
    watcher.start()
    work()
    done.set()
    watcher.join()
    peak = torch.cuda.max_memory_allocated() / 1e6 if torch.cuda.is_available() else seen[0]
    return peak - before


def child(side: str, count: int, height: int, width: int, members: int) -> dict[str, float]:
    """Return megabytes and seconds of one side, in this process."""
    dataset = noise_images(count, height, width)
    model = (
        build_model("deeplabv3_resnet50", CLASSES, seed=0).to(default_device()).to(memory_format=torch.channels_last)
    )
    plain_forward(model, noise_images(1, 32, 32))  # what torch sets up at its first call is not counted
    work = partial(ours, model, dataset, members) if side == "ours" else partial(plain_forward, model, dataset)
    started = time.perf_counter()
    peak = peak_mb(work)
    synchronize()
    return {"mb": peak, "seconds": time.perf_counter() - started}


def in_child(script: str, *arguments: object) -> dict[str, float]:
    """Return what `child` of the file `script` returns in a process of its own."""
    command = [sys.executable, script, "--child", *map(str, arguments)]
    printed = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    print(arguments, printed.strip(), file=sys.stderr)
    return json.loads(printed)


def measure(quick: bool) -> Result:
    """Score pools of two sizes with committees of two sizes; score large images and pass them forward once."""
    side = 32 if quick else 64
    few, many, members = (4, 8, (2, 4)) if quick else (64, 1024, (5, 50))
    small = in_child(__file__, "ours", few, side, 2 * side, members[0])
    large_pool = in_child(__file__, "ours", many, side, 2 * side, members[0])
    many_members = in_child(__file__, "ours", few, side, 2 * side, members[1])
    height, asked = (64, 4) if quick else (1024, 20)
    scored, passed = (in_child(__file__, name, 4, height, 2 * height, asked) for name in ("ours", "forward"))
    details: dict[str, Any] = {
        f"MB, {few} images, T = {members[0]}": round(small["mb"]),
        f"MB, {many} images, T = {members[0]}": round(large_pool["mb"]),
        f"MB, {few} images, T = {members[1]}": round(many_members["mb"]),
        f"MB, 4 images of {height}x{2 * height}, T = {asked}": round(scored["mb"]),
        f"MB, 4 images of {height}x{2 * height}, one forward pass": round(passed["mb"]),
    }
    return Result(
        f"deeplabv3_resnet50, {CLASSES} classes, batches of 4; pools of {few} and {many} images of {side}x{2 * side};"
        f" 4 images of {height}x{2 * height}",
        scored["seconds"],
        passed["seconds"],
        goals=[
            Goal(f"peak memory of {many} images against {few}", large_pool["mb"] / small["mb"], at_most=1.05),
            Goal(f"... of T = {members[1]} against {members[0]}", many_members["mb"] / small["mb"], at_most=1.05),
            Goal("... of scoring large images against one forward pass", scored["mb"] / passed["mb"], at_most=1.5),
        ],
        details=details,
    )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        name, *numbers = sys.argv[2:]
        print(json.dumps(child(name, *map(int, numbers))))
    else:
        run(measure, __file__)
