"""The judge on real scenes, whose truth is known: the ceilings of everything else in the report."""

from __future__ import annotations

from lessonlib.judge import Judge, evaluate_real
from lessonlib.zoo.measures.generated import Tick
from lessonlib.zoo.measures.rows import Row, Sheet, row

MEMBERS = ("judge",)
BARS = {
    ("object", "seen"): 0.98,
    ("object", "held-out"): 0.98,
    ("background", "seen"): 0.98,
    ("background", "held-out"): 0.98,
    ("style", "seen"): 0.95,
    ("style", "held-out"): 0.95,
}


def pictures(n: int) -> int:
    """None are generated."""
    return 0


def measure(n: int, seed: int, judge: Judge, tick: Tick) -> tuple[list[Row], list[Sheet]]:
    """What the judge reads in real scenes."""
    rows = [
        row("judge", one["metric"], one["split"], one, BARS.get((one["metric"], one["split"])))
        for one in evaluate_real(n, seed, judge)
    ]
    return rows, []
