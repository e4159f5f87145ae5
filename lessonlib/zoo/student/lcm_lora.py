"""An LCM-LoRA in minutes: the shipped sd15 learns to draw in four steps.

The curve compares four steps of the student with 25 guided steps of its teacher, same prompts, same noise: how many of the
teacher's right answers (object, background, style) are kept, and how sharp the pictures are beside the teacher's.
"""

# diffusers' annotations are narrower than what it accepts and returns:
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL, StableDiffusionPipeline, UNet2DConditionModel
from torch import Tensor

from lessonlib.judge import load_judge, score
from lessonlib.judge.evaluate import real_scenes
from lessonlib.judge.sharpness import sharpness
from lessonlib.models import store
from lessonlib.zoo.base import Base, load_base, plain_attention
from lessonlib.zoo.distillation import (
    Sd15Teacher,
    distillation_loss,
    lcm_scheduler,
    lora_student,
    save_lora,
    with_lora,
)
from lessonlib.zoo.latents import cached
from lessonlib.zoo.measures.generated import GUIDANCE as TEACHER_GUIDANCE
from lessonlib.zoo.measures.generated import STEPS as TEACHER_STEPS
from lessonlib.zoo.measures.generated import pictures, plain_captions
from lessonlib.zoo.recipes.lcm_lora import GUIDANCE, PLAN
from lessonlib.zoo.student.learning import Point, learn, save_curve
from lessonlib.zoo.training import Step, mixed_precision

SCENES, BATCH = 2000, 16
PICTURES, STEPS = 16, 4
FIGURE = "of teacher"


def train(
    folder: Path,
    minutes: float = 5.0,
    *,
    seed: int = 0,
    scenes: int | None = None,
    on_point: Callable[[Point], None] = lambda _: None,
) -> list[Point]:
    """Train an LCM-LoRA and save it in `folder`, with its curve, for `pipe.load_lora_weights(folder)`.

    The scenes' latents are made once and kept in the user's cache; that is not part of `minutes`.

    Args:
        scenes: how many to learn from, by default `SCENES`.

    Raises:
        LessonError: weights that are missing; a folder that cannot be written.
    """
    base = load_base()
    vae = AutoencoderKL.from_pretrained(base.folder / "vae").to(base.device)
    where = store.cache_root() / "student/latents" / store.unfold("vae").name
    teacher = Sd15Teacher(base, cached(vae, where, scenes or SCENES, base.device))
    unet = with_lora(base.unet, seed=seed)
    plain_attention(unet, base.device)
    student = lora_student(unet)

    def loss(step: Step) -> Tensor:
        with torch.autocast(base.device.type, torch.bfloat16, enabled=mixed_precision() == "bf16"):
            return distillation_loss(student, teacher, step, BATCH, GUIDANCE)["loss"]

    changes = [parameter for parameter in unet.parameters() if parameter.requires_grad]
    curve = learn(
        [{"params": changes, "lr": PLAN.learning_rate}],
        loss,
        _measure(base, unet, seed),
        minutes,
        seed=seed,
        on_point=on_point,
    )
    save_lora(unet, folder, StableDiffusionPipeline)
    save_curve(curve, folder)
    return curve


def _measure(base: Base, unet: UNet2DConditionModel, seed: int) -> Callable[[], dict[str, float]]:
    judge = load_judge()
    scenes = real_scenes("seen", PICTURES, seed)
    prompts = plain_captions(scenes)

    def pipeline(network: UNet2DConditionModel, **parts: object) -> StableDiffusionPipeline:
        whole = StableDiffusionPipeline.from_pretrained(
            base.folder, unet=network, text_encoder=base.text, **parts
        ).to(base.device)
        whole.set_progress_bar_config(disable=True)
        return whole

    def draw(drawing: StableDiffusionPipeline, steps: int, guidance: float) -> np.ndarray:
        settings = {"num_inference_steps": steps, "guidance_scale": guidance}
        return pictures(drawing, prompts, 1000 * seed, lambda _: None, **settings)

    def right(made: np.ndarray) -> float:
        answers = score(list(made), scenes, judge).answers
        return float(np.mean([one[name] for one in answers for name in ("object", "background", "style")]))

    student = pipeline(unet, scheduler=lcm_scheduler())
    taught = draw(pipeline(base.unet), TEACHER_STEPS, TEACHER_GUIDANCE)
    goal, sharp = max(right(taught), 1e-6), float(np.mean([sharpness(one) for one in taught]))

    def measure() -> dict[str, float]:
        made = draw(student, STEPS, 1.0)
        rate = right(made)
        return {
            "right": rate,
            FIGURE: rate / goal,
            "sharpness, of teacher's": float(np.mean([sharpness(one) for one in made])) / sharp,
        }

    return measure
