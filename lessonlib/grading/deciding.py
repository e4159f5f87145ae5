"""The side that decides: it compares plain data with the references and runs no student code."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy import absolute, isfinite  # by name: a student's cell can patch numpy's own

from lessonlib.grading.task import Case, Task, double

if TYPE_CHECKING:
    from PIL.Image import Image

    from lessonlib.grading.calling import Output

# A known mistake is recognised within this many tolerances. Mistakes lie millions of tolerances apart (a
# test says so).
RECOGNISED = 100.0

Kind = Literal[
    "passed", "unsolved", "none", "object", "error", "shape", "dtype", "nonfinite", "misconception", "values"
]


@dataclass(frozen=True)
class Verdict:
    """One check's result. `sentence` says what is the matter, `hint` is a misconception's own."""

    task: Task
    kind: Kind
    sentence: str
    hint: str = ""
    misconception: str = ""
    details: dict[str, str] = field(default_factory=dict)
    picture: Image | None = None

    @property
    def passed(self) -> bool:
        return self.kind == "passed"


def decide(task: Task, cases: Sequence[Case], outputs: Sequence[Output]) -> Verdict:
    """Compare one output a case with the right answers. What did not come back is never a pass."""
    for case, output in zip(cases, outputs, strict=False):
        if output.kind != "tensor":
            return _no_tensor(task, case, output)
    if not cases or len(cases) != len(outputs):
        return Verdict(task, "none", f"{len(outputs)} of {len(cases)} cases were answered.")
    if all(_right(case, output) for case, output in zip(cases, outputs, strict=True)):
        return Verdict(task, "passed", _how_close(cases, outputs))
    for misconception in task.misconceptions:
        if all(
            _looks_like(misconception.answer(**double(case.inputs)).numpy(), case, output)
            for case, output in zip(cases, outputs, strict=True)
        ):
            return Verdict(
                task,
                "misconception",
                f"This is a known mistake: {misconception.name}.",
                hint=misconception.hint,
                misconception=misconception.name,
                picture=_picture(task, cases[0], outputs[0]),
            )
    case, output = next(pair for pair in zip(cases, outputs, strict=True) if not _right(*pair))
    return _difference(task, case, output)


def _right(case: Case, output: Output) -> bool:
    return (
        output.values is not None
        and output.values.shape == case.expected.shape  # before any arithmetic: numpy would broadcast
        and output.dtype == case.dtype
        and bool(isfinite(output.values).all())
        and bool((absolute(output.values - case.expected) <= case.tolerance).all())
    )


def _looks_like(wrong: np.ndarray, case: Case, output: Output) -> bool:
    """Whether the output is the misconception's, whatever its dtype; axes of length 1 do not matter."""
    if output.values is None or (values := output.values.squeeze()).shape != (wrong := wrong.squeeze()).shape:
        return False
    return bool((absolute(values - wrong) <= RECOGNISED * case.tolerance.max()).all())


def _no_tensor(task: Task, case: Case, output: Output) -> Verdict:
    details = {"inputs": describe(case)}
    if output.kind == "unsolved":
        return Verdict(task, "unsolved", "Not solved yet: write your answer at `# your code here`.")
    if output.kind == "none":
        return Verdict(
            task, "none", "Your function returned None. Does it end with `return`?", details=details
        )
    if output.kind == "error":
        where = {"your code": output.line} if output.line else {}
        return Verdict(
            task, "error", "Your code raised an error.", details={"error": output.about} | where | details
        )
    sentence = f"Your function returned {_article(output.about)}. Expected a plain torch.Tensor."
    return Verdict(task, "object", sentence, details=details)


def _difference(task: Task, case: Case, output: Output) -> Verdict:
    details = {"inputs": describe(case)}
    if output.values is None or output.values.shape != case.expected.shape:
        details |= {"expected": str(case.expected.shape), "got": str(output.shape)}
        return Verdict(task, "shape", "The shape is not right.", details=details)
    finite = isfinite(output.values)
    if not finite.all():
        index = _first(~finite)
        sentence = f"{(~finite).sum()} of {finite.size} values are NaN or infinite."
        details |= {"first at": str(list(index)), "expected": _number(case.expected[index])}
        return Verdict(task, "nonfinite", sentence, details=details | {"got": _number(output.values[index])})
    error = absolute(output.values - case.expected)
    wrong = error > case.tolerance
    if output.dtype != case.dtype:
        # What a narrower dtype rounds away is not a second mistake.
        close = "" if wrong.mean() > 0.5 and error.max() > 0.01 else " The values are about right."
        return Verdict(
            task,
            "dtype",
            f"The dtype is not right.{close}",
            details=details | {"expected": case.dtype, "got": output.dtype},
        )
    index = _first(wrong)
    details |= {
        "first at": str(list(index)),
        "expected": _number(case.expected[index]),
        "got": _number(output.values[index]),
        "largest difference": f"{error.max():.3g}",
        "rounding explains": f"{case.tolerance.flat[error.argmax()]:.1g}",
    }
    if factor := _common_factor(case.expected, output.values):
        details["pattern"] = f"your values are {factor:.4g} times the expected ones"
    sentence = f"{wrong.sum()} of {wrong.size} values are not right."
    return Verdict(task, "values", sentence, details=details, picture=_picture(task, case, output))


def _common_factor(expected: np.ndarray, got: np.ndarray) -> float:
    """k if got = k·expected throughout, else 0."""
    energy = float((expected * expected).sum())
    factor = float((expected * got).sum()) / energy if energy else 0.0
    residual = absolute(got - factor * expected).max()
    return factor if residual <= 1e-5 * absolute(got).max() else 0.0


def describe(case: Case) -> str:
    """`noise_pred of shape (4, 4, 5, 7), guidance_scale = 7.5`."""
    return ", ".join(
        f"{name} of shape {tuple(value.shape)}" if hasattr(value, "shape") else f"{name} = {value!r}"
        for name, value in case.inputs.items()
    )


def _how_close(cases: Sequence[Case], outputs: Sequence[Output]) -> str:
    """States the error in units of what rounding allows."""
    largest = max(
        float((absolute(o.values - c.expected) / np.maximum(c.tolerance, 1e-300)).max())
        for c, o in zip(cases, outputs, strict=True)
        if o.values is not None
    )
    return f"All {len(cases)} cases are right; the largest error is {largest:.0%} of the rounding bound."


def _picture(task: Task, case: Case, output: Output) -> Image | None:
    if task.show is None or output.values is None or output.values.shape != case.expected.shape:
        return None
    return task.show(case.expected, output.values)


def _first(mask: np.ndarray) -> tuple[int, ...]:
    return tuple(int(i) for i in np.unravel_index(mask.argmax(), mask.shape))


def _number(value: float) -> str:
    return f"{value:.6g}"


def _article(name: str) -> str:
    return f"an {name}" if name[:1].lower() in "aeiou" else f"a {name}"
