"""Two sets of pictures of the same prompts and seeds, compared pair by pair: what they share cancels in the interval."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lessonlib.judge.diversity import diversity
from lessonlib.judge.intervals import Interval, bootstrap_mean
from lessonlib.judge.scoring import Answers
from lessonlib.judge.sharpness import sharpness

_DRAWS = 2000


def ratio(ours: Sequence[float], theirs: Sequence[float], seed: int = 0) -> Interval:
    """mean(ours) / mean(theirs) with its 95 % interval; entry k of both belongs to the same prompt."""
    a, b = np.asarray(ours, np.float64), np.asarray(theirs, np.float64)
    if len(a) != len(b):
        raise ValueError("Paired sets must have the same length.")
    if not len(a) or b.sum() == 0:
        return Interval(float("nan"), float("nan"), float("nan"), len(a))
    rows = np.random.default_rng(seed).integers(len(a), size=(_DRAWS, len(a)))
    below = b[rows].mean(1)
    low, high = np.percentile(a[rows].mean(1)[below > 0] / below[below > 0], (2.5, 97.5))
    return Interval(float(a.mean() / b.mean()), float(low), float(high), len(a))


def kept(ours: Sequence[Answers], theirs: Sequence[Answers], question: str) -> Interval:
    """Our right answers as a share of theirs, over the pictures of which the question was asked."""
    pairs = [
        (one[question], other[question])
        for one, other in zip(ours, theirs, strict=True)
        if question in one and question in other
    ]
    return ratio([a for a, _ in pairs], [b for _, b in pairs])


def sharpness_gain(ours: np.ndarray, theirs: np.ndarray) -> Interval:
    """Mean difference of sharpness, picture by picture: above zero, ours are sharper."""
    return bootstrap_mean([sharpness(a) - sharpness(b) for a, b in zip(ours, theirs, strict=True)])


def nearer_in_sharpness(ours: np.ndarray, others: np.ndarray, goal: np.ndarray) -> Interval:
    """How much nearer to the goal's sharpness ours are than the others: above zero, nearer."""
    near, far, wanted = ([sharpness(one) for one in images] for images in (ours, others, goal))
    return bootstrap_mean([abs(f - w) - abs(n - w) for n, f, w in zip(near, far, wanted, strict=True)])


def diversity_kept(ours: np.ndarray, theirs: np.ndarray) -> Interval:
    """Mean pairwise distance within each prompt's pictures, ours over theirs: features [prompts, seeds, F]."""
    return ratio([diversity(one) for one in ours], [diversity(one) for one in theirs])
