"""The twenty backgrounds, one function each: a horizon, a few shapes, and accidents drawn from the scene's seed."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from lessonlib.world.canvas import Canvas, Color, Point

Painter = Callable[[Canvas, np.random.Generator], None]

# how near the bottom of the picture is, and how far the horizon
NEAR, HORIZON = 0.25, 0.9


def _shade(color: Color, factor: float) -> Color:
    return (min(255.0, color[0] * factor), min(255.0, color[1] * factor), min(255.0, color[2] * factor))


def _ridge(rng: np.random.Generator, base: float, height: float, peaks: int) -> list[Point]:
    """A mountain line from left to right that stands on `base`, closed along the bottom."""
    xs = np.linspace(-0.05, 1.05, 2 * peaks + 1)
    xs[1:-1] += rng.uniform(-0.25, 0.25, len(xs) - 2) / (2 * peaks)
    tall = np.where(np.arange(len(xs)) % 2, rng.uniform(0.65, 1.0, len(xs)), rng.uniform(0.15, 0.4, len(xs)))
    ys = base - height * tall
    return [
        (-0.05, base + 0.02),
        *[(float(x), float(y)) for x, y in zip(xs, ys, strict=True)],
        (1.05, base + 0.02),
    ]


def _wave(rng: np.random.Generator, base: float, height: float, bumps: float) -> list[Point]:
    """A soft line of hills or dunes, closed along the bottom of the picture."""
    xs = np.linspace(0, 1, 25)
    phase = rng.uniform(0, 2 * np.pi, 2)
    ys = base - height * (
        0.6 * np.sin(bumps * np.pi * xs + phase[0]) + 0.4 * np.sin(2.3 * bumps * xs + phase[1])
    )
    return [(0, 1.02), *[(float(x), float(y)) for x, y in zip(xs, ys, strict=True)], (1, 1.02)]


def _clouds(
    canvas: Canvas, rng: np.random.Generator, count: int, y: tuple[float, float], color: Color
) -> None:
    for _ in range(count):
        cx, cy, size = rng.uniform(0.05, 0.95), rng.uniform(*y), rng.uniform(0.045, 0.08)
        for dx, dy, r in ((-1.1, 0.25, 0.7), (0.0, 0.0, 1.0), (1.1, 0.2, 0.75), (0.4, 0.35, 0.8)):
            canvas.ellipse(cx + dx * size, cy + dy * size, r * size, 0.62 * r * size, color, "cloud", 0.97)


def _tree(canvas: Canvas, x: float, base: float, size: float, green: Color, depth: float) -> None:
    canvas.rectangle(x - 0.05 * size, base - 0.4 * size, x + 0.05 * size, base, (104, 72, 48), "plant", depth)
    for level, width in ((0.30, 0.34), (0.52, 0.27), (0.74, 0.19)):
        y = base - level * size
        tip = (x, y - 0.36 * size)
        canvas.polygon(
            [(x - width * size, y), tip, (x + width * size, y)],
            _shade(green, 0.85 + 0.3 * level),
            "plant",
            depth,
        )


def meadow(canvas: Canvas, rng: np.random.Generator) -> None:
    horizon = rng.uniform(0.5, 0.6)
    canvas.gradient(0, horizon + 0.09, [(120, 190, 245), (205, 232, 250)], "sky")
    _clouds(canvas, rng, 2, (0.08, 0.26), (255, 255, 255))
    canvas.polygon(_wave(rng, horizon, 0.05, 2.0), (128, 196, 96), "ground", HORIZON)
    canvas.gradient(horizon + 0.08, 1, [(112, 190, 78), (72, 150, 58)], "ground", (HORIZON - 0.1, NEAR))
    xs, ys = rng.uniform(0, 1, 14), rng.uniform(horizon + 0.12, 1, 14)
    for dots, color in (
        (slice(0, 5), (255, 240, 140)),
        (slice(5, 10), (255, 255, 255)),
        (slice(10, 14), (245, 150, 190)),
    ):
        canvas.dots(xs[dots], ys[dots], color, 0.009)


def beach(canvas: Canvas, rng: np.random.Generator) -> None:
    sea, shore = rng.uniform(0.36, 0.44), rng.uniform(0.58, 0.66)
    canvas.gradient(0, sea, [(92, 178, 240), (190, 228, 248)], "sky")
    _clouds(canvas, rng, 1, (0.08, 0.2), (255, 255, 255))
    canvas.gradient(sea, shore + 0.05, [(30, 120, 190), (72, 190, 214)], "water", (HORIZON, 0.6))
    canvas.polygon(_wave(rng, shore, 0.018, 3.0), (255, 255, 255), "water", 0.6)
    canvas.polygon(_wave(rng, shore + 0.025, 0.018, 3.0), (244, 218, 160), "ground", 0.55)
    canvas.gradient(shore + 0.1, 1, [(244, 216, 156), (230, 192, 122)], "ground", (0.5, NEAR))
    canvas.dots(rng.uniform(0, 1, 8), rng.uniform(shore + 0.12, 1, 8), (212, 172, 108), 0.006)


def sunset(canvas: Canvas, rng: np.random.Generator) -> None:
    horizon, x = rng.uniform(0.58, 0.66), rng.uniform(0.25, 0.75)
    canvas.gradient(0, horizon, [(88, 46, 110), (226, 84, 84), (255, 176, 84)], "sky")
    canvas.glow(x, horizon, 0.28, (255, 226, 140), 0.7)
    canvas.ellipse(x, horizon - 0.03, 0.12, 0.12, (255, 238, 150), "celestial", 1.0)
    canvas.gradient(horizon, 1, [(214, 96, 84), (92, 46, 96)], "water", (HORIZON, NEAR))
    for row in range(5):
        y, half = horizon + 0.04 + 0.065 * row, 0.11 - 0.015 * row + rng.uniform(0, 0.02)
        canvas.line([(x - half, y), (x + half, y)], (255, 206, 120), 0.012)


def night_city(canvas: Canvas, rng: np.random.Generator) -> None:
    canvas.gradient(0, 0.86, [(12, 14, 44), (46, 34, 92)], "sky")
    canvas.dots(rng.uniform(0, 1, 14), rng.uniform(0, 0.4, 14), (220, 225, 255), 0.004)
    moon = rng.uniform(0.12, 0.88)
    canvas.ellipse(moon, 0.13, 0.055, 0.055, (250, 244, 214), "celestial", 1.0)
    x = -0.04
    while x < 1.0:
        width, top = rng.uniform(0.12, 0.2), rng.uniform(0.26, 0.58)
        blue = rng.uniform(0.8, 1.25)
        canvas.rectangle(x, top, x + width - 0.01, 0.86, _shade((40, 42, 78), blue), "building", 0.85)
        lights = rng.random((6, 4)) < 0.5
        tint = ((255, 214, 110), (255, 170, 90), (140, 220, 255))[int(rng.integers(3))]
        for row, column in np.argwhere(lights):
            wx, wy = x + (column + 0.5) * width / 4.6, top + 0.05 + row * 0.075
            if wy < 0.82 and wx + 0.018 < x + width - 0.015:
                canvas.rectangle(wx, wy, wx + 0.018, wy + 0.03, tint, "building", 0.85)
        x += width
    canvas.gradient(0.86, 1, [(54, 46, 84), (30, 28, 52)], "road", (0.7, NEAR))
    canvas.line([(0, 0.93), (1, 0.93)], (240, 200, 110), 0.008)


def snow(canvas: Canvas, rng: np.random.Generator) -> None:
    horizon = rng.uniform(0.54, 0.62)
    canvas.gradient(0, horizon + 0.09, [(160, 190, 222), (222, 233, 244)], "sky")
    for x in np.sort(rng.uniform(0, 1, 4)):
        _tree(canvas, float(x), horizon + 0.03, float(rng.uniform(0.2, 0.3)), (118, 158, 160), 0.88)
    canvas.polygon(_wave(rng, horizon + 0.01, 0.03, 2.0), (244, 249, 255), "ground", HORIZON)
    canvas.gradient(horizon + 0.08, 1, [(244, 249, 255), (206, 222, 242)], "ground", (0.8, NEAR))
    canvas.dots(rng.uniform(0, 1, 26), rng.uniform(0, 1, 26), (255, 255, 255), 0.008)


def desert(canvas: Canvas, rng: np.random.Generator) -> None:
    horizon = rng.uniform(0.5, 0.58)
    canvas.gradient(0, horizon + 0.1, [(104, 186, 226), (252, 232, 192)], "sky")
    canvas.ellipse(rng.uniform(0.1, 0.9), 0.14, 0.06, 0.06, (255, 250, 214), "celestial", 1.0)
    for step, color in enumerate(((232, 178, 104), (240, 192, 116), (224, 164, 84))):
        base = horizon + 0.02 + 0.14 * step
        canvas.polygon(_wave(rng, base, 0.045, 1.6), color, "ground", HORIZON - 0.22 * step)


def mountains(canvas: Canvas, rng: np.random.Generator) -> None:
    base = rng.uniform(0.62, 0.68)
    canvas.gradient(0, base, [(112, 178, 236), (214, 232, 246)], "sky")
    far = _ridge(rng, base, 0.36, 3)
    canvas.polygon(_ridge(rng, base, 0.26, 4), (150, 172, 206), "mountain", 0.97)
    canvas.polygon(far, (96, 116, 152), "mountain", 0.93)
    for (lx, ly), (px, py), (rx, ry) in zip(far[1:-2], far[2:-1], far[3:], strict=True):
        if py < ly and py < ry:  # a peak wears snow on its upper third
            left, right = (
                (px + 0.3 * (lx - px), py + 0.3 * (ly - py)),
                (px + 0.3 * (rx - px), py + 0.3 * (ry - py)),
            )
            canvas.polygon([left, (px, py), right, (px, py + 0.05)], (248, 251, 255), "mountain", 0.93)
    canvas.gradient(base, 1, [(122, 178, 96), (78, 136, 70)], "ground", (0.88, NEAR))
    for x in rng.uniform(0, 1, 5):
        _tree(canvas, float(x), base + float(rng.uniform(0.02, 0.06)), 0.11, (52, 112, 72), 0.85)


def mountain_sunset(canvas: Canvas, rng: np.random.Generator) -> None:
    base, x = rng.uniform(0.66, 0.72), rng.uniform(0.3, 0.7)
    canvas.gradient(0, base, [(70, 52, 130), (240, 108, 110), (255, 206, 120)], "sky")
    canvas.glow(x, base - 0.2, 0.25, (255, 236, 170), 0.6)
    canvas.ellipse(x, base - 0.2, 0.11, 0.11, (255, 242, 178), "celestial", 1.0)
    canvas.polygon(_ridge(rng, base, 0.3, 3), (146, 78, 128), "mountain", 0.96)
    canvas.polygon(_ridge(rng, base + 0.03, 0.2, 4), (96, 54, 108), "mountain", 0.92)
    canvas.gradient(base, 1, [(72, 44, 88), (40, 28, 62)], "ground", (0.88, NEAR))


def forest(canvas: Canvas, rng: np.random.Generator) -> None:
    base = rng.uniform(0.66, 0.72)
    canvas.gradient(0, base + 0.04, [(166, 214, 160), (214, 236, 190)], "sky")
    for row, (green, depth) in enumerate((((104, 164, 100), 0.93), ((66, 132, 74), 0.86))):
        for x in np.linspace(-0.02, 1.02, 7) + rng.uniform(-0.05, 0.05, 7):
            _tree(
                canvas,
                float(x),
                base + 0.015 + 0.03 * row,
                float(rng.uniform(0.42, 0.62)) - 0.08 * row,
                green,
                depth,
            )
    canvas.gradient(base + 0.035, 1, [(86, 144, 70), (48, 98, 50)], "ground", (0.82, NEAR))
    canvas.dots(rng.uniform(0, 1, 8), rng.uniform(base + 0.08, 1, 8), (130, 186, 92), 0.01)


def underwater(canvas: Canvas, rng: np.random.Generator) -> None:
    canvas.gradient(0, 1, [(92, 206, 226), (22, 112, 178), (10, 58, 122)], "water", (1.0, 0.9))
    floor = rng.uniform(0.8, 0.86)
    canvas.polygon(_wave(rng, floor, 0.025, 2.4), (196, 178, 126), "ground", 0.5)
    for x in rng.uniform(0.02, 0.98, 5):
        stem = float(rng.uniform(0.16, 0.32))
        sway = np.linspace(0, 1, 7)
        points = [(float(x) + 0.018 * np.sin(6 * s), floor + 0.05 - stem * s) for s in sway]
        canvas.line(points, (38, 146, 104), 0.022)
    for x, y, r in zip(
        rng.uniform(0, 1, 9), rng.uniform(0.05, 0.75, 9), rng.uniform(0.008, 0.02, 9), strict=True
    ):
        canvas.ellipse(float(x), float(y), float(r), float(r), (176, 232, 244), "water", 0.9)


def space(canvas: Canvas, rng: np.random.Generator) -> None:
    canvas.gradient(0, 1, [(14, 10, 36), (34, 18, 66), (12, 14, 44)], "sky")
    canvas.glow(rng.uniform(0, 1), rng.uniform(0, 1), 0.25, (120, 60, 150), 0.5)
    canvas.dots(rng.uniform(0, 1, 26), rng.uniform(0, 1, 26), (255, 255, 255), 0.004)
    canvas.dots(rng.uniform(0, 1, 8), rng.uniform(0, 1, 8), (255, 226, 160), 0.008)
    x, y = (0.14 if rng.random() < 0.5 else 0.86), rng.uniform(0.12, 0.3)
    canvas.ellipse(x, y, 0.1, 0.1, (226, 150, 100), "celestial", 0.99)
    canvas.line([(x - 0.16, y + 0.04), (x + 0.16, y - 0.04)], (246, 214, 170), 0.016)


def room(canvas: Canvas, rng: np.random.Generator) -> None:
    wall: Color = ((236, 214, 190), (206, 222, 214), (226, 206, 222))[int(rng.integers(3))]
    canvas.gradient(0, 0.7, [wall, _shade(wall, 0.93)], "wall", (0.8, 0.8))
    x = rng.uniform(0.1, 0.2)
    canvas.rectangle(x, 0.12, x + 0.26, 0.44, (250, 250, 248), "wall", 0.8)
    canvas.rectangle(x + 0.02, 0.14, x + 0.24, 0.42, (150, 206, 240), "sky", 1.0)
    canvas.rectangle(x + 0.12, 0.14, x + 0.14, 0.42, (250, 250, 248), "wall", 0.8)
    canvas.rectangle(0.66, 0.18, 0.86, 0.4, (150, 100, 66), "furniture", 0.79)
    canvas.rectangle(
        0.685,
        0.205,
        0.835,
        0.375,
        ((226, 120, 96), (110, 160, 200), (240, 200, 110))[int(rng.integers(3))],
        "furniture",
        0.79,
    )
    canvas.rectangle(0, 0.68, 1, 0.71, (252, 246, 238), "wall", 0.79)
    canvas.gradient(0.71, 1, [(190, 134, 88), (160, 106, 66)], "floor", (0.78, NEAR))
    for row in range(4):
        canvas.line([(0, 0.76 + 0.07 * row), (1, 0.76 + 0.07 * row)], (146, 96, 60), 0.006)


def street(canvas: Canvas, rng: np.random.Generator) -> None:
    canvas.gradient(0, 0.7, [(150, 204, 244), (224, 238, 248)], "sky")
    x = -0.03
    while x < 1.0:
        width, top = rng.uniform(0.17, 0.26), rng.uniform(0.2, 0.42)
        color: Color = ((216, 132, 104), (232, 196, 140), (150, 170, 190), (196, 150, 160))[
            int(rng.integers(4))
        ]
        canvas.rectangle(x, top, x + width - 0.008, 0.72, color, "building", 0.85)
        for row in range(4):
            for column in range(3):
                wx, wy = x + (column + 0.35) * width / 3.3, top + 0.05 + row * 0.095
                if wy < 0.64 and wx < 1:
                    canvas.rectangle(wx, wy, wx + 0.032, wy + 0.05, (246, 248, 236), "building", 0.85)
        x += width
    canvas.rectangle(0, 0.72, 1, 0.79, (198, 196, 192), "ground", 0.7)
    canvas.gradient(0.79, 1, [(112, 114, 122), (86, 88, 96)], "road", (0.65, NEAR))
    for dash in range(5):
        start = 0.22 * dash - 0.04
        canvas.rectangle(start, 0.89, start + 0.12, 0.905, (248, 246, 236), "road", 0.45)


def sky(canvas: Canvas, rng: np.random.Generator) -> None:
    canvas.gradient(0, 1, [(70, 150, 234), (150, 208, 250), (214, 236, 252)], "sky")
    _clouds(canvas, rng, 5, (0.08, 0.92), (255, 255, 255))


def ancient_rome(canvas: Canvas, rng: np.random.Generator) -> None:
    canvas.gradient(0, 0.76, [(122, 186, 234), (240, 226, 196)], "sky")
    marble: Color = (238, 226, 204)
    top = rng.uniform(0.2, 0.26)
    canvas.polygon([(0.04, top), (0.5, top - 0.15), (0.96, top)], _shade(marble, 0.96), "building", 0.82)
    canvas.rectangle(0.04, top, 0.96, top + 0.06, _shade(marble, 0.88), "building", 0.82)
    canvas.rectangle(0.08, top + 0.06, 0.92, 0.72, (168, 138, 110), "building", 0.86)
    for column in range(6):
        x = 0.09 + 0.15 * column
        canvas.rectangle(x, top + 0.06, x + 0.07, 0.72, marble, "column", 0.8)
        canvas.line([(x + 0.045, top + 0.08), (x + 0.045, 0.7)], _shade(marble, 0.82), 0.008)
        canvas.rectangle(x - 0.012, top + 0.06, x + 0.082, top + 0.085, _shade(marble, 0.94), "column", 0.8)
    for step in range(2):
        canvas.rectangle(
            0.03 - 0.03 * step,
            0.72 + 0.03 * step,
            0.97 + 0.03 * step,
            0.76 + 0.03 * step,
            _shade(marble, 0.9 - 0.08 * step),
            "building",
            0.75,
        )
    canvas.gradient(0.79, 1, [(222, 196, 150), (196, 164, 116)], "ground", (0.7, NEAR))


def stage(canvas: Canvas, rng: np.random.Generator) -> None:
    canvas.gradient(0, 0.74, [(120, 14, 28), (170, 26, 40)], "curtain", (0.85, 0.85))
    folds = np.linspace(0, 1, 9) + rng.uniform(-0.015, 0.015, 9)
    for x in folds:
        canvas.rectangle(float(x), 0, float(x) + 0.045, 0.74, (196, 40, 52), "curtain", 0.84)
    canvas.rectangle(0, 0, 1, 0.1, (226, 172, 66), "curtain", 0.8)
    for x in np.linspace(0.05, 0.95, 7):
        canvas.ellipse(float(x), 0.1, 0.075, 0.045, (226, 172, 66), "curtain", 0.8)
    canvas.glow(rng.uniform(0.35, 0.65), 0.5, 0.24, (255, 236, 190), 0.45)
    canvas.gradient(0.74, 1, [(176, 118, 70), (118, 74, 44)], "floor", (0.78, NEAR))


def _studio(wall: Color) -> Painter:
    def paint(canvas: Canvas, rng: np.random.Generator) -> None:
        canvas.gradient(0, 0.74, [_shade(wall, 0.97), wall], "wall", (HORIZON, HORIZON))
        canvas.glow(rng.uniform(0.35, 0.65), rng.uniform(0.3, 0.5), 0.3, (255, 255, 255), 0.25)
        canvas.gradient(0.74, 1, [_shade(wall, 0.93), _shade(wall, 0.86)], "floor", (HORIZON, NEAR))

    return paint


# a studio's ink drawing is made on paper of the studio's colour; every other one on warm white
WARM_WHITE: Color = (246, 246, 238)
PAPER: dict[str, Color] = {"blue": (156, 190, 240), "pink": (250, 196, 214), "yellow": (252, 230, 150)}

PAINTERS: dict[str, Painter] = {
    "meadow": meadow,
    "beach": beach,
    "sunset": sunset,
    "night city": night_city,
    "snow": snow,
    "desert": desert,
    "mountains": mountains,
    "mountain sunset": mountain_sunset,
    "forest": forest,
    "underwater": underwater,
    "space": space,
    "room": room,
    "street": street,
    "sky": sky,
    "ancient rome": ancient_rome,
    "stage": stage,
    "white": _studio((250, 250, 250)),
    "blue": _studio((96, 150, 232)),
    "pink": _studio((246, 158, 190)),
    "yellow": _studio((250, 214, 92)),
}
