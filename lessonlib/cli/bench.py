"""`lesson bench`: how fast the course runs on this machine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from lessonlib.bench import Row

app = typer.Typer(add_completion=False)


@app.command()
def bench(
    docs: Annotated[Path, typer.Option(help="Where bench.json and bench.md are written.")] = Path("docs"),
    only: Annotated[
        list[str] | None, typer.Option(help="A section to measure, such as gpu; may be given again.")
    ] = None,
    grading: Annotated[
        bool, typer.Option("--grading", help="Compare graders instead: ours, nbgrader and otter.")
    ] = False,
    submissions: Annotated[int, typer.Option(min=1, help="With --grading: how many.")] = 50,
    json: Annotated[bool, typer.Option("--json", help="Print the rows as JSON and write nothing.")] = False,
) -> None:
    """Measure what the course does on this machine, and on a GPU the full-size models with random weights.

    Medians and ratios, side by side in one run. With --only, the rows are printed and nothing is written. With
    --grading, other graders are installed into the user's cache folder, attacked and timed; its rows take the
    place of the earlier ones in the files, and the other rows stay.
    """
    import json as json_format
    from dataclasses import asdict

    from lessonlib.bench import line, read, write

    rows = _grading(submissions) if grading else _sections(only)
    if json:
        typer.echo(json_format.dumps([asdict(row) for row in rows]))
        return
    if only or grading:
        for row in rows:
            typer.echo(line(row))
    if only and not grading:
        return
    # What was measured now comes in the place of its own kind; the other kind's rows stay.
    others = [row for row in read(docs) if _is_grading(row) != grading]
    for path in write([*others, *rows] if grading else [*rows, *others], docs):
        typer.echo(f"wrote {path}")


def _sections(only: list[str] | None) -> list[Row]:
    from rich.console import Console

    from lessonlib.bench import SECTIONS
    from lessonlib.errors import LessonError

    if unknown := set(only or ()) - set(SECTIONS):
        raise LessonError(f"There is no section called '{min(unknown)}': choose among {', '.join(SECTIONS)}.")
    rows: list[Row] = []
    for name in only or SECTIONS:
        with Console(stderr=True).status(f"measuring: {name}"):
            rows += list(SECTIONS[name]())
    return rows


def _grading(submissions: int) -> list[Row]:
    """The rows; what was found on the way goes to stderr."""
    from lessonlib.bench.grading.measure import measure

    with _progress() as say:
        report = measure(submissions, say)
    for finding in report.findings:
        typer.echo(finding, err=True)
    return report.rows


def _is_grading(row: Row) -> bool:
    from lessonlib.bench.grading.measure import PREFIX

    return row.name.startswith(PREFIX)


@contextmanager
def _progress() -> Iterator[Callable[[str, float], None]]:
    """A bar on stderr."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        everything = bar.add_task("", total=1.0)
        yield lambda what, part: bar.update(everything, description=what, completed=part)
