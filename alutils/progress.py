"""How far work is: bars in JupyterLab and on a terminal, and a status file for whoever watches a grid."""

import json
import os
import sys
import time
from contextlib import suppress
from html import escape
from pathlib import Path
from typing import Any

from tqdm import tqdm

from alutils.files import read_mapping

BARS = "ALUTILS_PROGRESS"  # "0": no bars; set by `alutils run` when its output is not a terminal
STATUS = "ALUTILS_STATUS"  # the file that a run writes into; set by `alutils run`
SECONDS_BETWEEN = 1.0
DELAY = 1.0  # seconds before a bar appears


def bar(total: int, description: str) -> tqdm:
    """Return a tqdm bar over `total` steps; it appears after a second and vanishes when it is closed.

    In a notebook nothing is left of it. In a script or a log, one line says at the end what took how long.
    """
    kind = tqdm if sys.stderr.isatty() else _BarInCell if _is_in_notebook() else _LineAtEnd
    is_silent = os.environ.get(BARS) == "0"
    return kind(total=total, desc=description, leave=False, mininterval=0.5, delay=DELAY, disable=is_silent)


def _is_in_notebook() -> bool:
    """Tell whether a Jupyter kernel runs this code."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    return hasattr(shell, "kernel")


class _BarInCell(tqdm):
    """A bar below a notebook's cell, as an output of its own; what is written to stderr would leave a coloured box."""

    _shown: Any = None

    def display(self, msg: str | None = None, pos: int | None = None) -> None:
        """Show the bar, or nothing when it is closed."""
        from IPython.display import HTML, display

        text = HTML(f"<pre>{escape(str(self))}</pre>" if msg is None else "")
        if self._shown is None:
            self._shown = display(text, display_id=True)
        else:
            self._shown.update(text)


class _LineAtEnd(tqdm):
    """A line at the end, for files that people read later."""

    def display(self, msg: str | None = None, pos: int | None = None) -> None:
        """Show nothing before the end."""
        if msg is not None:
            self.fp.write(f"{self.desc}: {self.n} of {self.total} in {self.format_dict['elapsed']:.0f} s\n")


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


def duration(seconds: float) -> str:
    """Return a time in the unit that suits it."""
    minutes, hours = seconds / 60, seconds / 3600
    return f"{seconds:.0f} s" if seconds < 120 else f"{minutes:.0f} min" if minutes < 120 else f"{hours:.1f} h"


def read_status(path: Path) -> dict[str, Any]:
    """Return what a run last wrote into the file `path`; empty if there is no file, or only a part of one."""
    return read_mapping(path)
