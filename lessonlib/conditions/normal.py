"""Surface normals as colours: red is left, green is up, blue faces the camera; (n + 1) / 2.

These are the signs of the derivatives of MiDaS's inverse depth, from which ControlNet's normal maps were made:
on the left side of a ball nearness grows to the right, so red is bright there.
"""

from __future__ import annotations

import cv2
import numpy as np

from lessonlib.world.render import Rendered


def from_truth(rendered: Rendered) -> np.ndarray:
    """uint8 [H, W, 3]."""
    return draw(rendered.normals)


def from_picture(picture: np.ndarray) -> np.ndarray:
    """uint8 [H, W, 3]: the normals that the judge reads from an RGB picture uint8 [H, W, 3]."""
    from lessonlib.judge import judge

    height, width = picture.shape[:2]
    normals = cv2.resize(judge(picture)[0].normals, (width, height), interpolation=cv2.INTER_LINEAR)
    return draw(normals / np.linalg.norm(normals, axis=2, keepdims=True))


def draw(normals: np.ndarray) -> np.ndarray:
    """uint8 [H, W, 3] of unit vectors [H, W, 3]: x right, y up, z towards the camera."""
    signed = normals * np.array((-127.5, 127.5, 127.5), np.float32)
    return cv2.convertScaleAbs(signed + np.float32(127.5))
