"""Euler: the probability-flow ODE of x = x_0 + sigma eps (variance exploding), one straight line a step."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from lessonlib.scratch.schedule import Step


def scale_model_input(sample: Float[Tensor, "*shape"], sigma: Float[Tensor, ""]) -> Float[Tensor, "*shape"]:
    """Shrink a variance-exploding sample to the variance-preserving one that the network was trained on.

    Source: Karras et al., "Elucidating the Design Space of Diffusion-Based Generative Models" (2022), Table
    1, column VP (c_in).
    """
    # c_in = 1 / sqrt(sigma^2 + 1)
    return sample / (sigma**2 + 1).sqrt()


def euler_step(
    noise_pred: Float[Tensor, "*shape"],
    sample: Float[Tensor, "*shape"],
    sigma: Float[Tensor, ""],
    sigma_next: Float[Tensor, ""],
) -> Step:
    """From noise level sigma to sigma_next along dx/dsigma. `sample` is the unscaled one.

    Source: Karras et al. (2022), Algorithm 1, lines 4-5, D being the denoiser that the noise prediction
    implies.
    """
    # D(x; sigma) = x - sigma eps
    x_0 = sample - sigma * noise_pred
    # dx/dsigma = (x - D(x; sigma)) / sigma
    derivative = (sample - x_0) / sigma
    # x_next = x + (sigma_next - sigma) dx/dsigma
    return Step(sample + (sigma_next - sigma) * derivative, x_0)


@dataclass(frozen=True)
class Euler:
    """The noise levels of one run. Iterating gives `(t, sigma, sigma_next)`, the last sigma_next being 0."""

    timesteps: Float[Tensor, "steps"]
    sigmas: Float[Tensor, "steps+1"]

    @classmethod
    def from_timesteps(cls, timesteps: Tensor, alphas_cumprod: Float[Tensor, "train_steps"]) -> Euler:
        """The sigma of each timestep, linear between whole ones. `timesteps` may be whole or not.

        Source: Karras et al. (2022), Table 1 in VP's clothes: sigma = noise over signal.
        """
        # sigma_t = sqrt((1 - abar_t) / abar_t)
        table = ((1 - alphas_cumprod) / alphas_cumprod).sqrt()
        below = timesteps.floor().long()
        above = timesteps.ceil().long()
        part = (timesteps - below).to(table.dtype)
        sigmas = torch.lerp(table[below], table[above], part)
        return cls(timesteps.to(table.dtype), torch.cat([sigmas, sigmas.new_zeros(1)]))

    @property
    def init_noise_sigma(self) -> Float[Tensor, ""]:
        """The deviation of x_0 + sigma eps where x_0 has unit variance: what `leading` starts from.

        With `trailing` and `linspace` timesteps diffusers starts from `sigmas[0]`, as if x_0 were 0.
        """
        return (self.sigmas[0] ** 2 + 1).sqrt()

    def __len__(self) -> int:
        return len(self.timesteps)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        return iter(zip(self.timesteps, self.sigmas[:-1], self.sigmas[1:], strict=True))
