"""The tasks: one file each, named as its id, with a module-level `TASK`. A file here is registered by lying here.

How to write a task (`cfg.py` is the pattern to follow):

1. `TEXT`: what to compute, with the equation, and a table of arguments and the result with shapes and dtypes.
2. `inputs(seed)`: the arguments, by name, in the student's order: tensors, arrays, pictures, plain values, or
   lists and dicts of these. No two sizes are equal, so that a wrong axis shows. `{}` if nothing varies.
3. `reference(...)`: the right answer, by `lessonlib.scratch` where the piece exists there. It may be a tensor,
   array, picture, number, string, a module (compared as its state dict), or a tuple or dict of these.
   Integers, booleans, uint8 and texts are compared exactly.
4. `magnitude(...)` and `operations`, for answers in floating point: the reference with every sign made plus, in
   the same form, and the roundings of the longest sensible way to write it.
5. Misconceptions: wrong answers that people give, as code, each with a hint that names the mistake and not the
   answer; at least three, far apart from each other and from the truth on every seed.
6. Alternatives: right answers in at least three other styles. Three hints, from a nudge to nearly the answer.
7. To explain: the reference returns a dict with a prediction, a number or a choice, that is checked, and
   `Prose("model answer")`, shown beside the student's words after passing; `rubric` is for the instructor.
8. To experiment: `experiment=Experiment(settings, measure, goals)`; the student's function and the reference
   return a dict of settings (numbers, choices, pictures), misconceptions get `applies=`, and `measure` is quick and
   deterministic.
9. The solved notebook in `solutions/` holds TEXT word for word and the answer under `@exercise("<id>")`; then
   `lesson exercises build`, `lesson exercises check`, and tests/grading try the task on many seeds.
"""

from __future__ import annotations

import difflib
import importlib
import pkgutil
from functools import cache

from lessonlib.errors import LessonError
from lessonlib.grading.task import Task


@cache
def ids() -> tuple[str, ...]:
    """The ids of all tasks."""
    return tuple(sorted(m.name for m in pkgutil.iter_modules(__path__) if not m.name.startswith("_")))


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
    return sorted(map(get, ids()), key=lambda task: (task.notebook, task.order, task.id))
