"""Label files, decoded into classes by stated rules: by the value of each pixel, or by its colour."""

from pathlib import Path

import numpy as np
from PIL import Image

from alutils.datasets.base import IGNORE_INDEX, LabelMeaning
from alutils.datasets.decoding import decoded
from alutils.errors import DataError

LOSSLESS = ("PNG", "BMP", "TIFF")  # formats; TIFF may also hold JPEG
LOSSY = ("jpeg", "tiff_jpeg", "webp")
VALUES = ("L", "P")  # Pillow's names of one 8-bit channel
COLOURS = ("RGB", "RGBA")
ALSO_COLOURS = ("1", "L", "LA", "P", "PA")  # where the description says so


def read_values(path: Path) -> Image.Image:
    """Return a label in mode L or P: one 8-bit channel of values as they are stored.

    Raises `DataError` for a file that cannot be decoded and for any other pixels. Grey of 1, 2 or 4 bits is refused
    because decoders stretch it to 0..255, and JPEG because it changes values.
    """
    image, stored = _lossless(path)
    _check_mode(path, stored, VALUES, "one 8-bit channel of class indices")
    return image


def read_label(path: Path, meaning: LabelMeaning) -> np.ndarray:
    """Return the class of each pixel of a label file, (H, W) uint8; `IGNORE_INDEX` is void.

    Where colours decide, a pixel of alpha 0 is void. Raises `DataError` for what `read_values` refuses, but for colours
    where these may decide; for a value or a colour that stands for nothing; and for a palette of which a colour stands
    for another class than its value.
    """
    image, stored = _lossless(path)
    if meaning.by == "colour":
        _check_mode(path, stored, COLOURS + ALSO_COLOURS, "8 bits a channel, in the colours of classes")
    elif meaning.by == "value" or not meaning.of_colour:
        _check_mode(path, stored, VALUES, "one 8-bit channel of class indices")
    else:
        _check_mode(path, stored, VALUES + COLOURS, "one 8-bit channel of class indices, or RGB in classes' colours")
    if meaning.by == "colour" or stored in COLOURS:
        return _classes_of_colours(path, image, meaning)
    return _classes_of_values(path, image, meaning)


def read_label_of(size: tuple[int, int], path: Path, meaning: LabelMeaning) -> np.ndarray:
    """Return `read_label` of an image's label; raise `DataError` if the image has another `size` (width, height)."""
    classes = read_label(path, meaning)
    if classes.shape[::-1] != size:
        sizes_found = f"size {classes.shape[::-1]}, but its image, turned as its EXIF says, has {size}"
        raise DataError(f"{path}: {sizes_found}; both must agree")
    return classes


def _lossless(path: Path) -> tuple[Image.Image, str]:
    """Return an image and Pillow's name for its pixels; raise `DataError` if its format may have changed them."""
    image, stored = decoded(path)
    if image.format not in LOSSLESS or image.info.get("compression") in LOSSY:
        raise DataError(f"{path}: JPEG, which changes the values of a label; allowed: PNG, BMP, TIFF")
    return image, stored


def _check_mode(path: Path, stored: str, allowed: tuple[str, ...], what: str) -> None:
    if stored not in allowed:
        raise DataError(f"{path}: pixels of mode {stored}; a label is {what}")


def _classes_of_values(path: Path, image: Image.Image, meaning: LabelMeaning) -> np.ndarray:
    values = np.flatnonzero(image.histogram())
    if image.mode == "P" and meaning.by is None:
        _check_palette(path, image, values, meaning)
    unknown = values[meaning.of_value[values] < 0]
    if len(unknown):
        raise DataError(f"{path}: label value {unknown[0]} is neither a class nor ignored")
    return meaning.of_value.astype(np.uint8)[np.asarray(image)]


def _check_palette(path: Path, image: Image.Image, values: np.ndarray, meaning: LabelMeaning) -> None:
    """Raise `DataError` if the colour of a value in the palette stands for another class than the value."""
    palette = np.reshape(image.getpalette("RGB") or [], (-1, 3)).tolist()
    for value in values[values < len(palette)]:
        by_colour = meaning.of_colour.get(tuple(palette[value]))
        if by_colour is not None and by_colour != meaning.of_value[value]:
            raise DataError(
                f"{path}: its palette gives the value {value} the colour of {_name(by_colour, meaning)}; say which"
                " decides with labels_by: value or labels_by: colour in the YAML file"
            )


def _classes_of_colours(path: Path, image: Image.Image, meaning: LabelMeaning) -> np.ndarray:
    has_alpha = "A" in image.mode or "transparency" in image.info
    pixels = np.asarray(image.convert("RGBA" if has_alpha else "RGB"))
    packed = (pixels[..., 0].astype(np.int32) << 16) | (pixels[..., 1].astype(np.int32) << 8) | pixels[..., 2]
    table = np.full(1 << 24, meaning.unknown_colour, np.int16)
    for (red, green, blue), number in meaning.of_colour.items():
        table[red << 16 | green << 8 | blue] = number
    classes = table[packed]
    if has_alpha:
        classes[pixels[..., 3] == 0] = IGNORE_INDEX
    if (classes < 0).any():
        raise DataError(f"{path}: {_unknown(pixels, classes, meaning)}")
    return classes.astype(np.uint8)


def _unknown(pixels: np.ndarray, classes: np.ndarray, meaning: LabelMeaning) -> str:
    """Say which colour stands for no class, where it is, and which known colour is nearest."""
    row, column = np.argwhere(classes < 0)[0]
    colour = pixels[row, column, :3].astype(int)
    known = np.array([*meaning.of_colour])
    nearest = tuple(known[np.square(known - colour).sum(axis=1).argmin()].tolist())
    return (
        f"colour {colour.tolist()} at pixel (x {column}, y {row}) is no class's, like {(classes < 0).sum()} pixels; the"
        f" nearest is {[*nearest]}, {_name(meaning.of_colour[nearest], meaning)}; allowed: the colours of classes and"
        " those of ignore_colours, which may be unknown"
    )


def _name(number: int, meaning: LabelMeaning) -> str:
    return "void" if number == IGNORE_INDEX else meaning.class_names[number]
