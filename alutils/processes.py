"""Work that several processes do at once."""

import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from joblib import Parallel, delayed, parallel_config

from alutils.progress import BARS

Result = TypeVar("Result")


def in_processes(
    count: int, threads: int, work: Callable[..., Result], tasks: Sequence[tuple[Any, ...]]
) -> Iterator[Result]:
    """Yield `work(*task)` of each task, in order, computed by up to `count` processes; by this one if that is 1.

    Starting the processes takes seconds. They stay for five minutes, for the next call. They show no bars, and need
    no `if __name__ == "__main__"` in a script. Large arrays are written into a file, which all of them map.

    threads : of each process that is started
    """
    if min(count, len(tasks)) <= 1:
        yield from (work(*task) for task in tasks)
        return
    with parallel_config("loky", inner_max_num_threads=threads):
        together = Parallel(min(count, len(tasks)), return_as="generator")
        yield from together(delayed(_without_bars)(work, task) for task in tasks)


def _without_bars(work: Callable[..., Result], task: tuple[Any, ...]) -> Result:
    os.environ[BARS] = "0"
    return work(*task)
