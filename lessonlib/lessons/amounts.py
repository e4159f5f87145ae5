"""How much a lesson asks of the machine: the one thing beside the weights in which the tiers differ."""

from __future__ import annotations

import os
from typing import NamedTuple

TRAINING_MINUTES = "LESSON_TRAINING_MINUTES"  # the most that a training cell may take; not set for a reader
# where a notebook is run to be checked or stored: the code runs, and nothing much is learned
FEW_MINUTES = 0.05
_FEW_SCENES = 64


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


class Training(NamedTuple):
    """`minutes` of a training cell; how many `scenes` it learns from, None for what the training takes by itself."""

    minutes: float
    scenes: int | None


def training(minutes: float) -> Training:
    """What a training cell is given: `minutes` in a reader's hands, no more than the environment allows elsewhere."""
    allowed = float(os.environ.get(TRAINING_MINUTES, "inf"))
    return Training(minutes, None) if minutes <= allowed else Training(allowed, _FEW_SCENES)


def work() -> Work:
    """The amounts for the tier that runs here."""
    from lessonlib.models import tier

    return _WORK[tier()]
