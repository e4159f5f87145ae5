"""The right answers for practice, as files: a notebook needs neither the reference code nor the time to run
it.

`lesson exercises build` writes `references/<task>.safetensors.gz`, a pure function of the task and the public
seed: inputs as they are, the parts of the right answers with their tolerances, everything that is no tensor
in the metadata. Beside it stands the text of the solution that `solution()` shows.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lessonlib.errors import LessonError
from lessonlib.files import write_bytes
from lessonlib.grading.task import PUBLIC_SEED, Case, Right, Task, case, cases

FOLDER = Path(__file__).parent / "references"
# How far a stored answer may lie from a fresh one, as a share of what a student's may. Some references run in float32,
# where another processor sums in another order: 0.03 was seen.
ROUNDING = 0.1


def path(task: Task) -> Path:
    """Where the task's inputs and answers lie."""
    return FOLDER / f"{task.id}.safetensors.gz"


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
        # what an experiment is given is quicker made than read
        given = {} if task.experiment else one.inputs
        inputs = {name: _packed(value, f"{index}.{name}", tensors) for name, value in given.items()}
        answer = {}
        for place, right in one.answer.items():
            answer[place] = {"kind": right.kind, "dtype": right.dtype, "about": right.about}
            if right.expected is not None and right.tolerance is not None:
                tensors[f"{index}{place}.expected"] = torch.from_numpy(right.expected).contiguous()
                tensors[f"{index}{place}.tolerance"] = torch.from_numpy(right.tolerance).contiguous()
        notes.append({"inputs": inputs, "answer": answer, "seed": one.seed})
    # One metadata entry: safetensors writes several in no fixed order.
    note = json.dumps({"task": task.id, "seed": PUBLIC_SEED, "cases": notes})
    write_bytes(path(task), gzip.compress(save(tensors, {"lesson": note}), mtime=0))


def load(task: Task) -> list[Case]:
    """The task's public cases.

    Raises:
        LessonError: the file is missing or damaged.
    """
    import safetensors.numpy
    import safetensors.torch

    try:
        data = gzip.decompress(path(task).read_bytes())
        # The answers are read by numpy: what a student's cell has done to torch cannot touch them.
        tensors, arrays = safetensors.torch.load(data), safetensors.numpy.load(data)
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
        found = []
        for index, note in enumerate(json.loads(header["__metadata__"]["lesson"])["cases"]):
            inputs = {name: _unpacked(value, tensors.__getitem__) for name, value in note["inputs"].items()}
            if not inputs and task.experiment:
                inputs = task.inputs(note["seed"])
            answer = {}
            for place, right in note["answer"].items():
                numbers = () if right["kind"] in ("text", "prose") else ("expected", "tolerance")
                values: dict[str, Any] = {name: arrays[f"{index}{place}.{name}"] for name in numbers}
                answer[place] = Right(**right, **values)
            found.append(Case(inputs, answer, note["seed"]))
        return found
    except (
        OSError, EOFError, zlib.error, safetensors.SafetensorError,
        KeyError, TypeError, ValueError, AttributeError,
    ) as error:  # fmt: skip
        raise LessonError(
            f"The reference file {path(task)} is missing or damaged: restore it with `git checkout` or "
            "write it again with `lesson exercises build`."
        ) from error


def is_current(task: Task) -> bool:
    """Whether the file is what `write` would write: the same inputs, and answers equal to the reference's.

    Numbers are compared, not bytes: another processor may round the last bit otherwise.
    """
    try:
        stored = load(task)
    except LessonError:
        return False
    fresh = cases(task)
    return len(stored) == len(fresh) and all(
        _same_inputs(one, other) and _same_answer(one, _answered(task, one))
        for one, other in zip(stored, fresh, strict=True)
    )


def _answered(task: Task, one: Case) -> Case:
    return one if task.experiment is not None else case(task, one.inputs)


def _packed(value: Any, name: str, tensors: dict[str, Any]) -> Any:
    """JSON for an input; its tensors, arrays and pictures go into `tensors` under names that begin so."""
    import numpy as np
    import torch

    if isinstance(value, dict):
        return {"dict": {key: _packed(one, f"{name}.{key}", tensors) for key, one in value.items()}}
    if isinstance(value, list | tuple):
        parts = [_packed(one, f"{name}.{index}", tensors) for index, one in enumerate(value)]
        return {type(value).__name__: parts}
    if isinstance(value, torch.Tensor):
        # a copy: safetensors refuses two tensors of one memory
        tensors[name] = value.clone(memory_format=torch.contiguous_format)
        return {"tensor": name}
    if isinstance(value, np.ndarray):
        tensors[name] = torch.tensor(value)
        return {"array": name}
    if hasattr(value, "getpixel"):
        tensors[name] = torch.tensor(np.array(value))
        return {"image": name}
    return {"value": value}


def _unpacked(packed: dict[str, Any], tensor: Callable[[str], Any]) -> Any:
    """The input that `_packed` packed."""
    ((kind, content),) = packed.items()
    if kind == "dict":
        return {key: _unpacked(one, tensor) for key, one in content.items()}
    if kind in ("list", "tuple"):
        parts = [_unpacked(one, tensor) for one in content]
        return parts if kind == "list" else tuple(parts)
    if kind == "image":
        from PIL import Image

        return Image.fromarray(tensor(content).numpy())
    if kind == "array":
        return tensor(content).numpy()
    return tensor(content) if kind == "tensor" else content


def _same_inputs(one: Case, other: Case) -> bool:
    import numpy as np
    import torch

    def same(a: object, b: object) -> bool:
        if type(a) is not type(b):
            return False
        if isinstance(a, dict) and isinstance(b, dict):
            return list(a) == list(b) and all(same(a[name], b[name]) for name in a)
        if isinstance(a, list | tuple) and isinstance(b, list | tuple):
            return len(a) == len(b) and all(map(same, a, b))
        if isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor):
            return a.shape == b.shape and a.dtype == b.dtype and torch.allclose(a, b, rtol=1e-5, atol=1e-6)
        if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
            return a.shape == b.shape and a.dtype == b.dtype and np.allclose(a, b, rtol=1e-5, atol=1e-6)
        return a == b

    return one.seed == other.seed and same(one.inputs, other.inputs)


def _same_answer(one: Case, other: Case) -> bool:
    return one.answer.keys() == other.answer.keys() and all(
        _same_part(right, other.answer[place]) for place, right in one.answer.items()
    )


def _same_part(one: Right, other: Right) -> bool:
    import numpy as np

    if (one.kind, one.dtype, one.about) != (other.kind, other.dtype, other.about):
        return False
    if one.expected is None or other.expected is None or one.tolerance is None or other.tolerance is None:
        return one.expected is None and other.expected is None
    return (
        one.expected.shape == other.expected.shape
        and bool((np.abs(one.expected - other.expected) <= ROUNDING * other.tolerance).all())
        and one.tolerance.shape == other.tolerance.shape
        and np.allclose(one.tolerance, other.tolerance, rtol=1e-6, atol=0.0)
    )
