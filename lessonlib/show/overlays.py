"""A control map, the picture made from it, and the one laid over the other."""

from __future__ import annotations

from typing import Any

from lessonlib.errors import LessonError
from lessonlib.show.figures import Figure
from lessonlib.show.grids import grid
from lessonlib.show.pixels import as_array


def overlay(
    picture: Any,
    control: Any,
    *,
    opacity: float = 0.5,
    names: tuple[str, str] = ("control", "picture"),
    caption: str = "",
    alt: str = "",
) -> Figure:
    """Three panels: the control, the picture, and the control over the picture.

    Where the control is black the picture stays as it is, so that edges, scribbles and skeletons, which are
    drawn on black, keep their colours; elsewhere the control covers `opacity` of it.

    Raises:
        LessonError: two sizes, or an opacity outside 0..1.
    """
    import numpy as np

    below, above = as_array(picture), as_array(control)
    above = np.repeat(_levels(above)[..., None], 3, axis=2) if above.ndim == 2 else above
    if below.shape != above.shape:
        raise LessonError(
            f"The picture's shape is {below.shape}, the control's {above.shape}: make them one size."
        )
    if not 0 <= opacity <= 1:
        raise LessonError(f"opacity must lie between 0 and 1; it is {opacity}.")
    share = opacity * (above.max(axis=2, keepdims=True) > 0)
    both = ((1 - share) * below + share * above).round().astype(np.uint8)
    labels = [*names, "both"]
    return grid(
        [above, below, both], labels, caption=caption, alt=alt or f"{names[0]}, {names[1]}, and both."
    )


def _levels(values: Any) -> Any:
    """A map of one channel as uint8: floats from 0 to 1, or levels from 0 to 255, as they are."""
    return ((255 if values.max() <= 1 else 1) * values.clip(0, 255)).round().astype("uint8")
