"""Distribution matching: what a few-step student says must be as likely as real latents are, at every step it takes.

A distance from the teacher's answer draws a student to the mean of what the answer might be, a blur. Here more is asked for.
The teacher, with guidance, must find the student's latents likely: they are noised, and moved from where a second network
expects them to where the teacher does. That one, the fake score, begins as the teacher and learns all the while to denoise
what the student says, so that only what is wrong with that is left of their difference. Of a student of a single step a
critic asks more still: small heads on the frozen teacher's features must not tell its latents from real ones.

A student of several steps is asked at each of them, after it has made the steps before by itself: what it sees then is
what it will see at inference, its own latents with new noise.

Source: Yin et al., "One-step Diffusion with Distribution Matching Distillation" (2024) and "Improved Distribution Matching
Distillation" (2024); the critic's hinge loss on a frozen teacher's features is Sauer et al.'s, "Adversarial Diffusion
Distillation" (2023).
"""

# diffusers' annotations are narrower than what it accepts and returns:
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportOptionalMemberAccess=false

from __future__ import annotations

import copy
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from diffusers import UNet2DConditionModel
from torch import Tensor, nn

from lessonlib.scratch.consistency import consistency_function
from lessonlib.scratch.guidance import classifier_free_guidance
from lessonlib.scratch.schedule import add_noise, predict_original_sample
from lessonlib.zoo.distillation import Batch, Student, Teacher, drawn_guidance
from lessonlib.zoo.training import Network, Step

LEAST, MOST = 20, 980  # time steps between which scores are matched
CRITICISED = 50, 600  # the critic's
ADVERSARY = 0.1  # weight of misleading the critic beside the matching loss
FOLLOWING_RATE = 2.0  # the fake score and the critic learn this many times as fast as the student
FULL_GUIDANCE = (
    400  # an LCM's teacher is guided less below this time step: guidance there does nothing but sharpen
)
FOUR_STEPS = (999, 759, 499, 259)  # where an LCM's four steps begin; two begin at the first and the third


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


def critic(teacher: UNet2DConditionModel, seed: int) -> Heads:
    """Heads on the features of all levels of a teacher, and of its middle."""
    torch.manual_seed(seed)
    widths = list(teacher.config.block_out_channels)
    return Heads([*widths, widths[-1]])


def with_fake_score(student: nn.Module, teacher: UNet2DConditionModel, **more: nn.Module) -> Network:
    """A network of the student (`unet`), the fake score and what else is named, which learn together."""
    return Network(unet=student, fake_score=copy.deepcopy(teacher).requires_grad_(True), **more)


def rates(network: Network) -> list[tuple[float, list[nn.Parameter]]]:
    """How fast each part learns, as `train` takes it."""
    followers = [p for name, part in network.parts.items() if name != "unet" for p in part.parameters()]
    return [(1.0, [*network.parts["unet"].parameters()]), (FOLLOWING_RATE, followers)]


def sampled(
    student: Student, batch: Batch, w: Tensor, alphas_cumprod: Tensor, step: Step
) -> tuple[Tensor, Tensor]:
    """What an LCM says at its four steps, a quarter of the batch at each: (clean latents [B, 4, h, w], time steps [B]).

    Gradients flow through the last step of each picture alone.

    Args:
        w: guidance scale minus 1, [B].
        alphas_cumprod: float32 [1000].
    """

    def say(noisy: Tensor, at: int | Tensor, rows: Tensor) -> Tensor:
        timesteps = torch.as_tensor(at, device=noisy.device).expand(len(noisy))
        level = alphas_cumprod[timesteps][:, None, None, None]
        noise = student(noisy, timesteps, _rows(batch.prompted, rows), w[rows]).float()
        return consistency_function(noise, noisy, timesteps[:, None, None, None].float(), level)

    def chance(like: Tensor) -> Tensor:
        return torch.randn(like.shape, generator=step.torch).to(like.device)

    taken = torch.arange(len(batch.latents), device=batch.latents.device) % len(FOUR_STEPS)
    noisy = chance(batch.latents)
    with torch.no_grad():
        for done, (now, later) in enumerate(pairwise(FOUR_STEPS), start=1):
            rows = taken >= done
            clean = say(noisy[rows], now, rows)
            noisy[rows] = add_noise(clean, chance(clean), alphas_cumprod[later])
    starts = torch.tensor(FOUR_STEPS, device=noisy.device)[taken]
    return say(noisy, starts, taken >= 0), starts


def _rows(told: dict[str, Any], rows: Tensor) -> dict[str, Any]:
    """These rows of all that a UNet is told."""
    return {key: _rows(one, rows) if isinstance(one, dict) else one[rows] for key, one in told.items()}


