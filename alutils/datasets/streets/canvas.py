"""An image and its labels painted by the same calls, in the light of a weather, and exposed like a photo.

Pixels come from integers and from + - * / on floats alone, so that a scene has the same bytes on every machine.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from random import Random

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

NEAR = 2.5  # metres; the camera sees nothing nearer

Colour = tuple[int, int, int]
Point = tuple[float, float, float]


class Id(IntEnum):
    """Cityscapes' label ids of the things that are drawn."""

    EGO, STATIC, ROAD, SIDEWALK, BUILDING, WALL, FENCE, POLE = 1, 4, 7, 8, 11, 12, 13, 17
    LIGHT, SIGN, VEGETATION, TERRAIN, SKY, PERSON, RIDER, CAR = 19, 20, 21, 22, 23, 24, 25, 26
    TRUCK, BUS, TRAIN, MOTORCYCLE, BICYCLE = 27, 28, 31, 32, 33


@dataclass(frozen=True)
class Weather:
    """The light of a drive: the colours of the sky, the haze, and the tone of the whole image."""

    zenith: Colour
    horizon: Colour
    visibility: float  # metres at which haze hides half of a colour
    gain: float
    cast: tuple[float, float, float]
    shadow: int  # opacity of cast shadows, 0..255


WEATHERS = (
    Weather((150, 165, 185), (215, 220, 222), 500, 0.95, (1.0, 1.0, 1.0), 60),  # overcast
    Weather((90, 140, 205), (200, 220, 235), 900, 1.05, (1.03, 1.0, 0.95), 120),  # sunny
    Weather((105, 105, 125), (200, 165, 140), 350, 0.55, (1.10, 0.95, 0.92), 50),  # dusk
    Weather((205, 208, 208), (212, 213, 212), 70, 0.90, (0.98, 1.0, 1.02), 30),  # fog
    Weather((130, 170, 225), (240, 240, 230), 700, 1.20, (1.04, 1.0, 0.92), 170),  # harsh sun
    Weather((120, 128, 138), (170, 176, 180), 220, 0.72, (0.92, 1.0, 1.06), 40),  # rain
)
PALETTE: tuple[Colour, ...] = (
    (176, 160, 138), (150, 92, 74), (190, 186, 176), (128, 124, 120), (200, 178, 130), (112, 98, 88),
    (162, 168, 172), (206, 200, 190), (140, 116, 92), (96, 104, 112), (184, 140, 112), (158, 164, 138),
)  # fmt: skip
PAINT: tuple[Colour, ...] = (
    (28, 28, 32), (70, 72, 78), (150, 152, 156), (205, 206, 208), (120, 28, 30), (36, 52, 92),
    (66, 82, 70), (170, 140, 60), (225, 225, 220), (92, 84, 76), (190, 60, 40), (60, 110, 140),
)  # fmt: skip
GLASS: Colour = (42, 50, 58)
DARK: Colour = (24, 24, 26)
GREY: Colour = (104, 106, 108)


