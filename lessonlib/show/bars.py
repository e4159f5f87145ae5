"""A progress bar for the reader, and for nobody else."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TypeVar

T = TypeVar("T")


def progress(steps: Iterable[T], what: str = "") -> Iterable[T]:
    """The same steps with a bar that vanishes when they are done.

    Nothing is shown where the environment says TQDM_DISABLE=1, as `lesson notebooks run` and nbval's kernels have
    it. tqdm knows this switch by itself, but its bars for notebooks do not.
    """
    from tqdm.auto import tqdm

    return tqdm(steps, desc=what, leave=False, disable=os.environ.get("TQDM_DISABLE", "") not in ("", "0"))
