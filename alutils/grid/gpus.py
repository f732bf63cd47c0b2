"""Which GPU a run may use: each run holds a lock on a GPU of its own until it ends."""

import os
import re
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from alutils.errors import check_range
from alutils.files import own_folder, try_lock

VISIBLE = "CUDA_VISIBLE_DEVICES"


def visible_gpus() -> list[str]:
    """Return the identifiers of the GPUs that this process may use, without loading torch.

    They are UUIDs where these are known: two jobs of a cluster that share a node may both call their GPU number 0.
    """
    command = ["nvidia-smi", "--query-gpu=index,uuid", "--format=csv,noheader"]
    try:
        listed = subprocess.run(command, capture_output=True, text=True, timeout=60).stdout
    except (OSError, subprocess.TimeoutExpired):
        listed = ""
    uuids = dict(re.findall(r"^(\d+), (\S+)$", listed, re.MULTILINE))
    if VISIBLE not in os.environ:
        return list(uuids.values())
    return [uuids.get(name.strip(), name.strip()) for name in os.environ[VISIBLE].split(",") if name.strip()]


@contextmanager
def claimed(count: int) -> Iterator[dict[str, str]]:
    """Wait for `count` GPUs that no other run holds, and hold them; yield the environment that shows only these.

    On a machine without a GPU the environment is empty. Raises `ParameterError` if the machine has fewer than `count`.
    """
    gpus = visible_gpus()
    if not gpus or not count:
        yield {}
        return
    check_range("GPUs of one run", count, 1, len(gpus))
    while True:
        with ExitStack() as held:
            mine: list[str] = []
            for gpu in gpus:
                if len(mine) < count and (file := try_lock(_lock(gpu))):
                    held.enter_context(file)
                    mine.append(gpu)
            if len(mine) == count:
                yield {VISIBLE: ",".join(mine)}
                return
        time.sleep(1)


def _lock(gpu: str) -> Path:
    return own_folder(Path(tempfile.gettempdir())) / f"gpu-{gpu}.lock"
