"""The models of the lesson: where they come from, which this machine can run, and the tiny ones' store.

A notebook needs four names: `repo("sd15")` is what `from_pretrained` takes, on every machine.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

_EXPORTS = {
    "CATALOGUE": "catalogue",
    "find": "catalogue",
    "repo": "catalogue",
    "fetch": "downloads",
    "tier": "machine",
    "why": "machine",
    "device": "machine",
    "dtype": "machine",
}

if TYPE_CHECKING:
    from lessonlib.models.catalogue import CATALOGUE as CATALOGUE
    from lessonlib.models.catalogue import find as find
    from lessonlib.models.catalogue import repo as repo
    from lessonlib.models.downloads import fetch as fetch
    from lessonlib.models.machine import device as device
    from lessonlib.models.machine import dtype as dtype
    from lessonlib.models.machine import tier as tier
    from lessonlib.models.machine import why as why


def __getattr__(name: str) -> Any:
    if name not in _EXPORTS:
        raise AttributeError(f"module 'lessonlib.models' has no attribute {name!r}")
    return getattr(importlib.import_module(f"lessonlib.models.{_EXPORTS[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_EXPORTS])
