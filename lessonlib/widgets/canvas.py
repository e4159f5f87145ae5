"""A canvas to draw on: white strokes on black, as ControlNet's scribble condition wants them."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anywidget
import ipywidgets
from PIL import Image, ImageDraw
from traitlets import Bytes, Dict, Float, Int, List, observe

from lessonlib.errors import LessonError
from lessonlib.grading.cards import Card
from lessonlib.widgets.fallback import CSS, Fallback

_FINER = 4  # strokes are drawn that many times larger, then averaged: smooth edges, as in the browser


def scribble(size: tuple[int, int], example: Image.Image | None = None) -> Canvas:
    """A canvas of `size` (width, height) pixels, to draw on with mouse, pen or finger.

    Args:
        example: the drawing it starts with, white on black, and keeps where nobody draws. It is scaled to `size`.

    Raises:
        LessonError: the size is not two positive numbers.
    """
    width, height = size if isinstance(size, tuple) and len(size) == 2 else (0, 0)
    if not (isinstance(width, int) and isinstance(height, int) and width > 0 < height):
        raise LessonError(f"scribble(size={size!r}) needs (width, height) in pixels, such as (512, 512).")
    return Canvas(width, height, example or Image.new("RGB", (width, height)))


class Canvas(Fallback, anywidget.AnyWidget, ipywidgets.ValueWidget):
    """The widget of `scribble`, which can also be a control of `live`.

    Attributes:
        value: the drawing, an RGB picture of `width` x `height` pixels.
        marks: what was done, the oldest first: {"width": w, "points": [x, y, x, y, ...]} in pixels for a stroke,
            {"clear": True} for an emptied canvas. Undoing takes the last one back.
        brush: the width of the next stroke in pixels.
    """

    _esm = Path(__file__).with_name("canvas.js")
    _css = CSS

    width = Int().tag(sync=True)
    height = Int().tag(sync=True)
    example = Bytes().tag(sync=True)  # a PNG file
    marks = List(Dict()).tag(sync=True)
    brush = Float().tag(sync=True)

    def __init__(self, width: int, height: int, example: Image.Image) -> None:
        self._example = example.convert("RGB").resize((width, height), Image.Resampling.LANCZOS)
        stream = io.BytesIO()
        self._example.save(stream, "PNG")
        brush = max(1, round(min(width, height) / 50))  # about what `conditions.scribble` draws
        super().__init__(width=width, height=height, example=stream.getvalue(), brush=brush)
        self.value = self._example

    @property
    def image(self) -> Image.Image:
        """The drawing: RGB, of the size asked."""
        return self.value.copy()

    def on_change(self, callback: Callable[[Image.Image], object]) -> None:
        """Call `callback(picture)` after every stroke, undo and clear."""
        self.observe(lambda change: callback(change.new.copy()), "value")

    @observe("marks")
    def _draw(self, change: Any) -> None:
        self.value = draw(self.marks, self._example)

    def card(self) -> Card:
        size = f"{self.width}×{self.height} pixels"
        return Card(
            "note",
            "Draw here",
            (f"Run this cell for a canvas of {size}: white strokes on black.",),
            picture=self.value,
            caption="The drawing that the next cells use.",
        )


def draw(marks: list[dict[str, Any]], example: Image.Image) -> Image.Image:
    """The picture that `marks` leave on `example`."""
    cleared = [index for index, mark in enumerate(marks) if "clear" in mark]
    if cleared:
        marks, example = marks[cleared[-1] + 1 :], Image.new("RGB", example.size)
    mask = Image.new("L", (example.width * _FINER, example.height * _FINER))
    pen = ImageDraw.Draw(mask)
    for mark in marks:
        numbers = [number * _FINER for number in mark["points"]]
        points = list(zip(numbers[::2], numbers[1::2], strict=True))
        radius = mark["width"] * _FINER / 2
        pen.line(points, fill=255, width=max(1, round(2 * radius)))
        for x, y in points:  # round ends and joints
            pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=255)
    strokes = mask.resize(example.size, Image.Resampling.BOX)
    return Image.composite(Image.new("RGB", example.size, "white"), example, strokes)
