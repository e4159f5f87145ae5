"""The shipped sd15 as the ground that adapters learn on: nothing of it is trained."""

# diffusers' and transformers' annotations are narrower than what they accept and return:
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportOptionalMemberAccess=false

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from diffusers import DDPMScheduler, UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from torch import Tensor
from transformers import CLIPTextModel, CLIPTokenizer

from lessonlib.models import store
from lessonlib.zoo.recipes.sd15 import SCHEDULER, lift_of_noisy_steps, min_snr_weight, tokenize
from lessonlib.zoo.training import Step


class Noised(NamedTuple):
    """Latents on their way to noise: what the UNet sees, what it must say, and how much that counts."""

    latents: Tensor  # [B, 4, h, w]
    noise: Tensor  # the same shape
    timesteps: Tensor  # int64 [B]
    weight: Tensor  # [B]

    def loss(self, predicted: Tensor, where: Tensor | None = None) -> dict[str, Tensor]:
        """sd15's own loss of the predicted noise, and the plain mean square.

        Args:
            where: how much every place counts for the loss, [B, 1, h, w]; by default all alike.
        """
        error = (predicted.float() - self.noise).square()
        counted = error if where is None else where * error
        return {"loss": (self.weight * counted.mean(dim=(1, 2, 3))).mean(), "mse": error.mean()}


@dataclass(frozen=True)
class Base:
    """UNet, text encoder and tokenizer of sd15, frozen, and its noise schedule."""

    folder: Path
    unet: UNet2DConditionModel
    text: CLIPTextModel
    tokenizer: CLIPTokenizer
    alphas_cumprod: Tensor
    device: torch.device

    @torch.no_grad()
    def states(self, texts: list[str]) -> Tensor:
        """Text states [B, 77, C] as the pipelines make them."""
        return self.text(input_ids=tokenize(self.tokenizer, texts).to(self.device)).last_hidden_state

    def noised(self, clean: Tensor, step: Step) -> Noised:
        """Noise clean latents [B, 4, h, w] to uniformly drawn timesteps; all chance comes from `step`."""
        noise = torch.randn(clean.shape, generator=step.torch).to(self.device)
        timesteps = torch.randint(0, len(self.alphas_cumprod), (len(clean),), generator=step.torch)
        timesteps = timesteps.to(self.device)
        alpha_bar = self.alphas_cumprod[timesteps][:, None, None, None]
        noisy = alpha_bar.sqrt() * clean + (1 - alpha_bar).sqrt() * noise
        weight = min_snr_weight(self.alphas_cumprod, timesteps)
        return Noised(noisy, noise, timesteps, weight * lift_of_noisy_steps(self.alphas_cumprod, timesteps))


def load_base(device: torch.device | None = None, folder: Path | None = None) -> Base:
    """The shipped sd15 (or the pipeline in `folder`) on the GPU if there is one."""
    device = device or torch.device("cuda" if torch.cuda.is_available() else "cpu")
    folder = folder or store.unfold("sd15")
    unet = UNet2DConditionModel.from_pretrained(folder / "unet").requires_grad_(False).eval()
    text = CLIPTextModel.from_pretrained(folder / "text_encoder").requires_grad_(False).eval()
    plain_attention(unet, device)
    return Base(
        folder,
        unet.to(device),
        text.to(device),
        CLIPTokenizer.from_pretrained(folder / "tokenizer"),
        DDPMScheduler(
            **{k: SCHEDULER[k] for k in ("beta_start", "beta_end", "beta_schedule")}
        ).alphas_cumprod.to(device),
        device,
    )


def plain_attention(model: Any, device: torch.device) -> None:
    """Attention in plain matrix products on a CPU, where the fused kernel's backward takes a third of a step."""
    if device.type == "cpu":
        model.set_attn_processor(AttnProcessor())
