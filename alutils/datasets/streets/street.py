"""One scene: the street that the frames of a drive share, and the things that pass in a single frame.

A seed fixes an endless recording. Ten consecutive indices are one drive: a camera that moves a little sees the same
street, light and parked things, so that frames of a drive are near-duplicates. In six frames of a drive little happens;
in the other four, an event brings rare classes. Events and kinds of street follow a schedule, so that any 60 scenes
from the start of a drive hold all 19 classes.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from random import Random

import numpy as np

from alutils.datasets.streets.canvas import (
    DARK,
    NEAR,
    PAINT,
    PALETTE,
    WEATHERS,
    Canvas,
    Colour,
    Id,
    Weather,
    expose,
    mix,
    shade,
    vary,
)
from alutils.datasets.streets.things import (
    Thing,
    building,
    car,
    clutter,
    coach,
    fence,
    hedge,
    person,
    pole,
    sign,
    traffic_light,
    tree,
    truck,
    two_wheeler,
    wall,
)
from alutils.errors import ParameterError, check_range

FRAMES_PER_DRIVE = 10


@dataclass(frozen=True)
class Side:
    """One side of a street: the x of its kerb, of its strip of grass and of the houses' front, in metres.

    There is no grass where `verge` equals `line`.
    """

    kerb: float
    verge: float
    line: float


@dataclass(frozen=True)
class Street:
    """Everything that the frames of a drive share."""

    weather: Weather
    sides: tuple[Side, Side]  # left, right
    bend: float
    green: Colour
    asphalt: Colour
    paving: Colour
    shade: float  # the shadow of the left houses covers the road up to this x
    things: tuple[Thing, ...]
    skyline: tuple[tuple[int, float, float, Colour], ...]  # label, x, height, colour


FRONTAGES = ("wall", "fence", "hedge")  # each side of each drive has one of them between its houses, in turn
GREENS: tuple[Colour, ...] = ((66, 92, 48), (84, 104, 58), (52, 74, 50), (112, 100, 54), (96, 92, 70))
EVENTS = ("truck", "motorcycle", "bus", "crowd", "train", "cyclist", "lights", "racks")


def _rng(*words: int) -> Random:
    return Random(int(np.random.default_rng(words).integers(2**62)))


def _frontage(rng: Random, x: float, kind: str, green: Colour) -> list[Thing]:
    """Return the houses of one side of the street, and between them the drive's `kind`, in sight of every frame."""
    things, z, sight = [], -12.0, rng.uniform(14, 24)
    while z < 150:
        end = z + rng.uniform(7, 18)
        special = z <= sight < end or rng.random() < 0.14
        chosen, look = kind if special else "building", rng.randrange(2**32)
        away = x + (4 if x > 0 else -4)
        if chosen in ("wall", "fence"):
            things.append(Thing(end, partial(wall if chosen == "wall" else fence, x=x, z1=z, z2=end, look=look)))
            chosen, behind = rng.choice(("building", "hedge")), end + 0.1
        else:
            away, behind = x, end
        if chosen == "hedge":
            things.append(Thing(behind, partial(hedge, x=away, z1=z, z2=end, green=green, look=look)))
        else:
            things.append(Thing(behind, partial(building, x=away, z1=z, z2=end, look=look)))
        z = end + rng.choice((0, 0, 0, 3))
    return things


def _row(rng: Random, spacing: tuple[float, float], draw: Callable[..., None], x: float, **more: object) -> list[Thing]:
    """Return things along one side of the street, at distances drawn from the range `spacing`, in metres."""
    things, z = [], rng.uniform(-4, spacing[1])
    while z < 110:
        look = rng.randrange(2**32)
        things.append(Thing(z, partial(draw, x=x + rng.uniform(-0.3, 0.3), z=z, look=look, **more)))
        z += rng.uniform(*spacing)
    return things


