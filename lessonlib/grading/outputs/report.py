"""Pages of HTML that need nothing else: the class for the instructor, and each student's feedback.

Jinja escapes everything; what students can name is made printable first.
"""

from __future__ import annotations

from collections import Counter
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lessonlib.files import write_text
from lessonlib.grading import tasks
from lessonlib.grading.outputs.feedback import lines
from lessonlib.grading.outputs.text import printable

if TYPE_CHECKING:
    from jinja2 import Template

Row = dict[str, Any]
COMMON = 12  # mistakes that the class page names


def write_class(rows: list[Row], path: Path) -> None:
    """The class at a glance: how each exercise went, which mistakes are common, who got what."""
    ranked = sorted(rows, key=lambda row: (row["student"]["name"].casefold(), row["student"]["id"]))
    handed = [row for row in ranked if row["submission"]]
    write_text(
        path,
        _template("class.html.jinja").render(
            rows=ranked,
            handed=handed,
            exercises=_exercises(ranked, handed),
            mistakes=_mistakes(handed),
            unusual=_unusual(handed),
            mean=sum(row["points"] for row in handed) / len(handed) if handed else 0.0,
            rubrics={task.id: task.rubric for task in tasks.all_tasks() if task.rubric},
        ),
    )


def write_student(row: Row, path: Path) -> None:
    """One student's feedback; it holds nothing that was drawn from the secret seed."""
    write_text(path, _template("student.html.jinja").render(row=row, lines=lines(row)))


def _exercises(rows: list[Row], handed: list[Row]) -> list[dict[str, Any]]:
    """Each exercise with how many passed, tried and left it."""
    found = []
    for position, first in enumerate(rows[0]["tasks"] if rows else ()):
        kinds = Counter(row["tasks"][position]["kind"] for row in handed)
        untouched = kinds["missing"] + kinds["unsolved"] + kinds["refused"]
        passed = kinds["passed"]
        found.append(
            first | {"passed": passed, "wrong": len(handed) - passed - untouched, "untouched": untouched}
        )
    return found


def _mistakes(handed: list[Row]) -> list[dict[str, Any]]:
    """The misconceptions met most often, with the hint they earned."""
    counts: Counter[tuple[str, str]] = Counter()
    hints = {}
    for row in handed:
        for grade in row["tasks"]:
            if grade["misconception"]:
                key = grade["title"], grade["misconception"]
                counts[key] += 1
                hints[key] = grade["hint"]
    return [
        {"title": key[0], "name": key[1], "count": count, "hint": hints[key]}
        for key, count in counts.most_common(COMMON)
    ]


UNUSUAL = {
    "timeout",
    "flood",
    "memory",
    "exited",
    "crashed",
    "lost",
    "forged",
    "refused",
    "grader",
    "time used up",
}


def _unusual(handed: list[Row]) -> list[tuple[Row, Row]]:
    """(row, grade) of everything that an instructor should look at."""
    return [(row, grade) for row in handed for grade in row["tasks"] if grade["kind"] in UNUSUAL]


@cache
def _template(name: str) -> Template:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: printable(value) if type(value) is str else value,
    )
    return environment.get_template(name)
