"""What an exercise is: a text, inputs from a seed, the right answer, and the wrong ones worth a hint."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image

    from lessonlib.grading.answers import Leaf, Output
    from lessonlib.grading.experiment import Experiment, Settings

# Argument name -> tensor, array, picture, plain value, or lists, tuples and dicts of them, in the order of
# the student's parameters.
Inputs = Mapping[str, Any]
CASES = 3  # inputs a check tries, unless the task says otherwise
PUBLIC_SEED = 0  # practice; a grade is given on a seed that only the instructor knows


@dataclass(frozen=True)
class Misconception:
    """A wrong answer that people really give, as code, and the hint it earns.

    applies: for experiments, whether a case's inputs and settings show this mistake; `answer` is then one example.
    """

    name: str
    hint: str
    answer: Callable[..., Any]
    applies: Callable[[Settings], bool] | None = None


@dataclass(frozen=True, kw_only=True)
class Task:
    """One exercise.

    The tolerance is derived, not chosen. A result computed with n rounded operations differs from the exact
    one by at most γₙ·M, γₙ = n·u / (1 - n·u), where u = eps/2 is the unit roundoff of the answer's dtype
    and M bounds the sum of the absolute values of the terms that are added up (Higham, Accuracy and
    Stability of Numerical Algorithms, 2002, Lemma 3.1). `magnitude` gives M, in the answer's own form;
    `operations` gives n for the longest sensible way of writing the answer. The reference is computed in
    float64, so that its own error does not count; for an answer in float64 it counts as much as the
    student's, and the bound doubles. Integers, booleans and texts are compared exactly and need no
    magnitude.

    A task whose reference holds `Prose` asks for words: they are shown beside the reference's and left to
    the instructor, who has `rubric`. A task with an `experiment` asks for settings.

    An answer with few possible values is right by luck now and then: such a task tries more `cases`.
    """

    id: str
    title: str
    notebook: str  # stem of the notebook in solutions/ that asks it
    order: int = 0  # place among the notebook's tasks
    text: str  # markdown with the equation; stands word for word in the notebook
    points: int
    minutes: int
    difficulty: Literal["easy", "medium", "hard"]
    inputs: Callable[[int], dict[str, Any]]
    cases: int = CASES
    reference: Callable[..., Any]
    magnitude: Callable[..., Any] | None = None
    operations: int = 0
    hints: tuple[str, str, str]  # from a nudge to nearly the answer
    misconceptions: tuple[Misconception, ...]
    alternatives: tuple[Callable[..., Any], ...]  # right answers in other styles, kept as tests
    show: Callable[[np.ndarray, np.ndarray], Image] | None = None  # (expected, got) -> target beside yours
    needs: tuple[str, ...] = ()  # modules an answer may import besides torch, numpy, Pillow and cv2
    rubric: tuple[str, ...] = ()  # what an instructor looks for in the words
    experiment: Experiment | None = None


@dataclass(frozen=True)
class Right:
    """One part of a right answer; `expected` and `tolerance` are float64, or int64 where it is exact.

    kind: as an `Output`'s, or "prose": any words. about: a text as it must be, or words to show.
    """

    kind: Leaf | Literal["prose"]
    dtype: str = ""
    about: str = ""
    expected: np.ndarray | None = None
    tolerance: np.ndarray | None = None


@dataclass(frozen=True)
class Case:
    """Inputs with the right answer, by path as in an `Output`. `seed` is what an experiment runs on."""

    inputs: dict[str, Any]
    answer: dict[str, Right] = field(default_factory=dict)
    seed: int = 0

    @property
    def expected(self) -> np.ndarray:
        """The right values of an answer that is a single tensor, array, picture or number."""
        value = self.answer[""].expected
        assert value is not None
        return value

    @property
    def tolerance(self) -> np.ndarray:
        """How far from `expected` a right answer may round."""
        value = self.answer[""].tolerance
        assert value is not None
        return value

    @property
    def dtype(self) -> str:
        """The dtype of a single answer."""
        return self.answer[""].dtype


def cases(task: Task, seed: int = PUBLIC_SEED) -> list[Case]:
    """Compute the task's cases from a seed, reference included; one alone where nothing depends on it."""
    seeds = [_case_seed(task, seed, index) for index in range(task.cases)]
    if task.experiment is not None:
        return [Case(task.inputs(one), seed=one) for one in (seeds if task.inputs(seeds[0]) else seeds[:1])]
    if not task.inputs(seeds[0]):
        return [case(task, {})]
    return [case(task, task.inputs(one)) for one in seeds]


