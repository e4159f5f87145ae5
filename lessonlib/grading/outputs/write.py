"""All files of a graded class at once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from lessonlib.files import write_text
from lessonlib.grading.outputs import gradescope, report, tables
from lessonlib.grading.outputs.text import slug

Row = dict[str, Any]


def write_all(rows: list[Row], folder: Path, roster: Path | None, assignment: str) -> list[Path]:
    """Write grades.csv, report.html, feedback/, gradescope/ and, with a roster, roster.csv.

    Returns:
        the files and folders.

    Raises:
        LessonError: one cannot be written.
    """
    written = [folder / "grades.csv", folder / "report.html", folder / "feedback", folder / "gradescope"]
    tables.write_wide(rows, written[0])
    report.write_class(rows, written[1])
    for row in rows:
        name = slug(row["student"]["id"])
        report.write_student(row, written[2] / f"{name}.html")
        write_text(written[3] / f"{name}.json", json.dumps(gradescope.results(row), indent=1) + "\n")
    if roster is not None:
        written.append(folder / "roster.csv")
        tables.write_roster(rows, roster, assignment, written[-1])
    return written
