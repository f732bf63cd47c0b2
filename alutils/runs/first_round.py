"""The first round, which all queries of a seed share: one run makes it, and the others read it.

What becomes of a network in round 0 is kept in the cache, in `first-rounds/`: its weights, its measures on the test
set, the seconds that both took, and the optimizer's state where later rounds train the network further. A file is named
by the SHA-256 of everything that determines what it holds. It may be removed at any time.
"""

import hashlib
import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from alutils.datasets import ImageDataset
from alutils.errors import one_line
from alutils.files import locked, open_regular, write_whole
from alutils.paths import ROOT, cache_dir
from alutils.provenance import device_name
from alutils.runs.folder import is_sealed, packed, sha256, unpacked
from alutils.training.loop import Trainer

LOADED = time.time()  # code that changed on the disk since then is not the code that runs here
MAY_DIFFER = {"experiment", "query", "query_digest"}  # the parameters that do not matter to round 0

State = dict[str, Any]


def shared(path: Path | None, make: Callable[[], State], take_over: Callable[[State], None]) -> State:
    """Return what `make` returns, or what it returned in another run; that is given to `take_over` first.

    One process makes it at a time and others wait for it; if it is killed, the next one makes it. A kept file that is
    damaged is made anew. Where the cache cannot be written, nothing is kept. In both cases a line on stderr says so.

    path : the file in which it is kept; `None` if it must not be shared
    """
    if path is None:
        return make()
    with _alone(path):
        kept = _read(path)
        if kept is None:
            made = make()
            _keep(path, made)
            return made
    take_over(kept)
    return kept


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Hold the lock on a kept file, if the cache is one that can be written."""
    with ExitStack() as held:
        with suppress(OSError):  # then it cannot be kept either, which `_keep` says
            held.enter_context(locked(path.with_suffix(".lock"), str(path)))
        yield


def _read(path: Path) -> State | None:
    """Return what is kept in a file; `None` if there is none, or if it cannot be used."""
    try:
        with open_regular(path) as file:
            content = file.read()
    except FileNotFoundError:
        return None
    except OSError as error:
        _say(f"{path}: cannot be read ({error.strerror}); the first round is made anew")
        return None
    if not is_sealed(content):
        _say(f"{path}: damaged (it is not what was kept); the first round is made anew")
        return None
    return unpacked(content)


def _keep(path: Path, made: State) -> None:
    try:
        write_whole(path, packed(made))
    except OSError as error:
        _say(f"{one_line(error)}; the first round is not kept for other queries")


def _say(message: str) -> None:
    print(message, file=sys.stderr, flush=True)  # noqa: T201


def first_round_file(
    config: Mapping[str, Any],
    trainer: Trainer,
    dataset: ImageDataset,
    indices: np.ndarray,
    member: int,
    test_clips: Sequence[tuple[str, int]],
) -> Path | None:
    """Return the file that keeps what training makes of a network in round 0; `None` if the code is not known.

    config : what `config.json` of the run holds, the fingerprints of the data included
    trainer : the network before its training
    dataset, indices : what it is trained on; regions and whole images give the same file if they label the same
    test_clips : the sequence and the number of images of each clip that it is tested on
    """
    code = package_digest()
    if code is None:
        return None
    determines = {
        "config": {name: value for name, value in config.items() if name not in MAY_DIFFER},
        "member": member,
        "test clips": list(test_clips),
        "weights": sha256(packed(trainer.network.state_dict())),
        "labels": _labels_digest(dataset, indices),
        "device": [device_name(trainer.device), torch.backends.cpu.get_cpu_capability()],
        "threads": torch.get_num_threads(),
        "versions": [sys.version, np.__version__, torch.__version__, version("torchvision")],
        "code": code,
    }
    name = sha256(json.dumps(determines, sort_keys=True).encode())
    return cache_dir() / "first-rounds" / f"{name}.pt"


def _labels_digest(dataset: ImageDataset, indices: np.ndarray) -> str:
    """Return the SHA-256 of which images are trained on, and of their labels, read one by one."""
    digest = hashlib.sha256(indices.astype(np.int64).tobytes())
    for index in indices:
        digest.update(dataset.labels[index].tobytes())
    return digest.hexdigest()


@cache
def package_digest() -> str | None:
    """Return the SHA-256 of the package's Python files; `None` if one changed after this process had loaded them."""
    paths = sorted((ROOT / "alutils").rglob("*.py"))
    if max(path.stat().st_ctime for path in paths) >= LOADED:
        return None
    contents = [(path.relative_to(ROOT).as_posix(), sha256(path.read_bytes())) for path in paths]
    return sha256(json.dumps(contents).encode())
