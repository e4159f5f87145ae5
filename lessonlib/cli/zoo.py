"""`lesson zoo`: train, store and measure the tiny models."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from lessonlib.cli.quiet import quiet
from lessonlib.errors import LessonError
from lessonlib.zoo.measures import FAMILIES
from lessonlib.zoo.recipes import RECIPES, recipe

app = typer.Typer(add_completion=False, no_args_is_help=True)

Runs = Annotated[Path, typer.Option(help="Where runs keep their checkpoints and logs.", envvar="LESSON_RUNS")]


@app.callback()
def zoo() -> None:
    """The tiny models: how they were trained, what is stored, how good they are."""


@app.command()
def train(
    name: Annotated[
        str, typer.Argument(help=f"{', '.join(RECIPES)}; each builds on the shipped ones before it.")
    ],
    minutes: Annotated[
        float | None, typer.Option(help="Stop with a checkpoint after this long; the same command goes on.")
    ] = None,
    start: Annotated[
        Literal["scratch", "shipped"],
        typer.Option(
            help="Begin with the recipe's initialisation, or go on from the weights that the package ships "
            "(the LCMs: by distribution matching)."
        ),
    ] = "scratch",
    steps: Annotated[int | None, typer.Option(min=1, help="Steps, instead of the recipe's.")] = None,
    rate: Annotated[float | None, typer.Option(help="Learning rate, instead of the recipe's.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of data and noise, instead of the recipe's.")] = None,
    runs: Runs = Path("runs"),
) -> None:
    """Train a member, or go on where its run stopped (Ctrl-C saves)."""
    from dataclasses import replace

    chosen = recipe(name)
    asked = {"steps": steps, "learning_rate": rate, "seed": seed}
    given = {key: value for key, value in asked.items() if value is not None}
    plan = replace(chosen.plan_from(start), **given)
    typer.echo(
        f"trained: {chosen.run(runs, minutes, plan)}   (store it in the package: lesson zoo ship {name})"
    )


@app.command()
def ship(
    name: Annotated[str, typer.Argument(help="A member whose run has finished.")],
    runs: Runs = Path("runs"),
) -> None:
    """Store a trained member in the package, in compact form."""
    recipe(name).ship(runs)
    typer.echo(f"stored: {name}")


@app.command()
def report(
    n: Annotated[int, typer.Option(min=4, help="Prompts of each split.")] = 300,
    seed: Annotated[int, typer.Option(help="Seed of the prompts and of the noise.")] = 7,
    docs: Annotated[Path, typer.Option(help="Where zoo.json, zoo.md, zoo/ and images/ are written.")] = Path(
        "docs"
    ),
    json: Annotated[
        bool,
        typer.Option(
            "--json", help="Print the report's rows as JSON, after measuring what is to be measured."
        ),
    ] = False,
    family: Annotated[
        list[str] | None,
        typer.Option(help=f"This family alone ({', '.join(FAMILIES)}); may be given several times."),
    ] = None,
    again: Annotated[
        bool, typer.Option("--again", help="Measure again what was measured on these very weights.")
    ] = False,
) -> None:
    """Measure the shipped members and write the report.

    A family that was measured with as many prompts on the weights that ship now is not measured again. A ControlNet or
    few-step model with new weights is measured without its siblings. Each family is written as soon as it is measured: after
    Ctrl-C the same command goes on.
    """
    import json as json_format

    from rich.console import Console
    from rich.progress import Progress

    from lessonlib.zoo.measures import shipped_families, weights
    from lessonlib.zoo.report import as_json, due, keep, measure, picture_count, record, whole, write

    asked = family or shipped_families()
    if missing := [name for name in asked if name not in shipped_families()]:
        raise LessonError(
            f"Nothing to measure of '{missing[0]}': the shipped families are {', '.join(shipped_families())}."
        )
    kept = {name: None if again else record(docs, name) for name in asked}
    read = {name: weights(name) for name in asked}  # members may be shipped while others are measured
    todo = {name: members for name in asked if (members := due(kept[name], name, read[name], n, seed))}
    quiet()
    with Progress(console=Console(stderr=True)) as progress:
        total = sum(picture_count(name, members, n) for name, members in todo.items())
        task = progress.add_task("pictures", total=total)
        for name, members in todo.items():
            progress.update(task, description=name)
            rows, sheets = measure(name, members, n, seed, lambda count: progress.advance(task, count))
            beside = None if whole(name, members) else kept[name]
            keep(docs, name, n, seed, read[name], rows, sheets, beside)
            progress.console.print(f"{name}: {len(rows)} rows measured")
    rows = write(docs)
    if json:
        typer.echo(json_format.dumps([as_json(row) for row in rows]))
        return
    typer.echo(f"measured: {', '.join(todo) or 'nothing, for all of it was measured on these weights'}")
    typer.echo(f"wrote {docs / 'zoo.json'}, {docs / 'zoo.md'}")
    missed = [f"{row.member} {row.metric} ({row.split})" for row in rows if row.reached is False]
    typer.echo(f"bars missed: {', '.join(missed)}" if missed else "every bar reached")


@app.command()
def export(
    folder: Annotated[Path, typer.Argument(help="Where the members' folders are written.")],
    name: Annotated[
        list[str] | None, typer.Option("--name", help="This member alone; may be given several times.")
    ] = None,
) -> None:
    """Write the shipped members as plain diffusers and transformers folders, for use elsewhere."""
    import json

    from lessonlib.files import write_text
    from lessonlib.models import store
    from lessonlib.zoo import cards

    known = cards.cards()
    for member in name or store.members():
        target = store.export(member, folder)
        if member in known:
            write_text(target / "card.json", json.dumps(known[member], indent=2, ensure_ascii=False) + "\n")
        typer.echo(f"wrote {target}")


@app.command("list")
def list_members(
    json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False,
) -> None:
    """What is stored, how large it is, and whether it is whole."""
    import json as json_format

    from rich.console import Console
    from rich.table import Table

    from lessonlib.models import store

    root = store.weights_root() / "parts"
    rows = [
        {
            "part": part,
            "state": state,
            "bytes": sum(f.stat().st_size for f in (root / part).glob("*")) if (root / part).is_dir() else 0,
            "members": [name for name, entry in store.members().items() if part in store.parts_of(entry)],
        }
        for part, state in sorted(store.verify().items())
    ]
    if json:
        typer.echo(json_format.dumps(rows))
        return
    table = Table("part", "state", "bytes", "used by")
    for row in rows:
        table.add_row(row["part"], row["state"], f"{row['bytes']:,}", ", ".join(row["members"]))
    Console().print(table)