def _street(seed: int, drive: int) -> Street:
    rng = _rng(seed, drive)
    weather, green = WEATHERS[(drive + rng.randrange(3)) % len(WEATHERS)], vary(rng, rng.choice(GREENS))
    things: list[Thing] = []
    sides = []
    for number, way in enumerate((-1, 1)):
        kerb = rng.uniform(4.5, 7.5) if way < 0 else rng.uniform(2.4, 5)
        walk = rng.uniform(2.6, 4.8)
        verge = rng.uniform(1.5, 5) if (drive + number) % 4 else 0.0
        sides.append(Side(way * kerb, way * (kerb + walk), way * (kerb + walk + verge)))
        things += _frontage(rng, way * (kerb + walk + verge), FRONTAGES[(drive + number) % 3], green)
        things += _row(rng, (20, 42), pole, way * (kerb + 0.4))
        things += _row(rng, (18, 42), sign, way * (kerb + 0.5))
        if (drive + number) % 3 == 0:
            things += _row(rng, (30, 70), traffic_light, way * (kerb + 0.4))
        things += _row(rng, (30, 80), clutter, way * (kerb + walk * 0.8))
        if rng.random() < 0.75:
            things += _row(rng, (6, 16), tree, way * (kerb + walk + verge - 0.9), green=green)
        if kerb > 4.2 and rng.random() < 0.6:
            things += _row(rng, (5.5, 14), car, way * (kerb - 1.1), ahead=way > 0)
    skyline = tuple(
        (
            rng.choice((Id.BUILDING, Id.VEGETATION)),
            rng.uniform(-60, 60),
            rng.uniform(6, 16),
            vary(rng, rng.choice(PALETTE)),
        )
        for _ in range(16)
    )
    grey = rng.randint(70, 112)
    asphalt, paving = vary(rng, (grey, grey, grey + 3), 6), vary(rng, (grey + 26, grey + 24, grey + 20), 20)
    shade, bend = rng.choice((-30.0, rng.uniform(-4, 1))), rng.uniform(-0.0008, 0.0008)
    return Street(weather, (sides[0], sides[1]), bend, green, asphalt, paving, shade, tuple(things), skyline)


def _walkers(rng: Random, street: Street, count: int, near: float, far: float) -> list[Thing]:
    things = []
    for _ in range(count):
        side, z = rng.choice(street.sides), rng.uniform(near, far)
        x = side.kerb + (side.verge - side.kerb) * rng.random()
        things.append(Thing(z, partial(person, x=x, z=z, look=rng.randrange(2**32))))
    return things


def _traffic(rng: Random, street: Street, start: float) -> list[Thing]:
    """Return the things that any frame may hold: a car ahead, an oncoming car, people far away."""
    things = _walkers(rng, street, rng.choice((0, 0, 0, 1, 2)), start + 15, start + 60)
    if rng.random() < 0.45:
        z = start + rng.uniform(14, 60)
        things.append(Thing(z, partial(car, x=rng.uniform(-0.4, 0.4), z=z, look=rng.randrange(2**32))))
    if rng.random() < 0.35:
        z = start + rng.uniform(12, 60)
        things.append(Thing(z, partial(car, x=rng.uniform(-3.6, -3), z=z, look=rng.randrange(2**32), ahead=False)))
    return things


