"""A progress bar for the reader, and for nobody else."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

T = TypeVar("T")


def progress(steps: Iterable[T], what: str = "") -> Iterable[T]:
    """The same steps with a bar that vanishes when they are done.

    Nothing is shown where the environment says TQDM_DISABLE=1 (tqdm's own switch): nbval's kernels and those of
    `lesson notebooks run` are started so, and stored outputs hold no bars.
    """
    from tqdm.auto import tqdm

    return tqdm(steps, desc=what, leave=False)
