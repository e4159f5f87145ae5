"""sdxl-turbo: a picture in one step, without guidance.

The student turns pure noise, or real latents noised to one of the times at which a second to fourth step begins, into clean
latents at once. As in adversarial diffusion distillation (Sauer et al. 2023) two ask for more. A critic, small heads on the
frozen teacher's features, must not tell its latents from real ones (hinge loss). And the teacher, sdxl-base with guidance,
must find them likely: they are noised, and moved from where a second network expects them to where the teacher does. That
one, the fake score, begins as the teacher and learns all the while to denoise what the student makes, so that only what is
wrong with that is left of their difference (distribution matching; Yin et al. 2024). Without it every picture is drawn to
the mean of what the teacher might see, a blur.

The student begins as the base with its LCM-LoRA, which can nearly do it.
"""

# diffusers' annotations are narrower than what it accepts and returns:
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportOptionalMemberAccess=false

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from diffusers import (
    AutoencoderKL,
    EulerAncestralDiscreteScheduler,
    UNet2DConditionModel,
)
from torch import Tensor, nn

from lessonlib.models import store
from lessonlib.scratch.guidance import classifier_free_guidance
from lessonlib.scratch.schedule import add_noise, predict_original_sample
from lessonlib.world.captions import caption
from lessonlib.zoo.base import plain_attention
from lessonlib.zoo.distillation import SdxlTeacher, quickened
from lessonlib.zoo.latents import cached, scene
from lessonlib.zoo.recipes import sdxl
from lessonlib.zoo.recipes.sd15 import SCHEDULER
from lessonlib.zoo.sdxl import Buckets, pipeline_index
from lessonlib.zoo.training import Network, Plan, Step, train

# 4 s a step in each of two processes, on two cores without AVX-512: 46 minutes
PLAN = Plan(
    steps=700, batch=16, learning_rate=6e-4, seed=92, warmup=50, weight_decay=0.0, betas=(0.0, 0.99),
    optimizer="muon",
)  # fmt: skip
SCENES = 8000
GUIDANCE = 4.0  # of the teacher
LAST = 999  # the time step whose pure noise the student turns into a picture
LATER = (749, 499, 249)  # where the other steps of two or four begin
FIRST = 0.75  # share of the student's steps that begin at LAST
MATCHED, CRITICISED = (20, 980), (50, 600)  # time steps of the scores that are matched, and of the critic
ADVERSARY = 0.1  # weight of the loss beside the matching one
CRITIC_RATE = 2.0  # the fake score and the heads learn this many times as fast as the student
IDS = (128, 128, 0, 0, 128, 128)
_NOISE = {key: SCHEDULER[key] for key in ("beta_start", "beta_end", "beta_schedule")}
FOLDERS = sdxl.FOLDERS | {"unet": "turbo-unet", "scheduler": "scheduler-turbo"}


def ids(count: int, device: torch.device) -> Tensor:
    """The ids that the pipeline sends by default, `count` times."""
    return torch.tensor([IDS], dtype=torch.float32, device=device).expand(count, -1)


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


def matching(said: Tensor, of_teacher: Tensor, of_fake: Tensor) -> Tensor:
    """A loss whose gradient moves clean latents from where the fake score expects them to where the teacher does.

    Args:
        said: the student's clean latents [B, 4, h, w].
        of_teacher, of_fake: what both make of `said`, noised: clean latents [B, 4, h, w], constants here.

    Source: Yin et al., "One-step Diffusion with Distribution Matching Distillation" (2024), equations 7 and 8.
    """
    size = (said.detach() - of_teacher).abs().mean((1, 2, 3), keepdim=True)
    direction = (of_fake - of_teacher) / size
    return F.mse_loss(said, (said - direction).detach()) / 2


def loss_with(plan: Plan, teacher: SdxlTeacher, latents: Tensor):
    """The loss of a step on the cached latents float16 [N, 4, 16, 16] of the training scenes."""
    levels = teacher.alphas_cumprod

    def loss(network: Network, step: Step) -> dict[str, Tensor]:
        rows = step.numpy.integers(0, len(latents), plan.batch)
        real = latents[rows].float().to(step.device)
        texts = [caption(scene(int(row)), step.numpy) for row in rows]
        told, untold = teacher.conditions(texts, ids(len(rows), step.device))
        noisy, starts = begun(real, levels, step.torch)
        said = clean(network.parts["unet"], noisy, starts, told, levels)

        # the same noise on what the student says: what do the teacher and the fake score make of it?
        timesteps = torch.randint(*MATCHED, (len(rows),), generator=step.torch).to(step.device)
        noise = torch.randn(real.shape, generator=step.torch).to(step.device)
        level = levels[timesteps][:, None, None, None]
        again = add_noise(said.detach(), noise, level)
        with torch.no_grad():
            prompted, unprompted = (
                teacher.unet(again, timesteps, **one).sample.float() for one in (told, untold)
            )
        guided = classifier_free_guidance(unprompted, prompted, GUIDANCE)
        fake = network.parts["fake_score"](again, timesteps, **told).sample.float()
        of_teacher, of_fake = (predict_original_sample(one, again, level) for one in (guided, fake.detach()))
        matched = matching(said, of_teacher, of_fake)
        followed = F.mse_loss(fake, noise)

        # both noised alike: the frozen encoder sees what it was trained to see
        timesteps = torch.randint(*CRITICISED, (len(rows),), generator=step.torch).to(step.device)
        level = levels[timesteps][:, None, None, None]
        of_said = encoder_features(teacher.unet, add_noise(said, noise, level), timesteps, told)
        with torch.no_grad():
            of_real = encoder_features(teacher.unet, add_noise(real, noise, level), timesteps, told)
        misled, critic = hinge(network.parts["heads"], of_said, of_real)
        values = {"matched": matched, "followed": followed, "misled": misled, "critic": critic}
        return {"loss": matched + ADVERSARY * misled + followed + critic, **values}

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
    of_vae = store.unfold("vae")
    vae = AutoencoderKL.from_pretrained(of_vae).to(device)
    latents = cached(vae, runs / "latents" / of_vae.name, SCENES, device)
    if plan.start == "shipped":
        unet = UNet2DConditionModel.from_pretrained(store.unfold("sdxl-turbo") / "unet")
    else:
        unet = quickened(base, "lcm-lora-sdxl")
    plain_attention(unet, device)
    fake_score = copy.deepcopy(teacher.unet).requires_grad_(True)
    torch.manual_seed(plan.seed)
    widths = list(unet.config.block_out_channels)
    heads = Heads([*widths, widths[-1]])
    network = Network(unet=unet, fake_score=fake_score, heads=heads)
    rates = [(1.0, [*unet.parameters()]), (CRITIC_RATE, [*fake_score.parameters(), *heads.parameters()])]
    train(
        "sdxl-turbo",
        network,
        loss_with(plan, teacher, latents),
        plan,
        runs=runs,
        minutes=minutes,
        rates=rates,
    )
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
