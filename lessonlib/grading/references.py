"""The right answers for practice, as files: a notebook needs neither the reference code nor the time to run
it.

`lesson exercises build` writes `references/<task>.safetensors`, a pure function of the task and the public
seed: inputs as they are, expected answers in float64, plain values and dtypes in the metadata. Beside it
stands the text of the solution that `solution()` shows.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from lessonlib.errors import LessonError
from lessonlib.files import write_bytes
from lessonlib.grading.task import PUBLIC_SEED, Case, Task, case, cases, tolerance

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
            f"with `lesson "
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
        with safe_open(path(task), "pt") as stored:
            notes = json.loads(stored.metadata()["lesson"])["cases"]
            tensors = {key: stored.get_tensor(key) for key in stored.keys()}  # noqa: SIM118
        return [_case(task, index, note, tensors) for index, note in enumerate(notes)]
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise LessonError(
            f"The reference file {path(task)} is missing or damaged: restore it with `git checkout` or "
            f"write it again "
            "with `lesson exercises build`."
        ) from error


def is_current(task: Task) -> bool:
    """Whether the file is what `write` would write: the same inputs, and answers equal to the reference's.

    Numbers are compared, not bytes: another processor may round the last bit of a float64 otherwise.
    """
    import numpy as np
    import torch

    try:
        stored = load(task)
    except LessonError:
        return False
    fresh = cases(task)
    if len(stored) != len(fresh):
        return False
    for one, other in zip(stored, fresh, strict=True):
        again = case(task, one.inputs)
        if list(one.inputs) != list(other.inputs) or one.dtype != again.dtype:
            return False
        for a, b in zip(one.inputs.values(), other.inputs.values(), strict=True):
            if isinstance(b, torch.Tensor):
                same = (
                    a.shape == b.shape and a.dtype == b.dtype and torch.allclose(a, b, rtol=1e-5, atol=1e-6)
                )
            else:
                same = a == b
            if not same:
                return False
        if one.expected.shape != again.expected.shape:
            return False
        if (np.abs(one.expected - again.expected) > 1e-6 * again.tolerance).any():
            return False
    return True


def _case(task: Task, index: int, note: dict[str, Any], tensors: dict[str, Any]) -> Case:
    values = note["values"]
    inputs = {k: values[k] if k in values else tensors[f"{index}.{k}"] for k in note["arguments"]}
    dtype = note["dtype"]
    return Case(inputs, tensors[f"{index}.expected"].numpy(), tolerance(task, inputs, dtype), dtype)
