"""Each test has a journal of its own, and none looks like a notebook."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "state"
    monkeypatch.setenv("LESSON_STATE", str(folder))
    return folder


@pytest.fixture(autouse=True)
def fresh_session(monkeypatch: pytest.MonkeyPatch) -> None:
    from lessonlib.grading import practice

    monkeypatch.setattr(practice, "_solved_now", set())


@pytest.fixture(scope="session")
def root() -> Path:
    return ROOT
