"""A body's pose as OpenPose's coloured stick figure, drawn the way controlnet_aux draws it.

18 key points in COCO-18 order (`world.people.KEYPOINTS`); a limb has 60 % of its colour's brightness, a key point the
full one. At 512 pixels limbs are 8 pixels wide and key points have a radius of 4; smaller pictures are drawn finer.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np

from lessonlib.errors import LessonError
from lessonlib.world.render import Rendered

Point = tuple[float, float]

# the two key points of each limb, in drawing order: shoulders, arms, hips and legs, neck, face
LIMBS: tuple[tuple[int, int], ...] = (
    (1, 2), (1, 5), (2, 3), (3, 4), (5, 6), (6, 7), (1, 8), (8, 9), (9, 10), (1, 11), (11, 12), (12, 13),
    (1, 0), (0, 14), (14, 16), (0, 15), (15, 17),
)  # fmt: skip
# the colour of limb i, and of key point i
COLORS: tuple[tuple[int, int, int], ...] = (
    (255, 0, 0), (255, 85, 0), (255, 170, 0), (255, 255, 0), (170, 255, 0), (85, 255, 0), (0, 255, 0),
    (0, 255, 85), (0, 255, 170), (0, 255, 255), (0, 170, 255), (0, 85, 255), (0, 0, 255), (85, 0, 255),
    (170, 0, 255), (255, 0, 255), (255, 0, 170), (255, 0, 85),
)  # fmt: skip
NOBODY = "No person was found in the picture, so it has no pose: give one that shows a person."
SURE = 0.25  # from this share of its map's probability on, the judge's key point is drawn


def from_truth(rendered: Rendered) -> np.ndarray:
    """uint8 [H, W, 3]; black where the scene has no person."""
    height, width = rendered.classes.shape
    points = [] if rendered.keypoints is None else [(float(x), float(y)) for x, y in rendered.keypoints]
    return draw(points, height, width)


def from_picture(picture: np.ndarray) -> np.ndarray:
    """uint8 [H, W, 3]: the pose that the judge reads from an RGB picture uint8 [H, W, 3].

    Raises:
        LessonError: the judge sees nobody.
    """
    return draw(read(picture), *picture.shape[:2])


def read(picture: np.ndarray) -> list[Point | None]:
    """The 18 key points (x, y) in pixels that the judge sees in an RGB picture uint8 [H, W, 3], None where unsure.

    Raises:
        LessonError: the judge sees nobody.
    """
    from lessonlib.judge import judge

    person = judge(picture)[0].person
    if person is None:
        raise LessonError(NOBODY)
    return [
        (float(x), float(y)) if confidence >= SURE else None
        for (x, y), confidence in zip(person.keypoints, person.confidence, strict=True)
    ]


def draw(points: Sequence[Point | None], height: int, width: int) -> np.ndarray:
    """uint8 [H, W, 3] of key points (x, y) in pixels, None where one was not found.

    Args:
        points: eighteen, or none at all: an empty map.
    """
    canvas = np.zeros((height, width, 3), np.uint8)
    if not points:
        return canvas
    thick = max(2, round(min(height, width) / 128))
    for (start, end), color in zip(LIMBS, COLORS, strict=False):
        a, b = points[start], points[end]
        if a is None or b is None:
            continue
        middle = (int((a[0] + b[0]) / 2), int((a[1] + b[1]) / 2))
        half = int(math.dist(a, b) / 2)
        angle = int(math.degrees(math.atan2(a[1] - b[1], a[0] - b[0])))
        limb = np.array(cv2.ellipse2Poly(middle, (half, thick), angle, 0, 360, 1))
        cv2.fillConvexPoly(canvas, limb, [int(c * 0.6) for c in color])
    for point, color in zip(points, COLORS, strict=True):
        if point is not None:
            cv2.circle(canvas, (int(point[0]), int(point[1])), thick, color, thickness=-1)
    return canvas
