"""How well two class maps overlap."""

from __future__ import annotations

import numpy as np


def mean_iou(found: np.ndarray, asked: np.ndarray) -> float:
    """Intersection over union of integer class maps of one shape, averaged over the asked classes.

    Counts run over the whole array, so a set of pictures [N, H, W] is measured as one (PASCAL VOC, Everingham
    et al. 2010).
    """
    found, asked = np.asarray(found), np.asarray(asked)
    ratios = []
    for index in np.unique(asked):
        a, b = found == index, asked == index
        ratios.append(np.count_nonzero(a & b) / np.count_nonzero(a | b))
    return float(np.mean(ratios))
