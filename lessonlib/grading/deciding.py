"""The side that decides: it compares plain data with the references and runs no student code."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy import absolute, isfinite  # by name: a student's cell can patch numpy's own

from lessonlib.grading.task import Case, Right, Task, double, outcome

if TYPE_CHECKING:
    from PIL.Image import Image

    from lessonlib.grading.answers import Output
    from lessonlib.grading.experiment import Experiment

# A known mistake is recognised within this many tolerances. Mistakes lie thousands of tolerances apart (a
# test says so).
RECOGNISED = 100.0

Kind = Literal[
    "passed",
    "unsolved",
    "none",
    "object",
    "error",
    "shape",
    "dtype",
    "nonfinite",
    "misconception",
    "values",
    "settings",
]


@dataclass(frozen=True)
class Verdict:
    """One check's result. `sentence` says what is the matter, `hint` is a misconception's own.

    words: after passing, the student's own words and a model answer, for each text that is not compared.
    """

    task: Task
    kind: Kind
    sentence: str
    hint: str = ""
    misconception: str = ""
    details: dict[str, str] = field(default_factory=dict)
    picture: Image | None = None
    caption: str = "expected (left) and yours (right)"
    words: tuple[tuple[str, str], ...] = ()
    share: float = 0.0  # of the points, for an experiment that is partly solved

    @property
    def passed(self) -> bool:
        return self.kind == "passed"

    @property
    def points(self) -> int:
        """The points that the answer earns."""
        return self.task.points if self.passed else int(self.task.points * self.share)


def decide(task: Task, cases: Sequence[Case], outputs: Sequence[Output]) -> Verdict:
    """Compare one output a case with the right answers. What did not come back is never a pass."""
    for case, output in zip(cases, outputs, strict=False):
        if not output.answered:
            return _no_answer(task, case, output)
    if not cases or len(cases) != len(outputs):
        return Verdict(task, "none", f"{len(outputs)} of {len(cases)} cases were answered.")
    if task.experiment is not None:
        return _measured(task, task.experiment, cases, outputs)
    if all(_right(case, output) for case, output in zip(cases, outputs, strict=True)):
        return Verdict(task, "passed", _how_close(cases, outputs), words=_words(cases[0], outputs[0]))
    for misconception in task.misconceptions:
        if all(
            _looks_like(outcome(misconception.answer, double(case.inputs)), case, output)
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


def _measured(
    task: Task, experiment: Experiment, cases: Sequence[Case], outputs: Sequence[Output]
) -> Verdict:
    """An experiment's verdict: known mistakes are named only where the goals are missed."""
    known = []
    for case, output in zip(cases, outputs, strict=True):
        settings, complaint = experiment.settings_of(output)
        if complaint:
            return Verdict(task, "settings", complaint)
        known.append({**case.inputs, **settings})
    seeds = [case.seed for case in cases]
    measures = experiment.measure(known, seeds)
    verdict = Verdict(task, "passed", "Every goal is met.", share=experiment.share(measures))
    verdict.details.update(
        {goal.measure: f"{measures[goal.measure]:.4g} ({goal})" for goal in experiment.goals}
    )
    if experiment.show is not None:
        picture, caption = experiment.show(known, seeds)
        verdict = replace(verdict, picture=picture, caption=caption)
    missed = [goal.measure for goal in experiment.goals if not goal.met(measures[goal.measure])]
    if not missed:
        return verdict
    for mistake in task.misconceptions:
        if mistake.applies is not None and all(map(mistake.applies, known)):
            sentence = f"This is a known mistake: {mistake.name}."
            return replace(
                verdict,
                kind="misconception",
                sentence=sentence,
                hint=mistake.hint,
                misconception=mistake.name,
            )
    return replace(verdict, kind="values", sentence=f"Not reached: {', '.join(missed)}.")


def _right(case: Case, output: Output) -> bool:
    leaves = output.leaves
    return leaves.keys() == case.answer.keys() and all(
        _right_part(right, leaves[path]) for path, right in case.answer.items()
    )


def _right_part(right: Right, part: Output) -> bool:
    if right.kind == "prose":
        return part.kind == "text" and part.about.strip() not in ("", "...")
    if right.kind == "text":
        return part.kind == "text" and part.about == right.about
    return (
        right.expected is not None
        and part.values is not None
        and part.kind == right.kind
        and part.values.shape == right.expected.shape  # before any arithmetic: numpy would broadcast
        and _same_dtype(right, part)
        and bool(isfinite(part.values).all())
        and bool((absolute(part.values - right.expected) <= right.tolerance).all())
    )


