"""Synthetic street scenes with Cityscapes' classes, written in Cityscapes' own file layout.

A seed fixes an endless recording. Ten consecutive indices are one drive: the same street, light and parked
things seen from a camera that moves a little, so that frames of a drive are near-duplicates. Six frames of a
drive are dull; in the other four an event brings rare classes. Events and kinds of street follow a schedule, so
that any 60 scenes from a drive's start hold all 19 classes. Image and label are painted by the same calls, from
far to near.

Pixels come from integers and from + - * / on floats alone, so that a scene has the same bytes on every machine.
"""

import multiprocessing
import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from enum import IntEnum
from functools import partial
from pathlib import Path
from random import Random

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from alutils.errors import ParameterError, check_choice, check_range
from alutils.files import built_once
from alutils.progress import bar

FRAMES_PER_DRIVE = 10
DRIVES_PER_CITY = 4
FIRST_INDEX = {"train": 0, "val": 10_000_000, "test": 20_000_000}  # far apart: splits never share a drive
NEAR = 2.5  # metres; nothing nearer to the camera is in view

Colour = tuple[int, int, int]
Point = tuple[float, float, float]


class Id(IntEnum):
    """Cityscapes' label ids of what is drawn here."""

    EGO, STATIC, ROAD, SIDEWALK, BUILDING, WALL, FENCE, POLE = 1, 4, 7, 8, 11, 12, 13, 17
    LIGHT, SIGN, VEGETATION, TERRAIN, SKY, PERSON, RIDER, CAR = 19, 20, 21, 22, 23, 24, 25, 26
    TRUCK, BUS, TRAIN, MOTORCYCLE, BICYCLE = 27, 28, 31, 32, 33


@dataclass(frozen=True)
class Weather:
    """Light of a drive: sky at the top and at the horizon, haze, and the tone of the whole image."""

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
    """An image and its labels under one brush, seen by a camera 1.2 m above the road.

    A world point is (x, y, z): metres right of the ego lane, above the ground, and along the street.
    """

    def __init__(self, height: int, weather: Weather, x: float, z: float, yaw: float, pitch: float, bend: float):
        self.size = (2 * height, height)
        self.image = Image.new("RGB", self.size, weather.horizon)
        self.labels = Image.new("L", self.size, Id.SKY)
        self.brush = ImageDraw.Draw(self.image)
        self.veil = ImageDraw.Draw(self.image, "RGBA")  # blends; slower
        self.tagger = ImageDraw.Draw(self.labels)
        self.weather, self.x, self.z, self.bend = weather, x, z, bend
        self.focal = 2.2 * height
        self.vanishing = (height * (1 + yaw), height * (0.41 + pitch))

    def project(self, point: Point) -> tuple[int, int]:
        """Return the pixel (column, row) that a world point falls on."""
        x, y, z = point
        z = max(z - self.z, NEAR)
        scale = self.focal / z
        u = self.vanishing[0] + (x - self.x + self.bend * z * z) * scale
        v = self.vanishing[1] + (1.2 - y) * scale
        return int(u + 0.5) if u > 0 else int(u - 0.5), int(v + 0.5) if v > 0 else int(v - 0.5)

    def haze(self, colour: Colour, z: float) -> Colour:
        """Return a colour as the air at depth `z` lets it through."""
        depth = max(z - self.z, 0.0)
        return _mix(colour, self.weather.horizon, depth / (depth + self.weather.visibility))

    def polygon(self, label: int | None, colour: Colour, corners: Iterable[Point], opacity: int = 255) -> None:
        """Fill a polygon of world points; `label=None` leaves the labels as they are (shadows, paint)."""
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
        """Fill an upright polygon that faces the camera; `outline` is in metres from `at`."""
        x, y, z = at
        self.polygon(label, colour, [(x + dx, y + dy, z) for dx, dy in outline], opacity)

    def rectangle(self, label: int, colour: Colour, at: Point, width: float, height: float) -> None:
        """Fill an upright rectangle whose bottom centre is `at`."""
        half = width / 2
        self.patch(label, colour, at, [(-half, 0), (half, 0), (half, height), (-half, height)])

    def ellipse(self, label: int, colour: Colour, at: Point, rx: float, ry: float, rim: float = 0) -> None:
        """Fill an upright ellipse centred on `at`; with a rim (metres) only the rim is painted."""
        x, y, z = at
        box = [self.project((x - rx, y + ry, z)), self.project((x + rx, y - ry, z))]
        ink = self.haze(colour, z)
        if rim:
            self.brush.ellipse(box, outline=ink, width=max(1, int(rim * self.focal / max(z - self.z, NEAR))))
        else:
            self.brush.ellipse(box, fill=ink)
        self.tagger.ellipse(box, fill=label)

    def side(self, label: int, colour: Colour, x: float, y: tuple[float, float], z: tuple[float, float]) -> None:
        """Fill a rectangle that runs along the street."""
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
        """Fill a strip of the ground, in pieces so that it follows the bend."""
        z1 = max(z1, self.z + NEAR)
        if z2 > z1:
            steps = [z1, *(z for d in (5, 9, 14, 20, 28, 40, 60, 90, 130) if z1 < (z := self.z + d) < z2), z2]
            self.polygon(label, colour, [(x1, 0, z) for z in steps] + [(x2, 0, z) for z in reversed(steps)], opacity)

    def shadow(self, x: float, z: float, width: float, length: float) -> None:
        """Darken the ground under a thing."""
        self.strip(None, DARK, x - width / 2, x + width / 2, z - 0.2, z + length, 60 + self.weather.shadow)


Draw = Callable[[Canvas], None]


