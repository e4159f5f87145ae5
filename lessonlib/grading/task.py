"""What an exercise is: a text, inputs from a seed, the right answer, and the wrong ones worth a hint."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import numpy as np
    import torch
    from PIL.Image import Image

Inputs = Mapping[str, Any]  # argument name -> tensor or plain value, in the order of the student's parameters
CASES = 3  # inputs a check tries
PUBLIC_SEED = 0  # practice; a grade is given on a seed that only the instructor knows


@dataclass(frozen=True)
class Misconception:
    """A wrong answer that people really give, as code, and the hint it earns."""

    name: str
    hint: str
    answer: Callable[..., torch.Tensor]


@dataclass(frozen=True, kw_only=True)
class Task:
    """One exercise.

    The tolerance is derived, not chosen. A result computed with n rounded operations differs from the exact
    one by at most γₙ·M, γₙ = n·u / (1 - n·u), where u = eps/2 is the unit roundoff of the answer's dtype
    and M bounds the sum of the absolute values of the terms that are added up (Higham, Accuracy and
    Stability of Numerical Algorithms, 2002, Lemma 3.1). `magnitude` gives M, `operations` gives n for the
    longest sensible way of writing the answer; the reference is computed in float64, so that its own error
    does not count.
    """

    id: str
    title: str
    notebook: str  # stem of the notebook in solutions/ that asks it
    text: str  # markdown with the equation; stands word for word in the notebook
    points: int
    minutes: int
    difficulty: Literal["easy", "medium", "hard"]
    inputs: Callable[[int], dict[str, Any]]
    reference: Callable[..., torch.Tensor]
    magnitude: Callable[..., torch.Tensor]
    operations: int
    hints: tuple[str, str, str]  # from a nudge to nearly the answer
    misconceptions: tuple[Misconception, ...]
    alternatives: tuple[Callable[..., torch.Tensor], ...]  # right answers in other styles, kept as tests
    show: Callable[[np.ndarray, np.ndarray], Image] | None = None  # (expected, got) -> target beside yours


@dataclass(frozen=True)
class Case:
    """Inputs with the right answer: `expected` and `tolerance` in float64, `dtype` that of the answer."""

    inputs: dict[str, Any]
    expected: np.ndarray
    tolerance: np.ndarray
    dtype: str


def cases(task: Task, seed: int = PUBLIC_SEED) -> list[Case]:
    """Compute the task's cases from a seed, reference included."""
    return [case(task, task.inputs(_case_seed(task, seed, index))) for index in range(CASES)]


def case(task: Task, inputs: dict[str, Any]) -> Case:
    """Compute the right answer for these inputs, and how far from it a right answer may round."""
    dtype = str(task.reference(**inputs).dtype)
    return Case(inputs, task.reference(**double(inputs)).numpy(), tolerance(task, inputs, dtype), dtype)


def tolerance(task: Task, inputs: Inputs, dtype: str) -> np.ndarray:
    """γₙ·M for these inputs and the dtype of the answer ("torch.float32"), one number for each value."""
    import torch

    unit_roundoff = torch.finfo(getattr(torch, dtype.removeprefix("torch."))).eps / 2
    gamma = task.operations * unit_roundoff / (1 - task.operations * unit_roundoff)
    return gamma * task.magnitude(**double(inputs)).numpy()


def double(inputs: Inputs) -> dict[str, Any]:
    """Copies of the inputs, their floating-point tensors in float64."""
    import torch

    def exact(value: Any) -> Any:
        if not isinstance(value, torch.Tensor):
            return value
        return value.to(torch.float64, copy=True) if value.is_floating_point() else value.clone()

    return {name: exact(value) for name, value in inputs.items()}


def _case_seed(task: Task, seed: int, index: int) -> int:
    """Seeds of different tasks, cases and classes share nothing that a student could use."""
    digest = hashlib.sha256(f"{task.id}/{seed}/{index}".encode()).digest()
    return int.from_bytes(digest[:4], "big")
