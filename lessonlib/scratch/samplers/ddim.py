"""DDIM: jump to the predicted clean sample, and back up to a lower noise level."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lessonlib.errors import LessonError
from lessonlib.scratch.schedule import Step, predict_original_sample


def ddim_step(
    noise_pred: Float[Tensor, "*shape"],
    sample: Float[Tensor, "*shape"],
    alpha_cumprod_t: Float[Tensor, "*any"],
    alpha_cumprod_prev: Float[Tensor, "*any"],
    eta: float = 0.0,
    noise: Float[Tensor, "*shape"] | None = None,
) -> Step:
    """From noise level abar_t to abar_prev (scalars, or broadcasting over the samples).

    `eta` = 0 is deterministic, 1 is as random as DDPM; with eta > 0 the step needs fresh standard normal
    `noise`.

    Raises:
        LessonError: eta > 0 and no noise is given.

    Source: Song et al., "Denoising Diffusion Implicit Models" (2021), eqs. 12 and 16.
    """
    if eta > 0 and noise is None:
        raise LessonError(f"DDIM with eta={eta} is random: pass noise=torch.randn_like(sample), or eta=0.")
    x_0 = predict_original_sample(noise_pred, sample, alpha_cumprod_t)
    # sigma_t = eta sqrt((1 - abar_prev) / (1 - abar_t)) sqrt(1 - abar_t / abar_prev)
    variance = (1 - alpha_cumprod_prev) / (1 - alpha_cumprod_t) * (1 - alpha_cumprod_t / alpha_cumprod_prev)
    sigma_t = eta * variance.sqrt()
    # x_prev = sqrt(abar_prev) x_0 + sqrt(1 - abar_prev - sigma_t^2) eps + sigma_t z
    direction = (1 - alpha_cumprod_prev - sigma_t**2).sqrt() * noise_pred
    prev_sample = alpha_cumprod_prev.sqrt() * x_0 + direction
    if noise is not None:
        prev_sample = prev_sample + sigma_t * noise
    return Step(prev_sample, x_0)


@dataclass(frozen=True)
class DDIM:
    """The noise levels of one run. Iterating gives `(t, alpha_cumprod_t, alpha_cumprod_prev)` a step.

    The target of a step lies T // n below its timestep, as in diffusers, whatever the next timestep is; below
    zero it is `final_alpha_cumprod`: abar_0 for Stable Diffusion (`set_alpha_to_one=False`), or 1 for a
    noiseless end.
    """

    timesteps: Int[Tensor, "steps"]
    alphas_cumprod: Float[Tensor, "train_steps"]
    final_alpha_cumprod: Float[Tensor, ""]

    init_noise_sigma = 1.0

    @classmethod
    def stable_diffusion(
        cls, timesteps: Int[Tensor, "steps"], alphas_cumprod: Float[Tensor, "train_steps"]
    ) -> DDIM:
        """A run that ends at abar_0, as Stable Diffusion's own settings have it."""
        return cls(timesteps, alphas_cumprod, alphas_cumprod[0])

    @classmethod
    def noiseless_end(
        cls, timesteps: Int[Tensor, "steps"], alphas_cumprod: Float[Tensor, "train_steps"]
    ) -> DDIM:
        """A run that ends at abar = 1, as diffusers' own default has it."""
        return cls(timesteps, alphas_cumprod, torch.ones_like(alphas_cumprod[0]))

    def __len__(self) -> int:
        return len(self.timesteps)

    def __iter__(self) -> Iterator[tuple[int, Tensor, Tensor]]:
        stride = len(self.alphas_cumprod) // len(self.timesteps)
        for t in self.timesteps.tolist():
            previous = t - stride
            alpha_cumprod_prev = self.alphas_cumprod[previous] if previous >= 0 else self.final_alpha_cumprod
            yield t, self.alphas_cumprod[t], alpha_cumprod_prev
