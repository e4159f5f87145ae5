"""Exercises that answer at once.

In a notebook:

    from lessonlib.grading import exercise, hint, solution, solved, progress

    @exercise("cfg")
    def classifier_free_guidance(noise_pred, guidance_scale): ...

A task is one file in `tasks/`. `practice` is what a student calls; `calling` runs the student's function
and turns what it returns into plain data; `deciding` compares that data with the references and never runs
student code.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

_EXPORTS = {
    "exercise": "lessonlib.grading.practice",
    "hint": "lessonlib.grading.practice",
    "progress": "lessonlib.grading.practice",
    "solution": "lessonlib.grading.practice",
    "solved": "lessonlib.grading.practice",
    "Misconception": "lessonlib.grading.task",
    "Task": "lessonlib.grading.task",
}

if TYPE_CHECKING:
    from lessonlib.grading.practice import exercise as exercise
    from lessonlib.grading.practice import hint as hint
    from lessonlib.grading.practice import progress as progress
    from lessonlib.grading.practice import solution as solution
    from lessonlib.grading.practice import solved as solved
    from lessonlib.grading.task import Misconception as Misconception
    from lessonlib.grading.task import Task as Task


def __getattr__(name: str) -> Any:
    if name not in _EXPORTS:
        raise AttributeError(f"module 'lessonlib.grading' has no attribute {name!r}")
    return getattr(importlib.import_module(_EXPORTS[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_EXPORTS])
