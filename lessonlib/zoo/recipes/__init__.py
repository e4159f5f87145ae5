"""How each member was trained: one file a member, each with `run(runs, minutes)` and `ship(runs)`."""

from __future__ import annotations

import importlib
from typing import Any

from lessonlib.errors import LessonError

# in the order in which they build on each other; the judge stands alone
RECIPES: tuple[str, ...] = ("vae", "text", "sd15", "judge")


def recipe(name: str) -> Any:
    """The recipe's module.

    Raises:
        LessonError: no recipe of that name.
    """
    if name not in RECIPES:
        raise LessonError(f"There is no recipe '{name}': choose one of {', '.join(RECIPES)}.")
    return importlib.import_module(f"lessonlib.zoo.recipes.{name}")
