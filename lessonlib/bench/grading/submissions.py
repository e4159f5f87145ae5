"""One submission in three dialects: the same answers, in a notebook for each grader.

The hidden inputs are those of `lesson grade`; the other graders' tests compare with the reference's answer to
them by `allclose`, in a cell that only the grader has (nbgrader: hidden tests; otter: a hidden test file).
"""

from __future__ import annotations

import ast
import base64
import io
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from lessonlib.bench.grading.answers import function_name, programs

if TYPE_CHECKING:
    from lessonlib.grading.task import Task

Answers = Mapping[str, str]  # task id -> program


@dataclass(frozen=True)
class Assignment:
    """What is graded: exercises, and the secret that their hidden inputs are drawn from."""

    tasks: tuple[Task, ...]
    seed: str


# --- For lesson grade ---------------------------------------------------------------------------------------


def for_lesson(assignment: Assignment, answers: Answers) -> str:
    """A notebook with every answer under `@exercise`."""
    cells = ["from lessonlib.grading.practice import exercise"]
    cells += [_decorated(answers[task.id], task.id) for task in assignment.tasks if task.id in answers]
    return _notebook([_cell(source) for source in cells])


def _decorated(program: str, task_id: str) -> str:
    lines = program.splitlines()
    answer = ast.parse(program).body[-1]
    lines.insert(answer.lineno - 1, f'@exercise("{task_id}")')
    return "\n".join(lines)


# --- For nbgrader -------------------------------------------------------------------------------------------


def for_nbgrader(assignment: Assignment, answers: Answers, *, tests: bool) -> str:
    """The notebook of the source assignment (with tests), or a student's (without)."""
    cells = []
    for task in assignment.tasks:
        answer = {"grade": False, "solution": True, "locked": False, "grade_id": task.id}
        test = {"grade": True, "solution": False, "locked": True, "grade_id": f"test_{task.id}", "points": 1}
        hidden = f"### BEGIN HIDDEN TESTS\n{hidden_test(task, assignment.seed)}\n### END HIDDEN TESTS"
        source = f"assert callable({function_name(programs(task.id)[0])})"
        cells += [
            _cell(answers.get(task.id, ""), nbgrader=_nbgrader(answer)),
            _cell(f"{source}\n{hidden}" if tests else source, nbgrader=_nbgrader(test)),
        ]
    return _notebook(cells)


def _nbgrader(fields: dict[str, Any]) -> dict[str, Any]:
    return {"schema_version": 3, "task": False, "cell_type": "code", **fields}


def hidden_test(task: Task, seed: str) -> str:
    """A program that asserts that the answer gives the expected values."""
    name = function_name(programs(task.id)[0])
    return (
        f"{_SAME}\ncases = {_load(_packed(task.id, seed))}\n"
        f"for inputs, expected in cases:\n    assert same({name}(*inputs), expected)"
    )


# --- For otter ----------------------------------------------------------------------------------------------


def for_otter(assignment: Assignment, answers: Answers) -> str:
    """A notebook that checks every answer behind its cell, as otter's notebooks do."""
    cells = [_cell("import otter\ngrader = otter.Notebook()")]
    for task in assignment.tasks:
        cells += [_cell(answers.get(task.id, "")), _cell(f'grader.check("{task.id}")')]
    return _notebook(cells)


def otter_test(task: Task, seed: str) -> str:
    """The exercise's test file."""
    name = function_name(programs(task.id)[0])
    return (
        "from otter.test_files import test_case\n\n"
        f'OK_FORMAT = False\nname = "{task.id}"\npoints = 1\n\n{_SAME}\n'
        f"@test_case(points=1, hidden=True)\ndef test({name}):\n    cases = {_load(_packed(task.id, seed))}\n"
        f"    for inputs, expected in cases:\n        assert same({name}(*inputs), expected)\n"
    )


# --- What they share ----------------------------------------------------------------------------------------

_SAME = """
import base64, io, math
import numpy as np
import torch
from PIL import Image

def same(got, expected):
    if isinstance(expected, torch.nn.Module):
        got, expected = dict(got.state_dict()), dict(expected.state_dict())
    if isinstance(expected, torch.Tensor):
        return got.shape == expected.shape and torch.allclose(got, expected, rtol=1e-4, atol=1e-5)
    if isinstance(expected, (np.ndarray, Image.Image)):
        got, expected = np.asarray(got), np.asarray(expected)
        return got.shape == expected.shape and np.allclose(got, expected, rtol=1e-4, atol=1e-5)
    if isinstance(expected, dict):
        return got.keys() == expected.keys() and all(same(got[name], expected[name]) for name in expected)
    if isinstance(expected, (list, tuple)):
        return len(got) == len(expected) and all(same(a, b) for a, b in zip(got, expected))
    if isinstance(expected, float):
        return math.isclose(got, expected, rel_tol=1e-4, abs_tol=1e-5)
    return got == expected
"""


@cache
def _packed(task_id: str, seed: str) -> str:
    """(inputs, expected) of every hidden case, as torch saves them, in base64."""
    import torch

    from lessonlib.grading import tasks
    from lessonlib.grading.grade import hidden_cases
    from lessonlib.grading.task import copied

    task = tasks.get(task_id)
    found = []
    for case in hidden_cases(task_id, seed)[0]:
        expected = task.reference(*copied(case.inputs).values())
        found.append((list(case.inputs.values()), expected))
    stream = io.BytesIO()
    torch.save(found, stream)
    return base64.b64encode(stream.getvalue()).decode()


def _load(packed: str) -> str:
    return f'torch.load(io.BytesIO(base64.b64decode("{packed}")), weights_only=False)'


def _cell(source: str, **metadata: Any) -> Any:
    from nbformat.v4 import new_code_cell

    return new_code_cell(source, metadata=metadata)


def _notebook(cells: list[Any]) -> str:
    import nbformat

    from lessonlib.grading.notebooks import METADATA

    for index, cell in enumerate(cells):
        cell.id = f"cell-{index}"
    return nbformat.writes(nbformat.v4.new_notebook(cells=cells, metadata=METADATA))
