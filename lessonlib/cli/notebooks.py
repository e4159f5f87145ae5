"""`lesson notebooks`: run the lessons and keep their outputs, check what is kept."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from lessonlib.errors import LessonError
from lessonlib.lessons.amounts import FEW_MINUTES

app = typer.Typer(add_completion=False, no_args_is_help=True)

Folder = Annotated[Path, typer.Option(help="The folder of the notebooks.")]
Names = Annotated[
    list[str] | None, typer.Argument(help="Their names, such as 00_start_here; by default all.")
]
Minutes = Annotated[
    float, typer.Option(help="What each training cell may take: more, and its curves say more.")
]


@app.callback()
def notebooks() -> None:
    """The lessons: run them and keep their outputs, check what is kept."""


@app.command()
def run(names: Names = None, folder: Folder = Path("notebooks"), minutes: Minutes = FEW_MINUTES) -> None:
    """Run notebooks from top to bottom in the tiny tier, write their outputs back, and check them."""
    from lessonlib.lessons.execution import execute

    for path in _paths(folder, names):
        started = time.perf_counter()
        execute(path, training_minutes=minutes)
        kilobytes = path.stat().st_size / 1000
        typer.echo(f"{path.name}: {time.perf_counter() - started:.0f} s, {kilobytes:.0f} kB")
    check(names, folder)


@app.command()
def check(names: Names = None, folder: Folder = Path("notebooks")) -> None:
    """Check stored notebooks: size, alternative texts, nothing left of widgets, errors or this machine."""
    from lessonlib.lessons.rules import faults

    broken = [f"{path.name}: {fault}" for path in _paths(folder, names) for fault in faults(path)]
    if broken:
        raise LessonError("\n".join(broken))


def _paths(folder: Path, names: list[str] | None) -> list[Path]:
    from lessonlib.grading.notebooks import notebooks as found

    paths = {path.stem: path for path in found(folder)}
    if not paths:
        raise LessonError(
            f"There are no notebooks in {folder}: call this in the course's folder, or give --folder."
        )
    unknown = [name for name in names or [] if name.removesuffix(".ipynb") not in paths]
    if unknown:
        raise LessonError(
            f"There is no notebook {', '.join(unknown)} in {folder}: there are {', '.join(paths)}."
        )
    return [paths[name.removesuffix(".ipynb")] for name in names or paths]
