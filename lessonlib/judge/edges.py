"""Whether two edge maps agree, up to a few pixels."""

from __future__ import annotations

import cv2
import numpy as np


def edge_f1(found: np.ndarray, asked: np.ndarray, tolerance: float = 2.0) -> float:
    """F1 of two edge maps [H, W] (non-zero is edge).

    Precision is the share of found edge pixels with an asked one within `tolerance` pixels; recall the same
    the other way round. Unlike BSDS's measure (Martin et al. 2004) pixels are not matched one to one, so a
    thick edge costs nothing. Two empty maps agree (1); one empty map is 0.
    """
    found, asked = np.asarray(found) > 0, np.asarray(asked) > 0
    if not found.any() or not asked.any():
        return float(found.any() == asked.any())
    precision = (_distance_to(asked)[found] <= tolerance).mean()
    recall = (_distance_to(found)[asked] <= tolerance).mean()
    return float(2 * precision * recall / (precision + recall)) if precision + recall else 0.0


def _distance_to(mask: np.ndarray) -> np.ndarray:
    """Distance in pixels from each pixel to the nearest one of the mask."""
    return cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
