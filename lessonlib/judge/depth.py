"""How far a depth map is from the truth."""

from __future__ import annotations

import numpy as np


def depth_rmse(found: np.ndarray, asked: np.ndarray) -> float:
    """Root mean square difference of two depth maps of one shape (0 near, 1 far).

    No scale is fitted, as a relative depth estimate would need: the world's own is known.
    """
    return float(np.sqrt(np.square(np.asarray(found, np.float64) - asked).mean()))
