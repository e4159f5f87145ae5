"""What the shipped zoo can do, measured after storage, beside what it should do.

`measures/` says how each family is measured; this file keeps a record of each family, with the weights that it was measured
on, and makes the page of them. The judge that measures shares no weights, no seed and no data stream with the models.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from lessonlib.files import replacing, write_text
from lessonlib.judge import load_judge
from lessonlib.models import store
from lessonlib.zoo import cards
from lessonlib.zoo.measures import FAMILIES, family, weights
from lessonlib.zoo.measures.generated import GUIDANCE, STEPS
from lessonlib.zoo.measures.rows import Row, Sheet, number


@dataclass(frozen=True)
class Record:
    """What was measured of one family, as `zoo/<family>.json` keeps it."""

    n: int
    seed: int
    weights: dict[str, str]  # what it rests on: member -> what names its weights
    rows: list[Row]
    sheets: list[tuple[str, str]]  # (name, caption) of the pictures


def due(kept: Record | None, name: str, read: dict[str, str], n: int, seed: int) -> tuple[str, ...]:
    """The family's members that are to be measured, with `n` prompts or more: those with other weights than in the record.

    All of them where a model that they are held against is another, or where they cannot be measured apart.

    Args:
        read: what `weights` says of the family.
    """
    module = family(name)
    if kept is None or kept.n < n or kept.seed != seed:
        return module.MEMBERS
    changed = {one for one in kept.weights | read if kept.weights.get(one) != read.get(one)}
    apart = getattr(module, "APART", False) and kept.n == n and changed <= {*module.MEMBERS} & {*read}
    return tuple(one for one in module.MEMBERS if one in changed or (changed and not apart))


def whole(name: str, members: Sequence[str]) -> bool:
    """Whether these are all of the family's members."""
    return {*family(name).MEMBERS} <= {*members}


def picture_count(name: str, members: Sequence[str], n: int) -> int:
    """How many pictures `measure` generates."""
    return family(name).pictures(n, **_alone(name, members))


def measure(
    name: str, members: Sequence[str], n: int, seed: int, tick: Callable[[int], None] = lambda _: None
) -> tuple[list[Row], list[Sheet]]:
    """Rows and picture sheets of a family's members. `tick` is told of every generated picture (`picture_count` in all)."""
    return family(name).measure(n, seed, load_judge(), tick, **_alone(name, members))


def _alone(name: str, members: Sequence[str]) -> dict[str, Sequence[str]]:
    return {"members": members} if getattr(family(name), "APART", False) else {}


def record(docs: Path, name: str) -> Record | None:
    """What the report in `docs` holds of a family; None where it holds nothing."""
    path = docs / "zoo" / f"{name}.json"
    if not path.is_file():
        return None
    kept = json.loads(path.read_text(encoding="utf-8"))
    rows = []
    for one in kept["rows"]:
        unknown = {key: math.nan for key in ("value", "low", "high") if one[key] is None}
        rows.append(Row(**{**one, **unknown}))
    return Record(
        kept["n"], kept["seed"], kept["weights"], rows, [(name, caption) for name, caption in kept["sheets"]]
    )


def keep(
    docs: Path,
    name: str,
    n: int,
    seed: int,
    read: dict[str, str],
    rows: Sequence[Row],
    sheets: Sequence[Sheet],
    beside: Record | None = None,
) -> None:
    """Write a family's record, its pictures first.

    Args:
        read: what `weights` said before it was measured.
        beside: the record of which the other members' rows and pictures stay.
    """
    measured = _by_member(beside.rows if beside else []) | _by_member(rows)
    captions = dict(beside.sheets if beside else []) | {sheet.name: sheet.caption for sheet in sheets}
    for sheet in sheets:
        with replacing(docs / "images" / _picture(sheet.name)) as temporary:
            _sheet_image(sheet).save(temporary, quality=80, method=6)
    kept = {
        "n": n,
        "seed": seed,
        "weights": read,
        "rows": [as_json(row) for of_member in measured.values() for row in of_member],
        "sheets": list(captions.items()),
    }
    write_text(docs / "zoo" / f"{name}.json", json.dumps(kept, indent=1, ensure_ascii=False) + "\n")


def _by_member(rows: Sequence[Row]) -> dict[str, list[Row]]:
    grouped: dict[str, list[Row]] = {}
    for row in rows:
        grouped.setdefault(row.member, []).append(row)
    return grouped


def write(docs: Path) -> list[Row]:
    """`zoo.json` and `zoo.md` of all the records in `docs`; their rows."""
    records = {name: kept for name in FAMILIES if (kept := record(docs, name))}
    rows = [row for kept in records.values() for row in kept.rows]
    write_text(docs / "zoo.json", json.dumps([as_json(row) for row in rows], indent=1) + "\n")
    write_text(docs / "zoo.md", _markdown(records))
    return rows


def as_json(row: Row) -> dict[str, Any]:
    """A row for JSON: rounded, and null for what could not be measured."""
    values = asdict(row)
    return {
        key: (round(value, 5) if math.isfinite(value) else None) if isinstance(value, float) else value
        for key, value in values.items()
    }


def _picture(sheet: str) -> str:
    return f"zoo-{sheet}.webp"


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


def _markdown(records: dict[str, Record]) -> str:
    rows = [row for kept in records.values() for row in kept.rows]
    sheets = [sheet for kept in records.values() for sheet in kept.sheets]
    stale = [name for name, kept in records.items() if kept.weights != weights(name)]
    lines = [
        "# The tiny zoo, measured",
        "",
        "Written by `lesson zoo report`. Every figure was measured on the shipped weights, after storage, with fixed seeds;",
        "beside it the 95 % interval. “seen” and “held-out” are single objects whose combination of object, background",
        "and style was, or was never, in training. The judge's own rows are the ceilings.",
        "What was tried for the bars that are missed stands in the repository's `docs/zoo/tried.md`.",
        "",
        f"sd15: {STEPS} DDIM steps, guidance {GUIDANCE:g}.",
        "",
        *(
            [f"Measured before the weights changed, to be measured again: {', '.join(stale)}.", ""]
            if stale
            else []
        ),
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
    for name, caption in sheets:
        lines += [f"![{name}](images/{_picture(name)})", "", caption, ""]
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
