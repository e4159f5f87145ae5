"""What a student has done so far: one small file that survives a crash and several notebooks at once.

`progress.jsonl` in the user's state folder (or in `LESSON_STATE`) gets one line an event, in one appending
write. A line torn by a crash is skipped when reading, and since every write starts on a new line it spoils
no other. Answers to the notebooks' questions are kept beside the exercises' events.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from lessonlib.errors import LessonError

Event = Literal["passed", "failed", "hint", "asked", "answered"]


@dataclass
class Standing:
    """Where a student stands with one task."""

    passed: bool = False
    attempts: int = 0
    hints: int = 0  # the highest level seen
    asked: bool = False  # whether the solution has been asked for
    last: str = ""  # how the latest check ended: a verdict's kind, or a misconception's name


def path() -> Path:
    """Where the journal lies."""
    from platformdirs import user_state_path

    return Path(os.environ.get("LESSON_STATE") or user_state_path("lessonlib")) / "progress.jsonl"


def record(task_id: str, event: Event, detail: str = "") -> None:
    """Append one event of a task, or an answer to a question.

    Raises:
        LessonError: the folder cannot be written.
    """
    line = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "task": task_id,
        "event": event,
        "detail": detail,
    }
    target = path()
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            os.write(handle, b"\n" + json.dumps(line).encode())
            os.fsync(handle)
        finally:
            os.close(handle)
    except OSError as error:
        raise LessonError(
            f"Your progress is not kept: {target} cannot be written ({error.strerror or error}). Set "
            "LESSON_STATE to a folder you can write to."
        ) from error


def standings() -> dict[str, Standing]:
    """Task id -> where the student stands. Unreadable lines are skipped; no file means no progress."""
    found: dict[str, Standing] = {}
    for task_id, event, detail in _events():
        if event == "answered":
            continue
        standing = found.setdefault(task_id, Standing())
        if event == "hint" and detail.isdecimal():
            standing.hints = max(standing.hints, int(detail))
        elif event in ("passed", "failed"):
            standing.attempts += 1
            standing.passed |= event == "passed"
            standing.last = detail
        elif event == "asked":
            standing.asked = True
    return found


def answers() -> dict[str, str]:
    """Question id -> the latest answer to it."""
    return {question: detail for question, event, detail in _events() if event == "answered"}


def _events() -> Iterator[tuple[str, str, str]]:
    """(id, event, detail) of every line that can be read, the oldest first."""
    try:
        lines = path().read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return
    for line in lines:
        try:
            entry = json.loads(line)
            yield str(entry["task"]), str(entry["event"]), str(entry.get("detail", ""))
        except (ValueError, KeyError, TypeError):
            continue
