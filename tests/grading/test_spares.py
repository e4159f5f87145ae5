"""A class is graded in a few sandboxes, one student after another, and none is left at the end."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Executor

import psutil
import pytest
from sandboxes import needs_bwrap

from lessonlib.grading.executors import threads
from lessonlib.grading.grade import Terms, grade_student
from lessonlib.grading.roster import Student
from lessonlib.grading.sandbox import spares, walls
from lessonlib.grading.sandbox.supervisor import Limits, run
from lessonlib.grading.submissions import Contents

pytestmark = needs_bwrap

NOTEBOOK = (
    b'{"cells": [{"cell_type": "code", "source": "@exercise(\\"cfg\\")\\ndef f(a, b):\\n    return 3"}]}'
)


@pytest.fixture(autouse=True)
def none_waits() -> Iterator[None]:
    spares.close()
    yield
    spares.close()


@pytest.fixture
def renewed() -> None:
    if not walls.bubblewrap().renews:
        pytest.skip("namespaces cannot be made inside bubblewrap's here")


def _children() -> set[int]:
    return {one.pid for one in psutil.Process().children(recursive=True)}


def test_the_next_student_gets_the_sandbox_of_the_last(renewed: None) -> None:
    with spares.sandbox(walls.bubblewrap()) as first:
        first.start()
        process = first._process
    with spares.sandbox(walls.bubblewrap()) as second, spares.sandbox(walls.bubblewrap()) as another:
        assert second._process is process
        assert another._process is None


def test_a_sandbox_that_fails_does_not_wait() -> None:
    failed = []

    def fail() -> None:
        with spares.sandbox(walls.bubblewrap()) as one:
            failed.append(one)
            one.start()
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    (one,) = failed
    assert one._process is None
    with spares.sandbox(walls.bubblewrap()) as other:
        assert other is not one


def test_a_sandbox_that_cannot_be_renewed_does_not_wait() -> None:
    with spares.sandbox(walls.process()) as one:
        assert one.ask(run("def f():\n    return 1\n", _no_cases()), Limits()).status == "done"
    assert one._process is None
    with spares.sandbox(walls.process()) as other:
        assert other is not one


def test_a_class_starts_no_more_sandboxes_than_it_has_workers_and_leaves_none(renewed: None) -> None:
    before, terms = _children(), Terms("x", "sandboxed", task_ids=("cfg",))

    def grade(pool: Executor, name: str) -> str:
        contents = Contents({"a.ipynb": NOTEBOOK}, digest=name)
        return pool.submit(grade_student, Student(name, name), contents, terms).result()["tasks"][0]["kind"]

    with threads(1) as (pool, _):
        first = grade(pool, "a")
        started = _children() - before
        assert grade(pool, "b") == first
        lasting = {pid for pid in started if pid in _children()}
        assert len(lasting) == len(started) - 2  # all but the two servers of the student who left
    assert not _children() - before


def _no_cases() -> bytes:
    from lessonlib.grading.sandbox import wire

    return wire.pack_inputs([])
