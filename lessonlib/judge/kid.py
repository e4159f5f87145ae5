"""KID, the kernel distance of two sets of pictures (Binkowski et al. 2018, Demystifying MMD GANs, section 4).

Unlike FID its estimate is unbiased at any number of pictures: the same distribution gives 0 on average.
"""

from __future__ import annotations

import numpy as np

from lessonlib.judge.intervals import Interval

_DRAWS = 1000


def kid(generated: np.ndarray, real: np.ndarray, seed: int = 0) -> Interval:
    """KID of two sets of features [N, F] and [M, F], with its 95 % bootstrap interval.

    Raises:
        ValueError: fewer than two pictures in a set.
    """
    rng = np.random.default_rng(seed)
    weights_x, weights_y = _resampled(rng, len(generated)), _resampled(rng, len(real))
    draws = _mmd2(generated, real, weights_x, weights_y)
    low, high = np.nanpercentile(draws[1:], (2.5, 97.5))
    return Interval(float(draws[0]), float(low), float(high), len(generated))


def kid_difference(first: np.ndarray, second: np.ndarray, real: np.ndarray, seed: int = 0) -> Interval:
    """KID(first, real) - KID(second, real), row k of both being made from the same prompt and seed.

    The interval draws the same prompts and the same real pictures for both, so what they share cancels.

    Raises:
        ValueError: sets of different lengths, or fewer than two pictures in a set.
    """
    if len(first) != len(second):
        raise ValueError("Paired sets must have the same length.")
    rng = np.random.default_rng(seed)
    weights_x, weights_y = _resampled(rng, len(first)), _resampled(rng, len(real))
    draws = _mmd2(first, real, weights_x, weights_y) - _mmd2(second, real, weights_x, weights_y)
    low, high = np.nanpercentile(draws[1:], (2.5, 97.5))
    return Interval(float(draws[0]), float(low), float(high), len(first))


def _resampled(rng: np.random.Generator, n: int) -> np.ndarray:
    """How often each picture counts, [1 + draws, N]: first once (the estimate itself), then by chance."""
    if n < 2:
        raise ValueError("KID needs at least two pictures in each set.")
    return np.vstack([np.ones(n), rng.multinomial(n, np.full(n, 1 / n), size=_DRAWS)])


def _mmd2(x: np.ndarray, y: np.ndarray, wx: np.ndarray, wy: np.ndarray) -> np.ndarray:
    """The unbiased MMD² for every row of weights; a picture is never compared with its own copy."""
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    across = np.einsum("di,ij,dj->d", wx, _kernel(x, y), wy, optimize=True) / (wx.sum(1) * wy.sum(1))
    return _within(x, wx) + _within(y, wy) - 2 * across


def _within(x: np.ndarray, weights: np.ndarray) -> np.ndarray:
    gram = _kernel(x, x)
    np.fill_diagonal(gram, 0)
    pairs = weights.sum(1) ** 2 - np.square(weights).sum(1)
    # in tiny sets a draw may be one picture over and over: it has no pairs
    pairs = np.where(pairs > 0, pairs, np.nan)
    return np.einsum("di,ij,dj->d", weights, gram, weights, optimize=True) / pairs


def _kernel(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return (x @ y.T / x.shape[1] + 1) ** 3  # k(x, y) = (xᵀy / d + 1)³
