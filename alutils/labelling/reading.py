"""Labels back from an annotation tool: checked, compared with the guess that was drawn, and added to the others."""

import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from PIL import Image

from alutils.datasets.base import IGNORE_INDEX, LabelMeaning
from alutils.datasets.cache import resized_label
from alutils.datasets.decoding import upright_size
from alutils.datasets.folder import Listing, listed, meaning_of, read_description
from alutils.datasets.labels import read_label_of
from alutils.errors import DataError, check_choice, did_you_mean
from alutils.labelling import cvat, label_studio
from alutils.labelling.batch import WRITTEN, batches, newest_guess
from alutils.labelling.exports import Export
from alutils.labelling.photos import default_size
from alutils.labelling.shapes import MUCH, REGION, UNCOVERED, VOID, Shapes, classes_of
from alutils.paths import labelling_dir
from alutils.queries.regions import clicks

if TYPE_CHECKING:
    from alutils.datasets.description import Description

NO_HELP = ": for exact borders, draw without a guess (`next --prelabel none`)"
BACKGROUND = "background"  # CVAT's name for black in masks


@dataclass(frozen=True)
class Target:
    """The photographs that labels are read for, and how.

    folder : of the labels
    rest : the class of what nobody drew on, or void
    """

    description: "Description"
    split: str
    folder: Path
    listing: Listing
    rest: int
    later_wins: bool

    @cached_property
    def numbers(self) -> dict[str, int]:
        """The number of each class."""
        return {name: number for number, name in enumerate(self.description.classes)}

    @cached_property
    def meaning(self) -> LabelMeaning:
        """What the pixels of label files stand for."""
        return meaning_of(self.description)

    @cached_property
    def by_file(self) -> dict[str, Path]:
        """The photographs by the names of their files, and by these without suffix."""
        return {**self.listing.images, **{path.name: path for path in self.listing.images.values()}}

    def photo(self, name: str) -> Path:
        """Return the photograph that an export calls `name`; raise `DataError` if there is none."""
        plain = name.replace("\\", "/").split("/")[-1]
        without_hash = plain.split("-", 1)[-1]  # Label Studio puts one in front of what is uploaded
        found = next(
            (self.by_file[one] for one in (plain, Path(plain).stem, without_hash) if one in self.by_file), None
        )
        if found is None:
            hint = did_you_mean(plain, self.by_file)
            folder = self.description.splits[self.split].images
            raise DataError(f"{name[:80]}: no photograph in {folder} has this name; {hint}allowed: the names there")
        return found

    def check(self, name: str, size: tuple[int, int]) -> Path:
        """Return the photograph that an export calls `name`; raise `DataError` if it has another size, too."""
        photo = self.photo(name)
        real = upright_size(photo)
        if real != size:
            raise DataError(
                f"{name}: the export says that it has {size} pixels; the photograph, turned upright, has {real}"
            )
        return photo


class Change(NamedTuple):
    """What one photograph's new label is.

    file : the name of the label's file
    is_changed : whether a label that was there has other classes now
    pixels, undrawn : all of them, and those that are void because nobody drew on them
    guessed, kept, made_void : pixels that had a guess, and of these those that have this class now, and those that
        the export leaves void
    clicks, clicks_of_corrections : how many it takes to outline what the export has, and only what the guess had wrong
    """

    photo: Path
    file: str
    is_new: bool
    is_changed: bool
    pixels: int
    undrawn: int
    guessed: int
    kept: int
    made_void: int
    clicks: int
    clicks_of_corrections: int


class Reading(NamedTuple):
    """What was read from an export of some kind.

    folder : of the labels
    replaced : the folder with what the changed labels were before; `None` if none is changed
    """

    kind: str
    changes: list[Change]
    folder: Path
    replaced: Path | None

    def __str__(self) -> str:
        """Return it in words."""
        count, new = len(self.changes), sum(change.is_new for change in self.changes)
        changed = sum(change.is_changed for change in self.changes)
        said = (
            f"{self.kind}: {count} photographs, {new} new labels, {changed} changed, {count - new - changed} as before;"
            f" they are in {self.folder}"
        )
        if self.replaced:
            said += f"\n  what the changed labels were before is in {self.replaced}"
        undrawn = sum(change.undrawn for change in self.changes) / sum(change.pixels for change in self.changes)
        if undrawn > MUCH:
            said += (
                f"\n  nobody drew on {100 * undrawn:.1f} % of the pixels; they are void: networks learn nothing there"
                " and give them one of the classes; to make a class of them, read again with --rest CLASS, or with"
                " `rest: CLASS` in the YAML file"
            )
        guessed = sum(change.guessed for change in self.changes)
        if not guessed:
            return said
        kept = sum(change.kept for change in self.changes)
        made_void = sum(change.made_void for change in self.changes)
        shares = [f"{100 * count / guessed:.1f} %" for count in (kept, guessed - kept - made_void, made_void)]
        drawn, corrected = self.clicks
        return (
            f"{said}\n  of {guessed} pixels with a guess, {shares[0]} kept it, {shares[1]} got another class,"
            f" {shares[2]} became void\n  to outline everything takes about {drawn} clicks, to outline exactly what the"
            f" guess had wrong {corrected}{'' if corrected < drawn else NO_HELP}"
        )

    @property
    def clicks(self) -> tuple[int, int]:
        """How many it takes to outline all that was read, and only what was corrected."""
        return sum(one.clicks for one in self.changes), sum(one.clicks_of_corrections for one in self.changes)


