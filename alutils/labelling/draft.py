"""A first YAML file for a folder of images, written by looking into it."""

import colorsys
import re
from collections import Counter
from collections.abc import Sequence
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import yaml

from alutils.datasets.base import IGNORE_INDEX, Colour
from alutils.datasets.decoding import decoded
from alutils.datasets.folder import SUFFIXES, by_stem
from alutils.datasets.labels import LOSSLESS
from alutils.datasets.listing import files_in
from alutils.errors import DataError
from alutils.labelling.cvat import LABELMAP, read_labelmap
from alutils.labelling.shapes import REGION, VOID
from alutils.progress import bar

DEPTH = 4  # folders in folders
SAMPLE = 6  # files of a folder that tell whether it holds labels
MOST = 64  # values or colours of labels; photographs have more
SPLITS = ("train", "val", "test")  # by what the name of a folder holds
EXAMPLE = ("background", "object")


class Labels(NamedTuple):
    """What label files of one folder or several hold.

    colours : of each class, by name
    by : `colour`, where that must be said
    source : what the classes are read from
    """

    colours: dict[str, Colour]
    by: str | None
    source: str


def draft(folder: Path, names: Sequence[str] = (), rest: str = "") -> str:
    """Write `FOLDER.yaml` beside a folder of images, or of folders of images and labels; return what was found.

    Folders whose names hold train, val or test are splits. A folder belongs to another one as its labels if its files
    have few values or colours, and names that the other folder's files have, too. Classes are the values or colours
    that the labels hold. Without labels they are `names`, or an example, and an empty folder for labels is made.

    rest : the class of what nobody will draw on; without labels it may be one more than `names`

    Raises `DataError` if there are no images, if labels are not to be understood, and if the YAML file exists.
    """
    given = _given(names, rest)
    path = folder.resolve().with_suffix(".yaml") if folder.is_dir() else folder
    folders = _folders_of_images(folder.resolve())
    if path.exists():
        raise DataError(f"{path}: it exists; allowed: another name for it, or another folder")
    pairs = _paired(folders)
    found = [labels for labels in pairs.values() if labels]
    labels = _classes(found) if found else given
    rest = rest or ("" if found or names else EXAMPLE[0])
    if rest not in ("", *labels.colours):
        raise DataError(f"rest is {rest!r}; allowed: a class that the labels hold: {', '.join(labels.colours)}")
    splits: dict[str, dict[str, str]] = {}
    for images, place in sorted(pairs.items()):
        made = place or images.with_name(f"{images.name}-labels")
        made.mkdir(exist_ok=True)
        name = _split_name(images.relative_to(path.parent).as_posix(), splits)
        splits[name] = {
            of: where.relative_to(path.parent).as_posix() for of, where in (("images", images), ("labels", made))
        }
    path.write_text(_yaml(path.stem, labels, rest, splits))
    lines = [f"wrote {path}", f"  classes {', '.join(labels.colours)}: {labels.source}"]
    for name, places in splits.items():
        counts = [len(folders.get(path.parent / place, {})) for place in places.values()]
        lines.append(
            f"  split {name}: {counts[0]} images in {places['images']}, {counts[1]} labels in {places['labels']}"
        )
    lines += [_about_the_rest(rest)] if rest or not found else []
    return "\n".join([*lines, "correct names and colours in it, then:", f"  .venv/bin/alutils check {path}"])


def _about_the_rest(rest: str) -> str:
    if rest:
        return f"  what nobody draws on: {rest}"
    return "  what nobody draws on is void: networks learn nothing there; `rest: CLASS` makes it a class"


def _folders_of_images(top: Path, depth: int = DEPTH) -> dict[Path, dict[str, Path]]:
    """Return each folder at and below `top` that holds image files, and these by their names without suffix."""
    found = {top: files} if (files := by_stem(top, None, [])) else {}
    for folder in [path for path in files_in(top) if path.is_dir()] if depth else []:
        found |= _folders_of_images(folder, depth - 1)
    if depth == DEPTH and not found:
        raise DataError(f"{top}: no images there; allowed: a folder with {SUFFIXES}, or with folders of such files")
    return found


def _paired(folders: dict[Path, dict[str, Path]]) -> dict[Path, Path | None]:
    """Return each folder of images, and that of its labels.

    Of several folders with the same names, those whose paths are most alike belong together.
    """
    may_be_labels = [folder for folder, files in folders.items() if _look_like_labels([*files.values()])]
    images: dict[Path, Path | None] = {folder: None for folder in folders if folder not in may_be_labels}
    for labels in may_be_labels:
        fitting = [folder for folder in images if {*folders[labels]} <= {*folders[folder]} and images[folder] is None]
        if not fitting and any(image not in may_be_labels for image in folders):
            raise DataError(
                f"{labels}: it looks like labels, but no folder has images of all its names, such as"
                f" {next(iter(folders[labels]))}.*; allowed: labels named like their images"
            )
        fitting.sort(key=lambda folder: SequenceMatcher(None, f"{folder}", f"{labels}").ratio())
        images[fitting[-1] if fitting else labels] = labels if fitting else None
    return images


