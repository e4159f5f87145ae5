"""A shipped member's card: what it is, from what data, how it was trained. The report measures size and quality.

`lesson zoo ship` writes `<weights>/cards/<member>.json` from the run's `plan.json` and `log.jsonl`. A run that began with
the shipped weights goes on with their history.
"""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

from lessonlib.errors import LessonError
from lessonlib.files import write_text
from lessonlib.models import store
from lessonlib.zoo.recipes import Recipe

DATA = "Scenes of the emoji world, drawn from seeds; never a held-out combination of object, background and style."
LICENCE = (
    "MIT; the pictures it learned from are made of Fluent Emoji (MIT) and Noto Emoji (Apache-2.0) artwork"
)


def card_of(recipe: Recipe, runs: Path, weights_root: Path | None = None) -> dict[str, Any]:
    """The card of a member whose run lies in `runs/<name>`.

    Raises:
        LessonError: the run does not tell how it was trained, where the card of before does.
    """
    before = _read(_path(recipe.name, weights_root)).get("trainings", [])
    this = training(runs / recipe.name)
    if before and not this["plan"]:
        raise LessonError(
            f"{runs / recipe.name / 'plan.json'} is missing, and the card would forget how {recipe.name} was trained: "
            f"bring the run's plan.json and log.jsonl along, or train it with `lesson zoo train {recipe.name}`."
        )
    # a member that begins with the shipped weights goes on with their history; shipping one run twice tells it once
    goes_on = this["plan"].get("start") == "shipped"
    earlier = [one for one in before if goes_on and one["plan"] != this["plan"]]
    return {
        "member": recipe.name,
        "what": recipe.what,
        "data": recipe.data or DATA,
        "recipe": f"lessonlib/zoo/recipes/{recipe.module}.py",
        "command": f"lesson zoo train {recipe.name}",
        "licence": LICENCE,
        "trainings": [*earlier, this],
    }


def write(card: dict[str, Any], weights_root: Path | None = None) -> Path:
    """Write a member's card beside its weights."""
    path = _path(card["member"], weights_root)
    write_text(path, json.dumps(card, indent=2, ensure_ascii=False) + "\n")
    return path


def cards(weights_root: Path | None = None) -> dict[str, dict[str, Any]]:
    """Every card by member, in the order of their names."""
    return {path.stem: _read(path) for path in sorted(_folder(weights_root).glob("*.json"))}


def training(folder: Path) -> dict[str, Any]:
    """What a run's folder tells: its plan, the steps done, the seconds they took, the last logged losses.

    Seconds are summed between log rows; a gap of more than twenty times the usual one is a pause, not training.
    """
    plan = _read(folder / "plan.json")
    path = folder / "log.jsonl"
    log = [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []
    gaps = [b["time"] - a["time"] for a, b in pairwise(log)]
    usual = sorted(gaps)[len(gaps) // 2] if gaps else 0.0
    worked = [gap for gap in gaps if 0 <= gap <= 20 * usual]
    last = {k: round(v, 5) for k, v in log[-1].items() if k not in ("step", "time", "lr")} if log else {}
    # the first row has no gap before it: it took as long as the usual one
    return {
        "plan": plan,
        "steps": log[-1]["step"] if log else 0,
        "seconds": round(sum(worked) + usual),
        "last": last,
    }


def _path(member: str, weights_root: Path | None) -> Path:
    return _folder(weights_root) / f"{member}.json"


def _folder(weights_root: Path | None) -> Path:
    return (weights_root or store.weights_root()) / "cards"


def _read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
