"""Line art: soft white lines on black along the borders of things and the main lines inside them; no texture."""

from __future__ import annotations

import cv2
import numpy as np

from lessonlib.world.render import Rendered

_SOFT = (3, 3)  # the pen's width, in pixels


def from_truth(rendered: Rendered) -> np.ndarray:
    """uint8 [H, W, 3]: every true border, and the picture's edges inside the things."""
    borders = rendered.outlines
    # an edge beside a border is the same line seen twice
    inside = (rendered.instances > 0) & (cv2.dilate(borders, np.ones((5, 5), np.uint8)) == 0)
    return _pen(np.maximum(borders, np.where(inside, rendered.edges, 0).astype(np.uint8)))


def from_picture(picture: np.ndarray) -> np.ndarray:
    """uint8 [H, W, 3] of an RGB picture uint8 [H, W, 3]: its edges once texture is smoothed away."""
    smooth = cv2.bilateralFilter(picture, 7, 50, 5)
    return _pen(cv2.Canny(smooth, 60, 140))  # in colour: the channel that changes most decides


def _pen(lines: np.ndarray) -> np.ndarray:
    """Lines a pixel wide, drawn with a soft pen."""
    soft = cv2.GaussianBlur(lines, _SOFT, 0)
    return cv2.cvtColor(cv2.convertScaleAbs(soft, alpha=2.0), cv2.COLOR_GRAY2RGB)
