"""One small file that survives a crash and several writers."""

from __future__ import annotations

import multiprocessing
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lessonlib.errors import LessonError
from lessonlib.grading import journal


def test_no_file_is_no_progress() -> None:
    assert journal.standings() == {}


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(cut=st.integers(0, 400), rubbish=st.binary(max_size=30))
def test_a_torn_file_loses_only_what_was_torn(cut: int, rubbish: bytes, state: Path) -> None:
    path = state / "progress.jsonl"
    path.unlink(missing_ok=True)
    for _ in range(5):
        journal.record("cfg", "failed", "swapped")
    whole = path.read_bytes()
    path.write_bytes(whole[:cut] + rubbish)
    journal.standings()
    journal.record("cfg", "passed", "passed")
    standing = journal.standings()["cfg"]
    assert standing.passed
    # Only the line that was being written can be lost.
    assert standing.attempts >= whole[:cut].count(b"}")


@pytest.mark.parametrize(
    "line", ["[]", "3", "null", '{"task": 1}', '{"task": "a", "event": "hint", "detail": "x"}', "é"]
)
def test_lines_that_make_no_sense_are_skipped(line: str, state: Path) -> None:
    state.mkdir()
    (state / "progress.jsonl").write_text(line + "\n")
    journal.record("cfg", "passed")
    assert journal.standings()["cfg"].passed


def _write_many(folder: str) -> None:
    os.environ["LESSON_STATE"] = folder
    for _ in range(50):
        journal.record("cfg", "failed", "swapped")


def test_several_notebooks_may_write_at_once(state: Path) -> None:
    context = multiprocessing.get_context("fork" if os.name == "posix" else "spawn")
    writers = [context.Process(target=_write_many, args=(str(state),)) for _ in range(3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert journal.standings()["cfg"].attempts == 150


def test_a_folder_that_cannot_be_written_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("LESSON_STATE", str(tmp_path / "file"))
    with pytest.raises(LessonError, match="LESSON_STATE"):
        journal.record("cfg", "passed")
    assert journal.standings() == {}
