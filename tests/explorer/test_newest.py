"""The newest wish is done; older ones that wait are not."""

from collections.abc import Iterator
from threading import Event

from alutils.explorer.newest import Newest


def nothing(wanted: object) -> Iterator[None]:
    yield from ()


def test_stale_wishes_are_dropped():
    begun, go_on, done = Event(), Event(), list[int]()

    def work(wanted: int) -> None:
        begun.set()
        assert go_on.wait(5)
        done.append(wanted)

    newest = Newest(work, nothing)
    newest.ask(0)
    assert begun.wait(5)
    for wanted in range(1, 50):
        newest.ask(wanted)
    go_on.set()
    newest.wait()
    assert done == [0, 49]


def test_work_stops_for_something_newer():
    begun, go_on, done = Event(), Event(), list[str]()

    def work(wanted: str) -> None:
        if wanted == "long":
            begun.set()
            assert go_on.wait(5)
            newest.check_newest()
        done.append(wanted)

    newest: Newest[str] = Newest(work, nothing)
    newest.ask("long")
    assert begun.wait(5)
    newest.ask("short")
    go_on.set()
    newest.wait()
    assert done == ["short"]


def test_what_may_be_of_use_is_done_until_something_is_asked_for():
    done, second = list[str](), Event()

    def ahead(wanted: int) -> Iterator[None]:
        for step in range(1000):
            done.append(f"ahead of {wanted}")
            if wanted == 1 and step == 2:
                newest.ask(2)
            if wanted == 2:
                second.set()
                return
            yield

    newest = Newest(lambda wanted: done.append(f"{wanted}"), ahead)
    newest.ask(1)
    assert second.wait(5)
    assert done == ["1", *["ahead of 1"] * 3, "2", "ahead of 2"]


def test_an_error_ahead_stops_nothing():
    done = list[int]()

    def ahead(wanted: int) -> Iterator[None]:
        yield
        raise ValueError("a neighbour is missing")

    newest = Newest(done.append, ahead)
    for wanted in range(3):
        newest.ask(wanted)
        newest.wait()
    assert done == [0, 1, 2]