def read(
    path: Path, export: Path, split: str = "train", *, replace: bool = False, rest: str = "", later_wins: bool = False
) -> Reading:
    """Add the labels of an export to those of a data set; return what was read, and what changed against the guess.

    path : the YAML file that describes the data set
    export : CVAT for images 1.1 or segmentation masks 1.1, as XML, zip or folder; Label Studio's JSON; PNG files
    replace : whether a pixel that has a class may get another one
    rest : the class of what nobody drew on; by default that of the YAML file, or void
    later_wins : whether of two shapes on one pixel the later one counts

    Nothing is written until all is read and checked. Labels that change are copied before, and those that stay as they
    are are left alone. Raises `DataError` for anything that is wrong.
    """
    description = read_description(path)
    target = _target(path, description, split, rest, later_wins)
    written = [(batch / of).resolve() for batch in batches(description.name) for of in WRITTEN]
    if any(export.resolve().is_relative_to(folder) for folder in written):
        raise DataError(f"{export}: `alutils next` wrote it; allowed: what the tool exported after you corrected it")
    with tempfile.TemporaryDirectory(dir=target.folder, prefix=".reading-") as beside:
        kind, changes = _read_all(target, Export(export), Path(beside), replace)
        changed = [target.folder / change.file for change in changes if change.is_changed]
        replaced = _kept_copies(changed, labelling_dir(description.name)) if changed else None
        for change in changes:
            if change.is_new or change.is_changed:
                shutil.move(Path(beside) / change.file, target.folder / change.file)
    return Reading(kind, changes, target.folder, replaced)


def _target(path: Path, description: "Description", split: str, rest: str, later_wins: bool) -> Target:
    """Return what labels are read for; the arguments are those of `read`, and what its `path` describes."""
    base = path.resolve().parent
    listing = listed(description, base, split)
    place = description.splits[split].labels
    if place is None:
        raise DataError(f"{path}: the split {split} has no folder for labels; allowed: one, as `labels`")
    rest = rest or description.rest or ""
    if rest:
        check_choice("rest", rest, description.classes)
    rest_class = [*description.classes].index(rest) if rest else IGNORE_INDEX
    return Target(description, split, base / description.root / place, listing, rest_class, later_wins)


def _kept_copies(files: list[Path], within: Path) -> Path:
    """Copy files into a new folder `replaced<number>` in the folder `within`, and return it."""
    number = 1
    while (folder := within / f"replaced{number}").exists():
        number += 1
    folder.mkdir(parents=True)
    for file in files:
        shutil.copy2(file, folder)
    return folder


def _read_all(target: Target, export: Export, beside: Path, replace: bool) -> tuple[str, list[Change]]:
    """Write the new labels into the folder `beside`; return the kind of the export and what changed."""
    kind, found = _found(target, export)
    changes: list[Change] = []
    try:
        for name, classes in found:
            photo = target.photo(name)
            if photo in [change.photo for change in changes]:
                raise DataError(f"{name}: it is there twice; allowed: once")
            if (classes != UNCOVERED).any():
                changes.append(_change(target, photo, classes, beside, replace))
    except DataError as error:
        raise DataError(f"{export.path}: {error}") from error
    if not changes:
        raise DataError(f"{export.path}: no label in it ({kind}); allowed: an export with at least one")
    return kind, changes


def _found(target: Target, export: Export) -> tuple[str, Iterator[tuple[str, np.ndarray]]]:
    """Return the kind of an export, and each photograph's name and classes (H, W) int16, or `UNCOVERED`."""
    name = export.path.name if export.path.suffix == ".xml" else export.named(cvat.ANNOTATIONS)
    if name:
        return "CVAT for images 1.1", _of_shapes(target, cvat.read_annotations(export.read(name), target.check))
    if name := export.named(cvat.LABELMAP):
        return "CVAT segmentation mask 1.1", _of_masks(
            target, export, cvat.read_labelmap(export.read(name).decode(errors="replace"))
        )
    tasks = [*export.below("", ".json")]
    if len(tasks) == 1:
        return "Label Studio JSON", _of_shapes(target, label_studio.read_tasks(export.read(tasks[0]), target.check))
    if pngs := [*export.below("", ".png")]:
        return "PNG files", ((name, _of_file(target, name, export.read(name))) for name in pngs)
    raise DataError(
        f"{export.path}: no known export; allowed: CVAT for images 1.1 (.xml, .zip), CVAT segmentation mask 1.1,"
        " Label Studio JSON, a folder of PNG files named like the photographs"
    )


