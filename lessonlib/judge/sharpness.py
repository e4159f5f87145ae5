"""How sharp a picture is, whatever its contrast."""

from __future__ import annotations

import cv2
import numpy as np


def sharpness(image: np.ndarray) -> float:
    """Variance of the Laplacian (LAPV of Pertuz et al. 2013) over the variance of the grey values.

    Args:
        image: uint8 RGB [H, W, 3].

    Returns:
        0 for a flat picture; larger is sharper; halving the contrast changes nothing.
    """
    gray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float64)
    variance = gray.var()
    if variance < 1e-6:
        return 0.0
    return float(cv2.Laplacian(gray, cv2.CV_64F).var() / variance)
