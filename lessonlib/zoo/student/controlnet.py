"""A ControlNet in minutes: beside the shipped sd15, on cached latents and control maps.

The curve is the condition's own measure (edge F1, depth error, ...) on pictures drawn under maps that training never saw,
and the same pictures held against another scene's map: what agreement is worth by chance.
"""

# diffusers' annotations are narrower than what it accepts and returns:
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from diffusers import ControlNetModel, StableDiffusionPipeline
from torch import Tensor

from lessonlib.conditions import CONTROLNETS
from lessonlib.errors import LessonError
from lessonlib.judge import load_judge
from lessonlib.judge.evaluate import real_scenes
from lessonlib.world.render import render
from lessonlib.zoo.base import Base, load_base, plain_attention
from lessonlib.zoo.measures.controlnet import MEASURED, agreements, steered
from lessonlib.zoo.measures.generated import plain_captions
from lessonlib.zoo.measures.rows import LOWER
from lessonlib.zoo.recipes.controlnet import (
    PLAN,
    ZERO_RATE,
    Start,
    build,
    loss_of,
    rates,
    stream,
    training_data,
)
from lessonlib.zoo.student.learning import Point, kept, learn, save_curve
from lessonlib.zoo.training import Step, mixed_precision

SCENES, BATCH = 2000, 16
PICTURES, STEPS, GUIDANCE = 12, 8, 1.0  # drawn at every point of the curve; without guidance they cost half


def train(
    folder: Path,
    minutes: float = 3.0,
    *,
    condition: str = "canny",
    start: Start = "zero",
    zero_rate: float = ZERO_RATE,
    seed: int = 0,
    scenes: int | None = None,
    on_point: Callable[[Point], None] = lambda _: None,
) -> list[Point]:
    """Train a ControlNet and save it in `folder`, with its curve, for `ControlNetModel.from_pretrained(folder)`.

    The scenes' latents and maps are made once and kept in the user's cache; that is not part of `minutes`.

    Args:
        condition: one of `lessonlib.conditions.NAMES`.
        start: how the output convolutions begin, "zero" or "random".
        zero_rate: how many times as fast as the copied blocks the hint encoder and these convolutions learn.
        scenes: how many to learn from, by default `SCENES`.

    Raises:
        LessonError: no such condition; weights that are missing; a folder that cannot be written.
    """
    if condition not in CONTROLNETS:
        raise LessonError(f"There is no condition '{condition}': choose one of {', '.join(CONTROLNETS)}.")
    base = load_base()
    torch.manual_seed(seed)
    controlnet = build(base.unet, start).to(base.device)
    plain_attention(controlnet, base.device)
    latents, maps = training_data(base, condition, kept(), scenes or SCENES)
    whole = loss_of(base, controlnet, latents, maps, stream(condition), BATCH)

    def loss(step: Step) -> Tensor:
        with torch.autocast(base.device.type, torch.bfloat16, enabled=mixed_precision() == "bf16"):
            return whole(step)["loss"]

    curve = learn(
        [
            {"params": group, "lr": factor * PLAN.learning_rate}
            for factor, group in rates(controlnet, zero_rate)
        ],
        loss,
        _measure(base, controlnet, condition, seed),
        minutes,
        seed=seed,
        on_point=on_point,
    )
    controlnet.to("cpu").save_pretrained(folder)
    save_curve(curve, folder)
    return curve


def main_figure(condition: str) -> str:
    """The figure of the curve that grows from 0 to 1: the measure itself, or for an error how much of it is gone."""
    metric = MEASURED[condition].metric
    return "gain" if metric in LOWER else metric


def _measure(
    base: Base, controlnet: ControlNetModel, condition: str, seed: int
) -> Callable[[], dict[str, float]]:
    how, judge = MEASURED[condition], load_judge()
    truths = [render(scene) for scene in real_scenes(how.split, PICTURES, seed)]
    prompts = plain_captions([truth.scene for truth in truths])
    pipeline = StableDiffusionPipeline.from_pretrained(
        base.folder, unet=base.unet, text_encoder=base.text
    ).to(base.device)
    others = [*truths[1:], truths[0]]

    def measure() -> dict[str, float]:
        made = steered(
            pipeline, [condition], truths, prompts, 1000 * seed, lambda _: None, [controlnet],
            num_inference_steps=STEPS, guidance_scale=GUIDANCE,
        )  # fmt: skip
        verdicts = judge.judge(list(made))
        own = float(np.mean(agreements(condition, made, verdicts, truths)))
        shuffled = float(np.mean(agreements(condition, made, verdicts, others)))
        figures = {how.metric: own, "shuffled": shuffled}
        return figures | {"gain": 1 - own / shuffled} if how.metric in LOWER else figures

    return measure
