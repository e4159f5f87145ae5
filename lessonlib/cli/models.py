"""`lesson models`: the catalogue."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

app = typer.Typer(add_completion=False, invoke_without_command=True)


@app.callback()
def models(
    context: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="Print the rows as JSON.")] = False,
) -> None:
    """List every model of the lesson: where it comes from, its licence, its size, its tiny stand-in."""
    if context.invoked_subcommand:
        return
    rows = _rows()
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
        return

    from rich.console import Console
    from rich.table import Table

    table = Table(title="Models of the lesson")
    table.add_column("name", no_wrap=True)
    table.add_column("hub", overflow="fold")
    table.add_column("licence", overflow="fold")
    table.add_column("params", justify="right")
    table.add_column("download", justify="right")
    table.add_column("tiny", no_wrap=True)
    for row in rows:
        table.add_row(
            row["name"],
            row["hub"],
            row["licence"],
            f"{row['parameters'] / 1e6:,.0f} M",
            f"{row['download_bytes'] / 1e9:.2f} GB",
            "shipped" if row["tiny_shipped"] else "not yet",
        )
    Console().print(table)


@app.command()
def fetch(name: Annotated[str, typer.Argument(help="A name of the catalogue.")]) -> None:
    """Download a full-size model into the hub's cache; a broken-off download goes on."""
    from lessonlib.models import downloads

    typer.echo(downloads.fetch(name))


def _rows() -> list[dict[str, Any]]:
    from lessonlib.models import store
    from lessonlib.models.catalogue import CATALOGUE

    shipped = store.members()
    return [
        {
            "name": row.name,
            "kind": row.kind,
            "hub": row.hub,
            "revision": row.revision,
            "variant": row.variant,
            "files": row.allow_patterns,
            "licence": row.licence,
            "gate": row.gate,
            "parameters": row.parameters,
            "download_bytes": row.download_bytes,
            "needs": list(row.needs),
            "tiny": row.tiny,
            "tiny_shipped": row.tiny in shipped,
        }
        for row in CATALOGUE.values()
    ]
