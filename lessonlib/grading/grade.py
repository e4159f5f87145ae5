"""Grading: a submission becomes one row of plain data, a class becomes a file of rows.

`grade_student` is one trusted call (a submission in, a row out) for any executor of concurrent.futures' kind.
Student code runs in a sandbox; what comes back is compared here by `deciding`. What does not come back is 0.
"""

from __future__ import annotations

import hashlib
import json
import platform
import re
import signal
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

import lessonlib
from lessonlib.errors import LessonError
from lessonlib.grading import submissions, tasks
from lessonlib.grading.deciding import Verdict, decide
from lessonlib.grading.results import Results
from lessonlib.grading.roster import Student
from lessonlib.grading.sandbox import spares, supervisor, wire
from lessonlib.grading.sandbox.levels import WALLS
from lessonlib.grading.sandbox.supervisor import Level, Limits, Reply, Request, Sandbox
from lessonlib.grading.submissions import Contents, Handed
from lessonlib.grading.task import Case, Task, cases

Row = dict[str, Any]
Answer = tuple[str, str]  # the notebook that it was found in, and the program
TRIES = 3  # answers to one task, in several notebooks, of which the first that is begun counts

# References and measures draw from torch's own generator: one at a time.
_deciding = threading.Lock()


@dataclass(frozen=True)
class Terms:
    """What a class is graded under; the same for every student.

    seed: the secret that hidden inputs are drawn from. task_ids: all tasks where empty.
    """

    seed: str
    level: Level
    limits: Limits = field(default_factory=Limits)
    student_seconds: float = 600.0
    task_ids: tuple[str, ...] = ()

    def stamp(self) -> dict[str, Any]:
        """What a result says of how it came about: not the secret, but a digest that is slow to guess."""
        return {
            "isolation": self.level,
            "seed": _digest(self.seed),
            "versions": versions(),
            "task_seconds": self.limits.seconds,
            "student_seconds": self.student_seconds,
            "tasks": [task.id for task in self.tasks()],
        }

    def tasks(self) -> list[Task]:
        """The tasks that are graded, in the order of the notebooks."""
        return [task for task in tasks.all_tasks() if not self.task_ids or task.id in self.task_ids]


@cache
def _digest(seed: str) -> str:
    return hashlib.scrypt(seed.encode(), salt=b"lesson grade", n=1 << 14, r=8, p=1).hex()[:16]


@cache
def versions() -> dict[str, str]:
    """The versions that a grade depends on; "tasks" is a digest of the exercises themselves."""
    import torch

    total = hashlib.sha256()
    for file in sorted(Path(tasks.__file__).parent.glob("*.py")):
        total.update(file.read_bytes())
    return {
        "lessonlib": lessonlib.__version__,
        "tasks": total.hexdigest()[:16],
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
    }


def task_ids_of(notebooks: Iterable[str]) -> tuple[str, ...]:
    """The ids of the exercises of these notebooks; of no notebook, none, which means all.

    Raises:
        LessonError: no exercise belongs to a notebook of that name.
    """
    homes = {task.id: task.notebook for task in tasks.all_tasks()}
    wanted = {name.removesuffix(".ipynb") for name in notebooks}
    if unknown := sorted(wanted - set(homes.values())):
        known = ", ".join(sorted(set(homes.values())))
        raise LessonError(f"No exercise belongs to a notebook {unknown[0]!r}: there are {known}.")
    return tuple(task_id for task_id, home in homes.items() if home in wanted)


# --- One student --------------------------------------------------------------------------------------------


def grade_student(student: Student, contents: Contents, terms: Terms) -> Row:
    """Grade one submission.

    Raises:
        LessonError: the sandbox does not start; the submission is not to blame and is not graded.
    """
    start = time.monotonic()
    with _Walls(terms, start + terms.student_seconds) as walls:
        found, notes = walls.answers(contents)
        answers = {task.id: _in_order(task, found.get(task.id, [])) for task in terms.tasks()}
        right = walls.right_ones(answers)
        graded = []
        for task in terms.tasks():
            if contents.refused:
                grade = _zero(task, "missing" if not contents.digest else "refused", contents.refused)
            else:
                grade = right.get(task.id) or walls.grade(task, answers[task.id])
            graded.append(grade)
    return {
        "student": {"id": student.id, "name": student.name, "on_roster": student.on_roster},
        "submission": contents.digest,
        "points": sum(grade["points"] for grade in graded),
        "of": sum(grade["of"] for grade in graded),
        "tasks": graded,
        "notes": notes,
        "seconds": round(time.monotonic() - start, 2),
        "graded": datetime.now(UTC).isoformat(timespec="seconds"),
        **{name: value for name, value in terms.stamp().items() if name != "tasks"},
    }


