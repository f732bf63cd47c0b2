"""Work in a thread, always for the newest of what was asked for."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from threading import Condition, Thread
from typing import Generic, TypeVar

Wanted = TypeVar("Wanted")


class Stale(Exception):
    """Something newer has been asked for."""


class Newest(Generic[Wanted]):
    """Does `work` in a thread for what was asked for last; what was asked for meanwhile, and is older, is dropped.

    work : does what was asked for; it raises nothing but `Stale`, by `check_newest`, to stop for something newer
    ahead : yields between pieces of work that may be of use later; they are done while nothing is asked for
    """

    def __init__(self, work: Callable[[Wanted], None], ahead: Callable[[Wanted], Iterator[None]]):
        self._work, self._ahead = work, ahead
        self._changed = Condition()
        self._wanted: list[Wanted] = []  # one, or none
        self._is_busy = False
        Thread(target=self._run, daemon=True).start()

    def ask(self, wanted: Wanted) -> None:
        """Ask for something, in place of what was asked for before and is not begun."""
        with self._changed:
            self._wanted = [wanted]
            self._changed.notify_all()

    def wait(self) -> None:
        """Return when nothing is left to do but what is done ahead."""
        with self._changed:
            self._changed.wait_for(lambda: not self._wanted and not self._is_busy)

    def check_newest(self) -> None:
        """Raise `Stale` if something newer has been asked for."""
        if self._wanted:
            raise Stale

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._wanted)
                (wanted,), self._wanted, self._is_busy = self._wanted, [], True
            try:
                self._work(wanted)
            except Stale:
                continue
            finally:
                with self._changed:
                    self._is_busy = False
                    self._changed.notify_all()
            with suppress(Exception):  # whoever asks for the same meets the same error, and hears of it
                for _ in self._ahead(wanted):
                    if self._wanted:
                        break
