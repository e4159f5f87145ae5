"""A picture that knows what it shows: every stroke writes colour, class and depth at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import cv2
import numpy as np

from lessonlib.world.vocabulary import OBJECTS

# what fills a background; objects and people follow, so that one index names every pixel
STUFF: tuple[str, ...] = (
    "sky", "ground", "water", "mountain", "building", "plant", "wall", "floor", "road", "celestial", "cloud",
    "column", "curtain", "rock", "furniture",
)  # fmt: skip
CLASSES: tuple[str, ...] = (*STUFF, "person", *OBJECTS)
# "cloud" is both: painted into a sky it is stuff, asked for by name it is an object
STUFF_INDEX: dict[str, int] = {name: index for index, name in enumerate(STUFF)}
CLASS_INDEX: dict[str, int] = {name: index for index, name in enumerate(CLASSES)}

Color = tuple[float, float, float]
Point = tuple[float, float]
Finish = Literal["smooth", "banded"]

_SHIFT = 4  # OpenCV draws with 1/16 pixel precision
_ONE = 1 << _SHIFT


class Canvas:
    """Colour uint8 [H, W, 3], class uint8 [H, W] (index in `CLASSES`) and depth float32 [H, W] (0 near, 1 far).

    Coordinates are fractions: x of the width, y of the height; lengths are fractions of the shorter side.
    """

    def __init__(self, height: int, width: int, finish: Finish) -> None:
        self.height, self.width = height, width
        self.side = min(height, width)
        self.finish = finish
        self.color = np.zeros((height, width, 3), np.uint8)
        self.classes = np.zeros((height, width), np.uint8)
        self.depth = np.ones((height, width), np.float32)

    def gradient(
        self,
        top: float,
        bottom: float,
        stops: Sequence[Color],
        stuff: str,
        depth: tuple[float, float] = (1.0, 1.0),
    ) -> None:
        """Fill the rows from `top` to `bottom` with colours (and depths) that run through the stops."""
        first, last = round(top * self.height), round(bottom * self.height)
        rows = last - first
        if rows <= 0:
            return
        t = (np.arange(rows, dtype=np.float32) + 0.5) / rows
        shade = t if self.finish == "smooth" else (np.floor(t * 3) + 0.5) / 3  # flat art has three bands
        palette = np.asarray(stops, np.float32)
        at = np.linspace(0, 1, len(palette))
        colors = np.stack([np.interp(shade, at, palette[:, c]) for c in range(3)], axis=1)
        self.color[first:last] = colors[:, None].astype(np.uint8)
        self.classes[first:last] = STUFF_INDEX[stuff]
        self.depth[first:last] = np.interp(t, (0, 1), depth)[:, None]

    def _pixels(self, points: Sequence[Point]) -> np.ndarray:
        scaled = np.asarray(points, np.float64) * (self.width, self.height) * _ONE
        return np.round(scaled - _ONE / 2).astype(np.int32).reshape(-1, 1, 2)

    def polygon(self, points: Sequence[Point], color: Color, stuff: str, depth: float) -> None:
        """A filled polygon."""
        corners = [self._pixels(points)]
        cv2.fillPoly(self.color, corners, color, cv2.LINE_AA, _SHIFT)
        cv2.fillPoly(self.classes, corners, STUFF_INDEX[stuff], cv2.LINE_8, _SHIFT)
        cv2.fillPoly(self.depth, corners, depth, cv2.LINE_8, _SHIFT)

    def rectangle(
        self, x0: float, y0: float, x1: float, y1: float, color: Color, stuff: str, depth: float
    ) -> None:
        """An upright filled rectangle."""
        self.polygon([(x0, y0), (x1, y0), (x1, y1), (x0, y1)], color, stuff, depth)

    def ellipse(
        self, x: float, y: float, rx: float, ry: float, color: Color, stuff: str, depth: float
    ) -> None:
        """A filled ellipse; the radii are fractions of the shorter side."""
        center = (round(x * self.width * _ONE), round(y * self.height * _ONE))
        axes = (round(rx * self.side * _ONE), round(ry * self.side * _ONE))
        cv2.ellipse(self.color, center, axes, 0, 0, 360, color, -1, cv2.LINE_AA, _SHIFT)
        cv2.ellipse(self.classes, center, axes, 0, 0, 360, STUFF_INDEX[stuff], -1, cv2.LINE_8, _SHIFT)
        cv2.ellipse(self.depth, center, axes, 0, 0, 360, depth, -1, cv2.LINE_8, _SHIFT)

    def line(self, points: Sequence[Point], color: Color, thickness: float) -> None:
        """Decoration that changes no class: a polyline, its thickness a fraction of the shorter side."""
        width = max(1, round(thickness * self.side))
        cv2.polylines(self.color, [self._pixels(points)], False, color, width, cv2.LINE_AA, _SHIFT)

    def dots(self, xs: np.ndarray, ys: np.ndarray, color: Color, radius: float) -> None:
        """Decoration that changes no class: small discs."""
        r = max(radius * self.side, 0.6)
        for x, y in zip(xs * self.width, ys * self.height, strict=True):
            center = (round(float(x) * _ONE), round(float(y) * _ONE))
            cv2.circle(self.color, center, round(r * _ONE), color, -1, cv2.LINE_AA, _SHIFT)

    def glow(self, x: float, y: float, radius: float, color: Color, strength: float) -> None:
        """Light around a point; flat art has none."""
        if self.finish == "banded":
            return
        rows, columns = np.ogrid[: self.height, : self.width]
        distance2 = (columns - x * self.width) ** 2 + (rows - y * self.height) ** 2
        light = strength * np.exp(-distance2 / (2 * (radius * self.side) ** 2))[..., None].astype(np.float32)
        self.color[:] = (self.color + light * (np.asarray(color, np.float32) - self.color)).astype(np.uint8)
