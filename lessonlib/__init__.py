"""Advanced image generation, hands on.

`import lessonlib` is instant: every public name is loaded when it is first used, so that a reader's first cell never
waits for torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lessonlib.exports import lazy

__version__ = "0.1.0"

# public name -> the module that defines it
_EXPORTS = {
    "LessonError": "lessonlib.errors",
    "repo": "lessonlib.models",
    "tier": "lessonlib.models",
    "device": "lessonlib.models",
    "dtype": "lessonlib.models",
}

if TYPE_CHECKING:
    from lessonlib.errors import LessonError as LessonError
    from lessonlib.models import device as device
    from lessonlib.models import dtype as dtype
    from lessonlib.models import repo as repo
    from lessonlib.models import tier as tier


__getattr__, __dir__ = lazy(__name__, _EXPORTS)
