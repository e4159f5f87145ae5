"""How far surface normals are from the truth."""

from __future__ import annotations

import numpy as np


def normal_angle(found: np.ndarray, asked: np.ndarray) -> float:
    """Mean angle in degrees between two fields of unit vectors [H, W, 3]."""
    # atan2(|a x b|, a.b) is exact near 0 and 180 degrees, where arccos loses half its digits
    cross = np.linalg.norm(np.cross(found, asked), axis=-1)
    dot = np.sum(np.asarray(found, np.float64) * asked, axis=-1)
    return float(np.degrees(np.arctan2(cross, dot)).mean())
