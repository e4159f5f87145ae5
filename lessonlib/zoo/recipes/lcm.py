"""lcm: a latent consistency model, distilled from sd15 whole. Its guidance is an input of the network, not a second pass.

Luo et al. (2023). The UNet is sd15's with `time_cond_proj_dim`: sinusoids of w enter beside the time step through a matrix
that starts at zero, so that at first it says what it began as: sd15 with its LCM-LoRA merged in.

Consistency distillation alone leaves it soft, and some of its things vague. Where it begins with the shipped weights it goes
on by distribution matching (`lessonlib.zoo.matching`) at the steps that it takes at inference.
"""

# diffusers' annotations are narrower than what it accepts and returns:
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportOptionalMemberAccess=false

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from torch import Tensor

from lessonlib.models import store
from lessonlib.scratch.guidance import w_embedding
from lessonlib.zoo.base import load_base, plain_attention
from lessonlib.zoo.distillation import (
    Sd15Teacher,
    Student,
    Teacher,
    distillation_loss,
    lcm_scheduler,
    quickened,
)
from lessonlib.zoo.latents import cached
from lessonlib.zoo.matching import lcm_loss, rates, with_fake_score
from lessonlib.zoo.recipes import sd15
from lessonlib.zoo.training import Network, Plan, Step, train

# 1.3 s a step on one CPU core: 22 minutes
PLAN = Plan(steps=1000, batch=16, learning_rate=3e-4, seed=81, warmup=50, weight_decay=0.0)
# matched, 1.8 s a step in each of two processes: 12 minutes; the fake score of some steps ago makes no momentum
GOING_ON = replace(PLAN, steps=400, learning_rate=5e-4, betas=(0.0, 0.99), optimizer="muon")
# w: guidance_scale 2.5 to 9, around the pipeline's default of 8.5 and the teacher's best, 4
GUIDANCE = (1.5, 8.0)
# 2.5 to 5.5, around 4: all scales are nearly one to so small a student, which learns their mean
MATCHED_GUIDANCE = (1.5, 4.5)
W_WIDTH = 64
FOLDERS = {
    "scheduler": "scheduler-lcm",
    "text_encoder": "sd15-text",
    "tokenizer": "tokenizer-l",
    "unet": "lcm-unet",
    "vae": "vae",
}


def build(teacher: UNet2DConditionModel) -> UNet2DConditionModel:
    """The UNet with an input for w that counts for nothing yet."""
    config = {key: value for key, value in teacher.config.items() if not key.startswith("_")}
    unet = UNet2DConditionModel(**{**config, "time_cond_proj_dim": W_WIDTH})
    missing, unexpected = unet.load_state_dict(teacher.state_dict(), strict=False)
    assert missing == ["time_embedding.cond_proj.weight"]
    assert not unexpected
    torch.nn.init.zeros_(unet.time_embedding.cond_proj.weight)
    return unet


def student(unet: UNet2DConditionModel) -> Student:
    """The network as the loss calls it."""

    def predict(noisy: Tensor, timesteps: Tensor, told: dict[str, Any], w: Tensor) -> Tensor:
        return unet(noisy, timesteps, timestep_cond=w_embedding(w, W_WIDTH), **told).sample

    return predict


def sd15_teacher(runs: Path) -> Sd15Teacher:
    """The shipped sd15 over the latents that sd15 itself was trained on."""
    base = load_base()
    vae_folder = store.unfold("vae")
    vae = AutoencoderKL.from_pretrained(vae_folder).to(base.device)
    latents = cached(vae, runs / "latents" / vae_folder.name, sd15.SCENES, base.device)
    return Sd15Teacher(base, latents)


def distil(
    name: str,
    unet: UNet2DConditionModel,
    student: Callable[[UNet2DConditionModel], Student],
    teacher: Teacher,
    plan: Plan,
    guidance: tuple[float, float],
    runs: Path,
    minutes: float | None,
) -> UNet2DConditionModel:
    """The UNet after its run `name`: consistency distillation from scratch, distribution matching from what ships.

    Args:
        student: the UNet as the losses call it.
        guidance: the range that w = guidance_scale - 1 is drawn from.
    """
    plain_attention(unet, teacher.unet.device)

    def told(network: Network, step: Step) -> tuple[Student, Teacher, Step, int, tuple[float, float]]:
        return student(network.parts["unet"]), teacher, step, plan.batch, guidance

    def distils(network: Network, step: Step) -> dict[str, Tensor]:
        return distillation_loss(*told(network, step))

    def matches(network: Network, step: Step) -> dict[str, Tensor]:
        return lcm_loss(network, *told(network, step))

    if plan.start == "shipped":
        network = with_fake_score(unet, teacher.unet)
        train(name, network, matches, plan, runs=runs, minutes=minutes, rates=rates(network))
    else:
        train(name, Network(unet=unet), distils, plan, runs=runs, minutes=minutes)
    return unet


def run(runs: Path, minutes: float | None = None, plan: Plan = PLAN) -> Path:
    """Distil the shipped sd15 and write `runs/lcm/model/{unet,scheduler}`."""
    teacher = sd15_teacher(runs)
    if plan.start == "shipped":
        unet, guidance = UNet2DConditionModel.from_pretrained(store.unfold("lcm") / "unet"), MATCHED_GUIDANCE
    else:
        unet, guidance = build(quickened(store.unfold("sd15"), "lcm-lora-sd15")), GUIDANCE
    unet = distil("lcm", unet, student, teacher, plan, guidance, runs, minutes)
    folder = runs / "lcm/model"
    unet.to("cpu").save_pretrained(folder / "unet")
    lcm_scheduler().save_pretrained(folder / "scheduler")
    return folder


def ship(runs: Path) -> None:
    """Store UNet and scheduler and register the pipeline; everything else is sd15's."""
    store.fold(runs / "lcm/model/unet", FOLDERS["unet"], base="sd15-unet")
    store.fold(runs / "lcm/model/scheduler", FOLDERS["scheduler"])
    index = {
        "_class_name": "LatentConsistencyModelPipeline",
        "feature_extractor": [None, None],
        "image_encoder": [None, None],
        "requires_safety_checker": False,
        "safety_checker": [None, None],
        "scheduler": ["diffusers", "LCMScheduler"],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
    }
    store.add_member("lcm", index, FOLDERS)
