"""The side that runs a student's function: inputs in, plain data out. It knows no right answer."""

from __future__ import annotations

import linecache
import traceback
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any

import torch

from lessonlib.grading.answers import LARGEST as LARGEST
from lessonlib.grading.answers import Output, message, read
from lessonlib.grading.task import Inputs, copied

# Taken before a student's cell runs.
_fork_rng, _manual_seed = torch.random.fork_rng, torch.manual_seed


def call_all(function: Callable[..., Any], inputs: Iterable[Inputs]) -> list[Output]:
    """Call `function` on one set of inputs after the other, up to the first that gives no answer.

    What fails once is not tried again: a loop that never ends is interrupted once, not once a case.
    """
    outputs = []
    for one in inputs:
        outputs.append(call(function, one))
        if not outputs[-1].answered:
            break
    return outputs


def call(function: Callable[..., Any], inputs: Inputs) -> Output:
    """Call `function` on copies of `inputs`, by position, and report whatever happens. Raises nothing.

    torch's random numbers start from one fixed seed and go on afterwards where they were. SystemExit and
    KeyboardInterrupt are reported too: a check ends with a sentence, not with the kernel.
    """
    arguments = copied(inputs).values()
    try:
        with _fork_rng(devices=()):
            _manual_seed(0)
            value = function(*arguments)
    except BaseException as error:
        return Output("error", about=message(error), line=_own_line(function, error.__traceback__))
    return read(value)


def settings() -> tuple[Any, ...]:
    """What an answer may change for all that is called after it, without meaning harm."""
    return torch.get_default_dtype(), torch.get_default_device(), torch.is_grad_enabled()


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
