"""Counting: how often does a setting evaluate the UNet?"""

from __future__ import annotations

from typing import Any

from lessonlib.grading.draw import integer, uniform
from lessonlib.grading.task import Misconception, Task

TEXT = r"""
The honest price of a picture is not its number of steps but the number of UNet evaluations, counted per
picture. A guided step takes two (with the prompt and without it, even if they run as one batch of two); an
unguided step takes one. diffusers guides where `guidance_scale` is **above** 1. A model that has the scale
embedded (`embedded_guidance`, a full LCM) never guides that way, whatever the scale. Image-to-image with
`strength` $s$ runs only the last $\lfloor n s \rfloor$ of its $n$ steps; $s = 1$ is all of them. So

$$\text{evaluations} = \lfloor n\,s \rfloor \cdot \begin{cases} 2 & \text{if guidance\_scale} > 1
\text{ and not embedded} \\ 1 & \text{otherwise.}\end{cases}$$

Return the counts of a whole table of settings, in its order, as a list of ints.

| argument | |
|---|---|
| `settings` | a list of dicts with `steps` (int), `guidance_scale` (float), `strength` (float), `embedded_guidance` (bool) |
| returned | a list of ints |
""".strip()


def inputs(seed: int) -> dict[str, Any]:
    """Every kind of setting once: guided, at exactly 1, at 0, embedded, image to image, in any order."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    steps = 2 * integer(generator, 11, 20) + 1

    def setting(steps: int, guidance_scale: float, strength: float = 1.0, embedded: bool = False) -> dict:
        return {
            "steps": steps,
            "guidance_scale": guidance_scale,
            "strength": strength,
            "embedded_guidance": embedded,
        }

    # so many steps times the strength that rounding and cutting differ
    whole = integer(generator, steps // 2 + 2, steps - 3)
    strength = round((whole + uniform(generator, 0.6, 0.8)) / steps, 4)
    table = [
        setting(2 * steps, uniform(generator, 4, 9, 1)),
        setting(integer(generator, 4, 8), 1.0),
        setting(integer(generator, 4, 8), uniform(generator, 1.2, 1.8, 1)),
        setting(integer(generator, 1, 3), 0.0),
        setting(integer(generator, 3, 8), uniform(generator, 7, 9, 1), embedded=True),
        setting(steps, uniform(generator, 4, 9, 1), strength),
        setting(steps, 1.0, strength),
    ]
    return {"settings": [table[i] for i in torch.randperm(len(table), generator=generator).tolist()]}


def _count(
    settings: list[dict], *, one: bool = False, embedded: bool = True, cut: Any = int, guided: int = 2
) -> list[int]:
    counts = []
    for s in settings:
        scale = s["guidance_scale"]
        twice = (scale >= 1 if one else scale > 1) and not (embedded and s["embedded_guidance"])
        counts.append(cut(s["steps"] * s["strength"]) * (guided if twice else 1))
    return counts


def reference(settings: list[dict]) -> list[int]:
    return _count(settings)


# --- Wrong answers, each with its own hint ------------------------------------------------------------------


def _steps(settings: list[dict]) -> list[int]:
    return _count(settings, guided=1)


def _one_is_guided(settings: list[dict]) -> list[int]:
    return _count(settings, one=True)


def _always_two(settings: list[dict]) -> list[int]:
    return [2 * int(s["steps"] * s["strength"]) for s in settings]


def _embedding_guided(settings: list[dict]) -> list[int]:
    return _count(settings, embedded=False)


def _strength_forgotten(settings: list[dict]) -> list[int]:
    return _count([s | {"strength": 1.0} for s in settings])


def _rounded(settings: list[dict]) -> list[int]:
    return _count(settings, cut=round)


def _strength_reversed(settings: list[dict]) -> list[int]:
    return _count([s | {"strength": 1 - s["strength"] or 1.0} for s in settings])


# --- Right answers in other styles --------------------------------------------------------------------------


def _comprehension(settings: list[dict]) -> list[int]:
    return [
        int(s["steps"] * s["strength"]) * (1 + (s["guidance_scale"] > 1 and not s["embedded_guidance"]))
        for s in settings
    ]


def _floor(settings: list[dict]) -> list[int]:
    import math

    passes = [1 if s["embedded_guidance"] or s["guidance_scale"] <= 1 else 2 for s in settings]
    return [math.floor(s["steps"] * s["strength"]) * p for s, p in zip(settings, passes, strict=True)]


def _with_numpy(settings: list[dict]) -> list[int]:
    import numpy as np

    columns = {name: np.array([s[name] for s in settings]) for name in settings[0]}
    steps = np.floor(columns["steps"] * columns["strength"]).astype(int)
    guided = (columns["guidance_scale"] > 1) & ~columns["embedded_guidance"]
    return (steps * np.where(guided, 2, 1)).tolist()


TASK = Task(
    id="unet_evaluations",
    title="Counting passes",
    notebook="04_fast_sampling",
    order=7,
    text=TEXT,
    points=8,
    minutes=10,
    difficulty="easy",
    inputs=inputs,
    reference=reference,
    hints=(
        "Two questions for each setting: how many steps does it really run, and how many evaluations does a step "
        "take?",
        "The steps are `int(steps * strength)`. The evaluations are 2 only where the scale is above 1 and it is "
        "not embedded.",
        "`passes = 2 if s['guidance_scale'] > 1 and not s['embedded_guidance'] else 1`, then `int(s['steps'] * "
        "s['strength']) * passes`.",
    ),
    misconceptions=(
        Misconception(
            "steps counted",
            "You count steps. A guided step evaluates the UNet twice, with the prompt and without: 4 guided steps "
            "cost as much as 8 unguided ones.",
            _steps,
        ),
        Misconception(
            "guided at 1",
            "At exactly 1 the unconditional half cancels out, so diffusers leaves it away: guidance begins "
            "**above** 1.",
            _one_is_guided,
        ),
        Misconception(
            "always two",
            "You count two evaluations for every step. Not every setting guides: look at the scale and at "
            "`embedded_guidance`.",
            _always_two,
        ),
        Misconception(
            "embedded scale counted twice",
            "A model with an embedded scale reads it beside the time. It evaluates its UNet once a step at any "
            "scale.",
            _embedding_guided,
        ),
        Misconception(
            "strength forgotten",
            "Image-to-image begins in the middle of the schedule. Below strength 1 only part of the steps run.",
            _strength_forgotten,
        ),
        Misconception(
            "steps rounded",
            "You round the number of steps. diffusers cuts: 30 steps at strength 0.75 are 22, not 23.",
            _rounded,
        ),
        Misconception(
            "strength the other way",
            "You count the steps that are skipped. A large strength changes much and runs most of the steps.",
            _strength_reversed,
        ),
    ),
    alternatives=(_comprehension, _floor, _with_numpy),
)