def case(task: Task, inputs: dict[str, Any]) -> Case:
    """Compute the right answer for these inputs, and how far from it a right answer may round."""
    import numpy as np

    exact = outcome(task.reference, double(inputs))
    bounds = outcome(task.magnitude, double(inputs)).leaves if task.magnitude else {}
    answer: dict[str, Right] = {}
    for path, given in outcome(task.reference, inputs).leaves.items():
        right = exact.leaves[path]
        if given.kind == "text":
            answer[path] = Right("prose" if given.dtype else "text", about=given.about)
            continue
        assert given.kind in ("tensor", "array", "image", "number")
        assert right.values is not None
        if right.values.dtype == np.int64:
            allowed = np.zeros_like(right.values)
        else:
            magnitude = bounds[path].values
            assert magnitude is not None
            bound = _gamma(task.operations, given.dtype) * np.abs(magnitude)
            allowed = np.broadcast_to(bound, right.shape).copy()
        answer[path] = Right(given.kind, given.dtype, "", right.values, allowed)
    return Case(inputs, answer)


def outcome(function: Callable[..., Any], inputs: Inputs) -> Output:
    """What a trusted function gives for these inputs, with torch's seed as a student's function finds it."""
    import torch

    from lessonlib.grading.answers import read

    with torch.random.fork_rng(devices=()):
        torch.manual_seed(0)
        return read(function(*copied(inputs).values()))


def double(inputs: Inputs) -> dict[str, Any]:
    """Copies of the inputs, their floating-point tensors and arrays in float64."""
    import numpy as np
    import torch

    def exact(value: Any) -> Any:
        if isinstance(value, torch.Tensor) and value.is_floating_point():
            return value.to(torch.float64, copy=True)
        if isinstance(value, np.ndarray) and value.dtype.kind == "f":
            return value.astype(np.float64)
        return _copy(value)

    return {name: _mapped(value, exact) for name, value in inputs.items()}


def copied(inputs: Inputs) -> dict[str, Any]:
    """Copies of the inputs, down to every tensor in a list."""
    return {name: _mapped(value, _copy) for name, value in inputs.items()}


def _mapped(value: Any, change: Callable[[Any], Any]) -> Any:
    if isinstance(value, list | tuple):
        return type(value)(_mapped(one, change) for one in value)
    if isinstance(value, dict):
        return {name: _mapped(one, change) for name, one in value.items()}
    return change(value)


def _copy(value: Any) -> Any:
    if hasattr(value, "clone"):  # a tensor
        return value.clone()
    return value.copy() if hasattr(value, "copy") else value  # an array or a picture


def _gamma(operations: int, dtype: str) -> float:
    """γₙ for a dtype: "torch.float32", "float32" or Python's "float"."""
    import torch

    kind = torch.float64 if dtype == "float" else getattr(torch, dtype.removeprefix("torch."))
    rounded = operations * torch.finfo(kind).eps / 2
    return (2 if kind == torch.float64 else 1) * rounded / (1 - rounded)


def _case_seed(task: Task, seed: int, index: int) -> int:
    """Seeds of different tasks, cases and classes share nothing that a student could use."""
    digest = hashlib.sha256(f"{task.id}/{seed}/{index}".encode()).digest()
    return int.from_bytes(digest[:4], "big")
