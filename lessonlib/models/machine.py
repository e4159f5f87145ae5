"""What this machine is, and which of the two tiers it runs."""

from __future__ import annotations

import os
from functools import cache
from typing import TYPE_CHECKING, Literal

from lessonlib.errors import LessonError

if TYPE_CHECKING:
    import torch

Tier = Literal["tiny", "full"]


def tier() -> Tier:
    """ "full" on a CUDA GPU with room for every lesson, else "tiny"; LESSON_TIER forces it."""
    return _choice()[0]


def why() -> str:
    """One sentence: why `tier()` is what it is."""
    return _choice()[1]


def device() -> Literal["cuda", "mps", "cpu"]:
    """The best device that torch can use here."""
    import torch

    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def dtype() -> torch.dtype:
    """float16 on CUDA, float32 elsewhere."""
    import torch

    return torch.float16 if device() == "cuda" else torch.float32


def ram_bytes() -> int:
    """Memory this process may use: the machine's, or a container's limit where that is lower."""
    import psutil

    limits = [psutil.virtual_memory().total]
    for path in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            with open(path) as stream:
                limits.append(int(stream.read()))
        except (OSError, ValueError):  # no such file, or "max"
            continue
    return min(limits)


def vram_bytes() -> int:
    """Memory of the CUDA GPU; 0 without one."""
    import torch

    return torch.cuda.get_device_properties(0).total_memory if torch.cuda.is_available() else 0


def checked(name: str) -> Tier:
    """`name` as a tier.

    Raises:
        LessonError: it is neither "tiny" nor "full".
    """
    if name == "tiny" or name == "full":
        return name
    raise LessonError(f"There is no tier called '{name}': choose 'tiny' or 'full' (LESSON_TIER sets it).")


def _choice() -> tuple[Tier, str]:
    if forced := os.environ.get("LESSON_TIER"):
        return checked(forced), "LESSON_TIER forces it"
    return _chosen_for_this_machine()


@cache
def _chosen_for_this_machine() -> tuple[Tier, str]:
    from lessonlib.models import memory

    if device() != "cuda":
        return "tiny", f"there is no CUDA GPU ({device()}): the full models would take minutes a picture"
    tight = [n.lesson for n in memory.needs() if memory.fits(n, ram_bytes(), vram_bytes()) == "no"]
    if tight:
        return "tiny", f"this GPU or its machine lacks the memory for {', '.join(tight)}"
    return "full", "there is a CUDA GPU with room for every lesson"
