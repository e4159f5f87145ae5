"""How much pictures of one prompt differ."""

from __future__ import annotations

import numpy as np


def diversity(features: np.ndarray) -> float:
    """Mean distance between the features [N, F] of all pairs of pictures; 0 when all are the same.

    Raises:
        ValueError: fewer than two pictures.
    """
    points = np.asarray(features, np.float64)
    if len(points) < 2:
        raise ValueError("Diversity needs at least two pictures.")
    squares = np.square(points).sum(1)
    distances2 = squares[:, None] + squares - 2 * points @ points.T
    upper = np.triu_indices(len(points), 1)
    return float(np.sqrt(distances2[upper].clip(0)).mean())
