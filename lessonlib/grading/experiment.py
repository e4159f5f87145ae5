"""Experiments: the student hands in settings, and what they do is measured on seeds nobody has seen.

Only data leaves the student's function. The measuring runs on the deciding side, with settings that were
checked first.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
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
class Goal:
    """A measure that must reach `at_least` or stay within `at_most`."""

    measure: str
    at_least: float = float("-inf")
    at_most: float = float("inf")

    def met(self, value: float) -> bool:
        """Whether a measured value is good enough; NaN never is."""
        return self.at_least <= value <= self.at_most

    def __str__(self) -> str:
        bounds = (("at least", self.at_least), ("at most", self.at_most))
        return " and ".join(f"{word} {bound:g}" for word, bound in bounds if abs(bound) != float("inf"))


@dataclass(frozen=True)
class Experiment:
    """What may be set, how it is measured, and what is asked of the result.

    measure: (settings, seed) -> every goal's measure. Deterministic, and it trusts its settings: they have
        passed `settings_of`.
    """

    settings: Mapping[str, Range | Choice]
    measure: Callable[[Settings, int], Mapping[str, float]]
    goals: tuple[Goal, ...]

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
        for name, value in settings.items():
            if value not in self.settings[name]:
                return {}, f"{name} is {value!r}; it must be {self.settings[name]}."
        return settings, ""


def _plain(part: Output) -> Any:
    """A number or a text as the Python value it was; anything else is no setting."""
    if part.kind == "text":
        return part.about
    if part.kind != "number" or part.values is None:
        return None
    return bool(part.values) if part.dtype == "bool" else part.values.item()
