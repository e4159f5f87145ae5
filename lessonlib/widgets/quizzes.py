"""A question to answer before the cell that answers it is run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from string import ascii_uppercase
from typing import Any

import anywidget
from traitlets import Int, List, Unicode, observe

from lessonlib.errors import LessonError
from lessonlib.grading import journal
from lessonlib.grading.cards import Card, inline
from lessonlib.widgets.fallback import CSS, Fallback


def quiz(id: str, question: str, choices: Sequence[str], answer: int, why: str) -> Quiz:
    """Ask for a prediction. The answer is told after the reader has chosen, and the choice is kept for tomorrow.

    Args:
        id: the name under which the choice is kept, such as "01_sdxl.refiner".
        question: in it, as in `choices` and `why`, `code` and **bold** are understood.
        choices: two or more.
        answer: the place of the right one, from 0.
        why: one or two sentences, shown with the answer.

    Raises:
        LessonError: there is no such choice, or two are the same.
    """
    if len(set(choices)) < max(2, len(choices)):
        raise LessonError(f'quiz("{id}") needs two or more choices, all different.')
    if answer not in range(len(choices)):
        raise LessonError(f'quiz("{id}") has choices 0 to {len(choices) - 1}, and answer={answer!r} is none.')
    return Quiz(id, question, tuple(choices), answer, why)


class Quiz(Fallback, anywidget.AnyWidget):
    """The widget of `quiz`. The browser is told which choice is right only after one was made."""

    _esm = Path(__file__).with_name("quiz.js")
    _css = CSS

    question = Unicode().tag(
        sync=True
    )  # HTML, as are the choices and the reason: escaped here, not in the browser
    choices = List(Unicode()).tag(sync=True)
    choice = Int(None, allow_none=True).tag(sync=True)
    right = Int(None, allow_none=True).tag(sync=True)
    why = Unicode().tag(sync=True)
    problem = Unicode().tag(sync=True)

    def __init__(self, id: str, question: str, choices: tuple[str, ...], answer: int, why: str) -> None:
        self._id, self._question, self._choices = id, question, choices
        self._answer, self._why = answer, why
        kept = journal.answers().get(id)
        super().__init__(question=inline(question), choices=[inline(choice) for choice in choices])
        if kept in choices:
            self.choice = choices.index(kept)

    @property
    def value(self) -> str | None:
        """The reader's choice; None before one is made."""
        return None if self.choice is None else self._choices[self.choice]

    @observe("choice")
    def _chosen(self, change: Any) -> None:
        chosen, self.problem = self.value, ""
        self.right, self.why = (None, "") if chosen is None else (self._answer, inline(self._why))
        if chosen is not None and chosen != journal.answers().get(self._id):
            try:
                journal.record(self._id, "answered", chosen)
            except LessonError as error:
                self.problem = str(error)

    def card(self) -> Card:
        listed = [
            f"**{letter}.** {choice}" for letter, choice in zip(ascii_uppercase, self._choices, strict=False)
        ]
        if self.choice is None:
            return Card("note", "Predict, then run", (self._question, *listed))
        right = self.choice == self._answer
        told = f"You predicted {ascii_uppercase[self.choice]}; {ascii_uppercase[self._answer]} is right."
        verdict = "Your prediction was right." if right else told
        title = "Predict, then run"
        return Card("good" if right else "bad", title, (self._question, *listed, verdict, self._why))
