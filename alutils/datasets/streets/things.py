"""Things that stand or move in a street. Each function paints one; `look`, a seed, decides its colours and sizes."""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from alutils.datasets.streets.canvas import (
    DARK,
    GLASS,
    GREY,
    NEAR,
    PAINT,
    PALETTE,
    Canvas,
    Colour,
    Id,
    Point,
    shade,
    vary,
)

Draw = Callable[[Canvas], None]


@dataclass(frozen=True)
class Thing:
    """How a thing is painted, and its depth in metres; things are painted from far to near."""

    z: float
    draw: Draw


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
            pane = vary(rng, glass if rng.random() < 0.8 else (190, 180, 150), 14)
            canvas.side(Id.BUILDING, pane, x, (low, low + tall), (near, near + wide))


def building(canvas: Canvas, x: float, z1: float, z2: float, look: int) -> None:
    """Paint a house with its facade along the street, at `x` metres to the right."""
    rng = Random(look)
    colour, height = vary(rng, rng.choice(PALETTE)), rng.uniform(8, 21)
    out = x + (12 if x > 0 else -12)
    canvas.polygon(Id.BUILDING, shade(colour, 0.8), [(x, 0, z1), (out, 0, z1), (out, height, z1), (x, height, z1)])
    canvas.side(Id.BUILDING, colour, x, (0, height), (z1, z2))
    if rng.random() < 0.5:
        canvas.side(Id.BUILDING, vary(rng, shade(colour, 0.7)), x, (0, 3.2), (z1, z2))
    canvas.side(Id.BUILDING, shade(colour, 0.65), x, (height - 0.5, height), (z1, z2))
    if rng.random() < 0.88:
        _windows(canvas, rng, x, z1, z2, height, vary(rng, GLASS, 25))


def wall(canvas: Canvas, x: float, z1: float, z2: float, look: int) -> None:
    """Paint a wall in the colours of houses, with joints between courses of stone or between panels."""
    rng = Random(look)
    colour, height = vary(rng, rng.choice(PALETTE)), rng.uniform(1.2, 2.4)
    canvas.side(Id.WALL, colour, x, (0, height), (z1, z2))
    joint, pitch = shade(colour, rng.uniform(0.7, 0.9)), rng.uniform(0.4, 3)
    if rng.random() < 0.5:
        for course in range(1, int(height / 0.5)):
            canvas.side(Id.WALL, joint, x, (course * 0.5, course * 0.5 + 0.05), (z1, z2))
    for post in range(int((z2 - z1) / pitch)):
        near = z1 + post * pitch
        canvas.side(Id.WALL, joint, x, (0, height), (near, near + 0.08))
    canvas.side(Id.WALL, shade(colour, 0.75), x, (height - 0.15, height), (z1, z2))


def fence(canvas: Canvas, x: float, z1: float, z2: float, look: int) -> None:
    """Paint a fence that is partly transparent."""
    rng = Random(look)
    colour, height = vary(rng, rng.choice((*PALETTE, GREY, DARK, (70, 90, 70)))), rng.uniform(1.7, 3.1)
    veil = [(x, 0, z1), (x, 0, z2), (x, height, z2), (x, height, z1)]
    canvas.polygon(Id.FENCE, colour, veil, rng.randint(40, 210))
    pitch = rng.uniform(0.25, 1.2)
    for slat in range(int((z2 - z1) / pitch)):
        near = z1 + slat * pitch
        if near > canvas.z + NEAR:
            canvas.side(Id.FENCE, shade(colour, 0.7), x, (0, height), (near, near + pitch * 0.15))
    for rail in (0.15, height - 0.1):
        canvas.side(Id.FENCE, shade(colour, 0.8), x, (rail, rail + 0.08), (z1, z2))


def _leaves(canvas: Canvas, rng: Random, at: Point, rx: float, ry: float, green: Colour, count: int) -> None:
    x, y, z = at
    for blob in range(count):
        light = 0.62 + 0.6 * blob / count
        dx, dy = rng.uniform(-0.75, 0.75) * rx, (rng.uniform(-0.7, 0.3) + 0.4 * blob / count) * ry
        size = rng.uniform(0.25, 0.5)
        spot = (x + dx, max(y + dy, size * ry), z)
        canvas.ellipse(Id.VEGETATION, vary(rng, shade(green, light), 12), spot, rx * size, ry * size)


def tree(canvas: Canvas, x: float, z: float, green: Colour, look: int) -> None:
    """Paint a trunk and a crown of leaves."""
    rng = Random(look)
    trunk, rx, ry = rng.uniform(1.8, 4), rng.uniform(1.0, 2.9), rng.uniform(1.3, 3)
    canvas.shadow(x, z - 0.3, rx, 1)
    canvas.rectangle(Id.VEGETATION, vary(rng, (84, 72, 60)), (x, 0, z), rng.uniform(0.2, 0.5), trunk + ry)
    _leaves(canvas, rng, (x, trunk + ry, z), rx, ry, vary(rng, green, 14), 34)


