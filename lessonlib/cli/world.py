"""`lesson world`: look at the emoji world, and rebuild its art."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lessonlib.errors import LessonError
from lessonlib.files import replacing

if TYPE_CHECKING:
    import numpy as np

    from lessonlib.world import Scene

MOST_SCENES = 400

app = typer.Typer(add_completion=False, no_args_is_help=True)


class Kind(StrEnum):
    """What stands in a scene."""

    single = "single"
    pair = "pair"
    person = "person"
    scenery = "scenery"


class Split(StrEnum):
    """Whether a scene's combinations were kept from training."""

    seen = "seen"
    held_out = "held-out"
    all = "all"


@app.callback()
def world() -> None:
    """The emoji world: look at its scenes and their ground truth, rebuild its sprites."""


@app.command()
def build(
    art: Annotated[
        Path | None,
        typer.Option(
            help="A folder with node_modules/@iconify-json/...; without it npm fetches the packages."
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Where to write the sheets; without it, into the package itself.")
    ] = None,
) -> None:
    """Render the sprite sheets again from the emoji art packages."""
    try:
        import resvg_py  # noqa: F401
    except ImportError as error:
        raise LessonError(
            "Rendering the art needs resvg: install it with `pip install 'lessonlib[art]'`."
        ) from error
    from rich.console import Console

    from lessonlib.world import build_atlas

    with Console(stderr=True).status("Rendering four sets of sprites (about a minute)"):
        written = build_atlas.build(art, out)
    for path in written:
        typer.echo(f"{path} ({path.stat().st_size / 1000:.0f} kB)")


@app.command()
def sheet(
    out: Annotated[Path, typer.Argument(help="Where to write the picture: .png.")],
    seed: Annotated[int, typer.Option(min=0, help="Seed of the first scene; each further one adds 1.")] = 0,
    kind: Annotated[Kind | None, typer.Option(help="Only this kind; without it the training mix.")] = None,
    split: Annotated[Split, typer.Option(help="Which combinations may appear.")] = Split.seen,
    style: Annotated[str | None, typer.Option(help="Only this style.")] = None,
    background: Annotated[str | None, typer.Option(help="Only this background.")] = None,
    n: Annotated[int, typer.Option("--n", min=1, max=MOST_SCENES, help="How many scenes.")] = 24,
) -> None:
    """Draw a sheet of scenes, each over its caption."""
    if split is Split.held_out and kind not in (None, Kind.single):
        raise LessonError("Held-out scenes are single objects: leave out --kind or use --kind single.")
    scenes = _scenes(seed, kind, split, style, background, n)
    from lessonlib.world.sheet import sheet as draw

    _write(out, draw(scenes))


@app.command()
def truth(
    out: Annotated[Path, typer.Argument(help="Where to write the picture: .png.")],
    seed: Annotated[int, typer.Option(min=0, help="The scene's seed.")] = 0,
    kind: Annotated[Kind | None, typer.Option(help="Only this kind; without it the training mix.")] = None,
    prompt: Annotated[str | None, typer.Option(help="Draw this prompt instead of a random scene.")] = None,
) -> None:
    """Draw one scene beside its depth, normals, classes, edges, outlines, boxes and key points."""
    if prompt is not None and kind is not None:
        raise LessonError("--kind chooses a random scene and --prompt says which: give one of the two.")
    from lessonlib.world import parse, render, sample
    from lessonlib.world.sheet import truth as draw

    scene = parse(prompt, seed).scene if prompt is not None else sample(seed, kind.value if kind else None)
    _write(out, draw(render(scene)))


def _scenes(
    seed: int, kind: Kind | None, split: Split, style: str | None, background: str | None, n: int
) -> list[Scene]:
    """The first `n` scenes from `seed` on that are as they are wanted."""
    from lessonlib.world import sample
    from lessonlib.world.vocabulary import BACKGROUNDS, SCENERY, STYLES

    for name, value, known in (("--style", style, STYLES), ("--background", background, BACKGROUNDS)):
        if value is not None and value not in known:
            raise LessonError(f"{name} '{value}' is not in the vocabulary: choose one of {', '.join(known)}.")
    if kind is Kind.scenery and background is not None and background not in SCENERY:
        raise LessonError(
            f"Nobody draws an empty '{background}' background: choose one of {', '.join(SCENERY)}."
        )
    found: list[Scene] = []
    while len(found) < n:
        scene = sample(seed, kind.value if kind else None, split=split.value)
        seed += 1
        if style in (None, scene.style) and background in (None, scene.background):
            found.append(scene)
    return found


def _write(out: Path, picture: np.ndarray) -> None:
    from PIL import Image

    if out.suffix.lower() != ".png":
        raise LessonError(f"The picture is written as PNG: name a file that ends in .png, not '{out}'.")
    with replacing(out) as temporary:
        Image.fromarray(picture).save(temporary)
    typer.echo(str(out))


@app.command()
def words() -> None:
    """Print everything a caption can say, as Markdown tables."""
    from lessonlib.world import vocabulary as v

    def table(title: str, rows: dict[str, str]) -> None:
        typer.echo(f"| {title} | said as |\n|---|---|")
        for name, ways in rows.items():
            typer.echo(f"| {name} | {ways} |")
        typer.echo("")

    typer.echo(f"**{len(v.OBJECTS)} objects**: {', '.join(v.OBJECTS)}.\n")
    typer.echo(f"**In every colour** ({', '.join(v.COLORS)}): {', '.join(v.PAINTABLE)}.\n")
    typer.echo(f"**Wear hats** ({', '.join(v.HATS)}): {', '.join(v.HAT_WEARERS)}.\n")
    typer.echo(f"**Relations**: {', '.join(v.RELATIONS)}.\n")
    backgrounds = {name: (*ways, *v.SCENERY.get(name, ())) for name, ways in v.BACKGROUNDS.items()}
    for title, ways in (
        (f"{len(v.BACKGROUNDS)} backgrounds", backgrounds),
        (f"{len(v.STYLES)} styles", v.STYLES),
        ("place", v.PLACES),
        ("size", v.SIZES),
        (f"{len(v.OUTFITS)} outfits", v.OUTFITS),
        (f"{len(v.POSES)} poses", v.POSES),
    ):
        table(title, {name: ", ".join(said) for name, said in ways.items()})
    table("hair", {hair: f"{noun} {phrase}".strip() for hair, (_, noun, phrase) in v.HAIR.items()})
    typer.echo(f"Skin: {', '.join(v.SKINS)}. Glasses: with or without.")
