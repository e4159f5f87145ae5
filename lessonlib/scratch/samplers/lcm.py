"""LCM: go straight to the clean latent, add fresh noise of the next level, and again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lessonlib.errors import LessonError
from lessonlib.scratch.consistency import consistency_function
from lessonlib.scratch.schedule import Step, add_noise


def lcm_timesteps(
    num_inference_steps: int, original_inference_steps: int = 50, num_train_timesteps: int = 1000
) -> Int[Tensor, "{num_inference_steps}"]:
    """Evenly picked, highest first, out of the timesteps that distillation trained: k-1, 2k-1, ..., T-1.

    Raises:
        LessonError: more steps than distillation trained.

    Source: Luo et al., "Latent Consistency Models" (2023), section 4.3 (skipping-step).
    """
    if not 1 <= num_inference_steps <= original_inference_steps:
        raise LessonError(
            f"num_inference_steps is {num_inference_steps}, but this LCM was distilled on "
            f"{original_inference_steps} timesteps: choose 1 to {original_inference_steps} (4 is usual)."
        )
    k = num_train_timesteps // original_inference_steps
    trained = (torch.arange(original_inference_steps).flip(0) + 1) * k - 1
    # floor(i N / n), i = 0 .. n-1, in whole numbers
    return trained[torch.arange(num_inference_steps) * original_inference_steps // num_inference_steps]


def lcm_step(
    noise_pred: Float[Tensor, "*shape"],
    sample: Float[Tensor, "*shape"],
    timestep: int,
    alpha_cumprod_t: Float[Tensor, ""],
    alpha_cumprod_next: Float[Tensor, ""],
    noise: Float[Tensor, "*shape"] | None,
) -> Step:
    """One multistep-consistency step: denoise fully, then re-noise to the next level with `noise`.

    On the last step `noise` is None and the clean latent is the result. `pred_original_sample` is f(x, t),
    the boundary condition applied.

    Source: Song et al., "Consistency Models" (2023), Algorithm 1; Luo et al. (2023), appendix, multistep
    sampling.
    """
    # f(x_t, t) = c_skip(t) x_t + c_out(t) x_0
    t = torch.tensor(timestep, dtype=torch.float64)
    denoised = consistency_function(noise_pred, sample, t, alpha_cumprod_t)
    if noise is None:
        return Step(denoised, denoised)
    # x_next = sqrt(abar_next) f(x_t, t) + sqrt(1 - abar_next) z
    return Step(add_noise(denoised, noise, alpha_cumprod_next), denoised)


@dataclass(frozen=True)
class LCM:
    """The noise levels of one run. Iterating gives `(t, alpha_cumprod_t, alpha_cumprod_next)` a step."""

    timesteps: Int[Tensor, "steps"]
    alphas_cumprod: Float[Tensor, "train_steps"]

    init_noise_sigma = 1.0

    def __len__(self) -> int:
        return len(self.timesteps)

    def __iter__(self) -> Iterator[tuple[int, Tensor, Tensor]]:
        levels = self.alphas_cumprod[self.timesteps]
        following = torch.cat([levels[1:], torch.ones_like(levels[:1])])
        return iter(zip(self.timesteps.tolist(), levels, following, strict=True))
