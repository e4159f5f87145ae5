"""Masks to inpaint: boxes around things, things as they are, rectangles, ellipses, strokes, borders, and everything."""

from __future__ import annotations

import cv2
import numpy as np

from lessonlib.world.render import Rendered

# A box with room around the thing is how a person asks for another thing. From outlines alone (a fifth of the masks, and no
# boxes) a model learned that a thing has the shape of its mask: it filled boxes with blobs.
KINDS = ("everything", "box", "rectangle", "ellipse", "strokes", "thing", "border")
SHARES = (0.2, 0.3, 0.1, 0.08, 0.12, 0.08, 0.12)


def draw(rng: np.random.Generator, rendered: Rendered) -> np.ndarray:
    """A mask for a scene: bool [H, W], true where the picture is to be painted anew.

    A fifth of the masks is everything, so that the model still paints whole pictures; where a scene has no thing, the mask
    of a thing is an ellipse.
    """
    kind = KINDS[int(rng.choice(len(KINDS), p=SHARES))]
    height, width = rendered.classes.shape
    if kind == "everything":
        return np.ones((height, width), bool)
    if kind in ("box", "thing") and rendered.instances.any():
        return (box if kind == "box" else thing)(rng, rendered)
    if kind == "strokes":
        return strokes(rng, height, width)
    x0, y0, x1, y1 = _box(rng, height, width, kind == "border")
    if kind in ("rectangle", "border"):
        inside = np.zeros((height, width), bool)
        inside[y0:y1, x0:x1] = True
        return inside if kind == "rectangle" else ~inside
    canvas = np.zeros((height, width), np.uint8)
    turned = (((x0 + x1) / 2, (y0 + y1) / 2), (x1 - x0, y1 - y0), float(rng.uniform(0, 180)))
    cv2.ellipse(canvas, turned, (1,), -1)
    return canvas > 0


def box(rng: np.random.Generator, rendered: Rendered) -> np.ndarray:
    """A box around one thing (or the person), with 4 to 24 pixels of room, to every side its own."""
    rows, columns = np.nonzero(_one(rng, rendered))
    top, left, below, right = rng.integers(4, 25, size=4)
    hole = np.zeros(rendered.classes.shape, bool)
    hole[
        max(0, rows.min() - top) : rows.max() + 1 + below,
        max(0, columns.min() - left) : columns.max() + 1 + right,
    ] = True
    return hole


def thing(rng: np.random.Generator, rendered: Rendered) -> np.ndarray:
    """The visible pixels of one thing (or of the person), grown by 2 to 10 pixels as a hand would mask it."""
    chosen = _one(rng, rendered).astype(np.uint8)
    radius = int(rng.integers(2, 11))
    return cv2.dilate(chosen, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1,) * 2)) > 0


def _one(rng: np.random.Generator, rendered: Rendered) -> np.ndarray:
    """The visible pixels of a thing that is drawn by chance: bool [H, W]."""
    present = np.unique(rendered.instances[rendered.instances > 0])
    return rendered.instances == rng.choice(present)


def strokes(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """One to four strokes of a round brush, each a wandering line."""
    canvas = np.zeros((height, width), np.uint8)
    side = min(height, width)
    for _ in range(int(rng.integers(1, 5))):
        point = rng.uniform((0, 0), (width, height))
        heading = rng.uniform(0, 2 * np.pi)
        points = [point]
        for _ in range(int(rng.integers(2, 7))):
            heading += rng.normal(0, 0.8)
            point = point + rng.uniform(0.1, 0.3) * side * np.array([np.cos(heading), np.sin(heading)])
            points.append(point)
        line = np.round(np.array(points)).astype(np.int32).reshape(-1, 1, 2)
        cv2.polylines(canvas, [line], False, 1, int(rng.uniform(0.06, 0.2) * side))
    return canvas > 0


def _box(rng: np.random.Generator, height: int, width: int, kept: bool) -> tuple[int, int, int, int]:
    """A random box; one that is kept (the mask is around it) is large and mostly touches the frame."""
    low, high = (0.45, 0.9) if kept else (0.25, 0.8)
    w, h = (max(8, int(rng.uniform(low, high) * side)) for side in (width, height))
    if kept and rng.random() < 0.7:  # a canvas that grew to one side
        w, h = (w, height) if rng.random() < 0.6 else (width, h)
    x, y = int(rng.integers(0, width - w + 1)), int(rng.integers(0, height - h + 1))
    if kept and rng.random() < 0.7:
        x, y = int(rng.choice([0, width - w])), int(rng.choice([0, height - h]))
    return x, y, x + w, y + h