def _same_dtype(right: Right, part: Output) -> bool:
    """A whole number may stand for a float, as everywhere in Python."""
    return part.dtype == right.dtype or (
        part.kind == "number" and (part.dtype, right.dtype) == ("int", "float")
    )


def _looks_like(wrong: Output, case: Case, output: Output) -> bool:
    """Whether the output is the misconception's, whatever its dtype; axes of length 1 do not matter."""
    mistaken, got = wrong.leaves, output.leaves
    bounds = (
        right.tolerance.max(initial=0.0) for right in case.answer.values() if right.tolerance is not None
    )
    allowed = RECOGNISED * max(bounds, default=0.0)
    words = {path for path, right in case.answer.items() if right.kind == "prose"}
    return mistaken.keys() == got.keys() and all(
        path in words or _part_looks_like(mistaken[path], got[path], allowed) for path in got
    )


def _part_looks_like(wrong: Output, part: Output, allowed: float) -> bool:
    if part.kind == "text" or wrong.kind == "text":
        return part.kind == wrong.kind and part.about == wrong.about
    if part.values is None or wrong.values is None or _family(part) != _family(wrong):
        return False
    near, far = part.values.squeeze(), wrong.values.squeeze()
    whole = near.dtype == far.dtype == np.int64
    return near.shape == far.shape and bool((absolute(near - far) <= (0 if whole else allowed)).all())


def _family(part: Output) -> str:
    """Pictures and arrays are told apart from tensors and numbers only where the right answer is."""
    return part.kind if part.kind in ("image", "array") else "tensor"


def _no_answer(task: Task, case: Case, output: Output) -> Verdict:
    details = {"inputs": inputs} if (inputs := describe(case)) else {}
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
    return _wrong_form(task, case, output.about, details)


def _wrong_form(task: Task, case: Case, got: str, details: dict[str, str]) -> Verdict:
    wanted = "a dict of settings" if task.experiment else _form(case.answer)
    sentence = f"Your function returned {_article(got)}. Expected {wanted}."
    return Verdict(task, "object", sentence, details=details)


_NAMES = {"tensor": "plain torch.Tensor", "array": "NumPy array", "image": "PIL image", "text": "str"}


def _form(answer: dict[str, Right]) -> str:
    """What kind of thing the right answer is: "a plain torch.Tensor", "a tuple of 3", ..."""
    if "" in answer:
        return _article(_part_form(answer[""]))
    paths = list(answer)
    if paths[0].startswith("."):
        return f"a torch.nn.Module with {', '.join(path[1:] for path in paths)}"
    names = list(dict.fromkeys(path[1 : path.index("]")] for path in paths))
    if names[0].isdigit():
        return f"a tuple or list of {len(names)}"
    return f"a dict with {', '.join(names)}"


def _part_form(right: Right) -> str:
    if right.kind == "number":
        return right.dtype
    return "str" if right.kind == "prose" else _NAMES[right.kind]


def _difference(task: Task, case: Case, output: Output) -> Verdict:
    details = {"inputs": inputs} if (inputs := describe(case)) else {}
    leaves = output.leaves
    if leaves.keys() != case.answer.keys():
        if output.kind != "group" or "" in case.answer:
            return _wrong_form(task, case, _given(output), details)
        missing, surplus = case.answer.keys() - leaves.keys(), leaves.keys() - case.answer.keys()
        details |= {"missing": ", ".join(sorted(missing))} if missing else {}
        details |= {"not asked for": ", ".join(sorted(surplus))} if surplus else {}
        return _wrong_form(task, case, output.about, details)
    path, right = next((p, r) for p, r in case.answer.items() if not _right_part(r, leaves[p]))
    return _part_difference(task, case, output, path, right, details | ({"part": path} if path else {}))


