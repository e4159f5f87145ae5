"""`lesson exercises`: derive the exercise notebooks and prove that their checks are right."""

from __future__ import annotations

import json
from typing import Annotated

import typer

app = typer.Typer(add_completion=False, no_args_is_help=True)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for a program to read.")]


@app.callback()
def exercises() -> None:
    """Build, check and list the graded exercises."""


@app.command()
def build(
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; exit with 1 if something is out of date.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Derive exercises/ and the reference files from solutions/ and the tasks."""
    from lessonlib.grading import build as building

    root = building.course_root()
    paths = [
        str(path.relative_to(root) if path.is_relative_to(root) else path)
        for path in (building.stale(root) if check else building.build(root))
    ]
    if as_json:
        typer.echo(json.dumps({"stale" if check else "written": paths}))
    else:
        for path in paths:
            typer.echo(f"{path} is out of date" if check else f"{path} written")
        if not paths:
            typer.echo("Everything is up to date.")
        elif check:
            typer.echo("Run `lesson exercises build` and commit what it writes.")
    raise typer.Exit(1 if check and paths else 0)


@app.command()
def check(
    exercises: Annotated[list[str] | None, typer.Argument(help="Which ones; all by default.")] = None,
    as_json: AsJson = False,
) -> None:
    """Prove that stubs fail, solutions pass and every misconception earns its own hint. Minutes for all."""
    from lessonlib.grading.build import course_root
    from lessonlib.grading.selfcheck import check as check_all
    from lessonlib.grading.selfcheck import summary

    reports = check_all(course_root(), exercises or ())
    if as_json:
        typer.echo(json.dumps(summary(reports)))
    else:
        _print_reports(reports)
    raise typer.Exit(1 if any(report.problems for report in reports) else 0)


@app.command(name="list")
def list_(as_json: AsJson = False) -> None:
    """List the exercises."""
    from lessonlib.grading.tasks import all_tasks

    columns = ("id", "title", "notebook", "points", "minutes", "difficulty")
    rows = [{column: getattr(task, column) for column in columns} for task in all_tasks()]
    if as_json:
        typer.echo(json.dumps(rows, ensure_ascii=False))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(*columns)
    for row in rows:
        table.add_row(*map(str, row.values()))
    Console().print(table)


def _print_reports(reports: list) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table("exercise", "stub fails", "solution passes", "alternatives pass", "misconceptions caught")
    for report in reports:
        table.add_row(
            report.task.id,
            "yes" if report.stub_fails else "NO",
            "yes" if report.solution_passes else "NO",
            f"{report.alternatives_passing} of {len(report.task.alternatives)}",
            f"{report.misconceptions_caught} of {len(report.task.misconceptions)}",
            style="red" if report.problems else "",
        )
    console = Console()
    console.print(table)
    for report in reports:
        for problem in report.problems:
            console.print(Text(f"{report.task.id}: {problem}", style="red"))
