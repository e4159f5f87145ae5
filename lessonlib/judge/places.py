"""Whether things are where words put them.

The idea is GenEval's (Ghosh et al. 2023, section 3): a thing is "left" if its centre is off by more than a
share of its size; shifts smaller than that say nothing. Boxes are (x0, y0, x1, y1) in pixels; y runs down.
"""

from __future__ import annotations

import numpy as np

Box = tuple[float, float, float, float]

OFFSET = 0.1  # GenEval's c: the shift that counts, as a share of the size


def side(box: Box) -> float:
    """The larger side, in pixels."""
    return max(box[2] - box[0], box[3] - box[1])


def centre(box: Box) -> np.ndarray:
    """(x, y) in pixels."""
    return np.array([box[0] + box[2], box[1] + box[3]]) / 2


def is_at(place: str, box: Box, width: int, height: int) -> bool:
    """Whether the box's centre is at the picture's "left", "right", "top", "bottom" or in its "middle"."""
    dx, dy = (centre(box) - (width / 2, height / 2)) / side(box)
    if place == "middle":  # the world's middle is a little low, where things stand
        return bool(abs(dx) <= 2.5 * OFFSET and abs(dy) <= 2.5 * OFFSET)
    along, across = (dx, dy) if place in ("left", "right") else (dy, dx)
    toward = -along if place in ("left", "top") else along
    return bool(toward > OFFSET and toward > abs(across) - OFFSET)


def size_word(box: Box, width: int, height: int) -> str:
    """ "small", "" (unmarked) or "large", by the box's larger side against the picture's shorter one."""
    share = side(box) / min(width, height)
    return "small" if share < 0.43 else "large" if share > 0.58 else ""


def holds(relation: str, first: Box, second: Box) -> bool:
    """Whether `first relation second` can be seen, for every relation of the world's vocabulary."""
    mean = (side(first) + side(second)) / 2
    dx, dy = (centre(first) - centre(second)) / mean
    overlap = min(first[2], second[2]) - max(first[0], second[0])
    apart = max(0.0, max(first[1], second[1]) - min(first[3], second[3]))  # empty rows between the two
    if relation == "next to":
        return bool(abs(dx) > OFFSET and abs(dx) > abs(dy))
    if relation == "to the left of":
        return bool(-dx > OFFSET and -dx > abs(dy))
    if relation == "to the right of":
        return bool(dx > OFFSET and dx > abs(dy))
    if relation == "above":
        return bool(-dy > OFFSET and -dy > abs(dx))
    if relation == "in front of":  # what stands lower stands nearer
        return bool(first[3] > second[3] and overlap > 0 and apart == 0)
    if relation == "wearing":  # `first` is the hat
        return bool(dy < -OFFSET and abs(dx) < 2.5 * OFFSET and apart < 0.1 * mean)
    raise ValueError(f"Unknown relation {relation!r}.")
