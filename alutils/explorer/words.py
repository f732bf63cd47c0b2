"""What the explorer says beside its pictures: the round, the image, one pixel, the classes; as HTML."""

from html import escape

import numpy as np

from alutils.datasets import IGNORE_INDEX, ImageDataset
from alutils.datasets.base import Colour
from alutils.explorer.opened import OpenedRun
from alutils.explorer.pictures import UNITS, View
from alutils.explorer.ranking import ERROR, facts
from alutils.queries.scores import applied
from alutils.results.analysis import measure_of
from alutils.results.figures.style import words
from alutils.web_page import chip

MOST = 6  # classes named of a pixel
VOID: Colour = (0, 0, 0)


def colours_of(dataset: ImageDataset) -> dict[str, Colour]:
    """Return the colours of classes and of void; none for digits, whose classes are written on their pictures."""
    named = dict(zip(dataset.class_names, dataset.colours, strict=True)) | {"void": VOID}
    return named if dataset.is_dense else {}


def about_round(run: OpenedRun, number: int) -> str:
    """Return one line about a round: labels, score, and what it chose."""
    row, measure, chosen = run.rounds.iloc[number], measure_of(run.rounds), len(run.chosen(number))
    pieces = int((run.acquired["round"] == number + 1).sum())
    what = f"{chosen} images" if run.region_maps is None else f"{pieces} regions in {chosen} images"
    then = f"then chose {what}" if chosen else "the last round, after which nothing is chosen"
    measured = f"{'mean IoU' if measure == 'miou' else measure} {row[measure]:.3f}"
    labels = f"{row['labelled']:.0f} labelled images" + ("" if run.region_maps is None else "' pixels")
    return f"<b>{escape(words(run.config.query))}</b>, round {number}: {labels}, {measured}, {then}"


def about_image(run: OpenedRun, view: View) -> str:
    """Return one line about an image in a round: when it was labelled, how wrong the prediction is, its score."""
    found = facts(run, view.number, view.split, view.index)
    rounds = run.acquired.loc[run.acquired["index"] == view.index, "round"]
    then = "labelled since" if view.number >= rounds.min() else "chosen for"
    when = f"{then} round {rounds.min()}" if len(rounds) else "never labelled"
    when = "a test image" if view.split == "test" else when
    value = f"{words(view.score)} {found[view.score]:.3f}{UNITS.get(view.score, '')}"
    return f"{when}; {100 * found[ERROR]:.1f} % of it predicted wrongly; {value}"


def about_pixel(run: OpenedRun, view: View, row: int, column: int) -> str:
    """Return a table of what the committee says of one pixel: each class's probability, the votes, and all scores."""
    dataset, look = run.images(view.split), run.look(view.number, view.split, view.index)
    height, width = look.prediction.shape
    low = look.statistics["mean_entropy"].shape[1:]
    at = slice(None), ..., row * low[0] // height, column * low[1] // width
    asked = {name: found[at] for name, found in look.statistics.items()}
    names = [*dataset.class_names, "void"]
    committee = run.committee(view.number)
    members = committee.members * len(committee.networks)
    probabilities, votes = (asked[name][0].numpy() for name in ("mean_probability", "vote_share"))
    rows = [
        f"<tr><td>{chip([*dataset.colours, VOID][number])}{escape(names[number])}</td>"
        f"<td>{probabilities[number]:.2f}</td><td>{round(votes[number] * members)} of {members}</td></tr>"
        for number in np.argsort(-probabilities, kind="stable")[:MOST]
    ]
    label = dataset.labels[view.index][row, column]
    said = f"label {names[-1 if label == IGNORE_INDEX else label]}, predicted {names[look.prediction[row, column]]}"
    scores = [f"{words(name)} {float(applied(score, asked)[0]):.3f}" for name, score in run.scores.items()]
    head = "<tr><th>class</th><th>probability</th><th>votes</th></tr>"
    return f"<b>row {row}, column {column}: {escape(said)}</b><table>{head}{''.join(rows)}</table>{'; '.join(scores)}"
