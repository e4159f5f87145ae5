"""Canny edges: white lines, one pixel wide, on black."""

from __future__ import annotations

import cv2
import numpy as np

from lessonlib.world.render import Rendered

LOW, HIGH = 100, 200  # the thresholds of the lesson and of the published ControlNet's demo


def from_truth(rendered: Rendered) -> np.ndarray:
    """uint8 [H, W, 3]: the edges of the scene's picture; its texture has edges too."""
    return cv2.cvtColor(rendered.edges, cv2.COLOR_GRAY2RGB)


def from_picture(picture: np.ndarray, low: float = LOW, high: float = HIGH) -> np.ndarray:
    """uint8 [H, W, 3] of an RGB picture uint8 [H, W, 3]."""
    edges = cv2.Canny(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), low, high)
    return cv2.cvtColor(edges, cv2.COLOR_GRAY2RGB)
