"""The file of rows: one line a student, written as soon as the student is graded, read again to resume.

`results.jsonl` is for the instructor alone: it names hidden inputs. Later lines replace earlier ones of the
same student; a line torn by a crash is skipped.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from types import TracebackType
from typing import Any

from filelock import FileLock, Timeout

from lessonlib.errors import LessonError
from lessonlib.files import write_text
from lessonlib.grading.roster import Student

Row = dict[str, Any]


class Results:
    """The rows of one grading, in a folder that belongs to it.

    Raises:
        LessonError: the folder belongs to another grading, is in use, or cannot be written.
    """

    def __init__(self, folder: Path, stamp: dict[str, Any]) -> None:
        self.folder = folder
        self._path = folder / "results.jsonl"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._lock = FileLock(folder / ".lock")
            self._lock.acquire(timeout=0)
        except Timeout:
            raise LessonError(f"{folder} is being written by another `lesson grade`: wait for it.") from None
        except OSError as error:
            raise LessonError(
                f"{folder} cannot be written ({error.strerror}): choose another --out."
            ) from error
        try:
            self._belong(stamp)
            self._rows = _read(self._path)
            # A torn last line is closed, so that it spoils no other.
            self._handle = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            if self._path.stat().st_size and not self._path.read_bytes().endswith(b"\n"):
                os.write(self._handle, b"\n")
        except BaseException:
            self._lock.release()
            raise

    def __enter__(self) -> Results:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._handle)
        self._lock.release()

    def row(self, student: Student) -> Row | None:
        """The student's row, if there is one."""
        return self._rows.get((student.on_roster, student.id))

    def append(self, row: Row) -> None:
        """Keep a row: it is on the disk when this returns."""
        self._rows[_key(row)] = row
        os.write(self._handle, json.dumps(row).encode() + b"\n")
        os.fsync(self._handle)

    def rows(self) -> list[Row]:
        """One row a student: the latest."""
        return list(self._rows.values())

    def _belong(self, stamp: dict[str, Any]) -> None:
        """A folder's rows were all given under one seed, one isolation, one set of tasks."""
        path = self.folder / "terms.json"
        if not path.exists():
            write_text(path, json.dumps(stamp, indent=1) + "\n")
            return
        try:
            known = json.loads(path.read_text(encoding="utf-8"))
        except ValueError:
            known = {}
        changed = sorted(name for name in stamp if known.get(name) != stamp[name])
        if changed:
            raise LessonError(
                f"{self.folder} holds results of another grading ({', '.join(changed)} differ): choose another "
                "--out, or remove the folder."
            )


def _key(row: Row) -> tuple[bool, str]:
    return row["student"]["on_roster"], row["student"]["id"]


def _read(path: Path) -> dict[tuple[bool, str], Row]:
    rows = {}
    for line in path.read_bytes().splitlines() if path.exists() else ():
        try:
            row = json.loads(line)
            rows[_key(row)] = row
        except (ValueError, KeyError, TypeError):
            continue
    return rows
