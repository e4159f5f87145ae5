"""How sure a measured figure is: 95 % intervals for shares and for means."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

Z = 1.959964  # the normal distribution's 97.5 % point


class Interval(NamedTuple):
    """A measured value, its 95 % interval, and how many pictures it rests on."""

    value: float
    low: float
    high: float
    n: int


def wilson(successes: int, n: int) -> Interval:
    """The interval of a share (Wilson 1927): honest near 0 and 1, where value +- error is not.

    No trials at all give NaN, with the interval 0..1: nothing is known.
    """
    if n == 0:
        return Interval(float("nan"), 0.0, 1.0, 0)
    p = float(successes / n)
    # (p + z²/2n ± z sqrt(p(1-p)/n + z²/4n²)) / (1 + z²/n)
    center = (p + Z**2 / (2 * n)) / (1 + Z**2 / n)
    half = Z * np.sqrt(p * (1 - p) / n + Z**2 / (4 * n**2)) / (1 + Z**2 / n)
    return Interval(p, float(min(center - half, p)), float(max(center + half, p)), n)


def bootstrap_mean(values: Sequence[float] | np.ndarray, draws: int = 2000, seed: int = 0) -> Interval:
    """The interval of a mean by the percentile bootstrap (Efron 1979)."""
    data = np.asarray(values, np.float64)
    if data.size == 0:
        return Interval(float("nan"), float("nan"), float("nan"), 0)
    rng = np.random.default_rng(seed)
    means = data[rng.integers(data.size, size=(draws, data.size))].mean(1)
    low, high = np.percentile(means, (2.5, 97.5))
    return Interval(float(data.mean()), float(low), float(high), data.size)
