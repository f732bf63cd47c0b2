"""What the explorer's one screen shows, from what its controls say; it knows nothing of widgets."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from html import escape

import numpy as np

from alutils.explorer.curve import Curve
from alutils.explorer.opened import OpenedRun
from alutils.explorer.pictures import (
    CAPTION,
    GAP,
    View,
    below,
    beside,
    blank,
    captioned,
    framed,
    panels,
    pixel_at,
    thumbnail,
)
from alutils.explorer.ranking import AS_CHOSEN, CHOSEN, EVERY_CLASS, LABELLED, TEST, UNLABELLED, ordered, split_of
from alutils.explorer.words import about_image, about_pixel, about_round
from alutils.results.figures.style import words

NOTHING = "nothing"  # is beside the run
THUMBNAILS = 10
WIDEST = 1240  # pixels of so many thumbnails, so that a few are not enlarged
ORDERS = 50  # kept
BOTH, ONLY = (0, 158, 115), (190, 190, 190)  # frames: chosen by both runs, by one


@dataclass(frozen=True)
class State:
    """What is looked at: the values of all controls, by their names.

    run, beside : names of runs; `NOTHING` if one run is looked at alone
    number : of the round
    which, order, class_name : of the images that can be reached, as `ordered` takes them
    score : the name of the score that is drawn
    rank : of the image among them; the first one has 1
    """

    run: str
    beside: str
    number: int
    which: str
    order: str
    class_name: str
    score: str
    rank: int


class Screen:
    """What is shown of some runs. A round that one of two runs does not have is its last.

    tell : is told how many images of how many have been asked about, where an order needs that
    """

    def __init__(self, runs: Mapping[str, OpenedRun], tell: Callable[[int, int], None] = lambda done, total: None):
        self.runs = runs
        self._ordered = lru_cache(ORDERS)(partial(ordered, tell=tell))

    def shown(self, state: State) -> list[OpenedRun]:
        """Return the one or two runs that are looked at."""
        return [self.runs[name] for name in (state.run, state.beside) if name != NOTHING]

    def images(self, state: State) -> list[int]:
        """Return the images that can be reached, the first one first."""
        return self._ordered(self.runs[state.run], state.number, state.which, state.order, state.class_name)

    def views(self, state: State) -> list[View]:
        """Return the view of the image in each run that is looked at; none if there are no images."""
        images = self.images(state)
        if not images:
            return []
        index, split = images[min(state.rank, len(images)) - 1], split_of(state.which)
        return [
            View(min(state.number, run.last_round), split, index, state.score if state.score in run.scores else score)
            for run in self.shown(state)
            for score in [next(iter(run.scores))]
        ]

    def picture(self, state: State) -> np.ndarray:
        """Return the panels of the image, one row a run."""
        views = self.views(state)
        rows = [panels(run, view) for run, view in zip(self.shown(state), views, strict=False)]
        return below(rows) if rows else blank(self._why_none(state))

    def _why_none(self, state: State) -> str:
        """Return why there are no images, and what to look at instead."""
        if state.which == CHOSEN and state.number >= self.runs[state.run].last_round:
            return f"after the last round nothing is chosen; images: {LABELLED}, {UNLABELLED} and {TEST} are there"
        return "there are no such images"

    def text(self, state: State) -> str:
        """Return what is said of the round and of the image, as HTML."""
        shown, views = self.shown(state), self.views(state)
        lines = [about_round(run, min(state.number, run.last_round)) for run in shown]
        if views:
            count, name = len(self.images(state)), shown[0].images(views[0].split).item_names[views[0].index]
            lines.append(f"image {min(state.rank, count)} of {count}: {escape(name)}")
            lines += [
                (f"{escape(words(run.config.query))}: " if len(shown) > 1 else "") + about_image(run, view)
                for run, view in zip(shown, views, strict=True)
            ]
        return "<br>".join(lines)

    def pixel(self, state: State, column: int, row: int) -> str:
        """Return what the committee says of the pixel at a place of the picture, as HTML; nothing between panels."""
        dataset, views = self.runs[state.run].train_set, self.views(state)
        found = pixel_at(dataset.images.shape[2:], column, row) if dataset.is_dense else None
        if found is None or found[0] >= len(views):
            return ""
        return about_pixel(self.shown(state)[found[0]], views[found[0]], *found[1:])

    @lru_cache(8)  # noqa: B019 - a screen lives as long as its kernel
    def curve(self, run: str, beside: str) -> Curve:
        """Return the learning curves of the runs that are looked at, and of the same queries with other seeds."""
        shown = [self.runs[name] for name in (run, beside) if name != NOTHING]
        recipes = [replace(one.config, seed=0) for one in shown]
        alike = [one for one in self.runs.values() if one not in shown and replace(one.config, seed=0) in recipes]
        return Curve(shown, [(one.config.query, one.rounds) for one in alike])

    def chosen(self, state: State) -> list[list[int]]:
        """Return what each run chose in the round."""
        return [run.chosen(min(state.number, run.last_round)) for run in self.shown(state)]

    def thumbnails(self, state: State) -> np.ndarray:
        """Return the first images that each run chose in the round, one row a run; a green frame if both chose it."""
        chosen = self.chosen(state)
        both = set(chosen[0]).intersection(*chosen) if len(chosen) > 1 else set()
        rows = []
        for run, images in zip(self.shown(state), chosen, strict=True):
            small = [framed(thumbnail(run, index), BOTH if index in both else ONLY) for index in images[:THUMBNAILS]]
            common = f"; {len(both)} of them chosen by both (green)" if len(chosen) > 1 else ""
            title = f"{words(run.config.query)} chose {len(images)} images{common}"
            row = beside([*small, np.full((1, max(0, WIDEST - sum(one.shape[1] for one in small)), 3), 255, np.uint8)])
            rows.append(captioned(row, title))
        return below(rows)

    def at_thumbnail(self, state: State, column: int, row: int) -> State | None:
        """Return the state in which the image of a thumbnail is looked at; `None` if there is none at this place."""
        chosen, small = self.chosen(state), framed(thumbnail(self.runs[state.run], 0), ONLY)
        which, place = row // (CAPTION + len(small) + GAP), column // (small.shape[1] + GAP)
        if which >= len(chosen) or place >= min(THUMBNAILS, len(chosen[which])):
            return None
        return self.at_image(state, chosen[which][place])

    def at_image(self, state: State, index: int) -> State:
        """Return the state in which an image of the pool is looked at, in the same round."""
        for which in (CHOSEN, LABELLED, UNLABELLED):
            there = replace(state, which=which, order=AS_CHOSEN, class_name=EVERY_CLASS)
            images = self.images(there)
            if index in images:
                return replace(there, rank=1 + images.index(index))
        raise ValueError(f"image is {index}; allowed: 0 to {len(self.runs[state.run].train_set) - 1}")

    def ahead(self, state: State) -> Iterator[None]:
        """Ask about what the next movement of a slider may show, one image at a time: neighbours in rank and round."""
        ranks = [replace(state, rank=state.rank + step) for step in (1, -1, 2) if state.rank + step >= 1]
        last = self.runs[state.run].last_round
        rounds = [replace(state, number=state.number + step) for step in (1, -1)]
        for there in [*ranks, *(one for one in rounds if 0 <= one.number <= last and one.order == AS_CHOSEN)]:
            for run, view in zip(self.shown(there), self.views(there), strict=False):
                run.look(view.number, view.split, view.index)
                yield
