"""Pictures of one image in one round, as arrays: photo, label, prediction, disagreement. Drawn in milliseconds."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from alutils.explorer.opened import Look, OpenedRun
from alutils.results.figures.scenes import paint_labels
from alutils.results.figures.style import words

SMALLEST, LARGEST = 300, 512  # pixels that a panel is wide, about
PANELS = 4  # of a scene
CAPTION, BAR, GAP = 24, 96, 4  # pixels
CELL, WORDS = 22, 220  # pixels of a member's probability of a class, and of what it votes for
CHOSEN_NOW, CHOSEN_BEFORE = (255, 210, 0), (0, 170, 255)  # outlines of regions
UNITS = {"consensus_entropy": " bits", "vote_entropy": " bits", "mutual_information": " bits"}


@dataclass(frozen=True)
class View:
    """What is looked at: an image of a split in a round, and the score of its disagreement."""

    number: int
    split: str
    index: int
    score: str


@lru_cache(1)
def colour_table() -> np.ndarray:
    """Return the colours of 256 levels of disagreement, (256, 3) uint8, from black to yellow."""
    return (255 * matplotlib.colormaps["magma"](np.arange(256))[:, :3]).astype(np.uint8)


def zoom_of(width: int) -> float:
    """Return the factor by which images of this width are shown: a whole number, or one over a whole number."""
    return 1 / -(-width // LARGEST) if width > LARGEST else max(1, -(-SMALLEST // width))


def zoomed(picture: np.ndarray, zoom: float) -> np.ndarray:
    """Return a picture (H, W, ...), larger or smaller by `zoom`, without smoothing."""
    if zoom >= 1:
        return picture.repeat(int(zoom), axis=0).repeat(int(zoom), axis=1)
    return picture[:: round(1 / zoom), :: round(1 / zoom)]


def pixel_at(size: Sequence[int], column: int, row: int) -> tuple[int, int, int] | None:
    """Return which of several pictures of `panels`, one below the other, is at a place, and its image's row and column.

    Returns `None` between the panels. size : height and width of the images
    """
    zoom = zoom_of(size[1])
    height, width = zoomed(np.empty(size, bool), zoom).shape
    which, down = divmod(row, CAPTION + height + GAP)
    panel, right = divmod(column, width + GAP)
    if panel >= PANELS or right >= width or not CAPTION <= down < CAPTION + height:
        return None
    return which, int((down - CAPTION) / zoom), int(right / zoom)


def panels(run: OpenedRun, view: View) -> np.ndarray:
    """Return the picture of a view, (H, W, 3) uint8: its parts side by side."""
    return beside([*parts_of(run, view).values()])


def parts_of(run: OpenedRun, view: View) -> dict[str, np.ndarray]:
    """Return the parts of a view by what they show, (h, w, 3) uint8 with a caption each; the last has the scale."""
    dataset, look = run.images(view.split), run.look(view.number, view.split, view.index)
    item, zoom = dataset[view.index], zoom_of(dataset.images.shape[-1])
    if not dataset.is_dense:
        return _digit(run, view, look)
    disagreement, limit = run.score_map(look, view.score), run.limit(view.score)
    level = (disagreement * (255 / limit)).clip(0, 255).astype(np.uint8)
    photo = with_regions(run, view, item.image.transpose(1, 2, 0))
    label = paint_labels(item.label, dataset.colours)
    shown = {
        "photo": (f"{words(run.config.query)}: {item.name}", photo),
        "label": ("label", label),
        "prediction": ("prediction", paint_labels(look.prediction, dataset.colours)),
        "disagreement": (f"{words(view.score)}, mean {disagreement.mean():.3f}", colour_table()[level]),
    }
    parts = {name: captioned(zoomed(picture, zoom), title) for name, (title, picture) in shown.items()}
    bar = scale(len(parts["label"]), limit, UNITS.get(view.score, ""))
    return parts | {"disagreement": beside([parts["disagreement"], bar])}


def with_regions(run: OpenedRun, view: View, photo: np.ndarray) -> np.ndarray:
    """Return a photo with outlines of the regions that were chosen in this round, and of those labelled before it."""
    if view.split == "test" or run.region_maps is None:
        return photo
    photo = photo.copy()
    for rounds, colour in ((range(view.number + 1), CHOSEN_BEFORE), ([view.number + 1], CHOSEN_NOW)):
        regions = run.regions(view.index, rounds)
        if regions is not None:
            photo[outline(regions)] = colour
    return photo


def outline(regions: np.ndarray) -> np.ndarray:
    """Return the pixels at the edges of regions (H, W), of which 0 is none: where a neighbour has another number."""
    padded = np.pad(regions, 2)  # regions at the border have an edge there
    here = padded[2:-2, 2:-2]
    shifted = (padded[2 + down : down - 2 or None, 2 + right : right - 2 or None] for down, right in _AROUND)
    return (here > 0) & np.logical_or.reduce([here != other for other in shifted])


_AROUND = ((-1, 0), (1, 0), (0, -1), (0, 1), (-2, 0), (2, 0), (0, -2), (0, 2))


def captioned(picture: np.ndarray, title: str) -> np.ndarray:
    """Return a picture with a caption above it."""
    return np.concatenate([caption(title, picture.shape[1]), picture])


@lru_cache(512)
def caption(title: str, width: int) -> np.ndarray:
    """Return a line of text, (`CAPTION`, `width`, 3) uint8, black on white; of a long one the end is left out."""
    line, font = Image.new("RGB", (width, CAPTION), "white"), ImageFont.load_default(17)
    while len(title) > 1 and font.getlength(title) > width - 8:
        title = f"{title[:-2]}…"
    ImageDraw.Draw(line).text((2, 2), title, "black", font)
    return np.asarray(line)


@lru_cache(16)
def scale(height: int, limit: float, unit: str) -> np.ndarray:
    """Return the colour scale from 0 to `limit`, (`height`, `BAR`, 3) uint8, with numbers beside it."""
    picture = Image.new("RGB", (BAR, height), "white")
    levels = np.linspace(255, 0, height - CAPTION).astype(np.uint8)
    picture.paste(Image.fromarray(colour_table()[levels][:, None].repeat(12, axis=1)), (0, CAPTION))
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(15)
    draw.text((0, 3), f"{limit:.2f}{unit}", "black", font)
    draw.text((16, (height + CAPTION) // 2 - 8), f"{limit / 2:.2f}", "black", font)
    draw.text((16, height - 16), "0", "black", font)
    return np.asarray(picture)


def beside(parts: Sequence[np.ndarray]) -> np.ndarray:
    """Return pictures side by side, aligned at the top, with white between them."""
    height = max(len(part) for part in parts)
    padded = [np.pad(part, ((0, height - len(part)), (0, GAP), (0, 0)), constant_values=255) for part in parts]
    return np.concatenate(padded, axis=1)


def below(parts: Sequence[np.ndarray]) -> np.ndarray:
    """Return pictures one below the other, aligned at the left, with white between them."""
    width = max(part.shape[1] for part in parts)
    padded = [np.pad(part, ((0, GAP), (0, width - part.shape[1]), (0, 0)), constant_values=255) for part in parts]
    return np.concatenate(padded)


def _digit(run: OpenedRun, view: View, look: Look) -> dict[str, np.ndarray]:
    """Return a digit, and how probable each member finds each class, from white to dark, and its vote."""
    dataset = run.images(view.split)
    item, names = dataset[view.index], dataset.class_names
    digit = zoomed(item.image[0][..., None].repeat(3, axis=2), zoom_of(item.image.shape[-1]))
    squares = zoomed(255 - (look.members * 200).astype(np.uint8), CELL)[..., None].repeat(3, axis=2)
    votes = [f"member {number + 1}: {names[vote]}" for number, vote in enumerate(look.members.argmax(axis=1))]
    label, predicted = names[int(item.label)], names[int(look.prediction[0])]
    value = f"{words(view.score)} {run.score_map(look, view.score)[0]:.3f}{UNITS.get(view.score, '')}"
    asked = np.concatenate([squares, lines(votes, WORDS)], axis=1)
    return {
        "digit": captioned(digit, f"{item.name}: label {label}, predicted {predicted}"),
        "votes": captioned(asked, value),
    }


def lines(texts: Sequence[str], width: int) -> np.ndarray:
    """Return lines of text as a picture, `CELL` pixels each."""
    picture = Image.new("RGB", (width, CELL * len(texts)), "white")
    for number, text in enumerate(texts):
        ImageDraw.Draw(picture).text((6, CELL * number + 2), text, "black", ImageFont.load_default(15))
    return np.asarray(picture)


def thumbnail(run: OpenedRun, index: int, width: int = 112) -> np.ndarray:
    """Return a small picture of an image of the pool, (h, `width`, 3) uint8."""
    image = run.train_set.images[index].transpose(1, 2, 0)
    small = Image.fromarray(image if image.shape[2] == 3 else image.repeat(3, axis=2))
    return np.asarray(small.resize((width, max(1, width * small.height // small.width))))


def jpeg(picture: np.ndarray, most: int | None = None) -> bytes:
    """Return a picture (H, W, 3) uint8 as the bytes of a JPEG, shrunk to a width of at most `most` pixels."""
    buffer, drawn = BytesIO(), Image.fromarray(picture)
    if most:
        drawn.thumbnail((most, drawn.height))
    drawn.save(buffer, "JPEG", quality=88)
    return buffer.getvalue()


def blank(text: str, width: int = 500) -> np.ndarray:
    """Return a picture that says something in one line."""
    return captioned(np.full((2, width, 3), 255, np.uint8), text)


def framed(picture: np.ndarray, colour: Sequence[int], thickness: int = 4) -> np.ndarray:
    """Return a picture with a frame around it."""
    height, width = picture.shape[0] + 2 * thickness, picture.shape[1] + 2 * thickness
    frame = np.full((height, width, 3), colour, np.uint8)
    frame[thickness:-thickness, thickness:-thickness] = picture
    return frame