@dataclass(frozen=True)
class Item:
    """Something to paint, and the depth that decides when."""

    z: float
    draw: Draw


def _mix(one: Colour, other: Colour, share: float) -> Colour:
    red, green, blue = (int(a + (b - a) * share) for a, b in zip(one, other, strict=True))
    return red, green, blue


def _vary(rng: Random, colour: Colour, by: int = 18) -> Colour:
    """Return a colour lighter or darker by up to `by`, its hue changed a third as much."""
    light = rng.randint(-by, by)
    red, green, blue = (min(255, max(0, c + light + rng.randint(-by // 3, by // 3))) for c in colour)
    return red, green, blue


def _shade(colour: Colour, factor: float) -> Colour:
    red, green, blue = (min(255, int(c * factor)) for c in colour)
    return red, green, blue


# Things beside the road


def _windows(canvas: Canvas, rng: Random, x: float, z1: float, z2: float, height: float, glass: Colour) -> None:
    pitch, floor = rng.uniform(2.2, 3.6), rng.uniform(2.8, 3.6)
    wide, tall = pitch * rng.uniform(0.35, 0.7), floor * rng.uniform(0.4, 0.65)
    for column in range(int((z2 - z1) / pitch)):
        near = z1 + (column + 0.25) * pitch
        if near + wide < canvas.z + NEAR:
            continue
        for level in range(int((height - 0.5) / floor)):
            low = level * floor + 0.9
            pane = _vary(rng, glass if rng.random() < 0.8 else (190, 180, 150), 14)
            canvas.side(Id.BUILDING, pane, x, (low, low + tall), (near, near + wide))


def building(canvas: Canvas, x: float, z1: float, z2: float, look: int) -> None:
    """Paint a house whose facade runs along the street at `x`."""
    rng = Random(look)
    colour, height = _vary(rng, rng.choice(PALETTE)), rng.uniform(8, 21)
    out = x + (12 if x > 0 else -12)
    canvas.polygon(Id.BUILDING, _shade(colour, 0.8), [(x, 0, z1), (out, 0, z1), (out, height, z1), (x, height, z1)])
    canvas.side(Id.BUILDING, colour, x, (0, height), (z1, z2))
    if rng.random() < 0.5:
        canvas.side(Id.BUILDING, _vary(rng, _shade(colour, 0.7)), x, (0, 3.2), (z1, z2))
    canvas.side(Id.BUILDING, _shade(colour, 0.65), x, (height - 0.5, height), (z1, z2))
    if rng.random() < 0.88:
        _windows(canvas, rng, x, z1, z2, height, _vary(rng, GLASS, 25))


def wall(canvas: Canvas, x: float, z1: float, z2: float, look: int) -> None:
    """Paint a low or high wall in the colours of houses, with courses of stone or panels."""
    rng = Random(look)
    colour, height = _vary(rng, rng.choice(PALETTE)), rng.uniform(1.2, 2.4)
    canvas.side(Id.WALL, colour, x, (0, height), (z1, z2))
    joint, pitch = _shade(colour, rng.uniform(0.7, 0.9)), rng.uniform(0.4, 3)
    if rng.random() < 0.5:
        for course in range(1, int(height / 0.5)):
            canvas.side(Id.WALL, joint, x, (course * 0.5, course * 0.5 + 0.05), (z1, z2))
    for post in range(int((z2 - z1) / pitch)):
        near = z1 + post * pitch
        canvas.side(Id.WALL, joint, x, (0, height), (near, near + 0.08))
    canvas.side(Id.WALL, _shade(colour, 0.75), x, (height - 0.15, height), (z1, z2))


def fence(canvas: Canvas, x: float, z1: float, z2: float, look: int) -> None:
    """Paint a fence one can partly see through."""
    rng = Random(look)
    colour, height = _vary(rng, rng.choice((*PALETTE, GREY, DARK, (70, 90, 70)))), rng.uniform(1.7, 3.1)
    veil = [(x, 0, z1), (x, 0, z2), (x, height, z2), (x, height, z1)]
    canvas.polygon(Id.FENCE, colour, veil, rng.randint(40, 210))
    pitch = rng.uniform(0.25, 1.2)
    for slat in range(int((z2 - z1) / pitch)):
        near = z1 + slat * pitch
        if near > canvas.z + NEAR:
            canvas.side(Id.FENCE, _shade(colour, 0.7), x, (0, height), (near, near + pitch * 0.15))
    for rail in (0.15, height - 0.1):
        canvas.side(Id.FENCE, _shade(colour, 0.8), x, (rail, rail + 0.08), (z1, z2))


def _leaves(canvas: Canvas, rng: Random, at: Point, rx: float, ry: float, green: Colour, count: int) -> None:
    x, y, z = at
    for blob in range(count):
        light = 0.62 + 0.6 * blob / count
        dx, dy = rng.uniform(-0.75, 0.75) * rx, (rng.uniform(-0.7, 0.3) + 0.4 * blob / count) * ry
        size = rng.uniform(0.25, 0.5)
        spot = (x + dx, max(y + dy, size * ry), z)
        canvas.ellipse(Id.VEGETATION, _vary(rng, _shade(green, light), 12), spot, rx * size, ry * size)


def tree(canvas: Canvas, x: float, z: float, green: Colour, look: int) -> None:
    """Paint a trunk and a crown of leaves."""
    rng = Random(look)
    trunk, rx, ry = rng.uniform(1.8, 4), rng.uniform(1.0, 2.9), rng.uniform(1.3, 3)
    canvas.shadow(x, z - 0.3, rx, 1)
    canvas.rectangle(Id.VEGETATION, _vary(rng, (84, 72, 60)), (x, 0, z), rng.uniform(0.2, 0.5), trunk + ry)
    _leaves(canvas, rng, (x, trunk + ry, z), rx, ry, _vary(rng, green, 14), 34)


def hedge(canvas: Canvas, x: float, z1: float, z2: float, green: Colour, look: int) -> None:
    """Paint bushes and trees that stand along the street in place of a house."""
    rng = Random(look)
    height, z = rng.uniform(1.5, 7), z2
    back = x + (2 if x > 0 else -2)
    canvas.side(Id.VEGETATION, _shade(green, 0.6), back, (0, height * 0.8), (z1, z2))
    while z > max(z1, canvas.z + NEAR):
        tall = height * rng.uniform(0.35, 0.6)
        _leaves(canvas, rng, (back, tall, z), 1.8, tall, _vary(rng, green, 10), 12)
        z -= 1.6


def pole(canvas: Canvas, x: float, z: float, look: int) -> None:
    """Paint a lamp post."""
    rng = Random(look)
    colour, height = (
        _vary(rng, rng.choice((GREY, (150, 150, 146), (70, 80, 74), (120, 100, 80)))),
        rng.uniform(4, 9),
    )
    canvas.rectangle(Id.POLE, colour, (x, 0, z), rng.uniform(0.1, 0.2), height)
    if rng.random() < 0.6:
        arm = -1.6 if x > 0 else 1.6
        canvas.patch(Id.POLE, colour, (x, height, z), [(0, 0), (arm, 0.3), (arm, 0.45), (0, 0.15)])


def sign(canvas: Canvas, x: float, z: float, look: int) -> None:
    """Paint a traffic sign on its pole: round, triangular, square, or a broad direction board."""
    rng = Random(look)
    top, size = rng.uniform(2.0, 3.2), rng.uniform(0.27, 0.42)
    canvas.rectangle(Id.POLE, _vary(rng, GREY), (x, 0, z), 0.09, top + size)
    colour = _vary(rng, rng.choice(((190, 36, 40), (36, 76, 160), (215, 180, 50), (225, 225, 225), (120, 122, 124))))
    inner = _vary(rng, rng.choice(((235, 235, 235), (36, 76, 160), (40, 40, 40))))
    at, shape = (x, top, z), rng.randrange(5)
    if shape == 0:
        canvas.patch(Id.SIGN, colour, at, [(-size, -size), (size, -size), (0, size * 0.9)])
        canvas.patch(Id.SIGN, inner, at, [(-size * 0.6, -size * 0.75), (size * 0.6, -size * 0.75), (0, size * 0.4)])
    elif shape <= 2:
        canvas.ellipse(Id.SIGN, colour, at, size, size)
        canvas.ellipse(Id.SIGN, inner, at, size * 0.7, size * 0.7)
    else:
        broad = size * (1 if shape == 3 else 2.2)
        canvas.rectangle(Id.SIGN, colour, (x, top - size, z), 2 * broad, 2 * size)
        canvas.rectangle(Id.SIGN, inner, (x, top - size * 0.2, z), broad, size * 0.5)


def traffic_light(canvas: Canvas, x: float, z: float, look: int) -> None:
    """Paint a traffic light, one of its three lamps on; some hang on an arm above the road."""
    rng = Random(look)
    height, reach = (rng.uniform(4.5, 5.2), -2.5) if rng.random() < 0.3 else (rng.uniform(2.2, 3), 0.0)
    canvas.rectangle(Id.POLE, _vary(rng, (80, 82, 82)), (x, 0, z), 0.15, height + 0.5)
    lamp = x + (reach if x > 0 else -reach)
    if reach:
        canvas.rectangle(Id.POLE, GREY, ((x + lamp) / 2, height + 0.4, z), abs(reach), 0.14)
    canvas.rectangle(Id.LIGHT, _vary(rng, DARK, 16), (lamp, height - 0.4, z), 0.45, 1.2)
    lit = rng.randrange(3)
    for number, colour in enumerate(((60, 200, 120), (225, 170, 40), (220, 50, 40))):
        glow = colour if number == lit else (52, 50, 48)
        canvas.ellipse(Id.LIGHT, glow, (lamp, height - 0.2 + 0.37 * number, z), 0.13, 0.13)


def clutter(canvas: Canvas, x: float, z: float, look: int) -> None:
    """Paint a bin or a box, which Cityscapes leaves out of its classes (`static`)."""
    rng = Random(look)
    canvas.rectangle(Id.STATIC, _vary(rng, rng.choice(PAINT)), (x, 0, z), rng.uniform(0.4, 1), rng.uniform(0.6, 1.4))


# Things that move


def _box(
    canvas: Canvas, label: int, colour: Colour, place: tuple[float, float, float, float], y: tuple[float, float],
    taper: float = 0,
) -> None:  # fmt: skip
    """Fill the two faces in view of a box at `place` = (x, z, width, length); `taper` narrows its top."""
    (x, z, width, length), (low, high) = place, y
    left, right = x - width / 2, x + width / 2
    flank, lean = (left, taper / 3) if left > canvas.x else (right, -taper / 3)
    if not left < canvas.x < right:
        outline: list[Point] = [(flank, low, z), (flank, low, z + length)]
        outline += [(flank + lean, high, z + length - taper), (flank + lean, high, z + taper)]
        canvas.polygon(label, _shade(colour, 0.8), outline)
    near: list[Point] = [(left, low, z), (right, low, z)]
    near += [(right - taper / 3, high, z + taper), (left + taper / 3, high, z + taper)]
    canvas.polygon(label, colour, near)


def _wheels(canvas: Canvas, label: int, place: tuple[float, float, float, float], radius: float) -> None:
    x, z, width, length = place
    flank = x - width / 2 if x > canvas.x else x + width / 2
    for axle in (z + length * 0.18, z + length * 0.8):
        rim = [
            (-1.0, 0.4),
            (-0.5, 0.0),
            (0.5, 0.0),
            (1.0, 0.4),
            (1.0, 1.4),
            (0.5, 2.0),
            (-0.5, 2.0),
            (-1.0, 1.4),
        ]
        canvas.polygon(label, DARK, [(flank, dy * radius, axle + dz * radius) for dz, dy in rim])
    for edge in (-0.42, 0.42):
        canvas.rectangle(label, DARK, (x + edge * width, 0, z), 0.14 * width, radius * 1.3)


def _lamps(canvas: Canvas, label: int, place: tuple[float, float, float, float], y: float, ahead: bool) -> None:
    x, z, width, _ = place
    for edge in (-0.38, 0.38):
        colour = (170, 30, 30) if ahead else (235, 230, 210)
        canvas.rectangle(label, colour, (x + edge * width, y, z), width * 0.14, 0.15)
    canvas.rectangle(label, (215, 215, 205), (x, y - 0.25, z), 0.5, 0.12)


def car(canvas: Canvas, x: float, z: float, look: int, ahead: bool = True) -> None:
    """Paint a car or a van, from behind (`ahead`) or from the front."""
    rng = Random(look)
    colour, van = _vary(rng, rng.choice(PAINT)), rng.random() < 0.2
    high = rng.uniform(1.9, 2.4) if van else rng.uniform(1.35, 1.7)
    place = (x, z, rng.uniform(1.65, 1.9), rng.uniform(3.7, 4.8))
    waist, taper = high * 0.58, 0.25 if van else rng.uniform(0.3, 0.7)
    canvas.shadow(x, z, place[2] + 0.2, place[3])
    _box(canvas, Id.CAR, colour, place, (0.25, waist))
    _box(canvas, Id.CAR, _shade(colour, 0.9), place, (waist, high), taper)
    glass = (x, z + taper * 0.2, place[2] - 0.3, place[3] - 0.6)
    if not (van and rng.random() < 0.4):
        _box(canvas, Id.CAR, _vary(rng, GLASS, 14), glass, (waist + 0.05, high - 0.1), taper)
    _wheels(canvas, Id.CAR, place, 0.3)
    _lamps(canvas, Id.CAR, place, waist - 0.3, ahead)


def truck(canvas: Canvas, x: float, z: float, look: int, ahead: bool = True) -> None:
    """Paint a lorry: a plain load box, with the cab before it."""
    rng = Random(look)
    colour, high, length = _vary(rng, rng.choice(PAINT + PALETTE)), rng.uniform(2.7, 3.7), rng.uniform(5, 9)
    place, cab = (x, z, 2.4, length), rng.uniform(2.3, 2.9)
    canvas.shadow(x, z, 2.6, length)
    _box(canvas, Id.TRUCK, DARK, place, (0.4, 1.0))
    _box(canvas, Id.TRUCK, colour, place, (0.9, high))
    if ahead:
        canvas.rectangle(Id.TRUCK, _shade(colour, 0.7), (x, 1.0, z), 0.06, high - 1.2)
    else:
        _box(canvas, Id.TRUCK, _vary(rng, rng.choice(PAINT)), (x, z - 1.8, 2.3, 1.7), (0.5, cab))
        canvas.rectangle(Id.TRUCK, GLASS, (x, cab - 1.1, z - 1.8), 2, 0.8)
        place = (x, z - 1.8, 2.3, length + 1.8)
    _wheels(canvas, Id.TRUCK, place, 0.45)
    _lamps(canvas, Id.TRUCK, place, 0.75, ahead)


def coach(canvas: Canvas, label: int, x: float, z: float, look: int, ahead: bool = True) -> None:
    """Paint a bus, or a tram of much the same look on rails."""
    rng = Random(look)
    colour, high = _vary(rng, rng.choice(PAINT)), rng.uniform(2.9, 3.4)
    length = rng.uniform(18, 30) if label == Id.TRAIN else rng.uniform(9, 13)
    place = (x, z, 2.5, length)
    canvas.shadow(x, z, 2.7, length)
    if label == Id.TRAIN:
        for rail in (x - 0.75, x + 0.75):
            canvas.strip(None, (120, 118, 116), rail - 0.06, rail + 0.06, z - 30, z + 60)
        canvas.rectangle(label, GREY, (x, high, z + 4), 1.2, 0.5)
    _box(canvas, label, colour, place, (0.3, high), 0.3 if label == Id.TRAIN else 0)
    stripe = _vary(rng, rng.choice(PAINT))
    if rng.random() < 0.6:
        _box(canvas, label, stripe, place, (0.35, 1.0))
    flank, pane = x - 1.25 if x > canvas.x else x + 1.25, _vary(rng, GLASS, 12)
    for window in range(int(length / 1.7)):
        near = z + 0.4 + window * 1.7
        canvas.side(label, pane, flank, (1.35, high - 0.6), (near, near + 1.4))
    low = 1.2 if label == Id.TRAIN or not ahead else 1.7
    canvas.rectangle(label, pane, (x, low, z), 2.1, high - low - 0.55)
    canvas.rectangle(label, (220, 160, 40) if rng.random() < 0.7 else DARK, (x, high - 0.45, z), 1.4, 0.25)
    if label == Id.BUS:
        _wheels(canvas, label, place, 0.45)
    _lamps(canvas, label, place, 0.75, ahead)


def _torso(canvas: Canvas, label: int, at: Point, rng: Random, lean: float = 0) -> None:
    """Paint trunk, arms and head above the hips at `at`."""
    x, y, z = at
    coat, broad = _vary(rng, rng.choice(PAINT + PALETTE)), rng.uniform(0.19, 0.28)
    skin = _vary(rng, rng.choice(((205, 165, 140), (150, 108, 84), (96, 68, 54))))
    trunk = [(-broad * 0.8, 0), (broad * 0.8, 0), (broad + lean, 0.55), (-broad + lean, 0.55)]
    canvas.patch(label, coat, at, trunk)
    for arm in (-1, 1):
        reach = arm * broad + lean
        hand = reach + rng.uniform(-0.1, 0.12) * arm + lean * 0.8
        canvas.patch(label, _shade(coat, 0.85), at, [(reach, 0.53), (hand, 0.0), (hand + 0.09 * arm, 0.02)])
    head = (x + lean * 1.3, y + 0.72, z)
    canvas.ellipse(label, skin, head, 0.11, 0.15)
    hair = _vary(rng, rng.choice((DARK, (90, 62, 40), (150, 140, 130), (180, 40, 40), (210, 210, 205))))
    canvas.ellipse(label, hair, (head[0], head[1] + 0.07, z), 0.12, 0.09)


def person(canvas: Canvas, x: float, z: float, look: int) -> None:
    """Paint someone standing or walking."""
    rng = Random(look)
    trousers, stride = _vary(rng, rng.choice(PAINT)), rng.uniform(0, 0.28)
    canvas.shadow(x, z, 0.6, 0.4)
    for leg in (-1, 1):
        foot = leg * stride + 0.06 * leg
        outline = [(foot - 0.07, 0), (foot + 0.1, 0), (0.15 * leg + 0.08, 0.9), (-0.02 * leg, 0.9)]
        canvas.patch(Id.PERSON, _shade(trousers, 0.9 if leg > 0 else 1), (x, 0, z), outline)
    if rng.random() < 0.3:
        canvas.patch(Id.PERSON, trousers, (x, 0.4, z), [(-0.25, 0), (0.25, 0), (0.17, 0.55), (-0.17, 0.55)])
    _torso(canvas, Id.PERSON, (x, rng.uniform(0.75, 0.95), z), rng)
    if rng.random() < 0.4:
        canvas.rectangle(Id.PERSON, _vary(rng, rng.choice(PAINT)), (x + 0.25, rng.uniform(0.4, 0.9), z), 0.25, 0.35)


def two_wheeler(
    canvas: Canvas, label: int, x: float, z: float, look: int, ridden: bool = False, across: bool = False
) -> None:
    """Paint a bicycle or a motorcycle, from the side (`across`) or from behind, with or without a rider."""
    rng = Random(look)
    heavy, colour, way = label == Id.MOTORCYCLE, _vary(rng, rng.choice(PAINT)), rng.choice((-1, 1))
    base = 0.62 if across else 0.0
    radius, thick = 0.34, 0.12 if heavy else 0.05
    canvas.shadow(x, z, 2 * base + 0.5, 0.4)
    for hub in (-base, base) if across else (0.0,):
        canvas.ellipse(label, DARK, (x + hub, radius, z), radius if across else thick, radius, thick if across else 0)
    if across:
        tube = 0.2 if heavy else 0.05
        body = [(-base, radius), (0.1, 0.3), (base, radius), (base * 0.7, 0.75 + tube), (-0.35, 0.7 + tube)]
        body = body if heavy else [(-base, radius), (-0.2, 0.8), (0.45, 0.8), (base, radius), (0.45, 0.72), (0, 0.3)]
        canvas.patch(label, colour, (x, 0, z), [(way * dx, dy) for dx, dy in body])
    else:
        canvas.rectangle(label, colour, (x, 0.4, z), 0.34 if heavy else 0.1, 0.5)
    canvas.rectangle(label, DARK, (x + (way * 0.45 if across else 0), 0.95, z), 0.12 if across else 0.6, 0.08)
    canvas.rectangle(label, DARK, (x - (way * 0.25 if across else 0), 0.84, z), 0.3, 0.09)
    if ridden:
        hips, knee = -0.2 * way if across else 0.0, 0.3 * way if across else 0.18
        limb = [
            (hips - 0.09, 0.95),
            (hips + 0.12, 0.95),
            (knee + 0.06, 0.55),
            (0.08, 0.15),
            (-0.04, 0.2),
            (knee - 0.1, 0.6),
        ]
        for mirror in (1,) if across else (1, -1):
            canvas.patch(Id.RIDER, _vary(rng, (50, 54, 66)), (x, 0, z), [(dx * mirror, dy) for dx, dy in limb])
        _torso(canvas, Id.RIDER, (x + hips, 0.88, z), rng, 0.25 * way if across else 0)


# The street of a drive, and what passes through a frame


@dataclass(frozen=True)
class Side:
    """One side of a street; x of kerb, verge (grass, may be empty) and house line."""

    kerb: float
    verge: float
    line: float


@dataclass(frozen=True)
class Street:
    """What the frames of a drive share."""

    weather: Weather
    sides: tuple[Side, Side]  # left, right
    bend: float
    green: Colour
    asphalt: Colour
    paving: Colour
    shade: float  # x up to which houses' shadow covers the road
    items: tuple[Item, ...]
    skyline: tuple[tuple[int, float, float, Colour], ...]  # label, x, height, colour


FRONTAGES = ("wall", "fence", "hedge")  # what interrupts the houses, by drive and side in turn
GREENS: tuple[Colour, ...] = ((66, 92, 48), (84, 104, 58), (52, 74, 50), (112, 100, 54), (96, 92, 70))
EVENTS = ("truck", "motorcycle", "bus", "crowd", "train", "cyclist", "lights", "racks")


def _rng(*words: int) -> Random:
    return Random(int(np.random.default_rng(words).integers(2**62)))


def _frontage(rng: Random, x: float, kind: str, green: Colour) -> list[Item]:
    """Return what lines one side of the street; the `kind` of the drive stands within sight of every frame."""
    items, z, sight = [], -12.0, rng.uniform(14, 24)
    while z < 150:
        end = z + rng.uniform(7, 18)
        special = z <= sight < end or rng.random() < 0.14
        chosen, look = kind if special else "building", rng.randrange(2**32)
        away = x + (4 if x > 0 else -4)
        if chosen in ("wall", "fence"):
            items.append(Item(end, partial(wall if chosen == "wall" else fence, x=x, z1=z, z2=end, look=look)))
            chosen, behind = rng.choice(("building", "hedge")), end + 0.1
        else:
            away, behind = x, end
        if chosen == "hedge":
            items.append(Item(behind, partial(hedge, x=away, z1=z, z2=end, green=green, look=look)))
        else:
            items.append(Item(behind, partial(building, x=away, z1=z, z2=end, look=look)))
        z = end + rng.choice((0, 0, 0, 3))
    return items


def _row(rng: Random, spacing: tuple[float, float], draw: Callable[..., None], x: float, **more: object) -> list[Item]:
    """Return things at irregular distances along one side of the street."""
    items, z = [], rng.uniform(-4, spacing[1])
    while z < 110:
        look = rng.randrange(2**32)
        items.append(Item(z, partial(draw, x=x + rng.uniform(-0.3, 0.3), z=z, look=look, **more)))
        z += rng.uniform(*spacing)
    return items


def _street(seed: int, drive: int) -> Street:
    rng = _rng(seed, drive)
    weather, green = WEATHERS[(drive + rng.randrange(3)) % len(WEATHERS)], _vary(rng, rng.choice(GREENS))
    items: list[Item] = []
    sides = []
    for number, way in enumerate((-1, 1)):
        kerb = rng.uniform(4.5, 7.5) if way < 0 else rng.uniform(2.4, 5)
        walk = rng.uniform(2.6, 4.8)
        verge = rng.uniform(1.5, 5) if (drive + number) % 4 else 0.0
        sides.append(Side(way * kerb, way * (kerb + walk), way * (kerb + walk + verge)))
        items += _frontage(rng, way * (kerb + walk + verge), FRONTAGES[(drive + number) % 3], green)
        items += _row(rng, (20, 42), pole, way * (kerb + 0.4))
        items += _row(rng, (18, 42), sign, way * (kerb + 0.5))
        if (drive + number) % 3 == 0:
            items += _row(rng, (30, 70), traffic_light, way * (kerb + 0.4))
        items += _row(rng, (30, 80), clutter, way * (kerb + walk * 0.8))
        if rng.random() < 0.75:
            items += _row(rng, (6, 16), tree, way * (kerb + walk + verge - 0.9), green=green)
        if kerb > 4.2 and rng.random() < 0.6:
            items += _row(rng, (5.5, 14), car, way * (kerb - 1.1), ahead=way > 0)
    skyline = tuple(
        (
            rng.choice((Id.BUILDING, Id.VEGETATION)),
            rng.uniform(-60, 60),
            rng.uniform(6, 16),
            _vary(rng, rng.choice(PALETTE)),
        )
        for _ in range(16)
    )
    grey = rng.randint(70, 112)
    asphalt, paving = _vary(rng, (grey, grey, grey + 3), 6), _vary(rng, (grey + 26, grey + 24, grey + 20), 20)
    shade, bend = rng.choice((-30.0, rng.uniform(-4, 1))), rng.uniform(-0.0008, 0.0008)
    return Street(weather, (sides[0], sides[1]), bend, green, asphalt, paving, shade, tuple(items), skyline)


def _walkers(rng: Random, street: Street, count: int, near: float, far: float) -> list[Item]:
    items = []
    for _ in range(count):
        side, z = rng.choice(street.sides), rng.uniform(near, far)
        x = side.kerb + (side.verge - side.kerb) * rng.random()
        items.append(Item(z, partial(person, x=x, z=z, look=rng.randrange(2**32))))
    return items


def _traffic(rng: Random, street: Street, start: float) -> list[Item]:
    """Return what a dull frame may hold: a car ahead, an oncoming one, somebody far off."""
    items = _walkers(rng, street, rng.choice((0, 0, 0, 1, 2)), start + 15, start + 60)
    if rng.random() < 0.45:
        z = start + rng.uniform(14, 60)
        items.append(Item(z, partial(car, x=rng.uniform(-0.4, 0.4), z=z, look=rng.randrange(2**32))))
    if rng.random() < 0.35:
        z = start + rng.uniform(12, 60)
        items.append(Item(z, partial(car, x=rng.uniform(-3.6, -3), z=z, look=rng.randrange(2**32), ahead=False)))
    return items


def _event(rng: Random, street: Street, kind: str, start: float) -> list[Item]:
    """Return the rare things of a featured frame, near enough to be seen."""
    look, ahead = rng.randrange(2**32), rng.random() < 0.5
    lane, z = (0.2 if ahead else -3.3), start + rng.uniform(13, 26)
    items = _walkers(rng, street, rng.randint(2, 6), start + 7, start + 30)
    left, right = street.sides
    if kind == "truck":
        items.append(Item(z, partial(truck, x=lane, z=z, look=look, ahead=ahead)))
    elif kind in ("bus", "train"):
        label = Id.BUS if kind == "bus" else Id.TRAIN
        items.append(Item(z, partial(coach, label=label, x=lane, z=z, look=look, ahead=ahead)))
    elif kind in ("motorcycle", "cyclist"):
        label, z = (Id.MOTORCYCLE if kind == "motorcycle" else Id.BICYCLE), start + rng.uniform(7, 13)
        ride = partial(two_wheeler, label=label, ridden=True, across=rng.random() < 0.5)
        items.append(Item(z, partial(ride, x=rng.uniform(-1.5, 1.5), z=z, look=look)))
    elif kind == "racks":
        for place in range(rng.randint(7, 12)):
            z, label = start + 6 + 1.1 * place, Id.MOTORCYCLE if rng.random() < 0.1 else Id.BICYCLE
            rack = partial(two_wheeler, label=label, across=rng.random() < 0.7, x=right.kerb + 0.5, z=z)
            items.append(Item(z, partial(rack, look=rng.randrange(2**32))))
    else:
        z = start + rng.uniform(8, 13)
        items.append(Item(z + 1.6, partial(_zebra, x1=left.kerb, x2=right.kerb, z=z)))
        for _ in range(rng.randint(8, 13) if kind == "crowd" else 3):
            x, deep = rng.uniform(max(left.kerb, -4), right.kerb), z + rng.uniform(0, 1.5)
            items.append(Item(deep, partial(person, x=x, z=deep, look=rng.randrange(2**32))))
        if kind == "lights":
            for x in (-4.2, right.kerb + 0.4, right.kerb + 0.4):
                z += 1.8
                items.append(Item(z, partial(traffic_light, x=x, z=z, look=rng.randrange(2**32))))
    return items


def _zebra(canvas: Canvas, x1: float, x2: float, z: float) -> None:
    x = x1
    while x < x2:
        canvas.strip(Id.ROAD, (205, 205, 200), x, min(x + 0.5, x2), z, z + 3)
        x += 1.0


# One scene


def _background(canvas: Canvas, street: Street) -> None:
    width, height = canvas.size
    bands = 48
    for band in range(bands):
        ink = _mix(street.weather.zenith, street.weather.horizon, min(1.0, band / (bands * 0.42)))
        canvas.brush.rectangle((0, band * height // bands, width, (band + 1) * height // bands), fill=ink)
    far = canvas.z + 130
    for label, x, tall, colour in street.skyline:
        colour = colour if label == Id.BUILDING else street.green
        canvas.rectangle(label, colour, (x, 0, far), 16, tall)
    canvas.rectangle(Id.SIDEWALK, street.paving, (0, -130, far), 400, 130)


def _ground(canvas: Canvas, street: Street, rng: Random) -> None:
    left, right = street.sides
    end = canvas.z + 130
    canvas.strip(Id.ROAD, street.asphalt, left.kerb, right.kerb, canvas.z, end)
    for side in street.sides:
        canvas.strip(Id.SIDEWALK, _shade(street.paving, 1.15), side.kerb, side.kerb + 0.15, canvas.z, end)
        if side.verge != side.line:
            canvas.strip(Id.TERRAIN, _shade(street.green, 1.15), side.verge, side.line, canvas.z, end)
    white = (200, 200, 196)
    for dash in range(26):
        canvas.strip(Id.ROAD, white, -1.8, -1.65, dash * 6.0, dash * 6.0 + 3)
    if left.kerb < -6:
        canvas.strip(Id.ROAD, white, left.kerb + 2.2, left.kerb + 2.3, canvas.z, end)
    for _ in range(6):
        x, z = rng.uniform(left.kerb, right.kerb - 1), rng.uniform(0, 50)
        canvas.strip(None, DARK, x, x + rng.uniform(0.3, 1), z, z + rng.uniform(0.5, 6), rng.randint(15, 50))
    if street.shade > left.kerb:
        canvas.strip(None, DARK, left.line, street.shade, canvas.z, end, street.weather.shadow)


def _bonnet(canvas: Canvas, rng: Random) -> None:
    width, height = canvas.size
    rise, colour = height * rng.uniform(0.05, 0.09), _shade(rng.choice(PAINT), 0.6)
    box = (int(-0.1 * width), int(height - rise), int(1.1 * width), int(height + 3 * rise))
    canvas.brush.ellipse(box, fill=colour)
    canvas.tagger.ellipse(box, fill=Id.EGO)


def _smooth(rng: np.random.Generator, height: int, cell: int) -> np.ndarray:
    """Return a smooth field in -128..127, (height, 2 * height): a random grid, interpolated in integers."""
    grid = rng.integers(-128, 128, (height // cell + 2, 2 * height // cell + 2), dtype=np.int32)
    weight = np.arange(cell, dtype=np.int32)
    rows = grid[:-1, None] * (cell - weight)[:, None] + grid[1:, None] * weight[:, None]
    rows = (rows.reshape(-1, grid.shape[1])[:height] // cell).astype(np.int16)
    both = rows[:, :-1, None] * (cell - weight).astype(np.int16) + rows[:, 1:, None] * weight.astype(np.int16)
    return (both.reshape(height, -1)[:, : 2 * height] // np.int16(cell)).astype(np.int16)


COARSE = np.full(256, 10, np.int16)  # how strongly blotches and grain mark each label
COARSE[[Id.SKY, Id.ROAD, Id.SIDEWALK, Id.BUILDING, Id.WALL, Id.VEGETATION, Id.TERRAIN]] = (
    16,
    12,
    14,
    18,
    18,
    20,
    20,
)
FINE = np.full(256, 4, np.int16)
FINE[[Id.SKY, Id.VEGETATION, Id.TERRAIN, Id.ROAD, Id.SIDEWALK, Id.WALL, Id.BUILDING]] = 0, 30, 26, 8, 9, 8, 6


def _expose(canvas: Canvas, seed: int, index: int, rng: Random) -> tuple[np.ndarray, np.ndarray]:
    """Return image and labels with texture, blur, tone and sensor noise."""
    height = canvas.size[1]
    labels = np.array(canvas.labels)
    shared = np.random.default_rng([seed, index // FRAMES_PER_DRIVE, 2])
    texture = _smooth(shared, height, max(1, height // 12)) * COARSE[labels]
    texture += _smooth(shared, height, max(1, height // 170)) * FINE[labels]
    noise = np.random.default_rng([seed, index, 2]).integers(-2, 3, (height // 2, height), dtype=np.int16)
    texture = (texture >> 7) + noise.repeat(2, axis=0).repeat(2, axis=1)
    soft = canvas.image.filter(ImageFilter.BoxBlur(height / 1024)) if rng.random() < 0.4 else canvas.image
    image = np.clip(np.asarray(soft, np.int16) + texture[..., None], 0, 255).astype(np.uint8)
    return np.asarray(Image.fromarray(image).point(_tone(canvas.weather, rng))), labels


def _tone(weather: Weather, rng: Random) -> list[int]:
    """Return a tone curve for each channel as one lookup table of 768 entries."""
    gain, bend = weather.gain * rng.uniform(0.95, 1.05), rng.uniform(-0.25, 0.25)
    table = []
    for cast in weather.cast:
        for value in range(256):
            bright = min(255.0, value * gain * cast)
            table.append(int(bright + bend * bright * (255 - bright) / 255))
    return table


def draw_scene(seed: int, index: int, height: int = 1024) -> tuple[np.ndarray, np.ndarray]:
    """Draw scene `index` of recording `seed`.

    Returns the image, uint8 (height, 2 * height, 3), and Cityscapes' label ids, uint8 (height, 2 * height).
    Raises `ParameterError` unless `height` is even and from 64 to 2048 pixels, `seed` and `index` not negative.
    """
    _check_height(height)
    check_range("seed", seed, 0, 2**63)
    check_range("index", index, 0, 2**63)
    drive, frame = divmod(index, FRAMES_PER_DRIVE)
    street, rng = _street(seed, drive), _rng(seed, index, 1)
    start = frame * 0.25 + rng.uniform(0, 0.05)
    shake = [rng.uniform(-0.002, 0.002) for _ in range(2)]
    fixed = _rng(seed, drive, 3)
    canvas = Canvas(
        height,
        street.weather,
        fixed.uniform(-0.3, 0.3),
        start,
        fixed.uniform(-0.1, 0.1) + shake[0],
        shake[1],
        street.bend,
    )
    _background(canvas, street)
    _ground(canvas, street, fixed)
    passing = _traffic(rng, street, start)
    if frame in (3, 4, 7, 8):
        kind = EVENTS[(2 * drive + frame // 5) % len(EVENTS)]
        passing += _event(_rng(seed, drive, 4, frame // 5), street, kind, start)
    for item in sorted((*street.items, *passing), key=lambda item: -item.z):
        if item.z > canvas.z + NEAR:
            item.draw(canvas)
    _bonnet(canvas, fixed)
    return _expose(canvas, seed, index, rng)


def _check_height(height: int) -> None:
    check_range("height", height, 64, 2048, "pixels")
    if height % 2:
        raise ParameterError(f"height is {height} pixels; allowed: even numbers")


# A data set of scenes


def _write_scenes(root: Path, split: str, seed: int, height: int, frames: range) -> int:
    for number in frames:
        index = FIRST_INDEX[split] + number
        image, labels = draw_scene(seed, index, height)
        drive, frame = divmod(number, FRAMES_PER_DRIVE)
        city = f"{split}{drive // DRIVES_PER_CITY:02d}"
        stem = f"{city}_{drive % DRIVES_PER_CITY:06d}_{frame:06d}"
        for folder, suffix, pixels in (
            ("leftImg8bit", "leftImg8bit", image),
            ("gtFine", "gtFine_labelIds", labels),
        ):
            path = root / folder / split / city / f"{stem}_{suffix}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path, compress_level=1)
    return len(frames)


def write_streets(
    root: Path,
    counts: dict[str, int],
    *,
    seed: int = 0,
    height: int = 1024,
    train_step: int = 1,
    processes: int | None = None,
) -> None:
    """Write `counts[split]` scenes of each split to `root`, in Cityscapes' layout, unless `root` exists.

    The training split takes every `train_step`-th frame of its recording: from `FRAMES_PER_DRIVE` on, no two are of
    one drive. `processes` draw at once (default: one a core).
    """
    _check_height(height)
    for split in counts:
        check_choice("split", split, FIRST_INDEX)
    frames = {split: range(count) for split, count in counts.items()}
    if "train" in counts:
        frames["train"] = range(0, counts["train"] * train_step, train_step)
    built_once(root, lambda beside: _write_splits(beside, frames, seed, height, processes or os.cpu_count() or 1))


def _write_splits(root: Path, frames: dict[str, range], seed: int, height: int, processes: int) -> None:
    chunks = [
        (split, of_split[start : start + FRAMES_PER_DRIVE])
        for split, of_split in frames.items()
        for start in range(0, len(of_split), FRAMES_PER_DRIVE)
    ]
    progress = bar(sum(map(len, frames.values())), "drawing street scenes")
    if processes == 1:
        for split, chunk in chunks:
            progress.update(_write_scenes(root, split, seed, height, chunk))
    else:
        with ProcessPoolExecutor(processes, multiprocessing.get_context("spawn")) as workers:
            futures = [workers.submit(_write_scenes, root, split, seed, height, chunk) for split, chunk in chunks]
            for future in as_completed(futures):
                progress.update(future.result())
    progress.close()
