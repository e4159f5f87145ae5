"""Making the pictures that are measured: fixed prompts, fixed noise."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from lessonlib.judge import Judge, score
from lessonlib.world.captions import caption
from lessonlib.world.scene import Scene
from lessonlib.zoo.measures.rows import Row, Sheet, row

STEPS, GUIDANCE = 25, 4.0
BATCH = 25

Tick = Callable[[int], None]


def pictures(
    pipeline: Any, prompts: Sequence[str], seed: int, tick: Callable[[int], None], **settings: Any
) -> np.ndarray:
    """One picture a prompt, uint8 [N, H, W, 3]; picture k's noise comes from seed + k alone."""
    done = []
    for start in range(0, len(prompts), BATCH):
        batch = list(prompts[start : start + BATCH])
        noise = generators(seed + start, len(batch))
        done.append(pipeline(batch, generator=noise, output_type="np", **settings).images)
        tick(len(batch))
    return to_uint8(np.concatenate(done))


def generators(seed: int, count: int) -> list[torch.Generator]:
    """One a picture, with the seeds that follow each other."""
    return [torch.Generator().manual_seed(seed + k) for k in range(count)]


def to_uint8(images: np.ndarray) -> np.ndarray:
    """Pictures in 0..1 as bytes."""
    return (images * 255).round().astype(np.uint8)


def answers(
    member: str,
    split: str,
    made: np.ndarray,
    scenes: Sequence[Scene],
    judge: Judge,
    bars: dict[tuple[str, str], float],
) -> list[Row]:
    """One row for each question that the judge answers of the pictures; bars by (metric, split)."""
    return [
        row(member, one["metric"], split, one, bars.get((one["metric"], split)))
        for one in score(list(made), list(scenes), judge).rows(split)
    ]


def first_sixteen(name: str, title: str, prompts: Sequence[str], made: np.ndarray) -> Sheet:
    """A sheet of the first 16 pictures with their prompts."""
    text = "; ".join(f"“{prompt}”" for prompt in prompts[:16])
    return Sheet(
        name, f"{title}, the first 16 prompts: {text}", [("", list(made[:8])), ("", list(made[8:16]))]
    )


def plain_captions(scenes: Sequence[Scene]) -> list[str]:
    """The full, plain caption of each scene."""
    return [caption(scene) for scene in scenes]
