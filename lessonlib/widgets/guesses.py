"""A number to guess before it is measured."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anywidget
from traitlets import Float, Unicode, observe

from lessonlib.errors import LessonError
from lessonlib.grading import journal
from lessonlib.grading.cards import Card, inline
from lessonlib.widgets.fallback import CSS, Fallback


def guess(id: str, question: str, low: float, high: float, unit: str = "") -> Guess:
    """Ask for a number from `low` to `high`. It is kept for tomorrow; later cells read it as `.value`, or `.told` in words.

    Args:
        id: the name under which the number is kept, such as "00_start_here.scale".
        question: in it `code` and **bold** are understood.
        unit: what is counted, such as "steps".

    Raises:
        LessonError: `low` is not below `high`.
    """
    if not low < high:
        raise LessonError(
            f'guess("{id}") asks for a number from {low:g} to {high:g}: low must be below high.'
        )
    return Guess(id, question, low, high, unit)


class Guess(Fallback, anywidget.AnyWidget):
    """The widget of `guess`. `value` is the reader's number; None before one is given."""

    _esm = Path(__file__).with_name("guess.js")
    _css = CSS

    question = Unicode().tag(sync=True)  # HTML, escaped here
    low = Float().tag(sync=True)
    high = Float().tag(sync=True)
    unit = Unicode().tag(sync=True)
    value = Float(None, allow_none=True).tag(sync=True)
    problem = Unicode().tag(sync=True)

    def __init__(self, id: str, question: str, low: float, high: float, unit: str) -> None:
        self._id, self._question = id, question
        super().__init__(question=inline(question), low=low, high=high, unit=unit)
        self.value = self._kept()

    @observe("value")
    def _guessed(self, change: Any) -> None:
        self.problem = ""
        if self.value is None or self.value == self._kept():
            return
        if not self.low <= self.value <= self.high:
            self.value = None
            self.problem = f"Give a number {self._range()}."
            return
        try:
            journal.record(self._id, "answered", repr(self.value))
        except LessonError as error:
            self.problem = str(error)

    def _kept(self) -> float | None:
        """The number kept earlier, if it is one that can be asked for."""
        try:
            value = float(journal.answers()[self._id])
        except (KeyError, ValueError):
            return None
        return value if self.low <= value <= self.high else None

    def _range(self) -> str:
        return f"from {self.low:g} to {self.high:g} {self.unit}".rstrip()

    @property
    def told(self) -> str:
        """The guess for a sentence: "62 %", or "none yet"."""
        return "none yet" if self.value is None else f"{self.value:g} {self.unit}".rstrip()

    def card(self) -> Card:
        asked = f"Your guess: a number {self._range()}."
        given = None if self.value is None else f"Your guess: {self.told}"
        return Card("note", "Guess, then measure", (self._question, given or asked))
