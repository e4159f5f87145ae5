"""Consistency distillation of the shipped models: batches as the teachers read them, the loss, the low-rank student.

The arithmetic is `lessonlib.scratch.consistency`'s; this file brings the networks to it.
"""

# diffusers', transformers' and peft's annotations are narrower than what they accept and return:
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import torch
from diffusers import AutoPipelineForText2Image, LCMScheduler, UNet2DConditionModel
from peft import LoraConfig, get_peft_model_state_dict
from torch import Tensor
from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from lessonlib.models import store
from lessonlib.scratch.consistency import consistency_distillation_loss, solver_timesteps
from lessonlib.world.captions import caption
from lessonlib.zoo.base import Base, plain_attention
from lessonlib.zoo.latents import scene
from lessonlib.zoo.micro import time_ids
from lessonlib.zoo.recipes.sd15 import SCHEDULER
from lessonlib.zoo.sdxl import Buckets, Squares, Towers, added
from lessonlib.zoo.training import Step

SOLVER_STEPS = 50  # DDIM steps of the teacher that the student learns to skip among
RANK = 16


class Batch(NamedTuple):
    """Clean latents of unit variance and what a UNet is told of them: keyword arguments of its `forward`."""

    latents: Tensor
    prompted: dict[str, Any]
    unprompted: dict[str, Any]  # as inference calls "unconditional"


class Teacher(Protocol):
    """A frozen model and the batches it can be asked about."""

    unet: UNet2DConditionModel
    alphas_cumprod: Tensor

    def draw(self, step: Step, count: int) -> Batch:
        """`count` training examples; all chance comes from `step`."""
        ...


class Sd15Teacher:
    """sd15 over cached latents float16 [N, 4, 16, 16] of the training scenes 0..N-1."""

    def __init__(self, base: Base, latents: Tensor) -> None:
        self.unet, self.alphas_cumprod = base.unet, base.alphas_cumprod
        self._base, self._latents = base, latents
        self._empty = base.states([""])

    def draw(self, step: Step, count: int) -> Batch:
        rows = step.numpy.integers(0, len(self._latents), count)
        texts = [caption(scene(int(row)), step.numpy) for row in rows]
        return Batch(
            self._latents[rows].float().to(step.device),
            {"encoder_hidden_states": self._base.states(texts)},
            {"encoder_hidden_states": self._empty.expand(count, -1, -1)},
        )


class SdxlTeacher:
    """sdxl-base over cached examples, every picture with its own ids; unconditional is all zeros."""

    def __init__(self, folder: Path, examples: Buckets | Squares, device: torch.device) -> None:
        self.unet = UNet2DConditionModel.from_pretrained(folder / "unet").requires_grad_(False).eval()
        self.unet.to(device)
        plain_attention(self.unet, device)
        self.alphas_cumprod = noise_levels().to(device)
        self.towers = load_towers(folder, device)
        self._examples = examples

    @torch.no_grad()
    def draw(self, step: Step, count: int) -> Batch:
        clean, frames, texts = self._examples.draw(step, count)
        return Batch(clean, *self.conditions(texts, time_ids(frames, step.device)))

    @torch.no_grad()
    def conditions(self, texts: list[str], ids: Tensor) -> tuple[dict[str, Any], dict[str, Any]]:
        """(prompted, unprompted) of captions with ids [B, 6]."""
        prompt = self.towers.read(texts)
        nothing = (torch.zeros_like(prompt.states), torch.zeros_like(prompt.pooled))
        prompted, unprompted = (
            {"encoder_hidden_states": states, "added_cond_kwargs": added(pooled, ids)}
            for states, pooled in (prompt, nothing)
        )
        return prompted, unprompted


def quickened(base: Path, lora: str) -> UNet2DConditionModel:
    """The UNet of a saved pipeline, with its LCM-LoRA merged in once that is shipped: nearly there before any training."""
    if lora not in store.members():
        return UNet2DConditionModel.from_pretrained(base / "unet")
    pipeline = AutoPipelineForText2Image.from_pretrained(base)
    pipeline.load_lora_weights(store.unfold(lora))
    pipeline.fuse_lora()
    pipeline.unload_lora_weights()
    return pipeline.unet.requires_grad_(True)


