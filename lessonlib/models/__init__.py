"""The models of the lesson: where they come from, which this machine can run, and the tiny ones' store.

A notebook needs four names: `repo("sd15")` is what `from_pretrained` takes, on every machine.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lessonlib.exports import lazy

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


__getattr__, __dir__ = lazy(__name__, {name: f"{__name__}.{module}" for name, module in _EXPORTS.items()})
