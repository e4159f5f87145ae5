"""Mutants of every task's solution fail, unless on many inputs they still compute what the task asks."""

from __future__ import annotations

import ast
import copy
import random
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from test_mutants import OPERATORS, Replace

from lessonlib.grading import references, tasks
from lessonlib.grading.answers import Output
from lessonlib.grading.calling import call
from lessonlib.grading.notebooks import answer_source, load_answer, read
from lessonlib.grading.selfcheck import judge
from lessonlib.grading.task import Task, outcome

pytestmark = pytest.mark.filterwarnings("ignore")  # mutants do odd things to torch
COMPARED = [task for task in tasks.all_tasks() if task.experiment is None]
MOST = 20  # mutants a task; cheap, and over all tasks hundreds


def mutants(source: str) -> Iterator[str]:
    """Programs that differ from the last function of `source` by one operator, comparison, name, constant or sign."""
    tree = ast.parse(source)
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef) and ast.get_docstring(function):
            del function.body[0]
    names = sorted(local_names(tree.body[-1]))
    for place, node in enumerate(ast.walk(tree.body[-1])):
        for change in changes(node, names):
            fresh = copy.deepcopy(tree)
            target = list(ast.walk(fresh.body[-1]))[place]
            new = change(target)
            if new is not target:
                Replace(target, new).visit(fresh)
            yield ast.unparse(ast.fix_missing_locations(fresh))


def local_names(function: ast.AST) -> set[str]:
    arguments = {node.arg for node in ast.walk(function) if isinstance(node, ast.arg)}
    stored = {n.id for n in ast.walk(function) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    return arguments | stored


def changes(node: ast.AST, names: list[str]) -> Iterator[Callable]:
    if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and node.id in names:
        for name in names:
            if name != node.id:
                yield lambda n, name=name: ast.Name(name, ast.Load())
    if isinstance(node, ast.BinOp):
        for operator in OPERATORS[:4]:
            if not isinstance(node.op, operator):
                yield lambda n, operator=operator: ast.BinOp(n.left, operator(), n.right)
        yield lambda n: n.left
        yield lambda n: n.right
        yield lambda n: ast.BinOp(n.right, n.op, n.left)
    if isinstance(node, ast.Compare):
        for comparison in (ast.Lt, ast.LtE, ast.Gt, ast.Eq, ast.NotEq):
            if not isinstance(node.ops[0], comparison):
                yield lambda n, comparison=comparison: ast.Compare(n.left, [comparison()], n.comparators)
    if isinstance(node, ast.Constant) and type(node.value) is int:
        for value in (node.value + 1, node.value - 1):
            yield lambda n, value=value: ast.Constant(value)
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield lambda n: ast.Constant(n.value + "x")
    if isinstance(node, ast.UnaryOp):
        yield lambda n: n.operand


def solution(task: Task, root) -> str:
    path = root / "solutions" / f"{task.notebook}.ipynb"
    source = answer_source(read(path.read_text(), path.name), task.id)
    assert source is not None
    return source


def agree(got: Output, want: Output) -> bool:
    """Judged by numpy, not by what is under test, and coarsely: mutants are far off or not at all."""
    return got.leaves.keys() == want.leaves.keys() and all(
        part_agrees(got.leaves[path], part) for path, part in want.leaves.items()
    )


def part_agrees(got: Output, want: Output) -> bool:
    if want.kind == "text":
        return got.kind == "text" and (got.about == want.about or want.dtype == "prose")
    return (
        got.kind == want.kind
        and got.values is not None
        and want.values is not None
        and got.values.shape == want.values.shape
        and np.allclose(got.values, want.values, rtol=1e-3, atol=1e-3)
    )


@pytest.mark.parametrize("task", COMPARED, ids=lambda task: task.id)
def test_mutants_of_the_solution_fail(task: Task, root) -> None:
    source = solution(task, root)
    public = references.load(task)
    assert judge(task, load_answer(source, "solution"), public).passed
    found = sorted(set(mutants(source)) - {ast.unparse(ast.parse(source))})
    chosen = random.Random(0).sample(found, min(MOST, len(found)))
    passed = []
    failed = 0
    for mutant in chosen:
        function = load_answer(mutant, "mutant")
        if not judge(task, function, public).passed:
            failed += 1
        elif not all(
            agree(call(function, inputs), outcome(task.reference, inputs))
            for inputs in (task.inputs(seed) for seed in range(8))
        ):
            passed.append(mutant)
    assert not passed, "\n".join(passed)
    assert failed >= 2
