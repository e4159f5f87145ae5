"""lcm-lora-sd15 and lcm-lora-sdxl: lcm's distillation into a low-rank change of the teacher, which then needs 4 steps.

Luo et al., "LCM-LoRA" (2023). The guidance is drawn from a range and not told to the student: it learns their mean, and
inference needs none. Rank 16 on attention, feed-forward, convolutions and time projections; alpha is the rank, because
diffusers' files keep no other.
"""

# diffusers' annotations are narrower than what it accepts and returns:
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Literal

import torch
from diffusers import StableDiffusionPipeline, StableDiffusionXLPipeline
from peft import set_peft_model_state_dict
from safetensors.torch import load_file

from lessonlib.models import store
from lessonlib.zoo.distillation import SdxlTeacher, lora_student, save_lora, with_lora
from lessonlib.zoo.recipes.lcm import distil, sd15_teacher
from lessonlib.zoo.sdxl import load_buckets, load_squares
from lessonlib.zoo.training import Plan

# 1.8 s a step on one CPU core: 36 minutes
PLAN = Plan(steps=1200, batch=24, learning_rate=5e-4, seed=83, warmup=20, weight_decay=0.0)
# matched; 2 s a step on one CPU core: 33 minutes
GOING_ON = replace(PLAN, steps=1000, batch=16, learning_rate=3e-4, betas=(0.0, 0.99))
GUIDANCE, MATCHED_GUIDANCE = (2.0, 5.0), (3.0, 3.0)  # w; the second: guidance_scale 4, the teacher's best
WEIGHTS = "pytorch_lora_weights.safetensors"
PIPELINES = {"sd15": StableDiffusionPipeline, "sdxl": StableDiffusionXLPipeline}


def run(
    runs: Path, minutes: float | None = None, plan: Plan = PLAN, *, family: Literal["sd15", "sdxl"]
) -> Path:
    """Distil the family's shipped base and write `runs/lcm-lora-<family>/model/pytorch_lora_weights.safetensors`."""
    name = f"lcm-lora-{family}"
    if family == "sd15":
        teacher = sd15_teacher(runs)
    else:
        plan = replace(plan, seed=plan.seed + 1)
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        load_examples = load_squares if plan.start == "shipped" else load_buckets
        teacher = SdxlTeacher(store.unfold("sdxl-base"), load_examples(runs, device), device)
    unet = with_lora(teacher.unet, seed=plan.seed)
    if plan.start == "shipped":
        weights = load_file(store.unfold(name) / WEIGHTS)
        set_peft_model_state_dict(unet, {key.removeprefix("unet."): value for key, value in weights.items()})
    guidance = MATCHED_GUIDANCE if plan.start == "shipped" else GUIDANCE
    unet = distil(name, unet, lora_student, teacher, plan, guidance, runs, minutes)
    save_lora(unet, runs / name / "model", PIPELINES[family])
    return runs / name / "model"


def ship(runs: Path, *, family: Literal["sd15", "sdxl"]) -> None:
    """Store the change in the package. 8 bits: each of its matrices keeps a scale a row."""
    name = f"lcm-lora-{family}"
    store.fold(runs / name / "model", name)
    store.add_member(name, None, {"": name})
