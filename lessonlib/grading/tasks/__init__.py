"""The tasks: one file each, named as its id, with a module-level `TASK`."""

from __future__ import annotations

import difflib
import importlib
import pkgutil

from lessonlib.errors import LessonError
from lessonlib.grading.task import Task


def ids() -> list[str]:
    """The ids of all tasks."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def get(task_id: str) -> Task:
    """The task of that id.

    Raises:
        LessonError: there is none.
    """
    if task_id not in ids():
        close = difflib.get_close_matches(str(task_id), ids(), n=1)
        advice = f'did you mean "{close[0]}"?' if close else f"there are: {', '.join(ids())}."
        raise LessonError(f'There is no exercise "{task_id}": {advice}')
    return importlib.import_module(f"{__name__}.{task_id}").TASK


def all_tasks() -> list[Task]:
    """All tasks, in the order of the notebooks."""
    return sorted((get(task_id) for task_id in ids()), key=lambda task: (task.notebook, task.id))
