"""`lesson exercises check`: the exercises check themselves, each with its own notebook.

The stub must fail, the solution and every alternative must pass, and every misconception must earn its own
hint.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm

from lessonlib.grading import references, tasks
from lessonlib.grading.calling import call_all
from lessonlib.grading.deciding import Verdict, decide
from lessonlib.grading.notebooks import answer_source, load_answer, read
from lessonlib.grading.task import Case, Task, cases


@dataclass
class TaskReport:
    """How one task's own answers fare. `problems` says in a sentence each what does not hold."""

    task: Task
    stub_fails: bool = False
    solution_passes: bool = False
    alternatives_passing: int = 0
    misconceptions_caught: int = 0
    problems: list[str] = field(default_factory=list)


def check(root: Path, ids: Sequence[str] = ()) -> list[TaskReport]:
    """Check tasks against their stubs in `exercises/` and their solutions in `solutions/`, on two seeds. Minutes for all.

    Args:
        ids: which tasks; all by default.

    Raises:
        LessonError: there is no task of that name; a reference file is missing or damaged.
    """
    chosen = [tasks.get(one) for one in ids] or tasks.all_tasks()
    return [check_task(task, root) for task in tqdm(chosen, desc="exercises", unit="exercise")]


def check_task(task: Task, root: Path) -> TaskReport:
    """Check one task."""
    report = TaskReport(task)
    # Practice's own files, and a seed that nobody practised on.
    seeds = [references.load(task), cases(task, seed=20_240_229)]

    stub = _verdict(task, _answer(root / "exercises", task), seeds[0])
    report.stub_fails = stub is not None and stub.kind == "unsolved"
    if not report.stub_fails:
        report.problems.append(f"the stub is judged: {stub.sentence if stub else 'it is missing'}")

    solution = _answer(root / "solutions", task)
    report.solution_passes = all(_passes(task, solution, seed, "the solution", report) for seed in seeds)
    for alternative in task.alternatives:
        name = f"the alternative {alternative.__name__}"
        report.alternatives_passing += all(_passes(task, alternative, seed, name, report) for seed in seeds)

    for misconception in task.misconceptions:
        verdicts = [judge(task, misconception.answer, seed) for seed in seeds]
        own = [v.misconception == misconception.name and v.hint == misconception.hint for v in verdicts]
        report.misconceptions_caught += all(own)
        if not all(own):
            given = verdicts[own.index(False)]
            report.problems.append(f"the misconception {misconception.name} is judged: {given.sentence}")
    return report


def judge(task: Task, function: Callable[..., Any], on: list[Case]) -> Verdict:
    """Run a function on the cases, silently, and decide."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        outputs = call_all(function, (case.inputs for case in on))
    return decide(task, on, outputs)


def summary(reports: list[TaskReport]) -> dict[str, int]:
    """The numbers that `lesson exercises check --json` prints."""
    return {
        "tasks": len(reports),
        "stubs_failing": sum(r.stub_fails for r in reports),
        "solutions_passing": sum(r.solution_passes for r in reports),
        "alternatives": sum(len(r.task.alternatives) for r in reports),
        "alternatives_passing": sum(r.alternatives_passing for r in reports),
        "misconceptions": sum(len(r.task.misconceptions) for r in reports),
        "misconceptions_caught_with_own_hint": sum(r.misconceptions_caught for r in reports),
    }


def _passes(
    task: Task, function: Callable[..., Any] | None, on: list[Case], name: str, report: TaskReport
) -> bool:
    verdict = _verdict(task, function, on)
    if verdict is None or not verdict.passed:
        report.problems.append(f"{name} is judged: {verdict.sentence if verdict else 'it is missing'}")
    return verdict is not None and verdict.passed


def _verdict(task: Task, function: Callable[..., Any] | None, on: list[Case]) -> Verdict | None:
    return judge(task, function, on) if function else None


def _answer(folder: Path, task: Task) -> Callable[..., Any] | None:
    """The function that the folder's notebook gives for the task."""
    path = folder / f"{task.notebook}.ipynb"
    if not path.is_file():
        return None
    source = answer_source(read(path.read_text(encoding="utf-8"), path.name), task.id)
    return load_answer(source, path.name) if source else None
