"""Depth as MiDaS gives it: near is bright, far is dark, and every map runs from 0 to 255."""

from __future__ import annotations

import cv2
import numpy as np

from lessonlib.world.render import Rendered


def from_truth(rendered: Rendered) -> np.ndarray:
    """uint8 [H, W, 3]."""
    return draw(rendered.depth)


def from_picture(picture: np.ndarray) -> np.ndarray:
    """uint8 [H, W, 3]: the depth that the judge reads from an RGB picture uint8 [H, W, 3]."""
    from lessonlib.judge import judge

    height, width = picture.shape[:2]
    return draw(cv2.resize(judge(picture)[0].depth, (width, height), interpolation=cv2.INTER_CUBIC))


def draw(depth: np.ndarray) -> np.ndarray:
    """uint8 [H, W, 3] of depth [H, W], 0 near to 1 far. A picture all at one depth is black."""
    near, far = float(depth.min()), float(depth.max())
    # d' = (max d - d) / (max d - min d): only the order and the ratios of depths are known
    bright = (far - depth) * (255 / max(far - near, 1e-6))
    return cv2.cvtColor(np.round(bright).astype(np.uint8), cv2.COLOR_GRAY2RGB)