def _event(rng: Random, street: Street, kind: str, start: float) -> list[Thing]:
    """Return the rare things of an event, near enough to be seen."""
    look, ahead = rng.randrange(2**32), rng.random() < 0.5
    lane, z = (0.2 if ahead else -3.3), start + rng.uniform(13, 26)
    things = _walkers(rng, street, rng.randint(2, 6), start + 7, start + 30)
    left, right = street.sides
    if kind == "truck":
        things.append(Thing(z, partial(truck, x=lane, z=z, look=look, ahead=ahead)))
    elif kind in ("bus", "train"):
        label = Id.BUS if kind == "bus" else Id.TRAIN
        things.append(Thing(z, partial(coach, label=label, x=lane, z=z, look=look, ahead=ahead)))
    elif kind in ("motorcycle", "cyclist"):
        label, z = (Id.MOTORCYCLE if kind == "motorcycle" else Id.BICYCLE), start + rng.uniform(7, 13)
        ride = partial(two_wheeler, label=label, ridden=True, across=rng.random() < 0.5)
        things.append(Thing(z, partial(ride, x=rng.uniform(-1.5, 1.5), z=z, look=look)))
    elif kind == "racks":
        for place in range(rng.randint(7, 12)):
            z, label = start + 6 + 1.1 * place, Id.MOTORCYCLE if rng.random() < 0.1 else Id.BICYCLE
            rack = partial(two_wheeler, label=label, across=rng.random() < 0.7, x=right.kerb + 0.5, z=z)
            things.append(Thing(z, partial(rack, look=rng.randrange(2**32))))
    else:
        z = start + rng.uniform(8, 13)
        things.append(Thing(z + 1.6, partial(_zebra, x1=left.kerb, x2=right.kerb, z=z)))
        for _ in range(rng.randint(8, 13) if kind == "crowd" else 3):
            x, deep = rng.uniform(max(left.kerb, -4), right.kerb), z + rng.uniform(0, 1.5)
            things.append(Thing(deep, partial(person, x=x, z=deep, look=rng.randrange(2**32))))
        if kind == "lights":
            for x in (-4.2, right.kerb + 0.4, right.kerb + 0.4):
                z += 1.8
                things.append(Thing(z, partial(traffic_light, x=x, z=z, look=rng.randrange(2**32))))
    return things


def _zebra(canvas: Canvas, x1: float, x2: float, z: float) -> None:
    x = x1
    while x < x2:
        canvas.strip(Id.ROAD, (205, 205, 200), x, min(x + 0.5, x2), z, z + 3)
        x += 1.0


def _background(canvas: Canvas, street: Street) -> None:
    width, height = canvas.size
    bands = 48
    for band in range(bands):
        ink = mix(street.weather.zenith, street.weather.horizon, min(1.0, band / (bands * 0.42)))
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
        canvas.strip(Id.SIDEWALK, shade(street.paving, 1.15), side.kerb, side.kerb + 0.15, canvas.z, end)
        if side.verge != side.line:
            canvas.strip(Id.TERRAIN, shade(street.green, 1.15), side.verge, side.line, canvas.z, end)
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
    rise, colour = height * rng.uniform(0.05, 0.09), shade(rng.choice(PAINT), 0.6)
    box = (int(-0.1 * width), int(height - rise), int(1.1 * width), int(height + 3 * rise))
    canvas.brush.ellipse(box, fill=colour)
    canvas.tagger.ellipse(box, fill=Id.EGO)


def draw_scene(seed: int, index: int, height: int = 1024) -> tuple[np.ndarray, np.ndarray]:
    """Return scene `index` of recording `seed`: its image and Cityscapes' label ids.

    The image is uint8 (height, 2 * height, 3), the label ids are uint8 (height, 2 * height).
    Raises `ParameterError` unless `height` is even and from 64 to 2048 pixels, `seed` and `index` not negative.
    """
    check_height(height)
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
    for thing in sorted((*street.things, *passing), key=lambda thing: -thing.z):
        if thing.z > canvas.z + NEAR:
            thing.draw(canvas)
    _bonnet(canvas, fixed)
    texture, noise = np.random.default_rng([seed, drive, 2]), np.random.default_rng([seed, index, 2])
    return expose(canvas, rng, of_drive=texture, of_frame=noise)


def check_height(height: int) -> None:
    """Raise `ParameterError` unless scenes can be drawn at `height` pixels."""
    check_range("height", height, 64, 2048, "pixels")
    if height % 2:
        raise ParameterError(f"height is {height} pixels; allowed: even numbers")