class Canvas:
    """An image and its labels, painted together as a camera 1.2 m above the road sees them.

    A world point is (x, y, z): metres to the right of the camera's lane, above the ground, and along the street.
    """

    def __init__(self, height: int, weather: Weather, x: float, z: float, yaw: float, pitch: float, bend: float):
        self.size = (2 * height, height)
        self.image = Image.new("RGB", self.size, weather.horizon)
        self.labels = Image.new("L", self.size, Id.SKY)
        self.brush = ImageDraw.Draw(self.image)
        self.veil = ImageDraw.Draw(self.image, "RGBA")  # blends colours, and is slower
        self.tagger = ImageDraw.Draw(self.labels)
        self.weather, self.x, self.z, self.bend = weather, x, z, bend
        self.focal = 2.2 * height
        self.vanishing = (height * (1 + yaw), height * (0.41 + pitch))

    def project(self, point: Point) -> tuple[int, int]:
        """Return the pixel (column, row) at which the camera sees a world point."""
        x, y, z = point
        z = max(z - self.z, NEAR)
        scale = self.focal / z
        u = self.vanishing[0] + (x - self.x + self.bend * z * z) * scale
        v = self.vanishing[1] + (1.2 - y) * scale
        return int(u + 0.5) if u > 0 else int(u - 0.5), int(v + 0.5) if v > 0 else int(v - 0.5)

    def haze(self, colour: Colour, z: float) -> Colour:
        """Return `colour` as the camera sees it through the haze before depth `z`."""
        depth = max(z - self.z, 0.0)
        return mix(colour, self.weather.horizon, depth / (depth + self.weather.visibility))

    def polygon(self, label: int | None, colour: Colour, corners: Iterable[Point], opacity: int = 255) -> None:
        """Fill a polygon of world points; `label=None` changes the image only, for shadows and stains."""
        corners = list(corners)
        points = [self.project(corner) for corner in corners]
        ink = self.haze(colour, corners[0][2])
        if opacity == 255:
            self.brush.polygon(points, fill=ink)
        else:
            self.veil.polygon(points, fill=(*ink, opacity))
        if label is not None:
            self.tagger.polygon(points, fill=label)

    def patch(
        self,
        label: int,
        colour: Colour,
        at: Point,
        outline: Sequence[tuple[float, float]],
        opacity: int = 255,
    ) -> None:
        """Fill an upright polygon that faces the camera; `outline` holds its corners, in metres from `at`."""
        x, y, z = at
        self.polygon(label, colour, [(x + dx, y + dy, z) for dx, dy in outline], opacity)

    def rectangle(self, label: int, colour: Colour, at: Point, width: float, height: float) -> None:
        """Fill an upright rectangle whose bottom centre is `at`."""
        half = width / 2
        self.patch(label, colour, at, [(-half, 0), (half, 0), (half, height), (-half, height)])

    def ellipse(self, label: int, colour: Colour, at: Point, rx: float, ry: float, rim: float = 0) -> None:
        """Fill an upright ellipse around `at`; if `rim`, a width in metres, is not 0, paint only the rim."""
        x, y, z = at
        box = [self.project((x - rx, y + ry, z)), self.project((x + rx, y - ry, z))]
        ink = self.haze(colour, z)
        if rim:
            self.brush.ellipse(box, outline=ink, width=max(1, int(rim * self.focal / max(z - self.z, NEAR))))
        else:
            self.brush.ellipse(box, fill=ink)
        self.tagger.ellipse(box, fill=label)

    def side(self, label: int, colour: Colour, x: float, y: tuple[float, float], z: tuple[float, float]) -> None:
        """Fill an upright rectangle along the street, `x` metres to the right, between two heights and two depths."""
        (y1, y2), (z1, z2) = y, z
        self.polygon(label, colour, [(x, y1, z1), (x, y1, z2), (x, y2, z2), (x, y2, z1)])

    def strip(
        self,
        label: int | None,
        colour: Colour,
        x1: float,
        x2: float,
        z1: float,
        z2: float,
        opacity: int = 255,
    ) -> None:
        """Fill a strip of the ground between `x1` and `x2`; it follows the bend of the street."""
        z1 = max(z1, self.z + NEAR)
        if z2 > z1:
            steps = [z1, *(z for d in (5, 9, 14, 20, 28, 40, 60, 90, 130) if z1 < (z := self.z + d) < z2), z2]
            self.polygon(label, colour, [(x1, 0, z) for z in steps] + [(x2, 0, z) for z in reversed(steps)], opacity)

    def shadow(self, x: float, z: float, width: float, length: float) -> None:
        """Darken the ground under a thing."""
        self.strip(None, DARK, x - width / 2, x + width / 2, z - 0.2, z + length, 60 + self.weather.shadow)


