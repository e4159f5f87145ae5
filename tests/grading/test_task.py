"""The task files prove themselves: misconceptions are told apart, tolerances hold for right answers only."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lessonlib.errors import LessonError
from lessonlib.grading import references, tasks
from lessonlib.grading.answers import Output
from lessonlib.grading.calling import call
from lessonlib.grading.deciding import RECOGNISED, decide
from lessonlib.grading.task import Case, Right, Task, case, cases, double, outcome

TASKS = tasks.all_tasks()
SEEDS = st.integers(0, 2**31)
each_task = pytest.mark.parametrize("task", TASKS, ids=lambda task: task.id)
COMPARED = [task for task in TASKS if task.experiment is None]
each_compared_task = pytest.mark.parametrize("task", COMPARED, ids=lambda task: task.id)
# an experiment that paints takes seconds: test_capstone_task.py tries it, on few seeds
QUICK = [task for task in TASKS if task.experiment is None or not task.inputs(0)]
each_quick_task = pytest.mark.parametrize("task", QUICK, ids=lambda task: task.id)
SEEDED = [task for task in COMPARED if task.inputs(0)]
each_seeded_task = pytest.mark.parametrize("task", SEEDED, ids=lambda task: task.id)


def verdict_of(task: Task, function, on: list[Case]):
    return decide(task, on, [call(function, one.inputs) for one in on])


@each_task
def test_a_task_is_complete(task: Task) -> None:
    assert task.title
    assert task.points > 0
    assert task.minutes > 0
    assert "$$" in task.text or task.rubric or task.experiment  # the equation
    assert len(task.hints) == 3
    assert len(task.misconceptions) >= 3
    assert len(task.alternatives) >= (1 if task.rubric or task.experiment else 3)
    assert bool(task.rubric) == any(part.kind == "prose" for part in cases(task)[0].answer.values())
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


@each_quick_task
@given(seed=SEEDS)
@settings(max_examples=5, deadline=None)
def test_the_matrix_of_misconceptions_and_hints_is_diagonal(task: Task, seed: int) -> None:
    on = cases(task, seed)
    given_hints = [verdict_of(task, m.answer, on).hint for m in task.misconceptions]
    assert given_hints == [m.hint for m in task.misconceptions]


@each_compared_task
def test_mistakes_lie_far_apart(task: Task) -> None:
    """A tolerance for recognising them is then no matter of taste: in some case, some part is far off."""
    on = cases(task)
    answers = [[outcome(function, double(one.inputs)) for one in on] for function in right_and_wrong(task)]
    for i, a in enumerate(answers):
        for b in answers[:i]:
            assert any(far_apart(*three) for three in zip(a, b, on, strict=True))


def right_and_wrong(task: Task) -> list:
    return [task.reference, *(m.answer for m in task.misconceptions)]


def far_apart(a: Output, b: Output, one: Case) -> bool:
    if a.leaves.keys() != b.leaves.keys():
        return True
    widest = max(
        (r.tolerance.max(initial=0) for r in one.answer.values() if r.tolerance is not None), default=0
    )
    return any(part_apart(a.leaves[path], b.leaves[path], widest) for path in a.leaves)


def part_apart(a: Output, b: Output, widest: float) -> bool:
    if a.values is None or b.values is None:
        return a.about != b.about and "prose" not in (a.dtype, b.dtype)
    if a.values.shape != b.values.shape or a.kind != b.kind:
        return True
    exact = a.values.dtype == np.int64
    return bool(np.abs(a.values - b.values).max(initial=0) > (0 if exact else 10 * RECOGNISED * widest))


@each_quick_task
@given(seed=SEEDS)
@settings(max_examples=5, deadline=None)
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


def same(a: dict[str, Right], b: dict[str, Right]) -> bool:
    return a.keys() == b.keys() and all(
        one.about == b[path].about and np.array_equal(one.expected, b[path].expected)  # type: ignore[arg-type]
        for path, one in a.items()
    )


@each_seeded_task
def test_cases_come_from_the_seed_alone(task: Task) -> None:
    torch.manual_seed(1)
    first, again, other = cases(task, 5), cases(task, 5), cases(task, 6)
    assert len(first) == task.cases
    for a, b in zip(first, again, strict=True):
        assert same(a.answer, b.answer)
    assert not all(same(a.answer, b.answer) for a, b in zip(first, other, strict=True))
    assert not same(first[0].answer, first[1].answer) or not same(first[0].answer, first[2].answer)


@each_seeded_task
def test_answers_hard_coded_for_the_public_seed_fail_on_another(task: Task) -> None:
    known = [call(task.reference, one.inputs) for one in cases(task)]
    assert decide(task, cases(task), known).passed
    assert not decide(task, cases(task, 99), known).passed


@each_compared_task
def test_the_stored_reference_is_the_computed_one(task: Task) -> None:
    assert references.is_current(task)


def test_an_unknown_task_is_one_sentence() -> None:
    with pytest.raises(LessonError, match='did you mean "cfg"'):
        tasks.get("cgf")
    with pytest.raises(LessonError, match=r"there are: .*cfg"):
        tasks.get("nothing like it")
