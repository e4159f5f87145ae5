"""The class list: any CSV with a header, such as an LMS exports, and whose submission a file name says it is."""

from __future__ import annotations

import csv
import io
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from lessonlib.errors import LessonError

# Headers, in the order in which a column becomes the id that results are filed under.
IDS = (
    "id", "student id", "student_id", "sid", "sis user id", "sis login id", "login", "username", "user",
    "email", "email address", "e-mail", "student number", "matriculation number",
)  # fmt: skip
NAMES = ("student", "name", "full name", "student name", "display name")


@dataclass(frozen=True)
class Student:
    """One student: `id` names the results; `keys` are all ids that a file name may carry, in lower case."""

    id: str
    name: str = ""
    keys: tuple[str, ...] = ()
    on_roster: bool = True


def read_rows(path: Path) -> list[list[str]]:
    """The rows of a CSV file, header first; commas, semicolons and tabs are understood.

    Raises:
        LessonError: it cannot be read, or has no rows.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise LessonError(
            f"The roster {path} cannot be read ({error}): export it as CSV in UTF-8."
        ) from error
    header = text.partition("\n")[0]
    delimiter = max(",;\t", key=header.count)
    rows = [row for row in csv.reader(io.StringIO(text), delimiter=delimiter) if any(map(str.strip, row))]
    if not rows:
        raise LessonError(f"The roster {path} is empty: export it with a header and a row a student.")
    return rows


def students(rows: list[list[str]], name: str) -> list[Student | None]:
    """The student of each row below the header; None for a row that is none ("Points Possible").

    Raises:
        LessonError: no column names students, or two rows have one id.
    """
    header = [cell.strip().casefold() for cell in rows[0]]
    id_columns = [header.index(title) for title in IDS if title in header]
    name_columns = [header.index(title) for title in NAMES if title in header][:1]
    if not name_columns and {"first name", "last name"} <= set(header):
        name_columns = [header.index("first name"), header.index("last name")]
    if not id_columns and not name_columns:
        raise LessonError(
            f"The roster {name} has no column that names students: it needs one called id, email or name."
        )
    found: list[Student | None] = []
    seen: set[str] = set()
    for row in rows[1:]:
        cells = [*row, *[""] * (len(header) - len(row))]
        full = " ".join(cells[column].strip() for column in name_columns).strip()
        ids = [cells[column].strip() for column in id_columns if cells[column].strip()]
        if full.casefold().startswith("points possible") or not (ids or full):
            found.append(None)
            continue
        identity = ids[0] if ids else full
        if identity in seen:
            raise LessonError(f"The roster {name} has two rows for {identity!r}: remove one.")
        seen.add(identity)
        keys = [key.casefold() for key in ids]
        keys += [key.partition("@")[0] for key in keys if "@" in key]
        found.append(Student(identity, full, tuple(dict.fromkeys(keys))))
    return found


def read_roster(path: Path) -> list[Student]:
    """The students of a roster.

    Raises:
        LessonError: as `read_rows` and `students`.
    """
    return [student for student in students(read_rows(path), path.name) if student is not None]


def owner(stem: str, class_list: Iterable[Student]) -> Student | None:
    """Whose submission a file or folder of this name is; None if nobody's, or more than one's.

    A name carries an id where the id stands between characters that are neither letters nor digits. Of
    several, the longest counts. Without an id, the name of a student as Canvas ("lovelaceada_123_...") or
    Moodle ("Ada Lovelace_123_...") writes it.
    """
    text = stem.casefold()
    found: dict[int, set[Student]] = {}
    for student in class_list:
        for key in student.keys:
            if re.search(rf"(?<![^\W_]){re.escape(key)}(?![^\W_])", text):
                found.setdefault(len(key), set()).add(student)
    if not found:
        written = {_letters(stem), _letters(stem.split("_")[0])} - {""}
        named = {student for student in class_list if written & _spellings(student.name)}
        return named.pop() if len(named) == 1 else None
    longest = found[max(found)]
    return longest.pop() if len(longest) == 1 else None


def _spellings(name: str) -> set[str]:
    """First name first and last name first, squeezed to letters."""
    words = name.replace(",", " ").split()
    return {_letters("".join(words[turn:] + words[:turn])) for turn in range(len(words))} - {""}


def _letters(text: str) -> str:
    plain = unicodedata.normalize("NFKD", text)
    return "".join(c for c in plain if c.isalnum()).casefold()
