"""Whether key points are where they should be."""

from __future__ import annotations

import numpy as np


def pck(
    found: np.ndarray | None,
    asked: np.ndarray,
    size: float,
    visible: np.ndarray | None = None,
    alpha: float = 0.1,
) -> float:
    """PCK: the share of visible key points within `alpha * size` pixels (Yang and Ramanan 2013, section 5.2).

    Args:
        found: [K, 2] in pixels, or None where nobody was found: 0.
        asked: [K, 2] in pixels.
        size: the larger side of the person's box, in pixels.
        visible: bool [K]; by default all.
    """
    counted = np.ones(len(asked), bool) if visible is None else np.asarray(visible, bool)
    if found is None or not counted.any():
        return 0.0
    distance = np.linalg.norm(np.asarray(found, np.float64) - asked, axis=1)
    return float((distance[counted] <= alpha * size).mean())
