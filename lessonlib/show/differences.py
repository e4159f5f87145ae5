"""Two pictures side by side, and where they differ."""

from __future__ import annotations

from typing import Any

from lessonlib.errors import LessonError
from lessonlib.show.figures import Figure, canvas, finish, style
from lessonlib.show.pixels import as_array, draw

_CELL = 2.4  # inches


def compare(
    first: Any, second: Any, names: tuple[str, str] = ("first", "second"), *, caption: str = "", alt: str = ""
) -> Figure:
    """Two pictures of one size and, to their right, the largest difference of the channels at every pixel.

    The scale of the difference ends at its own largest value, in levels of 0..255 for colour pictures.

    Raises:
        LessonError: two sizes, or what cannot be drawn.
    """
    import numpy as np

    a, b = as_array(first), as_array(second)
    if a.shape != b.shape:
        raise LessonError(
            f"Pictures of shapes {a.shape} and {b.shape} cannot be compared: make them one size."
        )
    difference = np.abs(a.astype(float) - b.astype(float))
    difference = difference.max(axis=2) if difference.ndim == 3 else difference
    largest = float(difference.max())

    height, width = a.shape[:2]
    drawing = canvas(3 * _CELL + 0.6, _CELL * height / width + 0.3)
    with style():
        axes = drawing.subplots(1, 3)
        for axis, picture, name in zip(axes, (first, second), names, strict=False):
            draw(axis, picture)
            axis.set_title(name)
        image = draw(axes[2], difference, cmap="magma", vmin=0, vmax=max(largest, 1e-12))
        axes[2].set_title(f"difference, at most {largest:.3g}")
        drawing.colorbar(image, ax=axes[2], shrink=0.9)
    words = f"{names[0]}, {names[1]}, and their difference, which is at most {largest:.3g}."
    return finish(drawing, alt or words, caption)
