"""`lesson bench`: how fast the course runs on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(add_completion=False)


@app.command()
def bench(
    docs: Annotated[Path, typer.Option(help="Where bench.json and bench.md are written.")] = Path("docs"),
    only: Annotated[
        list[str] | None, typer.Option(help="A section to measure, such as gpu; may be given again.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the rows as JSON and write nothing.")] = False,
) -> None:
    """Measure what the course does on this machine, and on a GPU the full-size models with random weights.

    Medians and ratios, side by side in one run. With --only, the rows are printed and nothing is written.
    """
    import json as json_format
    from dataclasses import asdict

    from rich.console import Console

    from lessonlib.bench import SECTIONS, line, write
    from lessonlib.errors import LessonError

    if unknown := set(only or ()) - set(SECTIONS):
        raise LessonError(f"There is no section called '{min(unknown)}': choose among {', '.join(SECTIONS)}.")
    rows = []
    for name in only or SECTIONS:
        with Console(stderr=True).status(f"measuring: {name}"):
            rows += list(SECTIONS[name]())
    if json:
        typer.echo(json_format.dumps([asdict(row) for row in rows]))
        return
    if only:
        for row in rows:
            typer.echo(line(row))
        return
    for path in write(rows, docs):
        typer.echo(f"wrote {path}")