def _look_like_labels(files: list[Path]) -> bool:
    """Tell whether a few of the files are lossless and have few values or colours."""
    chosen = {files[at] for at in np.linspace(0, len(files) - 1, SAMPLE).round().astype(int)}
    return all(image.format in LOSSLESS and image.getcolors(MOST) is not None for image, _ in map(decoded, chosen))


def _given(names: Sequence[str], rest: str) -> Labels:
    """Return classes by name, or an example, and `rest` among them; raise `DataError` for names that mean others."""
    chosen = [*(names or EXAMPLE)]
    chosen += [rest] if rest not in ("", *chosen) else []
    if wrong := {name for name in chosen if name in (VOID, REGION) or chosen.count(name) > 1}:
        raise DataError(
            f"classes: {', '.join(sorted(wrong))}; allowed: names, each once, other than {VOID} and {REGION}"
        )
    return Labels(dict(zip(chosen, _spread(len(chosen)), strict=True)), None, "given" if names else "an example")


def _classes(folders: list[Path]) -> Labels:
    """Return the classes that the labels in some folders hold."""
    known = [path for folder in folders for path in (folder / LABELMAP, folder.parent / LABELMAP) if path.exists()]
    values, colours, palette = _found([path for folder in folders for path in by_stem(folder, None, None).values()])
    if known:
        colour_of = {name: colour for colour, name in read_labelmap(known[0].read_text(errors="replace")).items()}
        return Labels(colour_of, "colour" if values else None, f"from {known[0]}")
    if colours and values:
        raise DataError(f"{folders[0]}: some labels are in colours and some are not; allowed: one kind")
    if colours:
        return Labels(
            {f"colour_{bytes(colour).hex()}": colour for colour in colours}, None, "the colours in the labels"
        )
    if max(values - {IGNORE_INDEX}, default=0) >= MOST or values == {0, IGNORE_INDEX}:
        greys = [(value, value, value) for value in sorted(values)]
        return Labels({f"grey_{grey[0]}": grey for grey in greys}, "colour", "the grey values in the labels")
    count = max(values - {IGNORE_INDEX}, default=0) + 1
    spread = _spread(count)
    own = [palette.get(value, spread[value]) for value in range(count)]
    chosen_colours = own if len({*own}) == count else spread
    by = None if own == chosen_colours else "value"
    return Labels({f"class_{value}": chosen_colours[value] for value in range(count)}, by, "the values in the labels")


def _found(files: list[Path]) -> tuple[set[int], list[Colour], dict[int, Colour]]:
    """Return the values in files of one channel, the colours in others, frequent ones first, and palettes' colours."""
    values, colours, palette = set[int](), Counter[Any](), dict[int, Colour]()
    progress = bar(len(files), "looking at labels")
    for file in files:
        image, _ = decoded(file)
        counted = (image if image.mode in ("L", "P", "1") else image.convert("RGB")).getcolors(MOST)
        if counted is None:
            raise DataError(f"{file}: more than {MOST} values or colours; allowed: labels with one for each class")
        if isinstance(counted[0][1], int):
            values |= {int(value) for _, value in counted}
            stored = np.reshape(image.getpalette("RGB") or [], (-1, 3)).tolist() if image.mode == "P" else []
            palette |= {value: tuple(stored[value]) for value in values if value < len(stored)}
        else:
            colours.update({colour: count for count, colour in counted})
        progress.update()
    progress.close()
    if len(colours) > MOST:
        raise DataError(f"{files[0].parent}: more than {MOST} colours in its labels; allowed: one for each class")
    return values, [colour for colour, _ in colours.most_common()], palette


def _spread(count: int) -> list[Colour]:
    """Return colours that are far apart."""
    hues = [colorsys.hsv_to_rgb(number * 0.618 % 1, 0.5 + 0.5 * (number % 2), 0.9) for number in range(count)]
    return [(round(255 * red), round(255 * green), round(255 * blue)) for red, green, blue in hues]


def _split_name(place: str, taken: dict[str, Any]) -> str:
    """Return the name of the split that the images in a folder are."""
    told = next((split for split in SPLITS if split in place.lower()), "train")
    return told if told not in taken else re.sub(r"\W+", "_", place)[-60:]


def _yaml(name: str, labels: Labels, rest: str, splits: dict[str, dict[str, str]]) -> str:
    """Return the text of the YAML file."""
    content: dict[str, Any] = {"name": re.sub(r"\W+", "_", name)[:60]}
    content |= {"classes": {of: [*colour] for of, colour in labels.colours.items()}}
    content |= {"labels_by": labels.by} if labels.by else {}
    content |= {"rest": rest} if rest else {}
    text = yaml.safe_dump(content | {"splits": splits}, sort_keys=False, allow_unicode=True, default_flow_style=None)
    return f"# The keys of this file: docs/data-and-models.md\n{text}"
