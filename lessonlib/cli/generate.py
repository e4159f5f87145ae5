"""`lesson generate`: a picture from a prompt."""

from __future__ import annotations

import json
import re
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Annotated

import typer

from lessonlib.cli.quiet import quiet
from lessonlib.errors import LessonError
from lessonlib.files import replacing

FORMATS = (".png", ".jpg", ".jpeg", ".webp")

app = typer.Typer(add_completion=False)


@app.command()
def generate(
    prompt: Annotated[str, typer.Argument(help='What to draw: "a red apple on the beach, 3d style".')],
    model: Annotated[str, typer.Option(help="sd15, sdxl-base, sdxl-turbo or lcm.")] = "sd15",
    steps: Annotated[
        int | None,
        typer.Option(help="Denoising steps. [default: 25; lcm 4, sdxl-turbo 1]", show_default=False),
    ] = None,
    guidance: Annotated[
        float | None,
        typer.Option(help="Guidance scale. [default: 5; lcm 8, sdxl-turbo 0]", show_default=False),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the first picture; each further one adds 1.")] = 0,
    size: Annotated[
        str | None,
        typer.Option(help="SIDE or WIDTHxHEIGHT in pixels, multiples of 8; without it the model's own."),
    ] = None,
    out: Annotated[Path, typer.Option(help="Where to write: .png, .jpg or .webp.")] = Path("picture.png"),
    n: Annotated[int, typer.Option("--n", help="How many pictures; the seed is added to each name.")] = 1,
    as_grid: Annotated[bool, typer.Option("--grid", help="Write all pictures into one file.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was made as JSON.")] = False,
) -> None:
    """Make pictures from a prompt. Exit code 1: something asked for cannot be done, nothing was written."""
    from lessonlib.models import tier
    from lessonlib.pipelines import generate as pipelines

    asked = pipelines.settings(model, steps, guidance, _size(size))
    if not 1 <= n <= 100:
        raise LessonError(f"--n must lie between 1 and 100; it is {n}.")
    if not 0 <= seed <= 2**63 - 1 - n:
        raise LessonError(f"--seed must be a whole number from 0 to 2^63; it is {seed}.")
    seeds = [seed + i for i in range(n)]
    files = [out] if n == 1 or as_grid else [out.with_name(f"{out.stem}-{s}{out.suffix}") for s in seeds]
    _check_writable(files)

    quiet()
    pipeline = pipelines.load(model)
    unknown = _unknown_words(prompt) if tier() == "tiny" else []
    if unknown:
        typer.echo(f"The tiny models do not know these words: {', '.join(unknown)}.", err=True)
    pipeline.set_progress_bar_config(disable=True)
    start = time.perf_counter()
    with _progress(n * asked.steps) as on_step:
        pictures = pipelines.generate(pipeline, prompt, asked, seeds, on_step)
    seconds = time.perf_counter() - start
    if as_grid:
        pictures = [pipelines.grid(pictures)]
    with ExitStack() as all_or_none:
        for file, picture in zip(files, pictures, strict=True):
            picture.save(all_or_none.enter_context(replacing(file)))

    if as_json:
        made = {
            "files": [str(file) for file in files],
            "seconds": round(seconds, 3),
            "seeds": seeds,
            "model": model,
            "steps": asked.steps,
            "guidance": asked.guidance,
            "unknown_words": unknown,
        }
        typer.echo(json.dumps(made))
    else:
        typer.echo(f"{', '.join(map(str, files))} ({seconds:.1f} s)")


def _size(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    if not (match := re.fullmatch(r"(\d{1,5})(?:x(\d{1,5}))?", text)):
        raise LessonError(
            f"--size must be SIDE or WIDTHxHEIGHT in pixels, such as 128 or 160x96; it is {text!r}."
        )
    width = int(match[1])
    return width, int(match[2] or width)


def _check_writable(files: list[Path]) -> None:
    """Say it before minutes of work, not after."""
    out = files[0]
    if out.suffix.lower() not in FORMATS:
        raise LessonError(f"--out must end in one of {', '.join(FORMATS)}; it is {out}.")
    if not out.parent.is_dir():
        raise LessonError(f"Cannot write {out}: there is no folder {out.parent}. Make it first.")
    for file in files:
        if file.is_dir():
            raise LessonError(f"Cannot write {file}: it is a folder.")
    try:
        with tempfile.TemporaryFile(dir=out.parent):
            pass
    except OSError as error:
        raise LessonError(
            f"Cannot write into {out.parent}: {error.strerror or error}. Choose another --out."
        ) from error


def _unknown_words(prompt: str) -> list[str]:
    from lessonlib.world.vocabulary import unknown_words

    return unknown_words(prompt)


@contextmanager
def _progress(total: int) -> Iterator[Callable[[], None]]:
    """A bar on stderr, gone when done; yields the function that moves it on by one."""
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("Denoising", total=total)
        yield lambda: bar.advance(task)
