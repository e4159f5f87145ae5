"""Canny's edge detector: where the picture changes most, thinned to a pixel and followed where it is faint.

Source: Canny, "A Computational Approach to Edge Detection" (1986). The choices that the paper leaves
open (Sobel's derivative, |dx| + |dy|, four directions in whole numbers) are OpenCV's, so that `canny` gives
`cv2.Canny`'s edges pixel by pixel. numpy alone.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Int, Shaped, UInt8

from lessonlib.errors import LessonError


def canny(
    image: Shaped[np.ndarray, "h w"] | Shaped[np.ndarray, "h w 3"],
    low_threshold: float,
    high_threshold: float,
) -> UInt8[np.ndarray, "h w"]:
    """Edges as 255 on 0, of a grey or colour picture in 0..255.

    A pixel is an edge if its gradient is a maximum across the edge and above `high_threshold`, or above
    `low_threshold` and connected to one that is. `cv2.Canny(image, low, high)` with its defaults: no
    smoothing (see `smooth`), 3x3 Sobel.

    Raises:
        LessonError: the picture is not uint8, or the thresholds are in the wrong order.
    """
    if image.dtype != np.uint8:
        raise LessonError(
            f"The picture holds {image.dtype}, not uint8: scale it to 0..255 and convert it first."
        )
    if low_threshold > high_threshold:
        raise LessonError(
            f"The low threshold {low_threshold} is above the high one {high_threshold}: swap them."
        )
    dx, dy = gradient(image)
    magnitude = np.abs(dx) + np.abs(dy)
    ridge = non_maximum_suppression(dx, dy, magnitude)
    weak = ridge & (magnitude > np.floor(low_threshold))
    strong = ridge & (magnitude > np.floor(high_threshold))
    return np.where(hysteresis(weak, strong), 255, 0).astype(np.uint8)


def smooth(image: UInt8[np.ndarray, "h w"], sigma: float) -> UInt8[np.ndarray, "h w"]:
    """A Gaussian blur of standard deviation `sigma` pixels: the scale of the edges to find.

    Canny smooths first; OpenCV leaves it to the caller.

    Source: Canny (1986), on the first derivative of a Gaussian as the detector of step edges.
    """
    radius = round(3 * sigma)
    offsets = np.arange(-radius, radius + 1)
    # G(x) = exp(-x^2 / 2 sigma^2), and G(x, y) = G(x) G(y): one axis after the other
    kernel = np.exp(-(offsets**2) / (2 * sigma**2))
    kernel /= kernel.sum()
    blurred = image.astype(np.float64)
    for axis in (0, 1):
        length = blurred.shape[axis]
        padded = np.pad(blurred, [(radius, radius) if a == axis else (0, 0) for a in (0, 1)], mode="reflect")
        shifted = [w * np.take(padded, np.arange(i, i + length), axis) for i, w in enumerate(kernel)]
        blurred = np.sum(shifted, axis=0)
    return np.rint(blurred).astype(np.uint8)


def gradient(
    image: UInt8[np.ndarray, "h w"] | UInt8[np.ndarray, "h w 3"],
) -> tuple[Int[np.ndarray, "h w"], Int[np.ndarray, "h w"]]:
    """(dx, dy) by Sobel's 3x3 kernels, the border repeated; of colours, the channel that changes most."""
    channels = image[..., None] if image.ndim == 2 else image
    p = np.pad(channels.astype(np.int64), ((1, 1), (1, 1), (0, 0)), mode="edge")
    # S_x = [1 2 1]^T [-1 0 1],  S_y = [-1 0 1]^T [1 2 1]
    down = p[:-2] + 2 * p[1:-1] + p[2:]
    across = p[:, :-2] + 2 * p[:, 1:-1] + p[:, 2:]
    dx, dy = down[:, 2:] - down[:, :-2], across[2:] - across[:-2]
    most = (np.abs(dx) + np.abs(dy)).argmax(axis=-1)[..., None]
    return np.take_along_axis(dx, most, -1)[..., 0], np.take_along_axis(dy, most, -1)[..., 0]


def non_maximum_suppression(
    dx: Int[np.ndarray, "h w"], dy: Int[np.ndarray, "h w"], magnitude: Int[np.ndarray, "h w"]
) -> Bool[np.ndarray, "h w"]:
    """True where the magnitude tops both neighbours along the gradient, its direction rounded to 45 degrees.

    Of two equal neighbours the first wins along an axis, and neither on a diagonal. Beyond the picture it is
    0.

    Source: Canny (1986), on edges in two dimensions: a maximum across the edge.
    """
    h, w = magnitude.shape
    padded = np.pad(magnitude, 1)

    def neighbour(down: int, right: int) -> np.ndarray:
        return padded[1 + down : 1 + down + h, 1 + right : 1 + right + w]

    # tan(22.5 deg) in 15 binary digits; tan(67.5 deg) = tan(22.5 deg) + 2
    x, y = np.abs(dx), np.abs(dy) << 15
    tan_22 = x * 13573
    tan_67 = tan_22 + (x << 16)
    horizontal = (magnitude > neighbour(0, -1)) & (magnitude >= neighbour(0, 1))
    vertical = (magnitude > neighbour(-1, 0)) & (magnitude >= neighbour(1, 0))
    falling = (magnitude > neighbour(-1, -1)) & (magnitude > neighbour(1, 1))
    rising = (magnitude > neighbour(-1, 1)) & (magnitude > neighbour(1, -1))
    diagonal = np.where((dx ^ dy) < 0, rising, falling)
    return np.select([y < tan_22, y > tan_67], [horizontal, vertical], diagonal)


def hysteresis(weak: Bool[np.ndarray, "h w"], strong: Bool[np.ndarray, "h w"]) -> Bool[np.ndarray, "h w"]:
    """The weak pixels that a chain of weak neighbours, of eight, ties to a strong one.

    Source: Canny (1986), on thresholding with hysteresis.
    """
    h, w = weak.shape
    edges = np.zeros((h + 2, w + 2), dtype=bool)
    candidates = np.pad(weak, 1)
    front = [tuple(place) for place in np.argwhere(strong) + 1]
    edges[1:-1, 1:-1] = strong
    while front:
        row, column = front.pop()
        near = np.s_[row - 1 : row + 2, column - 1 : column + 2]
        fresh = candidates[near] & ~edges[near]
        edges[near] |= fresh
        front += [(row - 1 + i, column - 1 + j) for i, j in np.argwhere(fresh)]
    return edges[1:-1, 1:-1]
