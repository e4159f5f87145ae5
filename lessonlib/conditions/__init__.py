"""Control maps: what a ControlNet is shown of a picture, or of a scene whose ground truth is known.

    condition(name, picture, size)    a picture, a file, a Scene or a Rendered -> PIL RGB at the asked size
    from_truth(name, rendered)        a Rendered -> uint8 [H, W, 3], fast enough to call in a training loop

and one file for each kind of map. Every map follows the convention of the ControlNet of its kind, so that it suits
the tiny models and the real ones alike. Importing this package is instant.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lessonlib.exports import lazy

# public name -> the module that defines it
_EXPORTS = {
    "CONTROLNETS": "lessonlib.conditions.dispatch",
    "NAMES": "lessonlib.conditions.dispatch",
    "condition": "lessonlib.conditions.dispatch",
    "from_truth": "lessonlib.conditions.dispatch",
    "rgb": "lessonlib.conditions.pictures",
}

if TYPE_CHECKING:
    from lessonlib.conditions.dispatch import CONTROLNETS as CONTROLNETS
    from lessonlib.conditions.dispatch import NAMES as NAMES
    from lessonlib.conditions.dispatch import condition as condition
    from lessonlib.conditions.dispatch import from_truth as from_truth
    from lessonlib.conditions.pictures import rgb as rgb


__getattr__, __dir__ = lazy(__name__, _EXPORTS)
