"""`lesson progress`: how far a student is in the course."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

import typer

app = typer.Typer(add_completion=False)


@app.command()
def progress(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for a program to read.")] = False,
) -> None:
    """Show which exercises are solved, as the notebooks have recorded it on this computer."""
    from lessonlib.grading.journal import Standing, path, standings
    from lessonlib.grading.tasks import all_tasks

    done = standings()
    rows = [(task, done.get(task.id, Standing())) for task in all_tasks()]
    reached, total = sum(t.points for t, s in rows if s.passed), sum(t.points for t, _ in rows)
    if as_json:
        entries = [
            {"id": t.id, "title": t.title, "notebook": t.notebook, "points": t.points, **asdict(s)}
            for t, s in rows
        ]
        typer.echo(json.dumps({"points": reached, "of": total, "tasks": entries}, ensure_ascii=False))
        return
    from rich.console import Console
    from rich.table import Table

    from lessonlib.grading.practice import progress_card

    card = progress_card()
    head, *body = card.table
    table = Table(*head, title=card.title)
    for row in body:
        table.add_row(*row)
    Console().print(table)
    typer.echo(f"Kept in {path()}")
