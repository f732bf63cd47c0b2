"""Contact sheets: small pictures with a caption each."""

from collections.abc import Sequence
from io import BytesIO
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

HEIGHT = 150  # pixels of a picture
WIDEST = 300
LINE = 16  # pixels of a line of a caption
GAP = 8
COLUMNS = 6


class Tile(NamedTuple):
    """Pictures of one photograph, side by side, the lines below them, and what each picture is."""

    pictures: Sequence[Image.Image]
    lines: Sequence[str]
    captions: Sequence[str] = ()


def small(photo: Image.Image, times: int = 1) -> Image.Image:
    """Return a photograph at so many times the size of a contact sheet, in its own proportions."""
    scale = times * min(HEIGHT / photo.height, WIDEST / photo.width)
    return photo.resize((max(1, round(scale * photo.width)), max(1, round(scale * photo.height))))


def painted(photo: Image.Image, classes: np.ndarray, colours: Sequence[tuple[int, int, int]]) -> Image.Image:
    """Return a small photograph, half and half with the colours of classes (H, W); void stays as it is."""
    from alutils.results.figures.scenes import overlay  # loads matplotlib

    label = np.asarray(Image.fromarray(classes).resize(photo.size, Image.Resampling.NEAREST))
    return Image.fromarray(overlay(np.asarray(photo).transpose(2, 0, 1), label, list(colours)))


def contact_sheet(tiles: Sequence[Tile], columns: int = COLUMNS) -> Image.Image:
    """Return a picture of all tiles, in rows; all columns are as wide as the widest tile needs."""
    tiles = [tile._replace(pictures=[small(picture) for picture in tile.pictures]) for tile in tiles]
    wide = max(sum(picture.width + GAP for picture in tile.pictures) for tile in tiles)
    high = HEIGHT + GAP + LINE * max(len(tile.lines) for tile in tiles)
    columns = min(columns, len(tiles))
    sheet = Image.new("RGB", (GAP + columns * wide, GAP + -(-len(tiles) // columns) * high), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(12)
    for number, tile in enumerate(tiles):
        left, top = GAP + number % columns * wide, GAP + number // columns * high
        for row, line in enumerate(tile.lines):
            draw.text((left, top + HEIGHT + LINE * row), fitted(line, font, wide - GAP), "black", font)
        for picture in tile.pictures:
            sheet.paste(picture, (left, top))
            left += picture.width + GAP
    return sheet


def jpeg(picture: Image.Image) -> bytes:
    """Return a picture as the bytes of a JPEG."""
    buffer = BytesIO()
    picture.save(buffer, "JPEG", quality=85)
    return buffer.getvalue()


def fitted(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: float) -> str:
    """Return `text`, without its middle if it is wider than `width` pixels."""
    shown, half = text, len(text) // 2
    while half and font.getlength(shown) > width:
        shown, half = f"{text[:half]}…{text[-half:]}", half - 1
    return shown
