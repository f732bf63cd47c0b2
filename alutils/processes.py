"""Work that several processes do at once."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from joblib.externals.loky import ProcessPoolExecutor

from alutils.progress import BARS

Result = TypeVar("Result")


def in_processes(
    count: int, threads: int, work: Callable[..., Result], tasks: Sequence[tuple[Any, ...]]
) -> Iterator[Result]:
    """Yield `work(*task)` of each task, in order, computed by up to `count` processes; by this one if that is 1.

    Starting the processes takes seconds, and they end with the last task. They show no bars. A script that calls this
    needs no `if __name__ == "__main__"`.

    threads : of each process that is started
    """
    count = min(count, len(tasks))
    if count <= 1:
        yield from (work(*task) for task in tasks)
        return
    with ProcessPoolExecutor(count, env={"OMP_NUM_THREADS": str(threads), BARS: "0"}) as processes:
        yield from processes.map(work, *zip(*tasks, strict=True))
