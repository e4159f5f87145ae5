"""sdxl-turbo: a picture in one step, without guidance.

The teacher, sdxl-base with guidance, first draws pictures from known noise; the student then learns to say each at once from
the same noise, or from the picture noised anew to one of the times at which a second to fourth step begins: by pseudo-Huber
distance of the latents and by the distance of what the teacher's own encoder makes of both, noised alike. In the last part
of training small heads on those features also learn to tell the two apart, and the student to mislead them (hinge loss), as
in adversarial diffusion distillation (Sauer et al. 2023). It begins as the base with its LCM-LoRA, which can nearly do it.
"""

# diffusers' annotations are narrower than what it accepts and returns:
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportOptionalMemberAccess=false

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import (
    DPMSolverMultistepScheduler,
    EulerAncestralDiscreteScheduler,
    UNet2DConditionModel,
)
from torch import Tensor, nn

from lessonlib.models import store
from lessonlib.scratch.consistency import pseudo_huber
from lessonlib.scratch.guidance import classifier_free_guidance
from lessonlib.scratch.schedule import add_noise, predict_original_sample
from lessonlib.world.captions import caption
from lessonlib.zoo.base import plain_attention
from lessonlib.zoo.caches import remembered
from lessonlib.zoo.distillation import SdxlTeacher, quickened
from lessonlib.zoo.latents import scene
from lessonlib.zoo.recipes import sdxl
from lessonlib.zoo.recipes.sd15 import SCHEDULER
from lessonlib.zoo.sdxl import Buckets, pipeline_index
from lessonlib.zoo.training import Network, Plan, Step, train

# 0.75 s a step and 0.4 s a pair on one CPU core: 31 and 27 minutes
PLAN = Plan(steps=2500, batch=16, learning_rate=2e-4, seed=91, warmup=50, weight_decay=0.0)
PAIRS = 4000
TEACHER_STEPS, GUIDANCE = 12, 4.0  # DPM-Solver++'s 12 steps stand for DDIM's 25 at half the cost
LAST = 999  # the time step whose pure noise the student turns into a picture
LATER = (749, 499, 249)  # where the other steps of two or four begin
FEATURES, ADVERSARY = 0.1, 0.05  # weights of the losses beside the pseudo-Huber one
ADVERSARY_FROM = 0.6  # of the steps
IDS = (128, 128, 0, 0, 128, 128)
_NOISE = {key: SCHEDULER[key] for key in ("beta_start", "beta_end", "beta_schedule")}
FOLDERS = sdxl.FOLDERS | {"unet": "turbo-unet", "scheduler": "scheduler-turbo"}


def prompt_of(index: int) -> str:
    """The caption of pair number `index`."""
    return caption(scene(index), np.random.default_rng([PLAN.seed, index]))


def noise_of(index: int) -> Tensor:
    """The noise of pair number `index`: float32 [4, 16, 16]."""
    return torch.randn(4, 16, 16, generator=torch.Generator().manual_seed(1_000_000 + index))


def ids(count: int, device: torch.device) -> Tensor:
    """The ids that the pipeline sends by default, `count` times."""
    return torch.tensor([IDS], dtype=torch.float32, device=device).expand(count, -1)


@torch.no_grad()
def teacher_pictures(teacher: SdxlTeacher, indices: list[int]) -> Tensor:
    """What the teacher makes of these pairs' noise and prompts: latents float32 [B, 4, 16, 16]."""
    device = teacher.unet.device
    prompted, unprompted = teacher.conditions([prompt_of(k) for k in indices], ids(len(indices), device))
    scheduler = DPMSolverMultistepScheduler(**_NOISE, timestep_spacing="trailing")
    scheduler.set_timesteps(TEACHER_STEPS, device=device)
    latents = torch.stack([noise_of(k) for k in indices]).to(device)
    for t in scheduler.timesteps:
        with_prompt, without = (
            teacher.unet(latents, t, **told).sample.float() for told in (prompted, unprompted)
        )
        latents = scheduler.step(classifier_free_guidance(without, with_prompt, GUIDANCE), t, latents)[0]
    return latents


