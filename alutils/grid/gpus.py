"""Which GPU a run may use: one each, held by a lock for as long as the run lives."""

import os
import re
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from alutils.errors import check_range
from alutils.files import try_lock

VISIBLE = "CUDA_VISIBLE_DEVICES"


def visible_gpus() -> list[str]:
    """Return the identifiers of the GPUs that this process may use; torch is not loaded for it.

    By number, two jobs of a cluster that share a node may each have a GPU 0; so it is by UUID where that is known.
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
    """Hold `count` GPUs that no other run holds, waiting for them; yield the environment that shows only these.

    Where there is no GPU, nothing is held and nothing set. Raises `ParameterError` for more than there are.
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
    return Path(tempfile.gettempdir()) / f"alutils-gpu-{os.getuid()}-{gpu}.lock"
