"""What is measured of each family of the zoo: one file a family.

A family's file has

    MEMBERS                       the shipped members it measures; it is measured as soon as one of them is shipped
    READS                         the members that it reads beside them, if any
    APART                         True where some of its members can be measured without the others: `pictures` and `measure`
                                  then take those as `members`
    pictures(n)                   how many pictures its measurement generates, for a progress bar
    measure(n, seed, judge, tick) (rows, sheets) of those of its members that are shipped; `tick(k)` after k pictures

`n` is the number of prompts of each split. Every figure comes from fixed seeds and carries its 95 % interval.
"""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

from lessonlib.errors import LessonError

# in the order of the report
FAMILIES = (
    "judge",
    "vae",
    "taesd",
    "sd15",
    "sdxl",
    "few_steps",
    "one_step",
    "controlnet",
    "ip_adapter",
    "inpainting",
    "together",
)


def family(name: str) -> Any:
    """The family's module.

    Raises:
        LessonError: no family of that name.
    """
    if name not in FAMILIES:
        raise LessonError(f"The report has no family '{name}': choose among {', '.join(FAMILIES)}.")
    return importlib.import_module(f"lessonlib.zoo.measures.{name}")


def shipped_families() -> list[str]:
    """The families of which something is shipped; the judge always is."""
    from lessonlib.models import store

    shipped = store.members()
    return [name for name in FAMILIES if name == "judge" or any(m in shipped for m in family(name).MEMBERS)]


def weights(name: str) -> dict[str, str]:
    """The shipped weights that the family's figures rest on: member -> what names its present weights."""
    from lessonlib import judge
    from lessonlib.models import store

    shipped, module = store.members(), family(name)
    members = (*module.MEMBERS, *getattr(module, "READS", ()))
    card = json.loads((Path(judge.__file__).parent / "weights.json").read_text(encoding="utf-8"))
    return {"judge": card["sha256"][:12]} | {m: store.digest(m) for m in members if m in shipped}
