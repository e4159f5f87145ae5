"""The task files prove themselves: misconceptions are told apart, tolerances hold for right answers only."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lessonlib.errors import LessonError
from lessonlib.grading import tasks
from lessonlib.grading.calling import call
from lessonlib.grading.deciding import RECOGNISED, decide
from lessonlib.grading.task import CASES, Case, Task, case, cases, double

TASKS = tasks.all_tasks()
SEEDS = st.integers(0, 2**31)
each_task = pytest.mark.parametrize("task", TASKS, ids=lambda task: task.id)


def verdict_of(task: Task, function, on: list[Case]):
    return decide(task, on, [call(function, one.inputs) for one in on])


@each_task
def test_a_task_is_complete(task: Task) -> None:
    assert task.title
    assert task.points > 0
    assert task.minutes > 0
    assert "$$" in task.text  # the equation
    assert len(task.hints) == 3
    assert len(task.misconceptions) >= 3
    assert len(task.alternatives) >= 3
    hints = [m.hint for m in task.misconceptions]
    assert len(set(hints)) == len(hints)
    assert len({m.name for m in task.misconceptions}) == len(hints)


def test_cfg_has_the_mistakes_the_course_names() -> None:
    names = {m.name for m in tasks.get("cfg").misconceptions}
    assert names >= {
        "swapped",
        "one plus w",
        "missing uncond",
        "interleaved rows",
        "channels split",
        "cond scaled",
    }


@each_task
@given(seed=SEEDS)
@settings(max_examples=10, deadline=None)
def test_the_matrix_of_misconceptions_and_hints_is_diagonal(task: Task, seed: int) -> None:
    on = cases(task, seed)
    given_hints = [verdict_of(task, m.answer, on).hint for m in task.misconceptions]
    assert given_hints == [m.hint for m in task.misconceptions]


@each_task
def test_mistakes_lie_far_apart(task: Task) -> None:
    """A tolerance for recognising them is then no matter of taste."""
    for one in cases(task):
        exact = double(one.inputs)
        answers = [one.expected, *(m.answer(**exact).numpy() for m in task.misconceptions)]
        for i, a in enumerate(answers):
            for b in answers[:i]:
                if a.shape == b.shape:
                    assert np.abs(a - b).max() > 1e3 * RECOGNISED * one.tolerance.max()


@each_task
@given(seed=SEEDS)
@settings(max_examples=10, deadline=None)
def test_right_answers_in_every_style_pass(task: Task, seed: int) -> None:
    on = cases(task, seed)
    for function in (task.reference, *task.alternatives):
        assert verdict_of(task, function, on).passed, function.__name__


@given(seed=SEEDS, order=st.permutations(range(3)), double_inside=st.booleans(), index=st.booleans())
@settings(max_examples=20, deadline=None)
def test_cfg_passes_however_its_terms_are_ordered(seed, order, double_inside, index) -> None:
    """u - w·u + w·c, summed in any order, in float32 or float64, by chunk or by index."""

    def answer(noise_pred, guidance_scale):
        x = noise_pred.double() if double_inside else noise_pred
        uncond, cond = (x[: len(x) // 2], x[len(x) // 2 :]) if index else x.chunk(2)
        terms = [uncond, -guidance_scale * uncond, guidance_scale * cond]
        return (terms[order[0]] + terms[order[1]] + terms[order[2]]).to(noise_pred.dtype)

    task = tasks.get("cfg")
    assert verdict_of(task, answer, cases(task, seed)).passed


@given(
    scale=st.floats(-20, 20),
    spread=st.floats(1e-3, 1e3),
    seed=SEEDS,
)
@settings(max_examples=20, deadline=None)
def test_the_tolerance_follows_the_magnitude(scale: float, spread: float, seed: int) -> None:
    """Small and large numbers, cancelling or not: float32 passes and one part in ten thousand does not."""
    task = tasks.get("cfg")
    noise = spread * torch.randn(4, 2, 3, 3, generator=torch.Generator().manual_seed(seed))
    on = [case(task, {"noise_pred": noise, "guidance_scale": scale})]
    for function in (task.reference, *task.alternatives):
        assert verdict_of(task, function, on).passed, function.__name__
    assert not verdict_of(task, lambda n, w: task.reference(n, w) * (1 + 1e-4), on).passed


def test_half_precision_inside_is_not_precise_enough() -> None:
    task = tasks.get("cfg")
    verdict = verdict_of(task, lambda n, w: task.reference(n.bfloat16(), w).float(), cases(task))
    assert verdict.kind == "values"


@each_task
def test_cases_come_from_the_seed_alone(task: Task) -> None:
    torch.manual_seed(1)
    first, again, other = cases(task, 5), cases(task, 5), cases(task, 6)
    assert len(first) == CASES
    for a, b, c in zip(first, again, other, strict=True):
        assert np.array_equal(a.expected, b.expected)
        assert a.expected.shape != c.expected.shape or not np.allclose(a.expected, c.expected)
    assert len({one.expected.tobytes() for one in first}) == CASES


@each_task
def test_answers_hard_coded_for_the_public_seed_fail_on_another(task: Task) -> None:
    known = iter([one.expected for one in cases(task)])
    verdict = verdict_of(task, lambda *_: torch.from_numpy(next(known)).float(), cases(task, 99))
    assert not verdict.passed


def test_an_unknown_task_is_one_sentence() -> None:
    with pytest.raises(LessonError, match='did you mean "cfg"'):
        tasks.get("cgf")
    with pytest.raises(LessonError, match=r"there are: .*cfg"):
        tasks.get("nothing like it")
