"""Scribbles: the few thick white strokes on black with which a hand would outline things."""

from __future__ import annotations

import cv2
import numpy as np

from lessonlib.errors import LessonError
from lessonlib.world.render import Rendered

# fractions of the shorter side: a stroke's width, how far it may leave the true line, the shortest one drawn
_WIDTH, _SLOPPY, _SHORTEST = 0.022, 0.014, 0.16


def from_truth(rendered: Rendered) -> np.ndarray:
    """uint8 [H, W, 3]: strokes along the borders of the things and of the parts of the background."""
    regions = [rendered.instances == index + 1 for index in range(len(rendered.boxes))]
    background = np.where(rendered.instances > 0, 255, rendered.classes).astype(np.uint8)
    there = np.bincount(background.ravel(), minlength=256)[:255]
    regions += [background == index for index in np.flatnonzero(there)]
    # regions end at the frame too, where a hand draws nothing: let them go on beyond it
    beyond = min(rendered.classes.shape) // 8
    masks = [region.astype(np.uint8) for region in regions]
    wide = [cv2.copyMakeBorder(m, beyond, beyond, beyond, beyond, cv2.BORDER_REPLICATE) for m in masks]
    strokes = _strokes(wide)[beyond:-beyond, beyond:-beyond]
    return cv2.cvtColor(np.ascontiguousarray(strokes), cv2.COLOR_GRAY2RGB)


def from_picture(picture: np.ndarray) -> np.ndarray:
    """uint8 [H, W, 3] of an RGB picture uint8 [H, W, 3]: strokes along its long edges."""
    sigma = min(picture.shape[:2]) / 100
    edges = cv2.Canny(cv2.GaussianBlur(picture, (0, 0), sigma), 60, 140)  # in colour
    return cv2.cvtColor(_strokes([edges]), cv2.COLOR_GRAY2RGB)


def from_drawing(drawing: np.ndarray) -> np.ndarray:
    """uint8 [H, W, 3] of dark strokes on light paper, RGB uint8 [H, W, 3]: white on black, as ControlNet learned it.

    Raises:
        LessonError: the paper is dark: the drawing is a scribble map already.
    """
    dark = drawing.min(axis=2) < 127
    if dark.mean() > 0.5:
        raise LessonError(
            "The drawing is mostly dark, not dark strokes on light paper: if it is white on black, use it as it is."
        )
    return np.repeat((dark * np.uint8(255))[..., None], 3, axis=2)


def _strokes(regions: list[np.ndarray]) -> np.ndarray:
    """uint8 [H, W]: the contours of the regions' masks, simplified to a few straight pieces."""
    height, width = regions[0].shape
    side = min(height, width)
    canvas = np.zeros((height, width), np.uint8)
    for region in regions:
        contours, _ = cv2.findContours(region, cv2.RETR_LIST, cv2.CHAIN_APPROX_SIMPLE)
        long = [c for c in contours if cv2.arcLength(c, True) >= _SHORTEST * side]
        simple = [cv2.approxPolyDP(c, _SLOPPY * side, True) for c in long]
        cv2.polylines(canvas, simple, True, 255, max(1, round(_WIDTH * side)), cv2.LINE_AA)
    return canvas
