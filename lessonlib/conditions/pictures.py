"""Whatever a reader calls a picture, as 8-bit RGB, or one sentence that says why it is none."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from lessonlib.errors import LessonError

_OPAQUE = {"1", "L", "P", "RGB", "CMYK", "YCbCr", "LAB", "HSV", "RGBX"}
_TRANSPARENT = {"RGBA", "LA", "PA", "RGBa", "La"}


def rgb(picture: Any, what: str = "The picture") -> Image.Image:
    """An RGB PIL picture. Transparency lies on white, a camera's rotation is applied.

    Arrays are refused, because they do not say what they hold: OpenCV's are BGR, and diffusers takes uint8
    arrays for floats.

    Args:
        picture: a PIL picture or the path of a picture file.
        what: what the sentence calls it, such as "The reference picture".

    Raises:
        LessonError: None (what `cv2.imread` returns for a missing file), an array, a tensor, a file that is
            missing or no picture, a picture of more than 8 bits.
    """
    if isinstance(picture, str | os.PathLike):
        picture = _read(picture, what)
    if not isinstance(picture, Image.Image):
        raise LessonError(f"{what} {_why_not(picture)}.")
    picture = ImageOps.exif_transpose(picture)
    if picture.mode in _TRANSPARENT or "transparency" in picture.info:
        layer = picture.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")
    if picture.mode not in _OPAQUE:
        raise LessonError(
            f"{what} has mode {picture.mode}, more than 8 bits a channel: scale it to 0..255 and give "
            'Image.fromarray(values.astype("uint8")).'
        )
    return picture.convert("RGB")


def checked_size(size: tuple[int, int], what: str = "The size") -> tuple[int, int]:
    """`size` as (width, height), both positive multiples of 8.

    Raises:
        LessonError: it is not; the sentence names the nearest that is.
    """
    try:
        width, height = (int(side) for side in size)
        whole = (width, height) == tuple(size)
    except (TypeError, ValueError):
        raise LessonError(f"{what} must be (width, height) in pixels, not {size!r}.") from None
    if not whole or width < 8 or height < 8 or width % 8 or height % 8:
        near = tuple(max(8, 8 * round(side / 8)) for side in (width, height))
        raise LessonError(
            f"{what} is {size[0]} x {size[1]}: both sides must be multiples of 8, such as {near[0]} x {near[1]}."
        )
    return width, height


def fitted(picture: Image.Image, size: tuple[int, int]) -> Image.Image:
    """The picture at `size`, its middle cut to the asked proportions rather than stretched."""
    return picture if picture.size == size else ImageOps.fit(picture, size, Image.Resampling.LANCZOS)


def _read(path: str | os.PathLike[str], what: str) -> Image.Image:
    try:
        with Image.open(path) as picture:
            picture.load()
            return picture
    except FileNotFoundError:
        raise LessonError(f"{what} '{os.fspath(path)}' does not exist: check the path.") from None
    except OSError as error:
        raise LessonError(f"{what} '{os.fspath(path)}' is no picture that can be read ({error}).") from error


def _why_not(value: Any) -> str:
    if value is None:
        return "is None, which cv2.imread returns when there is no such file: check the path"
    if isinstance(value, np.ndarray):
        if value.dtype != np.uint8:
            return f"is a {value.dtype} array: give Image.fromarray((255 * rgb).round().astype('uint8')) for values in 0..1"
        return (
            "is an array, and its channels may be RGB or BGR: give Image.fromarray(rgb), after "
            "cv2.cvtColor(picture, cv2.COLOR_BGR2RGB) if cv2.imread read it"
        )
    return f"is a {type(value).__name__}: give a PIL picture or the path of a file"
