"""How much a lesson asks of the machine: the one thing beside the weights in which the tiers differ."""

from __future__ import annotations

from typing import NamedTuple


class Work(NamedTuple):
    """`steps` of a picture; `prompts` of a sweep over a setting; pictures made in one `batch`.

    `latents`: their sides in a sweep over size, from the smallest to the largest.
    """

    steps: int
    prompts: int
    batch: int
    latents: tuple[int, ...]


# A full-size batch has to fit the 15 GB of Colab's free GPU, and so have plain attention's scores.
_WORK = {
    "tiny": Work(steps=25, prompts=16, batch=16, latents=(16, 32, 48)),
    "full": Work(steps=25, prompts=4, batch=2, latents=(32, 48, 64)),
}


def work() -> Work:
    """The amounts for the tier that runs here."""
    from lessonlib.models import tier

    return _WORK[tier()]
