"""`lesson gradescope`: the autograder that Gradescope runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(add_completion=False, no_args_is_help=True)


@app.callback()
def gradescope() -> None:
    """Grade on Gradescope with the same grader."""


@app.command()
def build(
    seed: Annotated[
        str, typer.Option(envvar="LESSON_SEED", help="The secret that hidden inputs are drawn from.")
    ],
    out: Annotated[Path, typer.Option(help="The folder to write; its zip is what you upload.")] = Path(
        "build/autograder"
    ),
    notebook: Annotated[
        list[str] | None, typer.Option(help="Grade the exercises of this notebook alone; may be repeated.")
    ] = None,
    task_seconds: Annotated[float, typer.Option(min=0.1, help="At most so long an exercise.")] = 10.0,
    allow_process: Annotated[
        bool,
        typer.Option(
            "--allow-process", help="Accept another user and limits of time where bubblewrap is blocked."
        ),
    ] = False,
) -> None:
    """Write the autograder folder and its zip."""
    from lessonlib.grading.outputs.autograder import build as write

    typer.echo(f"wrote {write(out, seed, notebook or [], task_seconds, allow_process)}")


@app.command()
def run(
    root: Annotated[Path, typer.Option(help="Where Gradescope puts submission/ and reads results/.")] = Path(
        "/autograder"
    ),
) -> None:
    """Grade the one submission of an autograder's container."""
    from lessonlib.grading.outputs.autograder import run as grade

    results = grade(root)
    typer.echo(f"{results['score']} points")