class _Walls(ExitStack):
    """One student's sandboxes: one for each set of modules that tasks need, taken when first needed."""

    def __init__(self, terms: Terms, deadline: float) -> None:
        super().__init__()
        self._terms = terms
        self._deadline = deadline
        self._sandboxes: dict[tuple[str, ...], Sandbox] = {}

    def answers(self, contents: Contents) -> tuple[dict[str, list[Answer]], list[str]]:
        """Task id -> each answer found, and a sentence for each unreadable notebook."""
        found: dict[str, list[Answer]] = {}
        notes = []
        requests = [supervisor.extract(notebook) for notebook in contents.notebooks.values()]
        together = [reply for reply in self._ask((), requests) if reply.status == "done"]
        alone = (self._alone((), request) for request in requests[len(together) :])
        for place, reply in zip(contents.notebooks, chain(together, alone), strict=True):
            sources = _sources(reply)
            if sources is None:
                notes.append(f"{place} cannot be read as a notebook.")
            for task_id, source in (sources or {}).items():
                found.setdefault(task_id, []).append((place, source))
        return found, notes

    def right_ones(self, answers: Mapping[str, Sequence[Answer]]) -> dict[str, Row]:
        """Task id -> grade of each answer that is right when the first answers are called one after the other.

        Most of the time that a small answer takes is its process's. They are one person's answers, but one may
        spoil the process for another: only what is right there counts, the rest is called by itself.
        """
        right: dict[str, Row] = {}
        begun = [task for task in self._terms.tasks() if answers[task.id]]
        for needs in dict.fromkeys(task.needs for task in begun):
            chosen = [task for task in begun if task.needs == needs]
            if len(chosen) == 1:
                continue
            requests = [self._request(task, answers[task.id][0]) for task in chosen]
            for task, reply in zip(chosen, self._ask(needs, requests), strict=False):
                grade = self._judged(task, reply, answers[task.id][0])
                if grade["kind"] == "passed":
                    right[task.id] = grade
        return right

    def grade(self, task: Task, candidates: Iterable[Answer]) -> Row:
        """The grade of the first answer that is more than an untouched stub."""
        grade = _zero(task, "missing", "No answer to this exercise was found.")
        for answer in candidates:
            reply = self._alone(task.needs, self._request(task, answer))
            grade = self._judged(task, reply, answer)
            if grade["kind"] != "unsolved":
                break
        return grade

    def _request(self, task: Task, answer: Answer) -> Request:
        _, inputs = hidden_cases(task.id, self._terms.seed)
        return supervisor.run(answer[1], inputs)

    def _judged(self, task: Task, reply: Reply | None, answer: Answer) -> Row:
        place, source = answer
        if reply is None:
            seconds = f"{self._terms.student_seconds:g}"
            grade = _zero(task, "time used up", f"The {seconds} s that a submission may take were used up.")
            return grade | {"place": place}
        hidden, _ = hidden_cases(task.id, self._terms.seed)
        grade = judged(task, hidden, reply, source, self._terms.limits)
        return grade | {"seconds": reply.seconds, "place": place}

    def _alone(self, needs: tuple[str, ...], request: Request) -> Reply | None:
        """A reply to one request; none once the student's time is used up."""
        return next(iter(self._ask(needs, [request])), None)

    def _ask(self, needs: tuple[str, ...], requests: Sequence[Request]) -> list[Reply]:
        """Replies from the sandbox of these needs, as `Sandbox.ask_all`; none once the student's time is used up."""
        left = self._deadline - time.monotonic()
        if left <= 0 or not requests:
            return []
        if needs not in self._sandboxes:
            self._sandboxes[needs] = self.enter_context(spares.sandbox(WALLS[self._terms.level](needs)))
        sandbox = self._sandboxes[needs]
        limits = self._terms.limits
        sandbox.start()
        return sandbox.ask_all(requests, Limits(min(limits.seconds, left), limits.memory, limits.result))


def _sources(reply: Reply | None) -> dict[str, str] | None:
    """What `extract` found, if that is what came back."""
    if reply is None or reply.status != "done":
        return None
    try:
        sources = json.loads(reply.data)
    except (ValueError, RecursionError):
        return None
    if not isinstance(sources, dict) or not all(isinstance(source, str) for source in sources.values()):
        return None
    return sources


def _in_order(task: Task, found: list[Answer]) -> list[Answer]:
    """Answers in the task's own notebook first, then those in the file whose name comes last."""
    return sorted(found, key=lambda pair: (task.notebook in pair[0], pair[0]), reverse=True)[:TRIES]


