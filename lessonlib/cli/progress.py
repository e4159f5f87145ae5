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
    from lessonlib.grading.journal import path
    from lessonlib.grading.overview import overview, points, standings

    if as_json:
        rows = standings()
        reached, total = points(rows)
        entries = [
            {"id": t.id, "title": t.title, "notebook": t.notebook, "points": t.points, **asdict(s)}
            for t, s in rows
        ]
        typer.echo(json.dumps({"points": reached, "of": total, "tasks": entries}, ensure_ascii=False))
        return
    from rich.console import Console
    from rich.table import Table

    card = overview()
    head, *body = card.table
    table = Table(*head, title=card.title)
    for row in body:
        table.add_row(*row)
    Console().print(table)
    typer.echo(f"Kept in {path()}")
