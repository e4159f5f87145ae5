"""Experiments: the student hands in settings, and what they do is measured on seeds nobody has seen.

Only data leaves the student's function. The measuring runs on the deciding side, with settings that were
checked first.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from PIL.Image import Image

    from lessonlib.grading.answers import Output

Settings = dict[str, Any]


@dataclass(frozen=True)
class Range:
    """A number that may be set; `whole` for integers. Both ends are allowed."""

    low: float
    high: float
    whole: bool = False

    def __contains__(self, value: object) -> bool:
        kinds = (int,) if self.whole else (int, float)
        return type(value) in kinds and self.low <= value <= self.high  # type: ignore[operator]

    def __str__(self) -> str:
        return f"{'an int' if self.whole else 'a number'} from {self.low:g} to {self.high:g}"


@dataclass(frozen=True)
class Choice:
    """One of several values."""

    values: tuple[Any, ...]

    def __contains__(self, value: object) -> bool:
        return any(type(value) is type(one) and value == one for one in self.values)

    def __str__(self) -> str:
        return f"one of {', '.join(map(repr, self.values))}"


@dataclass(frozen=True)
class Pixels:
    """A picture that may be handed in, as an array or a PIL picture: uint8 [height, width, 3].

    Both sides have `smallest` to `largest` pixels, both ends allowed.
    """

    smallest: int
    largest: int

    def __contains__(self, value: object) -> bool:
        return (
            isinstance(value, np.ndarray)
            and value.dtype == np.uint8
            and value.ndim == 3
            and value.shape[2] == 3
            and all(self.smallest <= side <= self.largest for side in value.shape[:2])
        )

    def __str__(self) -> str:
        sides = " to ".join(map(str, dict.fromkeys((self.smallest, self.largest))))
        return f"a uint8 array (height, width, 3) with sides of {sides} pixels"


@dataclass(frozen=True)
class Goal:
    """A measure that must reach `at_least` or stay within `at_most`.

    last: it counts for nothing unless every goal that is not `last` is met: what is cheap must be good, too.
    """

    measure: str
    at_least: float = float("-inf")
    at_most: float = float("inf")
    last: bool = False

    def met(self, value: float) -> bool:
        """Whether a measured value is good enough; NaN never is."""
        return self.at_least <= value <= self.at_most

    def __str__(self) -> str:
        bounds = (("at least", self.at_least), ("at most", self.at_most))
        return " and ".join(f"{word} {bound:g}" for word, bound in bounds if abs(bound) != float("inf"))


@dataclass(frozen=True)
class Experiment:
    """What may be set, how it is measured, and what is asked of the result.

    measure: for each case its inputs and settings, by name, and its seed -> every goal's measure. Deterministic,
        and it trusts its settings: they have passed `settings_of`.
    partial: each goal that is met is worth its share of the points; otherwise all must be met for any.
    show: what there is to see, of the same arguments, and a caption.
    """

    settings: Mapping[str, Range | Choice | Pixels]
    measure: Callable[[Sequence[Settings], Sequence[int]], Mapping[str, float]]
    goals: tuple[Goal, ...]
    partial: bool = False
    show: Callable[[Sequence[Settings], Sequence[int]], tuple[Image, str]] | None = None

    def share(self, measures: Mapping[str, float]) -> float:
        """The share of the points that these measures earn, from 0 to 1."""
        met = [goal for goal in self.goals if goal.met(measures[goal.measure])]
        if len(met) == len(self.goals):
            return 1.0
        first = [goal for goal in met if not goal.last]
        all_first = len(first) == sum(not goal.last for goal in self.goals)
        return len(met if all_first else first) / len(self.goals) if self.partial else 0.0

    def settings_of(self, output: Output) -> tuple[Settings, str]:
        """(settings, what is wrong with them, in a sentence, or "")."""
        if output.kind != "group" or output.about != "dict":
            return {}, f"Return a dict with the settings {', '.join(self.settings)}."
        given = {path: _plain(part) for path, part in output.parts.items()}
        names = {f"[{name!r}]": name for name in self.settings}
        if missing := [name for path, name in names.items() if path not in given]:
            return {}, f"The settings lack {', '.join(missing)}."
        if surplus := sorted(given.keys() - names.keys()):
            return {}, f"There is no setting {surplus[0][1:-1]}; there are {', '.join(self.settings)}."
        settings = {name: given[path] for path, name in names.items()}
        for path, name in names.items():
            if settings[name] not in self.settings[name]:
                return {}, f"{name} is {_named(output.parts[path])}; it must be {self.settings[name]}."
        return settings, ""


def _plain(part: Output) -> Any:
    """A number, a text or a picture of 8 bits as what it was; anything else is no setting."""
    if part.kind == "text":
        return part.about
    if part.values is None:
        return None
    if part.kind in ("array", "image") and part.dtype in ("uint8", "RGB"):
        low, high = part.values.min(initial=0), part.values.max(initial=0)
        return part.values.astype(np.uint8) if low >= 0 and high <= 255 else None
    if part.kind != "number":
        return None
    return bool(part.values) if part.dtype == "bool" else part.values.item()


def _named(part: Output) -> str:
    """What came, for a sentence: a value, or an array's dtype and shape."""
    if part.kind in ("number", "text"):
        return repr(_plain(part))
    return f"{part.kind} of {part.dtype} and shape {part.shape}"
