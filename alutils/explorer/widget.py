"""The explorer: one screen of widgets on the runs of an experiment."""

from collections.abc import Callable, Iterator
from dataclasses import asdict
from html import escape
from typing import Any

import ipywidgets
from ipyevents import Event

from alutils.errors import check_choice, one_line
from alutils.explorer.newest import Newest, Stale
from alutils.explorer.opened import comparable, opened_runs
from alutils.explorer.pictures import jpeg
from alutils.explorer.ranking import AS_CHOSEN, EVERY_CLASS, WHICH, orders
from alutils.explorer.screen import NOTHING, Screen, State
from alutils.explorer.words import colours_of
from alutils.web_page import legend

MILLISECONDS = 80  # between two messages of a moving pointer
TOLD = 10  # images between two messages about progress

Place = tuple[int, int]  # column and row of a picture, in pixels


class Explorer:
    """Shows photo, label, prediction and disagreement of the images of each round of a run, or of two side by side.

    widget : what a notebook displays
    screen : what it shows

    Raises `ParameterError` if the experiment has no finished run of rounds, or none of that name.
    """

    def __init__(self, experiment: str, run: str | None = None):
        runs = opened_runs(experiment)
        first = run or next((name for name, one in runs.items() if one.query.asks_committee), next(iter(runs)))
        check_choice("run", first, runs)
        self._newest = Newest(self._try, self._ahead)
        self.screen = Screen(runs, self._tell)
        self._controls = _new_controls([*runs], first)
        self.picture, self.chosen, self.curve = (
            ipywidgets.Image(format="jpeg", layout=ipywidgets.Layout(max_width="100%")) for _ in range(3)
        )
        self.text, self.classes, self.pixel, self.said = (ipywidgets.HTML() for _ in range(4))
        self._at: Place | None = None  # where the pointer was last, in the picture
        self._shown: State | None = None
        self._offer()
        self._asked = self.state
        self._show(self._asked)
        for control in self._controls.values():
            control.observe(self._changed, "value")
        self._events = [
            _on(self.picture, ["click", "mousemove"], self._point),
            _on(self.curve, ["click"], self._go_to_round),
            _on(self.chosen, ["click"], self._go_to_image),
        ]
        self.widget = self._arranged()

    def _arranged(self) -> ipywidgets.VBox:
        rows = [("run", "beside"), ("number", "rank"), ("which", "order", "class_name", "score")]
        controls = [ipywidgets.HBox([self._controls[name] for name in row]) for row in rows]
        around = ipywidgets.HBox([self.curve, self.pixel])
        return ipywidgets.VBox([*controls, self.said, self.text, self.picture, self.classes, around, self.chosen])

    @property
    def state(self) -> State:
        """Return what the controls say."""
        return State(**{name: control.value for name, control in self._controls.items()})

    def set(self, **values: Any) -> None:
        """Set controls by name, as a person does; `wait` waits for the picture."""
        for name, value in values.items():
            control = self._controls[name]
            if name == "rank":
                control.max = max(control.max, value)  # until the picture has told how many images there are
            control.value = value

    def wait(self) -> None:
        """Return when the picture of the last change is shown."""
        self._newest.wait()

    def _changed(self, change: Any) -> None:
        if change["owner"] is self._controls["run"]:
            self._offer()
        if self.state != self._asked:
            self._asked = self.state
            self._newest.ask((self._asked, self._at))

    def _offer(self) -> None:
        """Offer what goes with the run: those it can be compared with, its rounds, classes and scores."""
        runs = self.screen.runs
        run = runs[self._controls["run"].value]
        own = next(iter(runs[self._shown.run].scores)) if self._shown else ""  # of the run before
        offered = {
            "beside": [NOTHING, *comparable(run, runs.values())],
            "order": orders(run),
            "class_name": [EVERY_CLASS, *run.train_set.class_names],
            "score": [*run.scores],
        }
        for name, options in offered.items():
            control, kept = self._controls[name], self._controls[name].value
            control.options = options
            control.value = kept if kept in options and (name, kept) != ("score", own) else options[0]
        self._controls["number"].max = run.last_round

    def _try(self, wanted: tuple[State, Place | None]) -> None:
        """Show a state and a pixel. What is wrong with it is said, and nothing else changes."""
        state, place = wanted
        try:
            if state != self._shown:
                self._show(state)
            if place:
                self.pixel.value = self.screen.pixel(state, *place)
            self.said.value = ""
        except Stale:
            raise
        except Exception as error:  # the thread must live on, whatever it was
            self.said.value = f'<span style="color:#a00">{escape(one_line(error) or repr(error))}</span>'

    def _tell(self, done: int, total: int) -> None:
        self._newest.check_newest()
        if done % TOLD == TOLD - 1:
            self.said.value = f"asking the committee: {done + 1} of {total} images"

    def _show(self, state: State) -> None:
        picture, text = jpeg(self.screen.picture(state)), self.screen.text(state)
        self.picture.value, self.text.value = picture, text
        self._controls["rank"].max = max(1, len(self.screen.images(state)))
        before, self._shown = self._shown, state
        if before is None or (before.run, before.beside, before.number) != (state.run, state.beside, state.number):
            self.curve.value = jpeg(self.screen.curve(state.run, state.beside).marked(state.number))
            self.chosen.value = jpeg(self.screen.thumbnails(state))
            self.classes.value = legend(colours_of(self.screen.runs[state.run].train_set))

    def _ahead(self, wanted: tuple[State, Place | None]) -> Iterator[None]:
        return self.screen.ahead(wanted[0])

    # Clicks; columns and rows are pixels of the picture that is clicked.

    def _point(self, column: int, row: int) -> None:
        self._at = column, row
        self._newest.ask((self.state, self._at))

    def _go_to_round(self, column: int, row: int) -> None:
        self.set(number=self.screen.curve(self.state.run, self.state.beside).round_at(column))

    def _go_to_image(self, column: int, row: int) -> None:
        there = self.screen.at_thumbnail(self.state, column, row)
        if there:
            self.set(**asdict(there))


def _new_controls(runs: list[str], first: str) -> dict[str, Any]:
    """Return the controls, by the names of the fields of `State`."""
    wide = ipywidgets.Layout(width="48%")

    def choice(description: str, options: Any, **more: Any) -> ipywidgets.Dropdown:
        return ipywidgets.Dropdown(options=options, description=description, **more)

    def slider(description: str, first: int) -> ipywidgets.IntSlider:
        return ipywidgets.IntSlider(value=first, min=first, max=first, description=description, layout=wide)

    return {
        "run": choice("run", runs, value=first, layout=wide),
        "beside": choice("beside it", [NOTHING], layout=wide),
        "number": slider("round", 0),
        "which": choice("images", WHICH),
        "order": choice("order", [AS_CHOSEN]),
        "class_name": choice("with class", [EVERY_CLASS]),
        "score": choice("score", [""]),
        "rank": slider("rank", 1),
    }


def _on(source: ipywidgets.Image, names: list[str], act: Callable[[int, int], None]) -> Event:
    """Let `act` be called with column and row of the picture where something happens to it."""
    event = Event(source=source, watched_events=names, wait=MILLISECONDS, throttle_or_debounce="throttle")
    event.on_dom_event(lambda said: act(int(said["dataX"]), int(said["dataY"])))
    return event