def pairs(teacher: SdxlTeacher, folder: Path, count: int = PAIRS) -> np.ndarray:
    """The teacher's latents of the pairs 0..count-1, made once: float16 [count, 4, 16, 16]."""

    def blocks() -> Iterator[np.ndarray]:
        for start in range(0, count, 32):
            made = teacher_pictures(teacher, list(range(start, min(start + 32, count))))
            yield made.half().cpu().numpy()

    return remembered(folder / f"pairs-{count}.npy", count, blocks, "teacher's pictures")


def clean(
    unet: UNet2DConditionModel, noisy: Tensor, timesteps: Tensor, told: dict[str, Any], alphas_cumprod: Tensor
) -> Tensor:
    """The student's clean latents from noisy ones [B, 4, h, w], as the pipeline computes them in one Euler step."""
    level = alphas_cumprod[timesteps][:, None, None, None]
    return predict_original_sample(unet(noisy, timesteps, **told).sample.float(), noisy, level)


def begun(
    noise: Tensor, target: Tensor, alphas_cumprod: Tensor, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Where the student's steps begin: half of them at the pair's own noise, the others at its picture noised anew.

    Args:
        noise, target: float32 [B, 4, h, w], of the same pairs.
        alphas_cumprod: float32 [1000].

    Returns:
        (noisy latents [B, 4, h, w], their time steps int64 [B]).
    """
    count = len(noise)
    first = torch.arange(count) < (count + 1) // 2
    drawn = torch.tensor(LATER)[torch.randint(0, len(LATER), (count,), generator=generator)]
    timesteps = torch.where(first, LAST, drawn).to(noise.device)
    anew = torch.randn(noise.shape, generator=generator).to(noise.device)
    level = alphas_cumprod[timesteps][:, None, None, None]
    at_first = first.to(noise.device)[:, None, None, None]
    return torch.where(at_first, (1 - level).sqrt() * noise, add_noise(target, anew, level)), timesteps


def encoder_features(
    unet: UNet2DConditionModel, noisy: Tensor, timesteps: Tensor, told: dict[str, Any]
) -> list[Tensor]:
    """What the descending half of a UNet computes: one tensor a level, and the middle's."""
    states = told["encoder_hidden_states"]
    embedding = unet.time_embedding(unet.get_time_embed(sample=noisy, timestep=timesteps))
    embedding = embedding + unet.get_aug_embed(
        emb=embedding, encoder_hidden_states=states, added_cond_kwargs=told["added_cond_kwargs"]
    )
    hidden, features = unet.conv_in(noisy), []
    for block in unet.down_blocks:
        more = {"encoder_hidden_states": states} if getattr(block, "has_cross_attention", False) else {}
        hidden, _ = block(hidden, embedding, **more)
        features.append(hidden)
    return [*features, unet.mid_block(hidden, embedding, encoder_hidden_states=states)]


class Heads(nn.Module):
    """One small critic a level: features -> a score for each place."""

    def __init__(self, widths: list[int]) -> None:
        super().__init__()
        self.heads = nn.ModuleList(
            nn.Sequential(nn.Conv2d(width, 32, 1), nn.SiLU(), nn.Conv2d(32, 1, 1)) for width in widths
        )

    def forward(self, features: list[Tensor]) -> Tensor:
        """Scores of all levels, [B, places]."""
        return torch.cat(
            [head(one).flatten(1) for head, one in zip(self.heads, features, strict=True)], dim=1
        )


def loss_with(plan: Plan, teacher: SdxlTeacher, latents: np.ndarray):
    """The loss of a step on the cached pairs."""
    levels = teacher.alphas_cumprod

    def loss(network: Network, step: Step) -> dict[str, Tensor]:
        rows = np.sort(step.numpy.integers(0, len(latents), plan.batch))
        target = torch.from_numpy(latents[rows]).float().to(step.device)
        noise = torch.stack([noise_of(int(row)) for row in rows]).to(step.device)
        told, _ = teacher.conditions([prompt_of(int(row)) for row in rows], ids(len(rows), step.device))
        noisy, starts = begun(noise, target, levels, step.torch)
        said = clean(network.parts["unet"], noisy, starts, told, levels)
        distance = pseudo_huber(said, target, c=0.03).mean()

        # both noised alike: the frozen encoder sees what it was trained to see
        timesteps = torch.randint(50, 600, (len(rows),), generator=step.torch).to(step.device)
        again = torch.randn(target.shape, generator=step.torch).to(step.device)
        level = levels[timesteps][:, None, None, None]
        of_student = encoder_features(teacher.unet, add_noise(said, again, level), timesteps, told)
        with torch.no_grad():
            of_teacher = encoder_features(teacher.unet, add_noise(target, again, level), timesteps, told)
        gaps = [
            F.mse_loss(a.float(), b.float()) / b.float().square().mean()
            for a, b in zip(of_student, of_teacher, strict=True)
        ]
        features = torch.stack(gaps).mean()
        total = distance + FEATURES * features
        values = {"distance": distance, "features": features}
        if step.index >= ADVERSARY_FROM * plan.steps:
            misled, critic = hinge(network.parts["heads"], of_student, of_teacher)
            total = total + ADVERSARY * misled + critic
            values |= {"misled": misled, "critic": critic}
        return {"loss": total, **values}

    return loss


def hinge(heads: nn.Module, fake: list[Tensor], real: list[Tensor]) -> tuple[Tensor, Tensor]:
    """(the student's loss, which moves no head; the heads' loss, which moves no student)."""
    fixed = {name: value.detach() for name, value in heads.named_parameters()}
    misled = -torch.func.functional_call(heads, fixed, (fake,)).float().mean()
    on_fake = heads([one.detach() for one in fake]).float()
    on_real = heads([one.detach() for one in real]).float()
    return misled, F.relu(1 + on_fake).mean() + F.relu(1 - on_real).mean()


def run(runs: Path, minutes: float | None = None, plan: Plan = PLAN) -> Path:
    """Distil the shipped base and write `runs/sdxl-turbo/model/{unet,scheduler}`."""
    base = store.unfold("sdxl-base")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    teacher = SdxlTeacher(base, Buckets([], []), device)
    latents = pairs(teacher, runs / "turbo" / base.name)
    if plan.start == "shipped":
        unet = UNet2DConditionModel.from_pretrained(store.unfold("sdxl-turbo") / "unet")
    else:
        unet = quickened(base, "lcm-lora-sdxl")
    plain_attention(unet, device)
    torch.manual_seed(plan.seed)
    widths = list(unet.config.block_out_channels)
    network = Network(unet=unet, heads=Heads([*widths, widths[-1]]))
    train("sdxl-turbo", network, loss_with(plan, teacher, latents), plan, runs=runs, minutes=minutes)
    folder = runs / "sdxl-turbo/model"
    network.parts["unet"].to("cpu").save_pretrained(folder / "unet")
    scheduler().save_pretrained(folder / "scheduler")
    return folder


def scheduler() -> EulerAncestralDiscreteScheduler:
    """Trailing time steps: the only step begins at pure noise."""
    return EulerAncestralDiscreteScheduler(**_NOISE, timestep_spacing="trailing", steps_offset=1)


def ship(runs: Path) -> None:
    """Store UNet and scheduler and register the pipeline; everything else is the base's."""
    store.fold(runs / "sdxl-turbo/model/unet", FOLDERS["unet"], base=sdxl.FOLDERS["unet"])
    store.fold(runs / "sdxl-turbo/model/scheduler", FOLDERS["scheduler"])
    index = pipeline_index("StableDiffusionXLPipeline", "EulerAncestralDiscreteScheduler")
    store.add_member("sdxl-turbo", index, FOLDERS)
