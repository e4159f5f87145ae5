"""The one-step model against its teacher, as `few_steps` does it, in a record of its own: neither waits for the other."""

from __future__ import annotations

from lessonlib.judge import Judge
from lessonlib.zoo.measures import few_steps
from lessonlib.zoo.measures.generated import Tick
from lessonlib.zoo.measures.rows import Row, Sheet

MEMBERS = ("sdxl-turbo",)
READS = ("sdxl-base",)


def pictures(n: int) -> int:
    """The teacher's sets and the member's."""
    return few_steps.pictures(n, MEMBERS)


def measure(n: int, seed: int, judge: Judge, tick: Tick) -> tuple[list[Row], list[Sheet]]:
    """One step beside the teacher's 25."""
    return few_steps.measure(n, seed, judge, tick, MEMBERS)