def hedge(canvas: Canvas, x: float, z1: float, z2: float, green: Colour, look: int) -> None:
    """Paint bushes and trees along the street, where else a house would stand."""
    rng = Random(look)
    height, z = rng.uniform(1.5, 7), z2
    back = x + (2 if x > 0 else -2)
    canvas.side(Id.VEGETATION, shade(green, 0.6), back, (0, height * 0.8), (z1, z2))
    while z > max(z1, canvas.z + NEAR):
        tall = height * rng.uniform(0.35, 0.6)
        _leaves(canvas, rng, (back, tall, z), 1.8, tall, vary(rng, green, 10), 12)
        z -= 1.6


def pole(canvas: Canvas, x: float, z: float, look: int) -> None:
    """Paint a lamp post."""
    rng = Random(look)
    colour, height = (
        vary(rng, rng.choice((GREY, (150, 150, 146), (70, 80, 74), (120, 100, 80)))),
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
    canvas.rectangle(Id.POLE, vary(rng, GREY), (x, 0, z), 0.09, top + size)
    colour = vary(rng, rng.choice(((190, 36, 40), (36, 76, 160), (215, 180, 50), (225, 225, 225), (120, 122, 124))))
    inner = vary(rng, rng.choice(((235, 235, 235), (36, 76, 160), (40, 40, 40))))
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
    """Paint a traffic light with one of its three lamps on; some hang from an arm above the road."""
    rng = Random(look)
    height, reach = (rng.uniform(4.5, 5.2), -2.5) if rng.random() < 0.3 else (rng.uniform(2.2, 3), 0.0)
    canvas.rectangle(Id.POLE, vary(rng, (80, 82, 82)), (x, 0, z), 0.15, height + 0.5)
    lamp = x + (reach if x > 0 else -reach)
    if reach:
        canvas.rectangle(Id.POLE, GREY, ((x + lamp) / 2, height + 0.4, z), abs(reach), 0.14)
    canvas.rectangle(Id.LIGHT, vary(rng, DARK, 16), (lamp, height - 0.4, z), 0.45, 1.2)
    lit = rng.randrange(3)
    for number, colour in enumerate(((60, 200, 120), (225, 170, 40), (220, 50, 40))):
        glow = colour if number == lit else (52, 50, 48)
        canvas.ellipse(Id.LIGHT, glow, (lamp, height - 0.2 + 0.37 * number, z), 0.13, 0.13)


def clutter(canvas: Canvas, x: float, z: float, look: int) -> None:
    """Paint a bin or a box; Cityscapes labels it `static`, which is none of the 19 classes."""
    rng = Random(look)
    canvas.rectangle(Id.STATIC, vary(rng, rng.choice(PAINT)), (x, 0, z), rng.uniform(0.4, 1), rng.uniform(0.6, 1.4))


# Things that move


def _box(
    canvas: Canvas, label: int, colour: Colour, place: tuple[float, float, float, float], y: tuple[float, float],
    taper: float = 0,
) -> None:  # fmt: skip
    """Fill the two visible faces of a box at `place` = (x, z, width, length); `taper` narrows its top, in metres."""
    (x, z, width, length), (low, high) = place, y
    left, right = x - width / 2, x + width / 2
    flank, lean = (left, taper / 3) if left > canvas.x else (right, -taper / 3)
    if not left < canvas.x < right:
        outline: list[Point] = [(flank, low, z), (flank, low, z + length)]
        outline += [(flank + lean, high, z + length - taper), (flank + lean, high, z + taper)]
        canvas.polygon(label, shade(colour, 0.8), outline)
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
    """Paint a car or a van; the camera sees it from behind if it drives `ahead`, else from the front."""
    rng = Random(look)
    colour, van = vary(rng, rng.choice(PAINT)), rng.random() < 0.2
    high = rng.uniform(1.9, 2.4) if van else rng.uniform(1.35, 1.7)
    place = (x, z, rng.uniform(1.65, 1.9), rng.uniform(3.7, 4.8))
    waist, taper = high * 0.58, 0.25 if van else rng.uniform(0.3, 0.7)
    canvas.shadow(x, z, place[2] + 0.2, place[3])
    _box(canvas, Id.CAR, colour, place, (0.25, waist))
    _box(canvas, Id.CAR, shade(colour, 0.9), place, (waist, high), taper)
    glass = (x, z + taper * 0.2, place[2] - 0.3, place[3] - 0.6)
    if not (van and rng.random() < 0.4):
        _box(canvas, Id.CAR, vary(rng, GLASS, 14), glass, (waist + 0.05, high - 0.1), taper)
    _wheels(canvas, Id.CAR, place, 0.3)
    _lamps(canvas, Id.CAR, place, waist - 0.3, ahead)


def truck(canvas: Canvas, x: float, z: float, look: int, ahead: bool = True) -> None:
    """Paint a lorry: a plain load box and a cab."""
    rng = Random(look)
    colour, high, length = vary(rng, rng.choice(PAINT + PALETTE)), rng.uniform(2.7, 3.7), rng.uniform(5, 9)
    place, cab = (x, z, 2.4, length), rng.uniform(2.3, 2.9)
    canvas.shadow(x, z, 2.6, length)
    _box(canvas, Id.TRUCK, DARK, place, (0.4, 1.0))
    _box(canvas, Id.TRUCK, colour, place, (0.9, high))
    if ahead:
        canvas.rectangle(Id.TRUCK, shade(colour, 0.7), (x, 1.0, z), 0.06, high - 1.2)
    else:
        _box(canvas, Id.TRUCK, vary(rng, rng.choice(PAINT)), (x, z - 1.8, 2.3, 1.7), (0.5, cab))
        canvas.rectangle(Id.TRUCK, GLASS, (x, cab - 1.1, z - 1.8), 2, 0.8)
        place = (x, z - 1.8, 2.3, length + 1.8)
    _wheels(canvas, Id.TRUCK, place, 0.45)
    _lamps(canvas, Id.TRUCK, place, 0.75, ahead)


def coach(canvas: Canvas, label: int, x: float, z: float, look: int, ahead: bool = True) -> None:
    """Paint a bus, or a tram, which looks much the same but runs on rails."""
    rng = Random(look)
    colour, high = vary(rng, rng.choice(PAINT)), rng.uniform(2.9, 3.4)
    length = rng.uniform(18, 30) if label == Id.TRAIN else rng.uniform(9, 13)
    place = (x, z, 2.5, length)
    canvas.shadow(x, z, 2.7, length)
    if label == Id.TRAIN:
        for rail in (x - 0.75, x + 0.75):
            canvas.strip(None, (120, 118, 116), rail - 0.06, rail + 0.06, z - 30, z + 60)
        canvas.rectangle(label, GREY, (x, high, z + 4), 1.2, 0.5)
    _box(canvas, label, colour, place, (0.3, high), 0.3 if label == Id.TRAIN else 0)
    stripe = vary(rng, rng.choice(PAINT))
    if rng.random() < 0.6:
        _box(canvas, label, stripe, place, (0.35, 1.0))
    flank, pane = x - 1.25 if x > canvas.x else x + 1.25, vary(rng, GLASS, 12)
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
    coat, broad = vary(rng, rng.choice(PAINT + PALETTE)), rng.uniform(0.19, 0.28)
    skin = vary(rng, rng.choice(((205, 165, 140), (150, 108, 84), (96, 68, 54))))
    trunk = [(-broad * 0.8, 0), (broad * 0.8, 0), (broad + lean, 0.55), (-broad + lean, 0.55)]
    canvas.patch(label, coat, at, trunk)
    for arm in (-1, 1):
        reach = arm * broad + lean
        hand = reach + rng.uniform(-0.1, 0.12) * arm + lean * 0.8
        canvas.patch(label, shade(coat, 0.85), at, [(reach, 0.53), (hand, 0.0), (hand + 0.09 * arm, 0.02)])
    head = (x + lean * 1.3, y + 0.72, z)
    canvas.ellipse(label, skin, head, 0.11, 0.15)
    hair = vary(rng, rng.choice((DARK, (90, 62, 40), (150, 140, 130), (180, 40, 40), (210, 210, 205))))
    canvas.ellipse(label, hair, (head[0], head[1] + 0.07, z), 0.12, 0.09)


def person(canvas: Canvas, x: float, z: float, look: int) -> None:
    """Paint a person who stands or walks."""
    rng = Random(look)
    trousers, stride = vary(rng, rng.choice(PAINT)), rng.uniform(0, 0.28)
    canvas.shadow(x, z, 0.6, 0.4)
    for leg in (-1, 1):
        foot = leg * stride + 0.06 * leg
        outline = [(foot - 0.07, 0), (foot + 0.1, 0), (0.15 * leg + 0.08, 0.9), (-0.02 * leg, 0.9)]
        canvas.patch(Id.PERSON, shade(trousers, 0.9 if leg > 0 else 1), (x, 0, z), outline)
    if rng.random() < 0.3:
        canvas.patch(Id.PERSON, trousers, (x, 0.4, z), [(-0.25, 0), (0.25, 0), (0.17, 0.55), (-0.17, 0.55)])
    _torso(canvas, Id.PERSON, (x, rng.uniform(0.75, 0.95), z), rng)
    if rng.random() < 0.4:
        canvas.rectangle(Id.PERSON, vary(rng, rng.choice(PAINT)), (x + 0.25, rng.uniform(0.4, 0.9), z), 0.25, 0.35)


def two_wheeler(
    canvas: Canvas, label: int, x: float, z: float, look: int, ridden: bool = False, across: bool = False
) -> None:
    """Paint a bicycle or a motorcycle, seen from the side if `across`, else from behind, with a rider if `ridden`."""
    rng = Random(look)
    heavy, colour, way = label == Id.MOTORCYCLE, vary(rng, rng.choice(PAINT)), rng.choice((-1, 1))
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
            canvas.patch(Id.RIDER, vary(rng, (50, 54, 66)), (x, 0, z), [(dx * mirror, dy) for dx, dy in limb])
        _torso(canvas, Id.RIDER, (x + hips, 0.88, z), rng, 0.25 * way if across else 0)
