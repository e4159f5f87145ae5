"""The noise schedule: how much noise a timestep means, and which timesteps a short run visits.

Variance preserving, as in DDPM: x_t = sqrt(abar_t) x_0 + sqrt(1 - abar_t) eps. `alphas_cumprod[t]` is abar_t.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lessonlib.errors import LessonError


class Step(NamedTuple):
    """What one sampler step gives: the sample at the next noise level, and the clean sample it aimed at."""

    prev_sample: Float[Tensor, "*shape"]
    pred_original_sample: Float[Tensor, "*shape"]


def scaled_linear_alphas_cumprod(
    num_train_timesteps: int = 1000, beta_start: float = 0.00085, beta_end: float = 0.012
) -> Float[Tensor, "{num_train_timesteps}"]:
    """abar of Stable Diffusion 1.5 and SDXL: linear in sqrt(beta).

    float32, because that is the table the models were trained with.

    Source: Rombach et al., "High-Resolution Image Synthesis with Latent Diffusion Models" (2022), the
    released configs; abar is Ho et al., "Denoising Diffusion Probabilistic Models" (2020), section 2.
    """
    # beta_t = (sqrt(beta_1) + (t-1)/(T-1) (sqrt(beta_T) - sqrt(beta_1)))^2
    betas = torch.linspace(beta_start**0.5, beta_end**0.5, num_train_timesteps) ** 2
    # abar_t = prod_{s <= t} (1 - beta_s)
    return torch.cumprod(1 - betas, dim=0)


def add_noise(
    original_sample: Float[Tensor, "*shape"],
    noise: Float[Tensor, "*shape"],
    alpha_cumprod_t: Float[Tensor, "*any"],
) -> Float[Tensor, "*shape"]:
    """The forward process in one jump. `alpha_cumprod_t` is a scalar or broadcasts over the samples.

    Source: Ho et al. (2020), eq. 4.
    """
    # q(x_t | x_0) = N(sqrt(abar_t) x_0, (1 - abar_t) I)
    return alpha_cumprod_t.sqrt() * original_sample + (1 - alpha_cumprod_t).sqrt() * noise


def predict_original_sample(
    noise_pred: Float[Tensor, "*shape"],
    sample: Float[Tensor, "*shape"],
    alpha_cumprod_t: Float[Tensor, "*any"],
) -> Float[Tensor, "*shape"]:
    """The clean sample that `sample` holds if `noise_pred` is right: `add_noise` solved for x_0.

    Source: Song et al., "Denoising Diffusion Implicit Models" (2021), eq. 9.
    """
    # x_0 = (x_t - sqrt(1 - abar_t) eps) / sqrt(abar_t)
    return (sample - (1 - alpha_cumprod_t).sqrt() * noise_pred) / alpha_cumprod_t.sqrt()


# Which timesteps a run of n steps visits, highest first. The three spacings and their names are Table 2 of
# Lin et al., "Common Diffusion Noise Schedules and Sample Steps are Flawed" (2023).


def leading_timesteps(
    num_inference_steps: int, num_train_timesteps: int = 1000, steps_offset: int = 1
) -> Int[Tensor, "{num_inference_steps}"]:
    """The first timestep of each of n equal stretches: 0, k, 2k, ... plus the offset.

    It never quite reaches pure noise. Stable Diffusion 1.5 and SDXL were released with this spacing and
    `steps_offset=1`.
    """
    _check(num_inference_steps, num_train_timesteps)
    stretch = num_train_timesteps // num_inference_steps
    return torch.arange(num_inference_steps).flip(0) * stretch + steps_offset


def trailing_timesteps(
    num_inference_steps: int, num_train_timesteps: int = 1000
) -> Int[Tensor, "{num_inference_steps}"]:
    """The last timestep of each of n equal stretches: starts at pure noise, as a one-step model needs it."""
    _check(num_inference_steps, num_train_timesteps)
    # T/n as the difference of the first two ends: a rounding error in float64 that decides ties as diffusers'
    # numpy does
    stretch = num_train_timesteps - (num_train_timesteps - num_train_timesteps / num_inference_steps)
    ends = num_train_timesteps - stretch * torch.arange(num_inference_steps, dtype=torch.float64)
    return ends.round().long() - 1


def linspace_timesteps(
    num_inference_steps: int, num_train_timesteps: int = 1000
) -> Float[Tensor, "{num_inference_steps}"]:
    """Evenly from T-1 to 0, both included, so not whole numbers (float64).

    Euler takes them as they are; `.round().long()` gives the ones DDIM takes.
    """
    _check(num_inference_steps, num_train_timesteps)
    last = num_train_timesteps - 1
    # not torch.linspace, which counts from both ends and rounds a tie such as 499.5 otherwise than numpy's
    step = last / max(num_inference_steps - 1, 1)
    return (step * torch.arange(num_inference_steps, dtype=torch.float64)).clamp(max=last).flip(0)


def _check(num_inference_steps: int, num_train_timesteps: int) -> None:
    if not 1 <= num_inference_steps <= num_train_timesteps:
        raise LessonError(
            f"num_inference_steps is {num_inference_steps}, but the model knows {num_train_timesteps} noise "
            f"levels: choose 1 to {num_train_timesteps}."
        )
