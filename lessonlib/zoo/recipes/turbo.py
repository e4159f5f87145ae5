"""sdxl-turbo: a picture in one step, without guidance.

The student turns pure noise, or real latents noised to one of the times at which a second to fourth step begins, into clean
latents at once. It learns by distribution matching and a critic (`lessonlib.zoo.matching`), as in adversarial diffusion
distillation (Sauer et al. 2023). It begins as the base with its LCM-LoRA, which can nearly do it.
"""

# diffusers' annotations are narrower than what it accepts and returns:
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from diffusers import EulerAncestralDiscreteScheduler, UNet2DConditionModel
from torch import Tensor

from lessonlib.models import store
from lessonlib.scratch.schedule import add_noise, predict_original_sample
from lessonlib.zoo.base import plain_attention
from lessonlib.zoo.distillation import SdxlTeacher, quickened
from lessonlib.zoo.matching import critic, critic_loss, matching_loss, rates, with_fake_score
from lessonlib.zoo.recipes import sdxl
from lessonlib.zoo.recipes.sd15 import SCHEDULER
from lessonlib.zoo.sdxl import load_squares, pipeline_index
from lessonlib.zoo.training import LossFunction, Network, Plan, Step, train

# 4 s a step in each of two processes, on two cores without AVX-512: 46 minutes
PLAN = Plan(
    steps=700, batch=16, learning_rate=6e-4, seed=92, warmup=50, weight_decay=0.0, betas=(0.0, 0.99),
    optimizer="muon",
)  # fmt: skip
GUIDANCE = 4.0  # of the teacher
LAST = 999  # the time step whose pure noise the student turns into a picture
LATER = (749, 499, 249)  # where the other steps of two or four begin
FIRST = 0.75  # share of the student's steps that begin at LAST
_NOISE = {key: SCHEDULER[key] for key in ("beta_start", "beta_end", "beta_schedule")}
FOLDERS = sdxl.FOLDERS | {"unet": "turbo-unet", "scheduler": "scheduler-turbo"}


def clean(
    unet: UNet2DConditionModel, noisy: Tensor, timesteps: Tensor, told: dict[str, Any], alphas_cumprod: Tensor
) -> Tensor:
    """The student's clean latents from noisy ones [B, 4, h, w], as the pipeline computes them in one Euler step."""
    level = alphas_cumprod[timesteps][:, None, None, None]
    return predict_original_sample(unet(noisy, timesteps, **told).sample.float(), noisy, level)


def begun(real: Tensor, alphas_cumprod: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Where the student's steps begin: most of them at pure noise, the others at real latents noised.

    Args:
        real: float32 [B, 4, h, w].
        alphas_cumprod: float32 [1000].

    Returns:
        (noisy latents [B, 4, h, w], their time steps int64 [B]).
    """
    count = len(real)
    first = torch.arange(count) < round(FIRST * count)
    drawn = torch.tensor(LATER)[torch.randint(0, len(LATER), (count,), generator=generator)]
    timesteps = torch.where(first, LAST, drawn).to(real.device)
    noise = torch.randn(real.shape, generator=generator).to(real.device)
    level = alphas_cumprod[timesteps][:, None, None, None]
    at_first = first.to(real.device)[:, None, None, None]
    return torch.where(at_first, (1 - level).sqrt() * noise, add_noise(real, noise, level)), timesteps


def loss_with(plan: Plan, teacher: SdxlTeacher) -> LossFunction:
    """The loss of a step on the teacher's examples."""
    levels = teacher.alphas_cumprod

    def loss(network: Network, step: Step) -> dict[str, Tensor]:
        batch = teacher.draw(step, plan.batch)
        noisy, starts = begun(batch.latents, levels, step.torch)
        said = clean(network.parts["unet"], noisy, starts, batch.prompted, levels)
        guidance = torch.full((plan.batch,), GUIDANCE, device=step.device)
        matched = matching_loss(network, said, starts, batch, guidance, teacher, step)
        criticised = critic_loss(network.parts["heads"], said, batch, teacher, step)
        return {**matched, **criticised, "loss": matched["loss"] + criticised["loss"]}

    return loss


def run(runs: Path, minutes: float | None = None, plan: Plan = PLAN) -> Path:
    """Distil the shipped base and write `runs/sdxl-turbo/model/{unet,scheduler}`."""
    base = store.unfold("sdxl-base")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    teacher = SdxlTeacher(base, load_squares(runs, device), device)
    if plan.start == "shipped":
        unet = UNet2DConditionModel.from_pretrained(store.unfold("sdxl-turbo") / "unet")
    else:
        unet = quickened(base, "lcm-lora-sdxl")
    plain_attention(unet, device)
    network = with_fake_score(unet, teacher.unet, heads=critic(teacher.unet, plan.seed))
    loss = loss_with(plan, teacher)
    train("sdxl-turbo", network, loss, plan, runs=runs, minutes=minutes, rates=rates(network))
    folder = runs / "sdxl-turbo/model"
    network.parts["unet"].to("cpu").save_pretrained(folder / "unet")
    scheduler().save_pretrained(folder / "scheduler")
    return folder


def scheduler() -> EulerAncestralDiscreteScheduler:
    """Trailing time steps: the only step begins at pure noise."""
    return EulerAncestralDiscreteScheduler(**_NOISE, timestep_spacing="trailing", steps_offset=1)


def ship(runs: Path) -> None:
    """Store UNet and scheduler and register the pipeline; everything else is the base's.

    No later step mends what storage spoils in one: the last block, whose error is felt most, is stored more precisely.
    """
    store.fold(
        runs / "sdxl-turbo/model/unet", FOLDERS["unet"], base=sdxl.FOLDERS["unet"], precise=["up_blocks.2."]
    )
    store.fold(runs / "sdxl-turbo/model/scheduler", FOLDERS["scheduler"])
    index = pipeline_index("StableDiffusionXLPipeline", "EulerAncestralDiscreteScheduler")
    store.add_member("sdxl-turbo", index, FOLDERS)
