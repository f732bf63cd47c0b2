"""Bars for long loops: shown in JupyterLab and on a terminal, silent in logs."""

import os
from typing import Any

from tqdm import tqdm

SWITCH = "ALUTILS_PROGRESS"  # "0": no bars; set by `alutils.run` when its output is not a terminal


def bar(total: int, description: str) -> Any:
    """Return a tqdm bar over `total` steps, seen if they take more than a second, that vanishes when closed."""
    is_silent = os.environ.get(SWITCH) == "0"
    return tqdm(total=total, desc=description, leave=False, mininterval=0.5, delay=1, disable=is_silent)
