"""The drawing that Python sees: white strokes on black, of the size asked."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from lessonlib.errors import LessonError
from lessonlib.widgets import scribble

LINE = {"width": 4, "points": [10, 20, 50, 20]}


def test_a_stroke_is_as_wide_and_as_long_as_it_was_drawn() -> None:
    canvas = scribble((64, 48))
    assert not np.asarray(canvas.image).any()
    canvas.marks = [LINE]
    assert canvas.image.mode == "RGB"
    pixels = np.asarray(canvas.image)
    assert pixels.shape == (48, 64, 3)
    assert (pixels[..., 0] == pixels[..., 2]).all()
    rows, columns = np.nonzero(pixels[..., 0] > 127)
    assert (rows.min(), rows.max() + 1) == (18, 22)
    assert (columns.min(), columns.max() + 1) == (8, 52)  # round ends reach half a width further
    area = 40 * 4 + np.pi * 4
    assert pixels[..., 0].sum() / 255 == pytest.approx(area, rel=0.05)


def test_a_tap_is_a_dot() -> None:
    canvas = scribble((64, 64))
    canvas.marks = [{"width": 6, "points": [30, 30]}]
    assert np.asarray(canvas.image)[..., 0].sum() / 255 == pytest.approx(np.pi * 9, rel=0.1)


def test_strokes_lie_on_the_example_until_it_is_cleared() -> None:
    example = Image.new("L", (32, 32))
    example.paste(255, (0, 16, 32, 32))
    canvas = scribble((64, 64), example)
    assert np.asarray(canvas.image)[50, 30].tolist() == [255, 255, 255]
    canvas.marks = [LINE]
    assert np.asarray(canvas.image)[[20, 50], 30, 0].tolist() == [255, 255]
    canvas.marks = [LINE, {"clear": True}]
    assert not np.asarray(canvas.image).any()
    canvas.marks = [LINE, {"clear": True}, LINE]
    assert np.asarray(canvas.image)[[20, 50], 30, 0].tolist() == [255, 0]
    canvas.marks = [LINE]  # two marks taken back
    assert np.asarray(canvas.image)[[20, 50], 30, 0].tolist() == [255, 255]


def test_a_callback_sees_each_new_drawing() -> None:
    canvas, seen = scribble((64, 64)), []
    canvas.on_change(seen.append)
    canvas.marks = [LINE]
    canvas.brush = 9
    canvas.marks = []
    assert [bool(np.asarray(picture).any()) for picture in seen] == [True, False]


def test_what_a_reader_paints_on_the_picture_does_not_reach_the_canvas() -> None:
    canvas = scribble((64, 64))
    canvas.image.paste("white", (0, 0, 64, 64))
    assert not np.asarray(canvas.image).any()


@pytest.mark.parametrize("size", [512, (0, 5), (5, -1), (1.5, 2), (1, 2, 3)])
def test_a_size_that_makes_no_sense_is_refused(size: object) -> None:
    with pytest.raises(LessonError, match="such as \\(512, 512\\)"):
        scribble(size)  # type: ignore[arg-type]
