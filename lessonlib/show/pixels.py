"""Anything a lesson has in hand, as an array that can be drawn."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lessonlib.errors import LessonError

if TYPE_CHECKING:
    import numpy as np

SMALLEST = 64  # pixels a side: what is smaller is a map, whose cells should be seen


def as_array(picture: Any) -> np.ndarray:
    """uint8 RGB [H, W, 3], or float [H, W] for a map of one channel.

    Args:
        picture: PIL; an array [H, W, 3] or [H, W], uint8 or floats from 0 to 1; or a torch tensor [H, W] or
            [3, H, W]. A map of one channel may have any finite values.

    Raises:
        LessonError: it is none of these.
    """
    import numpy as np
    from PIL import Image

    if isinstance(picture, Image.Image):
        return np.asarray(picture.convert("RGB"))
    if hasattr(picture, "detach"):  # a torch tensor, without importing torch
        picture = picture.detach().float().cpu().numpy()
        picture = picture.transpose(1, 2, 0) if picture.ndim == 3 else picture
    if not isinstance(picture, np.ndarray):
        raise LessonError(f"A {type(picture).__name__} cannot be drawn: pass PIL, an array or a tensor.")
    if picture.ndim not in (2, 3) or (picture.ndim == 3 and picture.shape[2] != 3) or not picture.size:
        raise LessonError(
            f"An array of shape {picture.shape} cannot be drawn: [H, W, 3] or [H, W] can, a tensor as [3, H, W]."
        )
    if not np.isfinite(picture).all():
        raise LessonError("A picture with NaN or infinite values cannot be drawn.")
    if picture.ndim == 2:
        return picture.astype(float)
    if picture.dtype == np.uint8:
        return picture
    if picture.min() < 0 or picture.max() > 1:
        raise LessonError(
            f"A colour picture of {picture.dtype} must lie in 0..1; this one goes from {picture.min():.3g} "
            f"to {picture.max():.3g}."
        )
    return (255 * picture).round().astype(np.uint8)


def draw(axis: Any, picture: Any, **options: Any) -> Any:
    """Draw a picture on a matplotlib axis without ticks; maps of one channel in grey. Returns the AxesImage."""
    array = as_array(picture)
    if array.ndim == 2:
        options = {"cmap": "gray", **options}
    smooth = "bilinear" if min(array.shape[:2]) >= SMALLEST else "nearest"
    axis.set_xticks([])
    axis.set_yticks([])
    for spine in axis.spines.values():
        spine.set_visible(False)
    return axis.imshow(array, interpolation=smooth, **options)