def _of_shapes(target: Target, found: Iterator[Shapes]) -> Iterator[tuple[str, np.ndarray]]:
    for shapes in found:
        if shapes.shapes:
            yield shapes.name, classes_of(shapes, target.numbers, later_wins=target.later_wins)


def _of_file(target: Target, name: str, content: bytes, meaning: LabelMeaning | None = None) -> np.ndarray:
    """Return the classes in a PNG file of the data set's own kind, or of another `meaning`; void is void."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / Path(name).name
        path.write_bytes(content)
        try:
            return read_label_of(upright_size(target.photo(name)), path, meaning or target.meaning).astype(np.int16)
        except DataError as error:
            raise DataError(str(error).replace(f"{path}: ", f"{name}: ")) from error


def _of_masks(
    target: Target, export: Export, labels: Mapping[tuple[int, int, int], str]
) -> Iterator[tuple[str, np.ndarray]]:
    """Yield what CVAT's coloured masks hold. Black is background and what nobody drew on alike, unless a class."""
    for label in labels.values():
        if label not in {*target.numbers, VOID, REGION, BACKGROUND}:
            hint = did_you_mean(label, target.numbers)
            raise DataError(f"label {label!r}; {hint}allowed: {', '.join(target.numbers)}")
    background = len(target.numbers)  # no class has this number
    numbers = {BACKGROUND: background, **target.numbers}
    of_colour = {colour: numbers.get(label, IGNORE_INDEX) for colour, label in labels.items()}
    names = *target.description.classes, BACKGROUND
    meaning = LabelMeaning(target.meaning.of_value, of_colour, "colour", class_names=names)
    for name in export.below(cvat.MASKS, ".png"):
        classes = _of_file(target, name, export.read(name), meaning)
        yield name, np.where(classes == background, UNCOVERED, classes)


def _change(target: Target, photo: Path, classes: np.ndarray, beside: Path, replace: bool) -> Change:
    """Write the new label of a photograph into the folder `beside`: what is there already, and `classes` over it."""
    stem = next(stem for stem, path in target.listing.images.items() if path == photo)
    new = drawn = np.where(classes == UNCOVERED, target.rest, classes).astype(np.uint8)
    old_file, is_changed = target.listing.labels.get(stem), False
    file = f"{photo.stem}.png" if old_file is None else old_file.name
    if old_file is not None:
        old = read_label_of(new.shape[::-1], old_file, target.meaning)
        other = (old != IGNORE_INDEX) & (new != IGNORE_INDEX) & (old != new)
        if other.any() and not replace:
            raise DataError(
                f"{photo.name}: {other.sum()} pixels have another class in {old_file.name} already; allowed: the same"
                " class, or --replace, which gives them the new one and keeps a copy of the old label"
            )
        new = np.where(new == IGNORE_INDEX, old, new)
        is_changed = bool((new != old).any())
    if (new == IGNORE_INDEX).any() and not target.description.ignore:
        raise DataError(
            f"{photo.name}: some pixels have no class, and no value is void; allowed: `ignore` in the YAML file"
        )
    Image.fromarray(_pixels(new, target)).save(beside / file)
    guess = newest_guess(target.description.name, photo)
    undrawn = int(((classes == UNCOVERED) & (new == IGNORE_INDEX)).sum())
    return Change(photo, file, old_file is None, is_changed, new.size, undrawn, *_compared(classes, drawn, guess))


def _compared(classes: np.ndarray, drawn: np.ndarray, guess: np.ndarray | None) -> tuple[int, int, int, int, int]:
    """Return the last five numbers of a `Change`; all maps are (H, W).

    classes : of the export; nobody outlines what is `UNCOVERED`
    drawn : the same with the class of the rest
    """
    size = default_size([drawn.shape[::-1]])  # at this size clicks are counted in a moment
    small, is_outlined = resized_label(drawn, size), resized_label((classes != UNCOVERED).astype(np.uint8), size) == 1
    of_all = clicks(small, is_outlined)
    if guess is None or guess.shape != drawn.shape:
        return 0, 0, 0, of_all, of_all
    had_one = guess != IGNORE_INDEX
    kept, made_void = had_one & (drawn == guess), had_one & (drawn == IGNORE_INDEX)
    corrections = clicks(small, resized_label(guess, size) != small)
    return int(had_one.sum()), int(kept.sum()), int(made_void.sum()), of_all, corrections


def _pixels(classes: np.ndarray, target: Target) -> np.ndarray:
    """Return what a label file holds for classes (H, W): values, or colours where the description says so."""
    meaning = target.meaning
    if meaning.by != "colour":
        values = np.append(np.flatnonzero(meaning.of_value == IGNORE_INDEX), IGNORE_INDEX)
        return np.where(classes == IGNORE_INDEX, values[0], classes).astype(np.uint8)
    colours = np.zeros((256, 4), np.uint8)  # void is of alpha 0
    for name, number in target.numbers.items():
        colours[number] = *target.description.classes[name], 255
    return colours[classes]
