"""What stands in for `lessonlib.grading.practice` inside the sandbox: nothing is checked, hinted or kept there.

An answer brings the notebook's import line along as soon as it uses one of its names, were it for a variable.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def exercise(task_id: str) -> Callable[[Any], Any]:
    """A decorator that leaves the function alone."""
    return lambda function: function


def hint(task_id: str, level: int | None = None) -> None:
    """Show nothing."""


def solution(task_id: str) -> None:
    """Show nothing."""


def solved(task_id: str) -> bool:
    """Nothing has been checked here."""
    return False


def progress() -> None:
    """Show nothing."""