@cache
def hidden_cases(task_id: str, seed: str) -> tuple[list[Case], bytes]:
    """A task's hidden cases, and their inputs as they go into the sandbox; the same for the whole class."""
    number = int.from_bytes(hashlib.sha256(f"lesson grade {seed}".encode()).digest()[:8], "big")
    with _deciding:
        hidden = cases(tasks.get(task_id), number)
        return hidden, wire.pack_inputs([case.inputs for case in hidden])


# --- One answer ---------------------------------------------------------------------------------------------


def judged(task: Task, hidden: list[Case], reply: Reply, source: str, limits: Limits) -> Row:
    """The grade for what came out of the sandbox."""
    if reply.status != "done":
        return _zero(task, reply.status, _what_happened(reply, limits))
    try:
        outputs = wire.unpack_outputs(reply.data, len(hidden))
    except wire.ForgedError as error:
        return _zero(task, "forged", f"What came back is not what a function returned ({error}).")
    try:
        with _deciding, np.errstate(all="ignore"):
            verdict = decide(task, hidden, outputs)
    except Exception as error:  # no answer may stop a class; none is given points for trying
        return _zero(
            task, "grader", f"The grader failed on this answer ({type(error).__name__}): look at it."
        )
    line = next((_line(source, output.line) for output in outputs if output.line), "")
    return _graded(task, verdict, line)


def _what_happened(reply: Reply, limits: Limits) -> str:
    return {
        "timeout": f"It ran longer than {limits.seconds:g} s.",
        "flood": f"It gave back more than {limits.result >> 20} MB.",
        "memory": f"It used more than {limits.memory / (1 << 30):.3g} GB of memory.",
        "exited": f"It ended the process (exit code {reply.code}) instead of returning.",
        "crashed": f"It crashed ({_signal(-reply.code)}).",
        "lost": "It ended or blocked the sandbox it ran in.",
    }[reply.status]


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _line(source: str, claimed: str) -> str:
    """The line of the student's program that the inside says it stopped at; only the number is believed."""
    found = re.match(r"line (\d{1,6})\b", claimed)
    lines = source.splitlines()
    number = int(found[1]) if found else 0
    return lines[number - 1].strip()[:200] if 0 < number <= len(lines) else ""


def _zero(task: Task, kind: str, reason: str) -> Row:
    return _row(task, 0, kind, reason)


def _graded(task: Task, verdict: Verdict, line: str) -> Row:
    row = _row(task, verdict.points, verdict.kind, verdict.sentence)
    return row | {
        "hint": verdict.hint,
        "misconception": verdict.misconception,
        "details": verdict.details,
        "line": line,
        "words": [list(pair) for pair in verdict.words],
    }


def _row(task: Task, points: int, kind: str, reason: str) -> Row:
    return {
        "id": task.id,
        "title": task.title,
        "points": points,
        "of": task.points,
        "kind": kind,
        "reason": reason,
        "hint": "",
        "misconception": "",
        "details": {},
        "line": "",
        "words": [],
        "place": "",
        "seconds": 0.0,
    }


# --- A class ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Step:
    """Progress of a class: one student is done, or could not be graded, for a reason."""

    student: Student
    row: Row | None
    trouble: str = ""


def grade_class(
    handed: list[Handed], terms: Terms, results: Results, executor: Executor, ahead: int
) -> Iterator[Step]:
    """Grade whoever is not graded yet, and keep each row as soon as it is there.

    Args:
        ahead: submissions that are read and handed to the executor before the first is done.

    Yields:
        a step for every student, in the order in which they are done.
    """
    running: dict[Future[Row], Student] = {}
    try:
        for one in handed:
            contents = submissions.read(one.paths) if one.paths else NOTHING
            done = results.row(one.student)
            if done is not None and done["submission"] == contents.digest:
                yield Step(one.student, done)
                continue
            running[executor.submit(grade_student, one.student, contents, terms)] = one.student
            while len(running) >= ahead:
                yield from _keep(running, results)
        while running:
            yield from _keep(running, results)
    finally:
        for future in running:
            future.cancel()


NOTHING = Contents({}, "Nothing was handed in.")


def _keep(running: dict[Future[Row], Student], results: Results) -> Iterator[Step]:
    """Wait for the next futures to end, and keep what they give."""
    for future in wait(running, return_when=FIRST_COMPLETED).done:
        student = running.pop(future)
        try:
            row = future.result()
        except LessonError as error:
            yield Step(student, None, str(error))
        except Exception as error:  # a worker that is gone, a bug: the others are graded all the same
            yield Step(student, None, f"{type(error).__name__}: {error}")
        else:
            results.append(row)
            yield Step(student, row)