def _part_difference(
    task: Task, case: Case, output: Output, path: str, right: Right, details: dict[str, str]
) -> Verdict:
    part = output.leaves[path]
    name = f"The part `{path}`" if path else "The answer"
    if right.kind in ("text", "prose") and part.kind == "text":
        if right.kind == "prose":
            return Verdict(task, "values", f"{name} waits for your own words.")
        return Verdict(task, "values", f"{name} is not right.", details=details | {"got": part.about[:200]})
    if right.expected is None or part.kind != right.kind:
        sentence = f"Your function returned {_article(_given(part))}"
        sentence += f" at {path}." if path else "."
        return Verdict(task, "object", f"{sentence} Expected {_article(_part_form(right))}.", details=details)
    expected, tolerance = right.expected, right.tolerance
    assert tolerance is not None
    if part.values is None or part.values.shape != expected.shape:
        details |= {"expected": str(expected.shape), "got": str(part.shape)}
        return Verdict(task, "shape", "The shape is not right.", details=details)
    finite = isfinite(part.values)
    if not finite.all():
        index = _first(~finite)
        sentence = f"{(~finite).sum()} of {finite.size} values are NaN or infinite."
        details |= {"first at": str(list(index)), "expected": _number(expected[index])}
        return Verdict(task, "nonfinite", sentence, details=details | {"got": _number(part.values[index])})
    error = absolute(part.values - expected)
    wrong = error > tolerance
    if not _same_dtype(right, part):
        # What a narrower dtype rounds away is not a second mistake.
        close = "" if wrong.mean() > 0.5 and error.max() > 0.01 else " The values are about right."
        return Verdict(
            task,
            "dtype",
            f"The dtype is not right.{close}",
            details=details | {"expected": right.dtype, "got": part.dtype},
        )
    if right.kind == "number":
        return Verdict(task, "values", f"{name} is not right.", details=details | {"got": str(part.values)})
    index = _first(wrong)
    details |= {
        "first at": str(list(index)),
        "expected": _number(expected[index]),
        "got": _number(part.values[index]),
        "largest difference": f"{error.max():.3g}",
    }
    if explained := tolerance.flat[error.argmax()]:
        details["rounding explains"] = f"{explained:.1g}"
    if factor := _common_factor(expected, part.values):
        details["pattern"] = f"your values are {factor:.4g} times the expected ones"
    sentence = f"{wrong.sum()} of {wrong.size} values are not right."
    return Verdict(task, "values", sentence, details=details, picture=_picture(task, case, output))


def _common_factor(expected: np.ndarray, got: np.ndarray) -> float:
    """k if got = k·expected throughout, else 0."""
    expected, got = expected.astype(np.float64), got.astype(np.float64)
    energy = float((expected * expected).sum())
    factor = float((expected * got).sum()) / energy if energy else 0.0
    residual = absolute(got - factor * expected).max()
    return factor if residual <= 1e-5 * absolute(got).max() else 0.0


def describe(case: Case) -> str:
    """`noise_pred of shape (4, 4, 5, 7), guidance_scale = 7.5, skips: list of 3`."""
    return ", ".join(_described(name, value) for name, value in case.inputs.items())


def _described(name: str, value: object) -> str:
    if hasattr(value, "shape"):
        return f"{name} of shape {tuple(value.shape)}"  # type: ignore[attr-defined]
    text = repr(value)
    if len(text) > 80 and hasattr(value, "__len__"):
        return f"{name}: {type(value).__name__} of {len(value)}"  # type: ignore[arg-type]
    return f"{name} = {text}"


def _how_close(cases: Sequence[Case], outputs: Sequence[Output]) -> str:
    """States the error in units of what rounding allows, where there is rounding."""
    ratios = [
        float((absolute(part.values - right.expected) / np.maximum(right.tolerance, 1e-300)).max(initial=0.0))
        for case, output in zip(cases, outputs, strict=True)
        for path, right in case.answer.items()
        if (part := output.leaves[path]).values is not None
        and right.expected is not None
        and right.tolerance is not None
        and right.tolerance.any()
    ]
    right = f"All {len(cases)} cases are right" if len(cases) > 1 else "Right"
    return (
        f"{right}; the largest error is {max(ratios):.0%} of the rounding bound." if ratios else f"{right}."
    )


def _words(case: Case, output: Output) -> tuple[tuple[str, str], ...]:
    return tuple(
        (output.leaves[path].about, right.about)
        for path, right in case.answer.items()
        if right.kind == "prose"
    )


def _picture(task: Task, case: Case, output: Output) -> Image | None:
    """Target beside yours: of the first part that has the right shape and is not right."""
    if task.show is None:
        return None
    for path, right in case.answer.items():
        part = output.leaves.get(path)
        if part is None or part.values is None or right.expected is None or _right_part(right, part):
            continue
        if part.values.shape == right.expected.shape:
            return task.show(right.expected, part.values)
    return None


def _given(output: Output) -> str:
    """What came, as a type."""
    if output.kind == "group":
        return output.about
    return output.dtype if output.kind == "number" else _NAMES[output.kind].removeprefix("plain ")


def _first(mask: np.ndarray) -> tuple[int, ...]:
    return tuple(int(i) for i in np.unravel_index(mask.argmax(), mask.shape))


def _number(value: float) -> str:
    return f"{value:.6g}"


def _article(name: str) -> str:
    return f"an {name}" if name[:1].lower() in "aeiou" else f"a {name}"
