"""Where a face is: a square around the head, found by its key points. An adapter for faces needs the face alone."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence

import numpy as np
from PIL import Image

from lessonlib.conditions import detectors, pose
from lessonlib.conditions.pictures import rgb
from lessonlib.errors import LessonError
from lessonlib.models import machine

Box = tuple[int, int, int, int]

_RIGHT_EYE, _LEFT_EYE, _RIGHT_EAR, _LEFT_EAR = 14, 15, 16, 17
# lengths in units of the distance between the ears
_SIDE, _ABOVE_EARS, _ABOVE_EYES, _EYES = 1.75, 0.16, 0.05, 0.4


def crop(picture: Image.Image | str | os.PathLike[str], box: Box | None = None) -> Image.Image:
    """The face of the person in the picture, as a square RGB picture.

    Args:
        box: (x0, y0, x1, y1) in pixels; by default `find`'s.

    Raises:
        LessonError: what `pictures.rgb` and `find` say; a box that is not inside the picture.
    """
    picture = rgb(picture, "The picture of the face")
    x0, y0, x1, y1 = find(picture) if box is None else box
    width, height = picture.size
    if not (0 <= x0 < x1 <= width and 0 <= y0 < y1 <= height):
        raise LessonError(
            f"The face's box {(x0, y0, x1, y1)} is not inside the picture of {width} x {height}: "
            "give (left, top, right, bottom) in pixels."
        )
    return picture.crop((x0, y0, x1, y1))


def find(picture: Image.Image) -> Box:
    """A square around the head: the judge's key points in the tiny tier, OpenPose's in the full one.

    Raises:
        LessonError: no person, or one whose face is not seen.
    """
    full = machine.tier() == "full"
    points = detectors.keypoints(picture) if full else pose.read(np.asarray(picture))
    return around(points, picture.size)


def around(points: Sequence[pose.Point | None], size: tuple[int, int]) -> Box:
    """A square (x0, y0, x1, y1) around the head inside a picture of `size` (width, height).

    Args:
        points: 18 key points (x, y) in pixels; two ears or two eyes are enough.

    Raises:
        LessonError: neither both eyes nor both ears were found.
    """
    ears, eyes = (points[_RIGHT_EAR], points[_LEFT_EAR]), (points[_RIGHT_EYE], points[_LEFT_EYE])
    if ears[0] is not None and ears[1] is not None:
        (left, right), unit, above = (ears[0], ears[1]), math.dist(ears[0], ears[1]), _ABOVE_EARS
    elif eyes[0] is not None and eyes[1] is not None:
        (left, right), unit, above = (eyes[0], eyes[1]), math.dist(eyes[0], eyes[1]) / _EYES, _ABOVE_EYES
    else:
        raise LessonError(
            "No face was found in the picture: give its box (left, top, right, bottom) in pixels."
        )
    side = max(8, min(round(_SIDE * unit), *size))
    middle = ((left[0] + right[0]) / 2, (left[1] + right[1]) / 2 - above * unit)
    x0, y0 = (min(max(round(c - side / 2), 0), whole - side) for c, whole in zip(middle, size, strict=True))
    return x0, y0, x0 + side, y0 + side
