"""Target beside yours, as a picture."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image

CELL = 16  # screen pixels a value
GAP = 12


def maps_beside(expected: np.ndarray, got: np.ndarray) -> Image:
    """The first channel of the first example, expected left, got right, on one colour scale.

    Args:
        expected, got: (B, C, H, W), of one shape.

    Returns:
        RGBA picture: orange above zero, blue below, transparent at zero, so that it reads on light and dark
        pages.
    """
    import numpy as np
    from PIL import Image

    left, right = (np.nan_to_num(values[0, 0], posinf=0.0, neginf=0.0) for values in (expected, got))
    largest = float(np.quantile(np.abs(left), 0.95)) or 1.0
    gap = np.zeros((left.shape[0] * CELL, GAP, 4), np.uint8)
    return Image.fromarray(np.hstack([_colour(left / largest), gap, _colour(right / largest)]), "RGBA")


def _colour(values: np.ndarray) -> np.ndarray:
    import numpy as np

    strength = np.clip(values, -1, 1)[..., None]
    rgb = np.where(strength > 0, (230, 120, 20), (40, 120, 220))
    rgba = np.concatenate([rgb, 255 * np.abs(strength)], axis=-1).round().astype(np.uint8)
    return rgba.repeat(CELL, 0).repeat(CELL, 1)
