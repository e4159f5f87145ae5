"""What makes a style: pastel light, paper and ink, brush strokes, pixels. Each is a filter over uint8 RGB [H, W, 3]."""

from __future__ import annotations

import functools

import cv2
import numpy as np


def pastel(image: np.ndarray) -> np.ndarray:
    """Soft style's background: paler, and slightly out of focus."""
    blurred = cv2.GaussianBlur(image, (0, 0), 1.4)
    return cv2.addWeighted(blurred, 0.62, np.full_like(image, 255), 0.38, 0)


def ink_wash(image: np.ndarray, paper: tuple[float, float, float]) -> np.ndarray:
    """Ink style's background: contours in ink, and two tones of diluted ink where it is dark, on coloured paper."""
    gray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    smooth = cv2.GaussianBlur(gray, (0, 0), 0.8)
    steep = cv2.morphologyEx(smooth, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8))
    contour = np.clip(steep.astype(np.int16) * 5 - 60, 0, 200)
    wash = np.where(smooth < 70, 84, np.where(smooth < 125, 42, 0))
    ink = np.maximum(contour, wash).astype(np.float32)[..., None] / 255
    return ((1 - ink) * np.asarray(paper, np.float32)).astype(np.uint8)


def oil(image: np.ndarray) -> np.ndarray:
    """Brush strokes by Kuwahara's filter (1976): each pixel takes the mean of its calmest neighbouring window."""
    source = image.astype(np.float32)
    luma = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
    window = 5
    best = np.full(luma.shape, np.inf, np.float32)
    out = source.copy()
    for anchor in ((0, 0), (window - 1, 0), (0, window - 1), (window - 1, window - 1)):
        box = {"ksize": (window, window), "anchor": anchor, "borderType": cv2.BORDER_REFLECT}
        mean = cv2.boxFilter(luma, -1, **box)
        variance = cv2.sqrBoxFilter(luma, -1, **box) - mean * mean
        calmer = variance < best
        best = np.where(calmer, variance, best)
        out = np.where(calmer[..., None], cv2.boxFilter(source, -1, **box), out)
    canvas = _weave(*luma.shape)[..., None]
    gray = out.mean(axis=2, keepdims=True)
    vivid = gray + 1.25 * (out - gray)
    warm = (vivid - 128) * 1.1 + np.array([136, 127, 112], np.float32)  # varnish: more contrast, and warmer
    return np.clip(warm + canvas, 0, 255).astype(np.uint8)


@functools.cache
def _weave(height: int, width: int) -> np.ndarray:
    """The relief of a canvas, float32 [H, W]: the same cloth under every painting."""
    y, x = np.mgrid[:height, :width].astype(np.float32) * (np.pi / 4)
    return 3 * (np.sin(x) + np.sin(y))


def pixels(image: np.ndarray) -> np.ndarray:
    """Blocks of three pixels in a small palette."""
    height, width = image.shape[:2]
    small = cv2.resize(image, (-(-width // 3), -(-height // 3)), interpolation=cv2.INTER_AREA)
    step = 36
    small = np.clip((small.astype(np.int16) + step // 2) // step * step, 0, 255).astype(np.uint8)
    return np.ascontiguousarray(small.repeat(3, axis=0).repeat(3, axis=1)[:height, :width])
