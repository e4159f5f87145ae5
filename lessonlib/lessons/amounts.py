"""How much a lesson asks of the machine: the one thing beside the weights in which the tiers differ."""

from __future__ import annotations

from typing import NamedTuple


class Work(NamedTuple):
    """`steps` of a picture; `prompts` of a sweep over a setting; pictures made in one `batch`."""

    steps: int
    prompts: int
    batch: int


# A full-size batch has to fit the 15 GB of Colab's free GPU.
_WORK = {"tiny": Work(steps=25, prompts=16, batch=16), "full": Work(steps=25, prompts=4, batch=2)}


def work() -> Work:
    """The amounts for the tier that runs here."""
    from lessonlib.models import tier

    return _WORK[tier()]
