"""The right answers for practice, as files: a notebook needs neither the reference code nor the time to run
it.

`lesson exercises build` writes `references/<task>.safetensors`, a pure function of the task and the public
seed: inputs as they are, expected answers and tolerances in float64, plain values and dtypes in the metadata.
Beside it stands the text of the solution that `solution()` shows.
"""

from __future__ import annotations

import json
from pathlib import Path

from lessonlib.errors import LessonError
from lessonlib.files import write_bytes
from lessonlib.grading.task import PUBLIC_SEED, Case, Task, case, cases

FOLDER = Path(__file__).parent / "references"


def path(task: Task) -> Path:
    """Where the task's inputs and answers lie."""
    return FOLDER / f"{task.id}.safetensors"


def solution_path(task: Task) -> Path:
    """Where the task's solution lies: the function in `solutions/`, as text."""
    return FOLDER / f"{task.id}.solution.txt"


def solution(task: Task) -> str:
    """The source of the task's solution.

    Raises:
        LessonError: the file is missing.
    """
    try:
        return solution_path(task).read_text(encoding="utf-8")
    except OSError as error:
        raise LessonError(
            f"The file {solution_path(task)} is missing: restore it with `git checkout` or write it again "
            "with `lesson "
            "exercises build`."
        ) from error


def write(task: Task) -> None:
    """Compute the task's public cases and write them."""
    import torch
    from safetensors.torch import save

    tensors: dict[str, torch.Tensor] = {}
    notes = []
    for index, one in enumerate(cases(task)):
        values = {}
        for name, value in one.inputs.items():
            if isinstance(value, torch.Tensor):
                tensors[f"{index}.{name}"] = value.contiguous()
            else:
                values[name] = value
        tensors[f"{index}.expected"] = torch.from_numpy(one.expected)
        tensors[f"{index}.tolerance"] = torch.from_numpy(one.tolerance)
        notes.append({"arguments": list(one.inputs), "values": values, "dtype": one.dtype})
    # One metadata entry: safetensors writes several in no fixed order.
    note = json.dumps({"task": task.id, "seed": PUBLIC_SEED, "cases": notes})
    write_bytes(path(task), save(tensors, {"lesson": note}))


def load(task: Task) -> list[Case]:
    """The task's public cases.

    Raises:
        LessonError: the file is missing or damaged.
    """
    from safetensors import SafetensorError, safe_open

    try:
        # The answers are read by numpy: what a student's cell has done to torch cannot touch them.
        with safe_open(path(task), "pt") as tensors, safe_open(path(task), "np") as arrays:
            found = []
            for index, note in enumerate(json.loads(tensors.metadata()["lesson"])["cases"]):
                values = note["values"]
                inputs = {
                    name: values[name] if name in values else tensors.get_tensor(f"{index}.{name}")
                    for name in note["arguments"]
                }
                answer = (arrays.get_tensor(f"{index}.{name}") for name in ("expected", "tolerance"))
                found.append(Case(inputs, *answer, dtype=note["dtype"]))
            return found
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise LessonError(
            f"The reference file {path(task)} is missing or damaged: restore it with `git checkout` or "
            "write it again with `lesson exercises build`."
        ) from error


def is_current(task: Task) -> bool:
    """Whether the file is what `write` would write: the same inputs, and answers equal to the reference's.

    Numbers are compared, not bytes: another processor may round the last bit of a float64 otherwise.
    """
    try:
        stored = load(task)
    except LessonError:
        return False
    fresh = cases(task)
    return len(stored) == len(fresh) and all(
        _same_inputs(one, other) and _same_answer(one, case(task, one.inputs))
        for one, other in zip(stored, fresh, strict=True)
    )


def _same_inputs(one: Case, other: Case) -> bool:
    import torch

    def same(a: object, b: object) -> bool:
        if not isinstance(a, torch.Tensor) or not isinstance(b, torch.Tensor):
            return a == b
        return a.shape == b.shape and a.dtype == b.dtype and torch.allclose(a, b, rtol=1e-5, atol=1e-6)

    return list(one.inputs) == list(other.inputs) and all(
        same(one.inputs[name], other.inputs[name]) for name in one.inputs
    )


def _same_answer(one: Case, other: Case) -> bool:
    import numpy as np

    return (
        one.dtype == other.dtype
        and one.expected.shape == other.expected.shape
        and bool((np.abs(one.expected - other.expected) <= 1e-6 * other.tolerance).all())
        and one.tolerance.shape == other.tolerance.shape
        and np.allclose(one.tolerance, other.tolerance, rtol=1e-6, atol=0.0)
    )
