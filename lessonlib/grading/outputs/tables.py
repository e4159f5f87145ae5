"""Tables: one row a student for a spreadsheet, and the roster of the LMS with its column filled in."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from lessonlib.files import write_text
from lessonlib.grading.outputs.text import cell
from lessonlib.grading.roster import read_rows, students

Row = dict[str, Any]


def write_wide(rows: list[Row], path: Path) -> None:
    """A row a student: who, the total, the points of every exercise, how the grade came about."""
    ids = list(dict.fromkeys(grade["id"] for row in rows for grade in row["tasks"]))
    header = [
        "id",
        "name",
        "on roster",
        "points",
        "of",
        *ids,
        "to read",
        "notes",
        "isolation",
        "seed",
        "graded",
    ]
    table = [header]
    for row in rows:
        points = {grade["id"]: grade["points"] for grade in row["tasks"]}
        words = " ".join(grade["id"] for grade in row["tasks"] if grade["words"])
        table.append(
            [row["student"]["id"], row["student"]["name"], "yes" if row["student"]["on_roster"] else "no"]
            + [str(row["points"]), str(row["of"])]
            + [str(points.get(task_id, "")) for task_id in ids]
            + [words, " ".join(row["notes"]), row["isolation"], row["seed"], row["graded"]]
        )
    write_text(path, _csv(table))


def write_roster(rows: list[Row], roster: Path, assignment: str, path: Path) -> None:
    """The roster as it was exported, with the points in the assignment's column, for the LMS to import.

    Who handed nothing in keeps what stands there. A column whose name begins with the assignment's, as
    Canvas writes it ("Homework 1 (4711)"), is filled; otherwise one is added.

    Raises:
        LessonError: the roster cannot be read.
    """
    table = read_rows(roster)
    graded = {row["student"]["id"]: row for row in rows if row["student"]["on_roster"]}
    header = table[0]
    names = [title.strip() for title in header]
    exact = [n for n, title in enumerate(names) if title == assignment]
    canvas = [n for n, title in enumerate(names) if title.startswith(f"{assignment} (")]
    column = (exact or canvas or [len(header)])[0]
    filled = [_filled(header, column, header[column] if column < len(header) else assignment)]
    for line, student in zip(table[1:], students(table, roster.name), strict=True):
        row = graded.get(student.id) if student else None
        if row is not None and row["submission"]:
            filled.append(_filled(line, column, str(row["points"])))
        elif student is None and column == len(header) and rows:  # Canvas' line of points possible
            filled.append(_filled(line, column, str(rows[0]["of"])))
        else:
            filled.append(line + [""] * (column + 1 - len(line)))
    write_text(path, _csv(filled))


def _filled(line: list[str], column: int, value: str) -> list[str]:
    longer = line + [""] * (column + 1 - len(line))
    longer[column] = value
    return longer


def _csv(table: Iterable[list[str]]) -> str:
    stream = io.StringIO()
    csv.writer(stream, lineterminator="\n").writerows([cell(value) for value in line] for line in table)
    return stream.getvalue()
