"""The shipped sprites: one WebP sheet for each art set, cut into cells on first use."""

from __future__ import annotations

import functools
import json
from importlib import resources

import cv2
import numpy as np
from PIL import Image

from lessonlib.world.vocabulary import COLORS

CELL = 96  # pixels a side
COLUMNS = 12

# which art set draws a style; the painterly filters start from one of the four
ART_SET: dict[str, str] = {
    "3d": "3d",
    "flat": "flat",
    "soft": "soft",
    "ink": "ink",
    "oil painting": "3d",
    "pixel art": "flat",
}


@functools.cache
def _sheet(art_set: str) -> dict[str, np.ndarray]:
    data = resources.files("lessonlib.world").joinpath("data")
    names = json.loads(data.joinpath("atlas.json").read_text())["names"][art_set]
    with data.joinpath(f"atlas-{art_set}.webp").open("rb") as stream:
        pixels = np.asarray(Image.open(stream).convert("RGBA"))
    cells = {}
    for index, name in enumerate(names):
        row, column = divmod(index, COLUMNS)
        cells[name] = pixels[row * CELL : (row + 1) * CELL, column * CELL : (column + 1) * CELL]
    return cells


@functools.cache
def sprite(name: str, art_set: str, color: str | None = None) -> np.ndarray:
    """A sprite as premultiplied uint8 RGBA [CELL, CELL, 4].

    Args:
        name: a noun of `OBJECTS`, `glasses`, or `head/<hair>/<skin>`.
        art_set: "3d", "flat", "soft" or "ink".
        color: a word of `COLORS` to repaint the sprite's main hue with.
    """
    sheet = _sheet("3d" if art_set == "soft" and name not in _sheet("soft") else art_set)
    cell = sheet[name]
    if color is not None:
        cell = np.dstack([_repainted(cell, COLORS[color]), cell[..., 3]])
    alpha = cell[..., 3:].astype(np.uint16)
    premultiplied = (cell[..., :3].astype(np.uint16) * alpha + 127) // 255
    return np.dstack([premultiplied.astype(np.uint8), cell[..., 3]])


@functools.cache
def half_sprite(name: str, art_set: str, color: str | None = None) -> np.ndarray:
    """The same at half the side: what small objects are drawn from, so that shrinking does not alias."""
    return cv2.resize(sprite(name, art_set, color), (CELL // 2, CELL // 2), interpolation=cv2.INTER_AREA)


def _repainted(cell: np.ndarray, hue: int) -> np.ndarray:
    """Turn the sprite's main hue to `hue` (OpenCV's 0..180); other hues, greys and highlights stay."""
    hsv = cv2.cvtColor(np.ascontiguousarray(cell[..., :3]), cv2.COLOR_RGB2HSV).astype(np.float32)
    weight = (cell[..., 3] > 128) * hsv[..., 1] * (hsv[..., 1] > 70)
    # the main hue: the fullest bin of the saturation-weighted histogram, hues being circular
    histogram = np.bincount((hsv[..., 0] // 10).astype(int).ravel(), weight.ravel(), minlength=18)[:18]
    smooth = histogram + np.roll(histogram, 1) + np.roll(histogram, -1)
    main = float(np.argmax(smooth)) * 10 + 5
    distance = (hsv[..., 0] - main + 90) % 180 - 90
    paint = (np.abs(distance) < 22) & (hsv[..., 1] > 40)
    hsv[..., 0] = np.where(paint, (hue + 0.35 * distance) % 180, hsv[..., 0])
    if hue in (COLORS["yellow"], COLORS["orange"]):  # these hues are bright or they are brown
        hsv[..., 2] = np.where(paint, 255 - 0.45 * (255 - hsv[..., 2]), hsv[..., 2])
    return cv2.cvtColor(hsv.clip(0, 255).astype(np.uint8), cv2.COLOR_HSV2RGB)
