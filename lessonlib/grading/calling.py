"""The side that runs a student's function: inputs in, plain data out. It knows no right answer."""

from __future__ import annotations

import linecache
import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal

import torch

from lessonlib.grading.task import Inputs

if TYPE_CHECKING:
    import numpy as np

LARGEST = 1 << 24  # values of an answer that are worth reading; an expanded view can claim any number

# Taken before a student's cell runs, so that a patched torch.Tensor.numpy changes nothing here.
_size, _numel, _detach, _to, _numpy = (
    torch.Tensor.size,
    torch.Tensor.numel,
    torch.Tensor.detach,
    torch.Tensor.to,
    torch.Tensor.numpy,
)
_Tensor, _NoOverrides, _float64 = torch.Tensor, torch._C.DisableTorchFunction, torch.float64


@dataclass(frozen=True)
class Output:
    """What one call gave.

    kind: "tensor" (then `shape`, `dtype` and, if not too large, `values` in float64), "object" (something
    else, named by `about`), "none", "unsolved" (the `...` of an exercise not begun), or "error" (`about` is
    the message, `line` the student's own last line that ran).
    """

    kind: Literal["tensor", "object", "none", "unsolved", "error"]
    about: str = ""
    line: str = ""
    shape: tuple[int, ...] = ()
    dtype: str = ""
    values: np.ndarray | None = None


def call_all(function: Callable[..., Any], inputs: Iterable[Inputs]) -> list[Output]:
    """Call `function` on one set of inputs after the other, up to the first that gives no tensor.

    What fails once is not tried again: a loop that never ends is interrupted once, not once a case.
    """
    outputs = []
    for one in inputs:
        outputs.append(call(function, one))
        if outputs[-1].kind != "tensor":
            break
    return outputs


def call(function: Callable[..., Any], inputs: Inputs) -> Output:
    """Call `function` on copies of `inputs`, by position, and report whatever happens. Raises nothing.

    SystemExit and KeyboardInterrupt are reported too: a check ends with a sentence, not with the kernel.
    """
    arguments = [v.clone() if isinstance(v, torch.Tensor) else v for v in inputs.values()]
    try:
        value = function(*arguments)
    except BaseException as error:
        return Output("error", about=_message(error), line=_own_line(function, error.__traceback__))
    return _read(value)


def _read(value: Any) -> Output:
    if value is None:
        return Output("none")
    if value is Ellipsis:
        return Output("unsolved")
    if type(value) is not _Tensor:  # a subclass can answer any question about itself as it likes
        return Output("object", about=_type_name(value))
    try:
        with _NoOverrides():
            dtype = str(value.dtype)
            if _numel(value) > LARGEST:
                return Output("tensor", shape=tuple(_size(value)), dtype=dtype)
            if value.is_complex():
                return Output("object", about=f"tensor of {dtype}")
            # A copy: what the function keeps a view of can change later.
            values = _numpy(_to(_detach(value), "cpu", _float64, copy=True))
    except BaseException as error:
        return Output("object", about=f"tensor that cannot be read ({_message(error)})")
    return Output("tensor", shape=values.shape, dtype=dtype, values=values)


def _type_name(value: Any) -> str:
    try:
        kind = type(value)
        name = f"{kind.__module__}.{kind.__qualname__}".removeprefix("builtins.")
        return f"{name}, a subclass of torch.Tensor" if issubclass(kind, _Tensor) else name
    except BaseException:
        return "object without a readable type"


def _message(error: BaseException) -> str:
    try:
        lines = traceback.format_exception_only(type(error), error)
        return lines[-1].strip()
    except BaseException:  # an exception whose own text raises
        return type.__name__.__get__(type(error))  # type: ignore[attr-defined]


def _own_line(function: Callable[..., Any], trace: TracebackType | None) -> str:
    """`line 3: u, c = noise_pred.chunk(3)`: the last frame in the function's own file or cell."""
    try:
        home = function.__code__.co_filename
        own = [(f, number) for f, number in traceback.walk_tb(trace) if f.f_code.co_filename == home]
        if not own:
            return ""
        frame, number = own[-1]
        text = linecache.getline(home, number, frame.f_globals).strip()
        return f"line {number}: {text}" if text else f"line {number}"
    except BaseException:
        return ""
