"""What the shipped zoo can do, measured after storage, beside what it should do.

`measures/` says how each family is measured; this file puts the families together and writes them down. The judge that
measures shares no weights, no seed and no data stream with the models.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from lessonlib.files import replacing, write_text
from lessonlib.judge import load_judge
from lessonlib.models import store
from lessonlib.zoo import cards
from lessonlib.zoo.measures import family, shipped_families
from lessonlib.zoo.measures.generated import GUIDANCE, STEPS
from lessonlib.zoo.measures.rows import Row, Sheet, number


def picture_count(n: int, families: Sequence[str] | None = None) -> int:
    """How many pictures `measure` generates."""
    return sum(family(name).pictures(n) for name in families or shipped_families())


def measure(
    n: int = 300,
    seed: int = 7,
    tick: Callable[[int], None] = lambda _: None,
    families: Sequence[str] | None = None,
) -> tuple[list[Row], list[Sheet]]:
    """All rows and picture sheets of what is shipped. `tick` is told of every generated picture (`picture_count` in all).

    Args:
        families: these alone, instead of every one of which something is shipped.
    """
    judge = load_judge()
    measured = [family(name).measure(n, seed, judge, tick) for name in families or shipped_families()]
    return [row for rows, _ in measured for row in rows], [
        sheet for _, sheets in measured for sheet in sheets
    ]


def write(rows: Sequence[Row], sheets: Sequence[Sheet], docs: Path) -> list[Path]:
    """`zoo.json`, `zoo.md` and the pictures, whole or not at all."""
    written = [docs / "zoo.json", docs / "zoo.md"]
    for sheet in sheets:
        path = docs / "images" / f"zoo-{sheet.name}.png"
        with replacing(path) as temporary:
            _sheet_image(sheet).save(temporary, optimize=True)
        written.append(path)
    write_text(docs / "zoo.json", json.dumps([as_json(row) for row in rows], indent=1) + "\n")
    write_text(docs / "zoo.md", _markdown(rows, sheets))
    return written


def as_json(row: Row) -> dict[str, Any]:
    """A row for JSON: rounded, and null for what could not be measured."""
    values = asdict(row)
    return {
        key: (round(value, 5) if math.isfinite(value) else None) if isinstance(value, float) else value
        for key, value in values.items()
    }


def _sheet_image(sheet: Sheet) -> Image.Image:
    gap = 3
    height, width = sheet.rows[0][1][0].shape[:2]
    columns = max(len(images) for _, images in sheet.rows)
    page = np.full((len(sheet.rows) * (height + gap) - gap, columns * (width + gap) - gap, 3), 255, np.uint8)
    for r, (_, images) in enumerate(sheet.rows):
        for c, image in enumerate(images):
            page[
                r * (height + gap) : r * (height + gap) + height,
                c * (width + gap) : c * (width + gap) + width,
            ] = image
    return Image.fromarray(page)


def _markdown(rows: Sequence[Row], sheets: Sequence[Sheet]) -> str:
    lines = [
        "# The tiny zoo, measured",
        "",
        "Written by `lesson zoo report`. Every figure was measured on the shipped weights, after storage, with fixed seeds;",
        "beside it the 95 % interval. “seen” and “held-out” are single objects whose combination of object, background",
        "and style was, or was never, in training. The judge's own rows are the ceilings.",
        "",
        f"sd15: {STEPS} DDIM steps, guidance {GUIDANCE:g}.",
        "",
        "| member | metric | split | measured | interval | bar | n |",
        "|---|---|---|---|---|---|---|",
        *(_table_row(row) for row in rows),
        "",
        "## Sizes",
        "",
        "| part | parameters | stored bytes |",
        "|---|---|---|",
    ]
    for part in sorted(store.verify()):
        stored = sum(f.stat().st_size for f in (store.weights_root() / "parts" / part).iterdir())
        lines.append(f"| {part} | {store.parameters(part):,} | {stored:,} |")
    lines += ["", "## Cards", "", *_cards()]
    lines += ["", "## Pictures", "", "The first seeds, not chosen ones.", ""]
    for sheet in sheets:
        lines += [f"![{sheet.name}](images/zoo-{sheet.name}.png)", "", sheet.caption, ""]
    return "\n".join(lines)


def _cards() -> Iterator[str]:
    """What each member is, what it learned from, and how: from `cards/`, written when it was shipped."""
    members = store.members()
    for name, card in cards.cards().items():
        yield f"### {name}"
        yield ""
        yield f"{card['what']} {card['data']}"
        yield ""
        for one in card["trainings"]:
            plan, minutes = one["plan"], one["seconds"] / 60
            last = ", ".join(f"{key} {value:.4g}" for key, value in list(one["last"].items())[:2])
            yield (
                f"* from {plan.get('start', 'scratch')}: {one['steps']:,} steps of {plan['batch']} at rate "
                f"{plan['learning_rate']:g}, seed {plan['seed']}, {minutes:.0f} minutes; last {last}"
            )
        if name in members:
            yield f"* parts: {', '.join(store.parts_of(members[name]))}"
        yield f"* again: `{card['command']}` ([recipe](../{card['recipe']}); licence: {card['licence']})"
        yield ""


def _table_row(row: Row) -> str:
    bar = (
        ""
        if row.bar is None
        else f"{number(row.metric, row.bar)} {'reached' if row.reached else '**missed**'}"
    )
    value, low, high = (number(row.metric, one) for one in (row.value, row.low, row.high))
    return f"| {row.member} | {row.metric} | {row.split} | {value} | {low} to {high} | {bar} | {row.n} |"
