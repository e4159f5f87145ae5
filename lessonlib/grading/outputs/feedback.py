"""What a student may read of a row: nothing that was drawn from the secret seed.

An error's text, a type's name and a difference's numbers may carry hidden inputs out (a student can raise
them on purpose), so feedback is made of our own sentences, the student's own source and plain shapes.
"""

from __future__ import annotations

import builtins
from dataclasses import dataclass
from typing import Any

from lessonlib.grading.outputs.text import printable

Row = dict[str, Any]


@dataclass(frozen=True)
class Line:
    """Feedback on one exercise. words: (the student's own, a model answer), for an instructor to score."""

    id: str
    title: str
    points: int
    of: int
    reason: str
    hint: str = ""
    code: str = ""
    words: tuple[tuple[str, str], ...] = ()

    @property
    def text(self) -> str:
        """As plain text."""
        parts = [self.reason, self.hint, f"Your line: {self.code}" if self.code else ""]
        parts += [f"You wrote: {own}\nA model answer: {model}" for own, model in self.words]
        return "\n".join(part for part in parts if part)


def lines(row: Row) -> list[Line]:
    """Feedback on each exercise of a row."""
    return [_line(grade) for grade in row["tasks"]]


def _line(grade: Row) -> Line:
    return Line(
        grade["id"],
        grade["title"],
        grade["points"],
        grade["of"],
        _reason(grade),
        printable(grade["hint"]),
        printable(grade["line"]) if grade["kind"] == "error" else "",
        tuple((printable(own), printable(model)) for own, model in grade["words"]),
    )


def _reason(grade: Row) -> str:
    details = grade["details"]
    match grade["kind"]:
        case "passed":
            return "Right."
        case "error":
            return f"Your code raised {_error_name(details.get('error', ''))}."
        case "object":
            return "Your function did not return what was asked for."
        case "shape" | "dtype":
            return f"{grade['reason']} Expected {details.get('expected')}."
        case "values" if "pattern" in details:
            return f"{grade['reason']} A pattern: {details['pattern']}."
        case "settings":
            return "The settings are not among those allowed."
        case "values" | "nonfinite":
            return (
                "Not all values are right."
                if grade["kind"] == "values"
                else "There are NaN or infinite values."
            )
        case _:
            return printable(grade["reason"])


def _error_name(message: str) -> str:
    """`a TypeError`, if it is one of Python's own; a class of the student's could be named anything."""
    name = message.split(":", 1)[0].strip()
    kind = getattr(builtins, name, None)
    if isinstance(kind, type) and issubclass(kind, BaseException):
        return f"{'an' if name[0] in 'AEIOU' else 'a'} {name}"
    return "an error"
