"""Which images of a round to look at, and in which order."""

from collections.abc import Callable
from functools import lru_cache

import numpy as np

from alutils.datasets import IGNORE_INDEX
from alutils.errors import ParameterError, check_choice
from alutils.explorer.opened import OpenedRun

CHOSEN, LABELLED, UNLABELLED, TEST = "chosen next", "labelled so far", "not labelled", "test images"
WHICH = (CHOSEN, LABELLED, UNLABELLED, TEST)
AS_CHOSEN, ERROR, SHARE = "as chosen", "error", "share of the class"
EVERY_CLASS = "every class"
FACTS = 20_000  # rows kept, of a few numbers each


def orders(run: OpenedRun) -> list[str]:
    """Return the names of all orders that images can be shown in."""
    return [AS_CHOSEN, ERROR, SHARE, *run.scores]


def split_of(which: str) -> str:
    """Return the split that such images are in."""
    return "test" if which == TEST else "train"


def ordered(
    run: OpenedRun,
    number: int,
    which: str = CHOSEN,
    order: str = AS_CHOSEN,
    class_name: str = EVERY_CLASS,
    tell: Callable[[int, int], None] = lambda done, total: None,
) -> list[int]:
    """Return the images of a round, the first one first.

    which : one of `WHICH`: what the round's networks chose, what they were trained on, the rest of the pool, or the
        test set
    order : `AS_CHOSEN`, which is the data set's order where nothing was chosen; `ERROR`, the share of wrong pixels;
        `SHARE`, the class's share of the label; or the name of a score, of which the mean over the image counts
    class_name : leaves out images whose label has no pixel of the class
    tell : is told how many images have been asked about
    """
    check_choice("which", which, WHICH)
    check_choice("order", order, orders(run))
    dataset = run.images(split_of(which))
    check_choice("class", class_name, [EVERY_CLASS, *dataset.class_names])
    if order == SHARE and class_name == EVERY_CLASS:
        raise ParameterError(f"order is {SHARE}, with class is {EVERY_CLASS}; allowed: with one class")
    found = _images(run, number, which)
    shares = dict.fromkeys(found, 0.0)
    if class_name != EVERY_CLASS:
        number_of_class = dataset.class_names.index(class_name)
        shares = {index: float((dataset.labels[index] == number_of_class).mean()) for index in found}
        found = [index for index in found if shares[index] > 0]
    if order == SHARE:
        return sorted(found, key=lambda index: -shares[index])
    if order == AS_CHOSEN:
        return found
    values = {}
    for done, index in enumerate(found):
        tell(done, len(found))
        values[index] = facts(run, number, split_of(which), index)[order]
    return sorted(found, key=lambda index: -values[index])


def _images(run: OpenedRun, number: int, which: str) -> list[int]:
    """Return the images of a round that are `which` of `WHICH`, in the order of choice, or in that of the data set."""
    if which == CHOSEN:
        return run.chosen(number)
    if which == LABELLED:
        return run.labelled(number)
    everything = range(len(run.images(split_of(which))))
    return [*everything] if which == TEST else sorted({*everything} - {*run.labelled(number)})


@lru_cache(FACTS)
def facts(run: OpenedRun, number: int, split: str, index: int) -> dict[str, float]:
    """Return the share of wrong pixels, void left out, and the mean of each score, for one image in one round."""
    look, label = run.look(number, split, index), np.atleast_1d(run.images(split).labels[index])
    counted = label != IGNORE_INDEX
    wrong = (look.prediction != label)[counted]
    scores = {name: float(run.score_map(look, name).mean()) for name in run.scores}
    return {ERROR: float(wrong.mean()) if wrong.size else 0.0} | scores


def where_wrong_and_right(run: OpenedRun, number: int, score: str, most: int = 50) -> tuple[float, float]:
    """Return the mean of a score over wrong and over right pixels of the first `most` test images, void left out.

    NaN stands for the mean of no pixels.
    """
    found: dict[bool, list[np.ndarray]] = {True: [np.empty(0)], False: [np.empty(0)]}
    for index in range(min(most, len(run.test_set))):
        look, label = run.look(number, "test", index), np.atleast_1d(run.test_set.labels[index])
        values = run.score_map(look, score)
        for is_wrong in found:
            found[is_wrong].append(values[((look.prediction != label) == is_wrong) & (label != IGNORE_INDEX)])
    wrong, right = (np.concatenate(found[is_wrong]) for is_wrong in (True, False))
    return _mean(wrong), _mean(right)


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if values.size else float("nan")
