"""How far work is: bars in JupyterLab and on a terminal, and a status file for whoever watches a grid."""

import json
import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from tqdm import tqdm

from alutils.files import read_mapping

BARS = "ALUTILS_PROGRESS"  # "0": no bars; set by `alutils run` when its output is not a terminal
STATUS = "ALUTILS_STATUS"  # the file that a run writes into; set by `alutils run`
SECONDS_BETWEEN = 1.0


def bar(total: int, description: str) -> Any:
    """Return a tqdm bar over `total` steps; it appears after a second and vanishes when it is closed."""
    is_silent = os.environ.get(BARS) == "0"
    return tqdm(total=total, desc=description, leave=False, mininterval=0.5, delay=1, disable=is_silent)


class Status:
    """Writes into the status file, at most once a second, where a run is and how many seconds it still needs.

    The seconds are estimated from the optimizer steps that this process has done so far and the time they took.
    """

    def __init__(self, total_steps: int):
        self.total, self.first = total_steps, -1
        self.started = self.last = time.monotonic()

    def tell(self, steps_done: int, **where: Any) -> None:
        """Write how far a run is after `steps_done` steps; `where` says it in words: round, epoch, score so far."""
        now = time.monotonic()
        if self.first < 0:
            self.first, self.started = steps_done, now
        elif now - self.last < SECONDS_BETWEEN:
            return
        self.last, here = now, steps_done - self.first
        seconds_left = (now - self.started) / here * (self.total - steps_done) if here else None
        if os.environ.get(STATUS):
            with suppress(OSError):  # a full disk must not stop a run here
                Path(os.environ[STATUS]).write_text(json.dumps(where | {"seconds_left": seconds_left}))


def read_status(path: Path) -> dict[str, Any]:
    """Return what a run last wrote into the file `path`; empty if there is no file, or only a part of one."""
    return read_mapping(path)
