"""A folder of images and labels looked through: everything that is wrong with it, and what is in it."""

import os
from collections import Counter, defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from PIL import Image

from alutils.datasets.base import IGNORE_INDEX, Colour, LabelMeaning
from alutils.datasets.decoding import read_image
from alutils.datasets.duplicates import near_duplicates, thumbnail
from alutils.datasets.folder import colours_of, listed, meaning_of, read_description
from alutils.datasets.labels import read_label, read_label_of
from alutils.errors import collecting
from alutils.files import write_whole
from alutils.labelling.shapes import MUCH
from alutils.labelling.sheet import Tile, contact_sheet, jpeg, painted, small
from alutils.paths import labelling_dir
from alutils.progress import bar

if TYPE_CHECKING:
    from alutils.datasets.description import Description

SHOWN = 48  # photographs on a contact sheet
NAMED = 5  # of several things, in a line
VOID_TEACHES_NOTHING = (
    "    networks learn nothing from void, and give such pixels one of the classes; where nobody drew, `read --rest"
    " CLASS` makes a class of it"
)


class Seen(NamedTuple):
    """What one image and its label showed.

    picture : for the contact sheet, with the label laid over; `None` if it is not on it
    counts : pixels of each class, and of void, (256,); all 0 without a label
    """

    name: str
    size: tuple[int, int]
    thumbnail: np.ndarray
    picture: Image.Image | None
    counts: np.ndarray


class Found(NamedTuple):
    """What was found in one split: the number of its files, and what can be read of them."""

    split: str
    images: int
    labels: int
    seen: list[Seen]


class Report(NamedTuple):
    """What is in a data set, as it is printed, and what is wrong with it."""

    text: str
    problems: list[str]


def check(path: Path) -> Report:
    """Look through all files of the data set that a YAML file describes; write a contact sheet of each split.

    Raises `DataError` for a YAML file that is wrong itself, `ParameterError` for one that cannot be read.
    """
    description, problems = read_description(path), list[str]()
    found = [_look_through(description, path.resolve().parent, split, problems) for split in description.splits]
    alike = _alike(found)
    lines = [f"{description.name}: classes {', '.join(description.classes)}", ""]
    for of_split in found:
        lines += [*_about(of_split, description, alike[of_split.split, of_split.split]), ""]
    for (one, other), pairs in alike.items():
        if one != other:
            count = len({name for _, name in pairs})
            lines.append(f"{count} images of {other} look like images of {one}: {_listed(_as_text(pairs))}")
    folder = labelling_dir(description.name)
    lines += [f"contact sheet: {_write_sheet(of_split, folder)}" for of_split in found if of_split.seen]
    count = len(problems)
    lines.append("nothing is wrong" if not count else "1 problem:" if count == 1 else f"{count} problems:")
    return Report("\n".join([*lines, *(f"  {problem}" for problem in problems)]), problems)


def _look_through(description: "Description", base: Path, split: str, problems: list[str]) -> Found:
    images, labels = listed(description, base, split, problems)
    shown = {*np.array([*images])[np.linspace(0, len(images) - 1, SHOWN).round().astype(int)]} if images else set()
    look = partial(_look, meaning=meaning_of(description), colours=colours_of(description))
    found = Found(split, len(images), len({*images} & {*labels}), [])
    with ThreadPoolExecutor(os.cpu_count()) as workers:
        progress = bar(len(images), f"looking through {split}")
        for seen, wrong in workers.map(lambda stem: look(images[stem], labels.get(stem), stem in shown), images):
            found.seen.extend(seen)
            problems += wrong
            progress.update()
        progress.close()
    return found


def _look(
    image: Path, label: Path | None, is_shown: bool, *, meaning: LabelMeaning, colours: Sequence[Colour]
) -> tuple[list[Seen], list[str]]:
    """Return what an image and its label show, nothing if the image cannot be read, and what is wrong with them."""
    problems: list[str] = []
    photo, classes = None, None
    with collecting(problems):
        photo = read_image(image)
    if label is not None:
        with collecting(problems):
            classes = read_label_of(photo.size, label, meaning) if photo else read_label(label, meaning)
    if photo is None:
        return [], problems
    picture = small(photo) if is_shown else None
    if picture and classes is not None:
        picture = painted(picture, classes, colours)
    counts = np.bincount(classes.ravel() if classes is not None else [], minlength=IGNORE_INDEX + 1)
    return [Seen(image.name, photo.size, thumbnail(photo), picture, counts)], problems


def _alike(found: list[Found]) -> defaultdict[tuple[str, str], list[tuple[str, str]]]:
    """Return the pairs of images that are near-duplicates, by the splits that they are in."""
    images = [(of_split.split, seen) for of_split in found for seen in of_split.seen]
    pairs = defaultdict[tuple[str, str], list[tuple[str, str]]](list)
    graph = near_duplicates([seen.thumbnail for _, seen in images]).tocoo() if len(images) > 1 else None
    for one, other in zip(graph.row, graph.col, strict=True) if graph is not None else ():
        if one < other:
            pairs[images[one][0], images[other][0]].append((images[one][1].name, images[other][1].name))
    return pairs


def _about(found: Found, description: "Description", alike: list[tuple[str, str]]) -> list[str]:
    """Return lines on one split."""
    lines = [f"{found.split}: {found.images} images, {found.labels} with a label"]
    if found.seen:
        sizes = Counter(f"{width}x{height}" for width, height in (seen.size for seen in found.seen))
        lines.append(f"  width x height: {_listed([f'{size} ({count})' for size, count in sizes.most_common()])}")
        counts = np.sum([seen.counts for seen in found.seen], axis=0)
        lines += [f"  share of the labelled pixels: {_shares(counts, [*description.classes])}"] if counts.any() else []
        if description.rest is None and counts[IGNORE_INDEX] > MUCH * counts.sum():
            lines.append(VOID_TEACHES_NOTHING)
        pairs = f": {_listed(_as_text(alike))}" if alike else ""
        lines.append(f"  near-duplicates: {len({name for pair in alike for name in pair})} images{pairs}")
    return lines


def _shares(counts: np.ndarray, classes: list[str]) -> str:
    """Return each class's share of the pixels that are not void, and that of void in all pixels."""
    found = counts[: len(classes)]
    shares = [
        f"{name} {100 * count / max(1, found.sum()):.1f} %" if count else f"{name} never"
        for name, count in zip(classes, found, strict=True)
    ]
    return f"{', '.join(shares)}; void are {100 * counts[IGNORE_INDEX] / counts.sum():.1f} % of the pixels"


def _as_text(pairs: list[tuple[str, str]]) -> list[str]:
    return [f"{one} and {other}" for one, other in pairs]


def _listed(texts: list[str]) -> str:
    more = f", and {len(texts) - NAMED} more" if len(texts) > NAMED else ""
    return ", ".join(texts[:NAMED]) + more


def _write_sheet(found: Found, folder: Path) -> Path:
    """Write the contact sheet of a split: photographs spread evenly over it, labels laid over them."""
    tiles = [Tile([seen.picture], [seen.name]) for seen in found.seen if seen.picture]
    path = folder / f"check-{found.split}.jpg"
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(path, jpeg(contact_sheet(tiles)))
    return path
