"""How far a student is: every task of the course with its points and what has happened to it."""

from __future__ import annotations

from lessonlib.grading import journal, tasks
from lessonlib.grading.cards import Card
from lessonlib.grading.journal import Standing
from lessonlib.grading.task import Task


def standings() -> list[tuple[Task, Standing]]:
    """All tasks in the order of the notebooks, with where the student stands."""
    known = journal.standings()
    return [(task, known.get(task.id, Standing())) for task in tasks.all_tasks()]


def points(rows: list[tuple[Task, Standing]]) -> tuple[int, int]:
    """(points reached, points there are)."""
    return sum(task.points for task, s in rows if s.passed), sum(task.points for task, _ in rows)


def overview() -> Card:
    """The same as a card."""
    rows = standings()
    reached, total = points(rows)
    table = [("notebook", "exercise", "points", "state", "attempts", "hints")]
    for task, standing in rows:
        state = (
            "solved" if standing.passed else f"tried ({standing.last})" if standing.attempts else "not begun"
        )
        mine = f"{task.points if standing.passed else 0} of {task.points}"
        table.append((task.notebook, task.title, mine, state, str(standing.attempts), str(standing.hints)))
    tone = "good" if reached == total else "note"
    return Card(tone, f"Your progress: {reached} of {total} points", table=tuple(table))
