"""The emoji world: seeded scenes with captions and exact ground truth.

A scene is a value (`scene`), it can be said (`captions`), read back (`parse`) and drawn (`render`):

    >>> from lessonlib.world import caption, parse, render, sample
    >>> caption(sample(seed=0))
    >>> render(parse("a red apple on the beach").scene).image

Names are loaded when they are first used, so that importing this package costs nothing.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

from lessonlib.exports import lazy

# public name -> the file that defines it
_EXPORTS = {
    "Scene": "scene",
    "Thing": "scene",
    "Person": "scene",
    "Identity": "scene",
    "sample": "scene",
    "sample_identity": "scene",
    "held_out": "scene",
    "is_held_out": "scene",
    "render": "render",
    "Rendered": "render",
    "caption": "captions",
    "captions": "captions",
    "parse": "parse",
    "Parsed": "parse",
    "Asked": "parse",
    "AskedThing": "parse",
    "AskedPerson": "parse",
    "sheet": "sheet",
    "truth": "sheet",
}

if TYPE_CHECKING:
    from lessonlib.world.captions import caption as caption
    from lessonlib.world.captions import captions as captions
    from lessonlib.world.parse import Asked as Asked
    from lessonlib.world.parse import AskedPerson as AskedPerson
    from lessonlib.world.parse import AskedThing as AskedThing
    from lessonlib.world.parse import Parsed as Parsed
    from lessonlib.world.parse import parse as parse
    from lessonlib.world.render import Rendered as Rendered
    from lessonlib.world.render import render as render
    from lessonlib.world.scene import Identity as Identity
    from lessonlib.world.scene import Person as Person
    from lessonlib.world.scene import Scene as Scene
    from lessonlib.world.scene import Thing as Thing
    from lessonlib.world.scene import held_out as held_out
    from lessonlib.world.scene import is_held_out as is_held_out
    from lessonlib.world.scene import sample as sample
    from lessonlib.world.scene import sample_identity as sample_identity
    from lessonlib.world.sheet import sheet as sheet
    from lessonlib.world.sheet import truth as truth


__getattr__, __dir__ = lazy(__name__, {name: f"{__name__}.{module}" for name, module in _EXPORTS.items()})


class _World(ModuleType):
    """`render`, `captions`, `parse` and `sheet` name a file and its function: as an attribute, always the function.

    Python stores every imported submodule on its package, which would otherwise hide the function behind its file.
    """

    def __setattr__(self, name: str, value: Any) -> None:
        if isinstance(value, ModuleType) and _EXPORTS.get(name) == name:
            value = getattr(value, name)
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _World