def lcm_loss(
    network: Network,
    student: Student,
    teacher: Teacher,
    step: Step,
    count: int,
    guidance: tuple[float, float],
) -> dict[str, Tensor]:
    """The loss of one step of a latent consistency model; its arguments are `distillation_loss`'s.

    Args:
        network: as `with_fake_score` makes it; `student` calls its `unet`.
    """
    batch = teacher.draw(step, count)
    w = drawn_guidance(step, count, guidance)
    said, starts = sampled(student, batch, w, teacher.alphas_cumprod, step)
    return matching_loss(network, said, starts, batch, 1 + w, teacher, step, full_guidance=FULL_GUIDANCE)


def matching_loss(
    network: Network,
    said: Tensor,
    starts: Tensor,
    batch: Batch,
    guidance: Tensor,
    teacher: Teacher,
    step: Step,
    *,
    full_guidance: int = 1,
) -> dict[str, Tensor]:
    """The loss of one step, of the student and its fake score together.

    The scores are compared below the noise that the student began at. What can be seen above it was settled in the
    steps before; told to change it, a late step could only exaggerate.

    Args:
        network: as `with_fake_score` makes it.
        said: the student's clean latents [B, 4, h, w] for the batch's prompts.
        starts: the time steps that it said them at, int64 [B].
        batch: the prompts, and the real latents that belong to them.
        guidance: the teacher's guidance scale for each, [B].
        full_guidance: the time step from which the scale is that; below, it grows from 1 in proportion to the time.
    """
    levels, count = teacher.alphas_cumprod, len(said)
    # the same noise on what the student says: what do the teacher and the fake score make of it?
    chance = torch.rand(count, generator=step.torch).to(said.device)
    timesteps = (LEAST + chance * (starts.clamp(max=MOST) - LEAST)).long()
    noise = torch.randn(said.shape, generator=step.torch).to(said.device)
    level = levels[timesteps][:, None, None, None]
    again = add_noise(said.detach(), noise, level)
    with torch.no_grad():
        prompted, unprompted = (
            teacher.unet(again, timesteps, **told).sample.float()
            for told in (batch.prompted, batch.unprompted)
        )
    scale = 1 + (guidance - 1) * (timesteps / full_guidance).clamp(max=1)
    guided = classifier_free_guidance(unprompted, prompted, scale[:, None, None, None])
    fake = network.parts["fake_score"](again, timesteps, **batch.prompted).sample.float()
    of_teacher, of_fake = (predict_original_sample(one, again, level) for one in (guided, fake.detach()))
    matched, followed = matching(said, of_teacher, of_fake), F.mse_loss(fake, noise)
    return {"loss": matched + followed, "matched": matched, "followed": followed}


def critic_loss(
    heads: nn.Module, said: Tensor, batch: Batch, teacher: Teacher, step: Step
) -> dict[str, Tensor]:
    """The loss of one step, of the student and its critic together; the arguments are `matching_loss`'s.

    Both sides are noised alike, so that the frozen encoder sees what it was trained to see.

    Args:
        heads: as `critic` makes them.
    """
    timesteps = torch.randint(*CRITICISED, (len(said),), generator=step.torch).to(said.device)
    noise = torch.randn(said.shape, generator=step.torch).to(said.device)
    level = teacher.alphas_cumprod[timesteps][:, None, None, None]
    noised = add_noise(said, noise, level)
    of_said = encoder_features(teacher.unet, noised, timesteps, batch.prompted)
    with torch.no_grad():
        noised = add_noise(batch.latents, noise, level)
        of_real = encoder_features(teacher.unet, noised, timesteps, batch.prompted)
    misled, told_apart = hinge(heads, of_said, of_real)
    return {"loss": ADVERSARY * misled + told_apart, "misled": misled, "critic": told_apart}


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


def encoder_features(
    unet: UNet2DConditionModel, noisy: Tensor, timesteps: Tensor, told: dict[str, Any]
) -> list[Tensor]:
    """What the descending half of a UNet computes: one tensor a level, and the middle's."""
    states = told["encoder_hidden_states"]
    embedding = unet.time_embedding(unet.get_time_embed(sample=noisy, timestep=timesteps))
    added = unet.get_aug_embed(
        emb=embedding, encoder_hidden_states=states, added_cond_kwargs=told.get("added_cond_kwargs", {})
    )
    embedding = embedding if added is None else embedding + added
    hidden, features = unet.conv_in(noisy), []
    for block in unet.down_blocks:
        more = {"encoder_hidden_states": states} if getattr(block, "has_cross_attention", False) else {}
        hidden, _ = block(hidden, embedding, **more)
        features.append(hidden)
    return [*features, unet.mid_block(hidden, embedding, encoder_hidden_states=states)]


def hinge(heads: nn.Module, fake: list[Tensor], real: list[Tensor]) -> tuple[Tensor, Tensor]:
    """(the student's loss, which moves no head; the heads' loss, which moves no student)."""
    fixed = {name: value.detach() for name, value in heads.named_parameters()}
    misled = -torch.func.functional_call(heads, fixed, (fake,)).float().mean()
    on_fake = heads([one.detach() for one in fake]).float()
    on_real = heads([one.detach() for one in real]).float()
    return misled, F.relu(1 + on_fake).mean() + F.relu(1 - on_real).mean()
