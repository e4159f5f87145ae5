"""`lesson bench`: how fast the course runs on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(add_completion=False)


@app.command()
def bench(
    docs: Annotated[Path, typer.Option(help="Where bench.json and bench.md are written.")] = Path("docs"),
    json: Annotated[bool, typer.Option("--json", help="Print the rows as JSON and write nothing.")] = False,
) -> None:
    """Measure imports, the world, pictures and the from-scratch UNet: medians and ratios, side by side."""
    import json as json_format
    from dataclasses import asdict

    from rich.console import Console

    from lessonlib.bench import SECTIONS, write

    rows = []
    for name, section in SECTIONS.items():
        with Console(stderr=True).status(f"measuring: {name}"):
            rows += list(section())
    if json:
        typer.echo(json_format.dumps([asdict(row) for row in rows]))
        return
    for path in write(rows, docs):
        typer.echo(f"wrote {path}")
