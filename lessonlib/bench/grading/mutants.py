"""Wrong answers: mutants of the right ones by cosmic-ray, and which of them are right after all."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lessonlib.bench.grading import mutate
from lessonlib.bench.grading.answers import programs
from lessonlib.errors import LessonError

if TYPE_CHECKING:
    from lessonlib.grading.answers import Output
    from lessonlib.grading.task import Case, Task

SEEDS = 64  # on which an accepted mutant must give the right numbers to count as equivalent


def mutants(tasks: list[Task], count: int, python: Path) -> dict[str, list[str]]:
    """Task id -> so many mutants of its solution and alternatives, or fewer; the same ones every time.

    Args:
        python: the interpreter of an environment with cosmic-ray.

    Raises:
        LessonError: cosmic-ray fails.
    """
    asked = {"count": count, "programs": {task.id: programs(task.id) for task in tasks}}
    command = [str(python), mutate.__file__]
    made = subprocess.run(command, input=json.dumps(asked), capture_output=True, text=True, check=False)
    if made.returncode != 0:
        last = (made.stderr.strip().splitlines() or ["no message"])[-1]
        raise LessonError(f"cosmic-ray made no mutants ({last}): delete {python.parents[1]} and try again.")
    return json.loads(made.stdout)


def is_equivalent(task: Task, program: str, seeds: int = SEEDS) -> bool:
    """Whether a program gives, on every seed, numbers that rounding explains. Runs it in this process.

    The comparison is not the grader's: it is written again here, in numpy.
    """
    from lessonlib.grading.calling import call
    from lessonlib.grading.notebooks import load_answer
    from lessonlib.grading.task import case

    function = load_answer(program, "mutant")
    return all(
        _within(case(task, inputs), call(function, inputs)) for inputs in map(task.inputs, range(seeds))
    )


def _within(case: Case, output: Output) -> bool:
    parts = output.leaves
    if parts.keys() != case.answer.keys():
        return False
    for path, right in case.answer.items():
        part = parts[path]
        if right.expected is None:
            if part.about != right.about:
                return False
        elif (
            part.values is None
            or part.values.shape != right.expected.shape
            or not np.all(np.abs(part.values - right.expected) <= right.tolerance)
        ):
            return False
    return True