def load_towers(folder: Path, device: torch.device) -> Towers:
    """Both text towers of a saved SDXL pipeline, frozen."""
    first = CLIPTextModel.from_pretrained(folder / "text_encoder").requires_grad_(False).eval()
    second = CLIPTextModelWithProjection.from_pretrained(folder / "text_encoder_2").requires_grad_(False)
    tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer")
    return Towers(tokenizer, first.to(device), second.eval().to(device))


def noise_levels() -> Tensor:
    """ᾱ of the family's noise schedule: float32 [1000]."""
    return lcm_scheduler().alphas_cumprod


def lcm_scheduler() -> LCMScheduler:
    """The LCM scheduler on the family's noise schedule."""
    kept = ("beta_start", "beta_end", "beta_schedule", "clip_sample", "set_alpha_to_one", "steps_offset")
    return LCMScheduler(**{key: SCHEDULER[key] for key in kept}, original_inference_steps=SOLVER_STEPS)


# (noisy latents, time steps, keyword arguments of the batch, w [B]) -> noise
Student = Callable[[Tensor, Tensor, dict[str, Any], Tensor], Tensor]


def drawn_guidance(step: Step, count: int, guidance: tuple[float, float]) -> Tensor:
    """The paper's w = guidance_scale - 1 for each example, drawn from a range: float32 [count]."""
    low, high = guidance
    return (low + (high - low) * torch.rand(count, generator=step.torch)).to(step.device)


def distillation_loss(
    student: Student, teacher: Teacher, step: Step, count: int, guidance: tuple[float, float]
) -> dict[str, Tensor]:
    """The loss of one step. The student is its own target, without gradient.

    Args:
        guidance: the range that the paper's w = guidance_scale - 1 is drawn from.

    Source: Luo et al., "Latent Consistency Models" (2023), Algorithm 1; the target without a moving average is Song and
    Dhariwal's (2023, "Improved Techniques for Training Consistency Models").
    """
    batch = teacher.draw(step, count)
    noise = torch.randn(batch.latents.shape, generator=step.torch).to(step.device)
    starts, ends = solver_timesteps(SOLVER_STEPS)
    drawn = torch.randint(0, SOLVER_STEPS, (count,), generator=step.torch)
    w = drawn_guidance(step, count, guidance)

    def of_teacher(told: dict[str, Any]) -> Callable[[Tensor, Tensor], Tensor]:
        return lambda noisy, t: teacher.unet(noisy, t, **told).sample.float()

    def of_student(noisy: Tensor, t: Tensor) -> Tensor:
        return student(noisy, t, batch.prompted, w).float()

    loss = consistency_distillation_loss(
        of_student,
        of_student,
        of_teacher(batch.prompted),
        of_teacher(batch.unprompted),
        batch.latents,
        noise,
        starts[drawn].to(step.device),
        ends[drawn].to(step.device),
        w,
        teacher.alphas_cumprod,
    )
    return {"loss": loss}


# --- The low-rank student -------------------------------------------------------------------------------

_TARGETS = (
    *("to_q", "to_k", "to_v", "to_out.0", "proj_in", "proj_out", "ff.net.0.proj", "ff.net.2"),
    *("conv1", "conv2", "conv_shortcut", "downsamplers.0.conv", "upsamplers.0.conv", "time_emb_proj"),
)


def with_lora(unet: UNet2DConditionModel, rank: int = RANK, seed: int = 0) -> UNet2DConditionModel:
    """A copy of the UNet with a low-rank change beside its layers, the only thing in it that learns; alpha = rank."""
    student = copy.deepcopy(unet).requires_grad_(False)
    torch.manual_seed(seed)
    student.add_adapter(LoraConfig(r=rank, lora_alpha=rank, target_modules=list(_TARGETS)))
    return student


def lora_student(unet: UNet2DConditionModel) -> Student:
    """A student that is told no guidance: it learns the mean of the range."""
    return lambda noisy, t, told, w: unet(noisy, t, **told).sample


def save_lora(unet: UNet2DConditionModel, folder: Path, pipeline_class: Any) -> None:
    """Write `pytorch_lora_weights.safetensors`, which `pipe.load_lora_weights(folder)` reads."""
    layers = {key: value.detach().cpu() for key, value in get_peft_model_state_dict(unet).items()}
    pipeline_class.save_lora_weights(folder, unet_lora_layers=layers)