def mix(one: Colour, other: Colour, share: float) -> Colour:
    """Return a colour between two: `one` if `share` is 0, `other` if it is 1."""
    red, green, blue = (int(a + (b - a) * share) for a, b in zip(one, other, strict=True))
    return red, green, blue


def vary(rng: Random, colour: Colour, by: int = 18) -> Colour:
    """Return `colour`, lighter or darker by at most `by` of 255; its hue changes by a third of that at most."""
    light = rng.randint(-by, by)
    red, green, blue = (min(255, max(0, c + light + rng.randint(-by // 3, by // 3))) for c in colour)
    return red, green, blue


def shade(colour: Colour, factor: float) -> Colour:
    """Return `colour` with each channel multiplied by `factor`, at most 255."""
    red, green, blue = (min(255, int(c * factor)) for c in colour)
    return red, green, blue


def _smooth(rng: np.random.Generator, height: int, cell: int) -> np.ndarray:
    """Return a smooth random field, (height, 2 * height) in -128..127: a grid of `cell` pixels, interpolated."""
    grid = rng.integers(-128, 128, (height // cell + 2, 2 * height // cell + 2), dtype=np.int32)
    weight = np.arange(cell, dtype=np.int32)
    rows = grid[:-1, None] * (cell - weight)[:, None] + grid[1:, None] * weight[:, None]
    rows = (rows.reshape(-1, grid.shape[1])[:height] // cell).astype(np.int16)
    both = rows[:, :-1, None] * (cell - weight).astype(np.int16) + rows[:, 1:, None] * weight.astype(np.int16)
    return (both.reshape(height, -1)[:, : 2 * height] // np.int16(cell)).astype(np.int16)


COARSE = np.full(256, 10, np.int16)  # how strongly large blotches mark each label
COARSE[[Id.SKY, Id.ROAD, Id.SIDEWALK, Id.BUILDING, Id.WALL, Id.VEGETATION, Id.TERRAIN]] = (
    16,
    12,
    14,
    18,
    18,
    20,
    20,
)
FINE = np.full(256, 4, np.int16)  # the same for fine grain
FINE[[Id.SKY, Id.VEGETATION, Id.TERRAIN, Id.ROAD, Id.SIDEWALK, Id.WALL, Id.BUILDING]] = 0, 30, 26, 8, 9, 8, 6


def expose(
    canvas: Canvas, rng: Random, *, of_drive: np.random.Generator, of_frame: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Return the image, with texture, blur, tone and sensor noise, and the labels, as arrays of uint8.

    rng : decides blur and tone
    of_drive, of_frame : decide the texture, which the frames of a drive share, and the noise, which they do not
    """
    height = canvas.size[1]
    labels = np.array(canvas.labels)
    texture = _smooth(of_drive, height, max(1, height // 12)) * COARSE[labels]
    texture += _smooth(of_drive, height, max(1, height // 170)) * FINE[labels]
    noise = of_frame.integers(-2, 3, (height // 2, height), dtype=np.int16)
    texture = (texture >> 7) + noise.repeat(2, axis=0).repeat(2, axis=1)
    soft = canvas.image.filter(ImageFilter.BoxBlur(height / 1024)) if rng.random() < 0.4 else canvas.image
    image = np.clip(np.asarray(soft, np.int16) + texture[..., None], 0, 255).astype(np.uint8)
    return np.asarray(Image.fromarray(image).point(_tone(canvas.weather, rng))), labels


def _tone(weather: Weather, rng: Random) -> list[int]:
    """Return the tone curves of the three channels as one lookup table of 768 entries."""
    gain, bend = weather.gain * rng.uniform(0.95, 1.05), rng.uniform(-0.25, 0.25)
    table = []
    for cast in weather.cast:
        for value in range(256):
            bright = min(255.0, value * gain * cast)
            table.append(int(bright + bend * bright * (255 - bright) / 255))
    return table
