"""Mutants of the right answers fail: the check can tell a wrong formula from a right one."""

from __future__ import annotations

import ast
import copy
import inspect
import textwrap
from collections.abc import Iterator

import numpy as np
import torch

from lessonlib.grading import references, tasks
from lessonlib.grading.deciding import decide
from lessonlib.grading.notebooks import load_answer
from lessonlib.grading.selfcheck import judge
from lessonlib.grading.task import cases

OPERATORS = (ast.Add, ast.Sub, ast.Mult, ast.Div, ast.FloorDiv, ast.Mod, ast.Pow)


def mutants(source: str) -> Iterator[str]:
    """Every program that differs from `source` by one operator, operand, name or constant."""
    tree = ast.parse(source)
    names = sorted(
        {n.id for n in ast.walk(tree) if isinstance(n, ast.Name)} & {"uncond", "cond", "w", "guidance_scale"}
    )
    for place, node in enumerate(ast.walk(tree)):
        for change in changes(node, names):
            fresh = copy.deepcopy(tree)
            target = list(ast.walk(fresh))[place]
            new = change(target)
            if new is not target:
                Replace(target, new).visit(fresh)
            yield ast.unparse(ast.fix_missing_locations(fresh))


class Replace(ast.NodeTransformer):
    def __init__(self, old: ast.AST, new: ast.AST) -> None:
        self.old, self.new = old, new

    def visit(self, node: ast.AST) -> ast.AST:
        return self.new if node is self.old else super().visit(node)


def changes(node: ast.AST, names: list[str]) -> Iterator:
    if isinstance(node, ast.BinOp):
        for operator in OPERATORS:
            if not isinstance(node.op, operator):

                def other(n, operator=operator):
                    n.op = operator()
                    return n

                yield other
        yield lambda n: n.left
        yield lambda n: n.right
        yield lambda n: ast.BinOp(n.right, n.op, n.left)
        yield lambda n: ast.BinOp(n, ast.Mult(), ast.Constant(1.001))
        yield lambda n: ast.BinOp(n, ast.Add(), ast.Constant(0.001))
        yield lambda n: ast.UnaryOp(ast.USub(), n)
    if isinstance(node, ast.Constant) and isinstance(node.value, int):
        for value in (node.value + 1, node.value - 1, -node.value):

            def number(n, value=value):
                n.value = value
                return n

            yield number
    if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and node.id in names:
        for name in names:
            if name != node.id:

                def rename(n, name=name):
                    n.id = name
                    return n

                yield rename


def formula(noise_pred: np.ndarray, w: float) -> np.ndarray:
    uncond, cond = np.split(noise_pred, 2)
    return (1 - w) * uncond + w * cond


def is_equivalent(function, on) -> bool:
    """Whether a mutant still computes the formula: judged by numpy, not by what is under test."""
    try:
        for one in on:
            noise_pred, w = one.inputs["noise_pred"], one.inputs["guidance_scale"]
            got = function(noise_pred.clone().double(), w).numpy()
            want = formula(noise_pred.double().numpy(), w)
            if got.shape != want.shape or not np.allclose(got, want, rtol=1e-6, atol=1e-6):
                return False
        return True
    except Exception:
        return False


def test_every_mutant_of_the_right_answers_fails() -> None:
    task = tasks.get("cfg")
    public, fresh = references.load(task), cases(task, 7)
    sources = [
        references.solution(task),
        *(textwrap.dedent(inspect.getsource(alternative)) for alternative in task.alternatives[:3]),
    ]
    sources = [f"from __future__ import annotations\nimport torch\n{source}" for source in sources]
    wrong, passed = 0, []
    for source in sources:
        assert judge(task, load_answer(source, "answer"), public).passed
        for mutant in set(mutants(source)) - {source}:
            function = load_answer(mutant, "mutant")
            if is_equivalent(function, public):
                continue
            wrong += 1
            if judge(task, function, public).passed or judge(task, function, fresh).passed:
                passed.append(mutant)
    assert not passed
    assert wrong >= 50


def test_a_change_at_any_single_place_is_seen() -> None:
    from lessonlib.grading.calling import Output

    task = tasks.get("cfg")
    public = references.load(task)
    outputs = [Output("tensor", shape=c.expected.shape, dtype=c.dtype, values=c.expected) for c in public]
    assert decide(task, public, outputs).passed
    generator = torch.Generator().manual_seed(0)
    for _ in range(50):
        which = int(torch.randint(len(public), (), generator=generator))
        case = public[which]
        values = case.expected.copy()
        place = int(torch.randint(values.size, (), generator=generator))
        values.flat[place] += 2 * case.tolerance.flat[place]
        changed = [*outputs]
        changed[which] = Output("tensor", shape=values.shape, dtype=case.dtype, values=values)
        verdict = decide(task, public, changed)
        assert verdict.kind == "values"
        index = tuple(int(i) for i in np.unravel_index(place, values.shape))
        assert verdict.details["first at"] == str(list(index))
