"""What a function can return or do to look right: nothing of it passes, and nothing of it stops the check."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch

from lessonlib.grading import practice, references, tasks
from lessonlib.grading.calling import LARGEST, Output, call, call_all
from lessonlib.grading.deciding import decide

TASK = tasks.get("cfg")
CASES = references.load(TASK)


def verdict_of(function):
    return decide(TASK, CASES, call_all(function, (case.inputs for case in CASES)))


def right(noise_pred, guidance_scale):
    uncond, cond = noise_pred.chunk(2)
    return uncond + guidance_scale * (cond - uncond)


def half(noise_pred):
    return noise_pred[: len(noise_pred) // 2]


class Yes(torch.Tensor):
    """Says yes to everything: fools torch.testing.assert_close."""

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        return True


class Agreeable:
    def __eq__(self, other):
        return True

    __hash__ = None
    __le__ = __lt__ = __ge__ = __gt__ = __eq__
    __array_priority__ = 1e9
    shape, dtype, values = (2, 4, 5, 7), torch.float32, None

    def __getattr__(self, name):
        return lambda *args, **kwargs: self

    def __bool__(self):
        return True


class Unreadable(type):
    @property
    def __module__(cls):
        raise RuntimeError

    def __repr__(cls):
        raise RuntimeError


class NastyError(Exception):
    def __str__(self):
        raise RuntimeError("no text for you")

    __repr__ = __str__


def raising(error):
    def function(noise_pred, guidance_scale):
        raise error

    return function


@pytest.mark.parametrize(
    ("kind", "function"),
    {
        "subclass": ("object", lambda n, w: half(n).as_subclass(Yes)),
        "parameter": ("object", lambda n, w: torch.nn.Parameter(right(n, w))),
        "always equal": ("object", lambda n, w: Agreeable()),
        "unreadable type": ("object", lambda n, w: Unreadable("X", (), {})()),
        "array": ("object", lambda n, w: right(n, w).numpy()),
        "list": ("object", lambda n, w: right(n, w).tolist()),
        "tuple": ("object", lambda n, w: (right(n, w),)),
        "true": ("object", lambda n, w: True),
        "sparse": ("object", lambda n, w: right(n, w).to_sparse()),
        "meta": ("object", lambda n, w: right(n, w).to("meta")),
        "complex": ("object", lambda n, w: right(n, w).to(torch.complex64)),
        "none": ("none", lambda n, w: None),
        "not begun": ("unsolved", lambda n, w: ...),
        "scalar that broadcasts": ("shape", lambda n, w: torch.tensor(0.0)),
        "shape that broadcasts": ("shape", lambda n, w: right(n, w)[:1, :1]),
        "extra axis": ("shape", lambda n, w: right(n, w)[None]),
        "flat": ("shape", lambda n, w: right(n, w).flatten()),
        "empty": ("shape", lambda n, w: n[:0]),
        "claims to be huge": ("shape", lambda n, w: torch.zeros(1).expand(LARGEST + 1)),
        "double": ("dtype", lambda n, w: right(n, w).double()),
        "half": ("dtype", lambda n, w: right(n, w).half()),
        "integers": ("dtype", lambda n, w: right(n, w).int()),
        "booleans": ("dtype", lambda n, w: right(n, w).bool()),
        "nan": ("nonfinite", lambda n, w: torch.full_like(half(n), torch.nan)),
        "inf": ("nonfinite", lambda n, w: right(n, w).index_fill(1, torch.tensor(0), torch.inf)),
        "zeros": ("values", lambda n, w: torch.zeros_like(half(n))),
        "nearly": ("values", lambda n, w: right(n, w) + 1e-3),
        "one value": (
            "values",
            lambda n, w: right(n, w).index_put((torch.tensor(0),) * 4, torch.ones(())),
        ),
        "error": ("error", raising(ValueError("no"))),
        "error without text": ("error", raising(NastyError())),
        "exit": ("error", raising(SystemExit(0))),
        "interrupt": ("error", raising(KeyboardInterrupt())),
        "base": ("error", raising(BaseException("x"))),
        "stop": ("error", raising(StopIteration())),
        "memory": ("error", raising(MemoryError())),
        "arguments": ("error", lambda noise_pred: None),
        "recursion": ("error", lambda n, w: (f := lambda: f())()),
    }.values(),
)
def test_is_told_apart_by_kind(kind: str, function, capsys: pytest.CaptureFixture[str]) -> None:
    assert verdict_of(function).kind == kind
    practice.exercise("cfg")(function)  # and the whole check, picture and journal included, says so in a card
    shown = capsys.readouterr().out
    assert "not yet" in shown or "your turn" in shown
    assert "itself failed" not in shown
    assert not practice.solved("cfg")


@pytest.mark.parametrize(
    "function",
    [
        lambda n, w: right(n.requires_grad_(), w),
        lambda n, w: right(n, w).transpose(2, 3).contiguous().transpose(2, 3),
        lambda n, w: right(n, w).clone(memory_format=torch.channels_last),
    ],
)
def test_honest_tensors_of_any_making_pass(function) -> None:
    assert verdict_of(function).passed


def test_patched_comparisons_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def yes(*args, **kwargs):
        return True

    def huge(*args, **kwargs):
        return torch.tensor(torch.inf)

    for name in ("allclose", "equal", "isclose", "all"):
        monkeypatch.setattr(torch, name, yes)
    monkeypatch.setattr(torch.testing, "assert_close", yes)
    for name in ("allclose", "array_equal", "isclose", "abs", "absolute", "isfinite", "all"):
        monkeypatch.setattr(np, name, yes)
    for name in ("allclose", "equal", "__eq__", "__le__"):
        monkeypatch.setattr(torch.Tensor, name, yes)
    for name in ("abs", "__abs__", "numpy", "to", "detach", "cpu", "double"):
        monkeypatch.setattr(torch.Tensor, name, huge)
    cases = references.load(TASK)  # read after the patches, as in a notebook
    output = call(lambda n, w: n[: len(n) // 2], cases[0].inputs)
    assert output.values is not None
    assert not (abs(output.values - cases[0].expected) <= cases[0].tolerance).all()


def test_a_torch_function_mode_left_on_does_not_answer_for_the_tensor() -> None:
    class Forge(torch.overrides.TorchFunctionMode):
        def __torch_function__(self, func, types, args=(), kwargs=None):
            return CASES[0].expected

    forge = Forge()

    def function(noise_pred, guidance_scale):
        answer = noise_pred[: len(noise_pred) // 2] * 0
        forge.__enter__()
        return answer

    try:
        output = call(function, CASES[0].inputs)
    finally:
        forge.__exit__(None, None, None)
    assert output.values is not None
    assert not output.values.any()


def test_no_result_is_never_a_pass() -> None:
    outputs = [call(right, case.inputs) for case in CASES]
    assert decide(TASK, CASES, outputs).passed
    assert not decide(TASK, CASES, outputs[:-1]).passed
    assert not decide(TASK, CASES, []).passed
    assert not decide(TASK, [], []).passed
    assert not decide(TASK, CASES, [Output("tensor", shape=o.shape, dtype=o.dtype) for o in outputs]).passed


def test_a_loop_without_end_is_interrupted_once() -> None:
    count = 0

    def function(noise_pred, guidance_scale):
        nonlocal count
        count += 1
        raise KeyboardInterrupt

    assert verdict_of(function).details["error"] == "KeyboardInterrupt"
    assert count == 1


def test_one_wrong_case_is_enough() -> None:
    count = 0

    def last_is_wrong(noise_pred, guidance_scale):
        nonlocal count
        count += 1
        return right(noise_pred, guidance_scale) if count < len(CASES) else half(noise_pred)

    assert verdict_of(last_is_wrong).kind == "values"


def test_inputs_are_copies() -> None:
    def spoil(noise_pred, guidance_scale):
        answer = right(noise_pred, guidance_scale)
        noise_pred.fill_(torch.nan)
        return answer

    before = [case.inputs["noise_pred"].clone() for case in CASES]
    assert verdict_of(spoil).passed
    assert all(torch.equal(a, case.inputs["noise_pred"]) for a, case in zip(before, CASES, strict=True))


def test_an_answer_changed_after_it_was_given_stays_as_it_was() -> None:
    kept = []

    def remember(noise_pred, guidance_scale):
        for old in kept:
            old.zero_()
        kept.append(right(noise_pred, guidance_scale))
        return kept[-1]

    assert verdict_of(remember).passed


def test_the_students_own_line_is_shown() -> None:
    def helper(x):
        return x.chunk(3, 2, 1)

    def function(noise_pred, guidance_scale):
        return torch.vmap(helper)(noise_pred)

    verdict = verdict_of(function)
    assert verdict.details["your code"].endswith("return x.chunk(3, 2, 1)")
    assert verdict.details["error"].startswith("TypeError: ")
    assert "torch" not in verdict.details["your code"]


def test_escapes_and_markup_in_a_students_text_are_only_text(capsys: pytest.CaptureFixture[str]) -> None:
    evil = "\x1b[2J<script>alert(1)</script>"
    verdict = verdict_of(raising(ValueError(evil)))
    card = practice.verdict_card(verdict)
    assert "<script>" not in card._repr_html_()
    assert "\x1b" not in card._repr_html_()
    assert "\x1b" not in str(card)


def test_nothing_is_left_behind(capsys: pytest.CaptureFixture[str]) -> None:
    stdout, rng = sys.stdout, torch.get_rng_state()
    practice.exercise("cfg")(lambda n, w: print("hello") or right(n, w))
    assert sys.stdout is stdout
    assert torch.equal(rng, torch.get_rng_state())
    assert capsys.readouterr().out.startswith("hello\n")
