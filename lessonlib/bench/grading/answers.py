"""Right answers to the exercises as programs: the solutions, the alternatives, and rewrites of both."""

from __future__ import annotations

import ast
import inspect
import random
from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING

from lessonlib.bench.grading.rewrites import rewritten

if TYPE_CHECKING:
    from lessonlib.grading.answers import Output
    from lessonlib.grading.task import Task

TRIES = 40  # rewrites that are tried for each variant that is wanted


def compared() -> list[Task]:
    """The exercises that are graded against a reference, without words and without settings."""
    from lessonlib.grading import references, tasks

    return [
        task
        for task in tasks.all_tasks()
        if task.experiment is None
        and all(right.kind != "prose" for case in references.load(task) for right in case.answer.values())
    ]


@cache
def programs(task_id: str) -> tuple[str, ...]:
    """The solution, then the alternatives that need nothing of this package; all under the solution's name.

    Raises:
        LessonError: there is no `solutions/` here.
    """
    from lessonlib.grading import tasks
    from lessonlib.grading.build import course_root
    from lessonlib.grading.notebooks import answer_source, read

    task = tasks.get(task_id)
    path = course_root() / "solutions" / f"{task.notebook}.ipynb"
    solution = answer_source(read(path.read_text(encoding="utf-8"), path.name), task.id)
    assert solution is not None
    name = function_name(solution)
    found = [solution, *(_alternative(task, one.__name__, name) for one in task.alternatives)]
    return tuple(dict.fromkeys(program for program in found if program and "lessonlib" not in program))


def function_name(program: str) -> str:
    """The name of the answer, the program's last function."""
    answer = ast.parse(program).body[-1]
    assert isinstance(answer, ast.FunctionDef)
    return answer.name


def _alternative(task: Task, function: str, name: str) -> str | None:
    """The alternative with what it uses of the exercise's file."""
    from nbformat.v4 import new_code_cell, new_notebook

    from lessonlib.grading.notebooks import answer_source

    tree = ast.parse(inspect.getsource(inspect.getmodule(task.reference)))  # type: ignore[arg-type]
    homes = [one for one in tree.body if isinstance(one, ast.FunctionDef) and one.name == function]
    if not homes:
        return None
    homes[0].decorator_list = [ast.parse(f"exercise({task.id!r})", mode="eval").body]
    for node in ast.walk(tree):
        if isinstance(node, ast.arg):
            node.annotation = None  # they are imported for type checkers alone
        elif isinstance(node, ast.FunctionDef):
            node.returns = None
        if isinstance(node, ast.FunctionDef | ast.Name) and getattr(node, "name", "") == function:
            node.name = name  # type: ignore[union-attr]
    source = ast.unparse(ast.fix_missing_locations(tree))
    return answer_source(new_notebook(cells=[new_code_cell(source)]), task.id)


def variants(task: Task, count: int) -> list[str]:
    """So many different right programs, or fewer if no more are found; the same ones every time.

    A rewrite is taken if it still gives the reference's numbers on four seeds, to one part in a thousand: too
    coarse to be the grader's opinion, and enough to see that the rewrite did not change the meaning.
    """
    number = random.Random(f"variants of {task.id}")
    bases = programs(task.id)
    found = dict.fromkeys(bases)
    for _ in range(TRIES * count):
        if len(found) >= count:
            break
        program = rewritten(number.choice(bases), number)
        if program not in found and same_as_reference(task, program):
            found[program] = None
    return list(found)[:count]


def same_as_reference(task: Task, program: str, seeds: int = 4) -> bool:
    """Whether a program gives the reference's kinds, shapes, dtypes and, coarsely, numbers. Runs it here."""
    return all(agree(got, want) for got, want in _outcomes(task, program, seeds))


def _outcomes(task: Task, program: str, seeds: int) -> Iterator[tuple[Output, Output]]:
    from lessonlib.grading.answers import Output
    from lessonlib.grading.calling import call
    from lessonlib.grading.notebooks import load_answer
    from lessonlib.grading.task import outcome

    try:
        function = load_answer(program, "variant")
    except Exception as error:
        yield Output("error", about=str(error)), Output("none")
        return
    for seed in range(seeds):
        inputs = task.inputs(seed)
        yield call(function, inputs), outcome(task.reference, inputs)


def agree(got: Output, want: Output) -> bool:
    """Whether two answers are the same thing to one part in a thousand."""
    import numpy as np

    if not got.answered or got.leaves.keys() != want.leaves.keys():
        return False
    for path, right in want.leaves.items():
        part = got.leaves[path]
        if (part.kind, part.dtype, part.shape) != (right.kind, right.dtype, right.shape):
            return False
        if right.kind == "text":
            if part.about != right.about:
                return False
        elif (
            part.values is None
            or right.values is None
            or not np.allclose(part.values, right.values, rtol=1e-3, atol=1e-3)
        ):
            return False
    return True
