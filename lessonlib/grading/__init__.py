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

from typing import TYPE_CHECKING

from lessonlib.exports import lazy

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


__getattr__, __dir__ = lazy(__name__, _EXPORTS)
