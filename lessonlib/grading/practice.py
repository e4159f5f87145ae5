"""What a student calls in a notebook: an exercise that checks itself, hints, the solution, progress.

This is practice, in the student's own process: it helps an honest student and is never a grade.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from lessonlib.errors import LessonError
from lessonlib.grading import journal, references, tasks
from lessonlib.grading.calling import call_all
from lessonlib.grading.cards import Card, show
from lessonlib.grading.deciding import Verdict, decide
from lessonlib.grading.journal import Standing
from lessonlib.grading.overview import overview

F = TypeVar("F", bound=Callable[..., Any])
P = ParamSpec("P")
R = TypeVar("R")

_solved_now: set[str] = set()  # tasks whose function in this session is right


def _kindly(work: Callable[P, R]) -> Callable[P, R | None]:
    """Whatever goes wrong in here is one sentence on a card, never a traceback."""

    @wraps(work)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> R | None:
        try:
            return work(*args, **kwargs)
        except LessonError as error:
            card = Card("note", "This did not work", (str(error),))
        except KeyboardInterrupt:
            card = Card("note", "Stopped")
        except Exception as error:
            card = Card(
                "note", "The check itself failed", (f"{type(error).__name__}: {error}. Please report this.",)
            )
        try:
            show(card)
        except Exception:
            print(card.title)
        return None

    return guarded


def exercise(task_id: str) -> Callable[[F], F]:
    """Decorate the answer to a task: it is checked at once, and stays the function it is.

    ```python
    @exercise("cfg")
    def classifier_free_guidance(noise_pred, guidance_scale): ...
    ```
    """

    def decorate(function: F) -> F:
        _check_and_show(task_id, function)
        return function

    if callable(task_id):  # @exercise without the name of a task
        show(
            Card(
                "note",
                "Which exercise is this?",
                ('Write `@exercise("cfg")`, with the name of the task.',),
            )
        )
        return task_id  # type: ignore[return-value]
    return decorate


@_kindly
def hint(task_id: str, level: int | None = None) -> None:
    """Show the next hint of a task, or the hint of that level (1, 2 or 3)."""
    task = tasks.get(task_id)
    last = len(task.hints)
    if level is None:
        level = min(journal.standings().get(task.id, Standing()).hints + 1, last)
    if level not in range(1, last + 1):
        raise LessonError(f"There are hints 1 to {last}, not {level!r}.")
    more = f'`hint("{task.id}")` gives the next one.' if level < last else "That was the last hint."
    show(Card("note", f"{task.title}: hint {level} of {last}", (task.hints[level - 1], more)))
    journal.record(task.id, "hint", str(level))


@_kindly
def solution(task_id: str) -> None:
    """Show a task's solution: after passing, or when asked a second time."""
    task = tasks.get(task_id)
    standing = journal.standings().get(task.id, Standing())
    if task.id in _solved_now or standing.passed or standing.asked:
        show(Card("note", f"{task.title}: a solution", code=references.solution(task)))
        return
    journal.record(task.id, "asked")
    left = len(task.hints) - standing.hints
    advice = f'`hint("{task.id}")` has {left} more for you.' if left > 0 else "You have seen all hints."
    ask = f'Call `solution("{task.id}")` once more to see it all the same.'
    show(Card("note", f"{task.title}: try it once more?", (advice, ask)))


def solved(task_id: str) -> bool:
    """Whether this session's answer to the task is right; if it is not, say so kindly."""
    return bool(_solved_or_say(task_id))


@_kindly
def progress() -> None:
    """Show how far you are in the course."""
    show(overview())


@_kindly
def _check_and_show(task_id: str, function: Callable[..., Any]) -> None:
    task = tasks.get(task_id)
    _solved_now.discard(task.id)
    if not callable(function):
        raise LessonError(
            f'@exercise("{task.id}") stands over a function, not over {type(function).__name__}.'
        )

    cases = references.load(task)
    verdict = decide(task, cases, call_all(function, (case.inputs for case in cases)))
    if verdict.passed:
        _solved_now.add(task.id)
    show(verdict_card(verdict))
    if verdict.kind != "unsolved":
        outcome = "passed" if verdict.passed else "failed"
        journal.record(task.id, outcome, verdict.misconception or verdict.kind)


def verdict_card(verdict: Verdict) -> Card:
    """A check's result as a card."""
    task = verdict.task
    if verdict.passed:
        title, tone = f"{task.title}: solved ({task.points} of {task.points} points)", "good"
        sentences = (verdict.sentence, *_compared(verdict))
        sentences += (f'`solution("{task.id}")` shows one way to write it.',)
    else:
        earned = f" ({verdict.points} of {task.points} points)" if verdict.points else ""
        title, tone = f"{task.title}: not yet{earned}", "bad"
        if verdict.kind == "unsolved":
            title, tone = (
                f"{task.title}: your turn ({task.points} points, about {task.minutes} minutes)",
                "note",
            )
        help_ = "" if verdict.hint else f'`hint("{task.id}")` gives a hint.'
        sentences = tuple(s for s in (verdict.sentence, verdict.hint, help_) if s)
    return Card(
        tone,
        title,
        sentences,
        verdict.details,
        picture=verdict.picture,
        caption=verdict.caption,
    )


def _compared(verdict: Verdict) -> tuple[str, ...]:
    """The student's words beside the model answer; nobody but the student judges them here."""
    sentences = [
        text
        for yours, model in verdict.words
        for text in (f"**Your words.** {yours}", f"**A model answer.** {model}")
    ]
    if sentences and verdict.task.rubric:
        points = (f"({number}) {point}" for number, point in enumerate(verdict.task.rubric, 1))
        sentences.append(f"**Does yours say?** {' '.join(points)}")
    return tuple(sentences)


@_kindly
def _solved_or_say(task_id: str) -> bool:
    task = tasks.get(task_id)
    if task.id not in _solved_now:
        how = "This cell uses your function: solve the exercise above, run its cell, then run this one again."
        show(
            Card(
                "note", f"{task.title}: solve the exercise first", (how, f'`hint("{task.id}")` gives a hint.')
            )
        )
    return task.id in _solved_now
