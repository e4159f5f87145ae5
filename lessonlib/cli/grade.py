"""`lesson grade`: grade a class's submissions."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from lessonlib.grading.grade import Step

Isolation = Literal["sandboxed", "container", "process"]

app = typer.Typer(add_completion=False)


@app.command()
def grade(
    submissions: Annotated[Path, typer.Argument(help="A folder with an entry a student, or one submission.")],
    out: Annotated[Path, typer.Option(help="The folder for the results; given again, it is resumed.")],
    seed: Annotated[
        str,
        typer.Option(
            envvar="LESSON_SEED",
            help="A secret that the hidden inputs are drawn from: long, and not one you have used for practice.",
        ),
    ],
    roster: Annotated[Path | None, typer.Option(help="The class list, a CSV as an LMS exports it.")] = None,
    assignment: Annotated[str, typer.Option(help="The roster's column to fill in.")] = "Points",
    notebook: Annotated[
        list[str] | None, typer.Option(help="Grade the exercises of this notebook alone; may be repeated.")
    ] = None,
    task_seconds: Annotated[float, typer.Option(min=0.1, help="At most so long an exercise.")] = 10.0,
    student_seconds: Annotated[float, typer.Option(min=1.0, help="At most so long a submission.")] = 600.0,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Submissions at a time; by default one a core.")
    ] = None,
    executor: Annotated[str, typer.Option(help="dask://host:port of a cluster's scheduler.")] = "",
    isolation: Annotated[
        Isolation | None,
        typer.Option(help="sandboxed, container or process; by default the best that holds."),
    ] = None,
    allow_process: Annotated[
        bool, typer.Option("--allow-process", help="Accept limits of time alone, if you trust every student.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for a program to read.")] = False,
) -> None:
    """Grade submissions in a sandbox, and write tables, reports and feedback."""
    from lessonlib.errors import LessonError
    from lessonlib.grading import executors
    from lessonlib.grading.grade import Terms, grade_class, task_ids_of
    from lessonlib.grading.outputs.text import printable
    from lessonlib.grading.outputs.write import write_all
    from lessonlib.grading.results import Results
    from lessonlib.grading.roster import read_roster
    from lessonlib.grading.sandbox.levels import choose
    from lessonlib.grading.sandbox.supervisor import Limits
    from lessonlib.grading.submissions import find

    class_list = read_roster(roster) if roster else []
    handed = find(submissions, class_list)
    if not handed:
        raise LessonError(f"There are no submissions in {submissions}.")
    level = choose(allow_process=allow_process, wanted=isolation)
    terms = Terms(seed, level, Limits(seconds=task_seconds), student_seconds, task_ids_of(notebook or []))
    troubles: dict[str, str] = {}
    with (
        Results(out, terms.stamp()) as results,
        executors.choose(executor, workers or os.cpu_count() or 1) as (pool, ahead),
        _progress(len(handed), level, as_json) as advance,
    ):
        for step in grade_class(handed, terms, results, pool, ahead):
            advance(step)
            if step.trouble:
                troubles[step.student.id] = step.trouble
        rows = results.rows()
        written = write_all(rows, out, roster, assignment)
    if as_json:
        summary = {"students": len(rows), "not_graded": troubles, "isolation": level}
        typer.echo(json.dumps(summary | {"written": [str(path) for path in written]}))
    else:
        for path in [out / "results.jsonl", *written]:
            typer.echo(f"wrote {path}")
    if troubles and not as_json:
        typer.echo(f"Not graded: {len(troubles)}. Run the same command again to grade them.", err=True)
        for student, trouble in troubles.items():
            typer.echo(f"  {printable(student)}: {printable(trouble)}", err=True)
    raise typer.Exit(1 if troubles else 0)


@contextmanager
def _progress(total: int, level: str, quiet: bool) -> Iterator[Callable[[Step], None]]:
    """A bar on stderr: students done, and who was the last."""
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from lessonlib.grading.outputs.text import printable

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), disable=quiet) as bar:
        line = bar.add_task(f"grading ({level})", total=total)

        def advance(step: Step) -> None:
            points = f"{step.row['points']} of {step.row['of']}" if step.row else "not graded"
            name = escape(printable(step.student.name or step.student.id)[:40])
            bar.update(line, advance=1, description=f"grading ({level}): {name}, {points}")

        yield advance
