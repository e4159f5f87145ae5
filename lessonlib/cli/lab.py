"""`lesson lab`: JupyterLab on the first notebook."""

from __future__ import annotations

import typer

app = typer.Typer(add_completion=False)


@app.command()
def lab() -> None:
    """Open the course in JupyterLab."""
