"""UniPC, order 2: predict the next sample from two predictions, then correct it with the next one for free.

Data prediction (m = x_0), B(h) = e^h - 1 ("bh2"), the setting that the paper recommends for guided sampling.
Source of everything here: Zhao et al., "UniPC: A Unified Predictor-Corrector Framework for Fast Sampling of
Diffusion Models" (2023); data prediction is in its appendix.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lessonlib.scratch.schedule import predict_original_sample


@dataclass(frozen=True)
class History:
    """What a step leaves for the next one: the sample it started from and the clean predictions so far."""

    sample: Float[Tensor, "*shape"]
    x_0: Float[Tensor, "*shape"]
    x_0_before: Float[Tensor, "*shape"] | None = None


@dataclass(frozen=True)
class UniPC:
    """The noise levels of one run, and the step. `levels` has one more than `timesteps`: the noiseless end.

    A level is its half log-SNR lambda = log(alpha / sigma), where alpha^2 = abar and sigma^2 = 1 - abar.
    """

    timesteps: Int[Tensor, "steps"]
    alphas_cumprod: Float[Tensor, "steps+1"]

    init_noise_sigma = 1.0

    @classmethod
    def from_timesteps(
        cls, timesteps: Int[Tensor, "steps"], alphas_cumprod: Float[Tensor, "train_steps"]
    ) -> UniPC:
        """The noise level of each timestep, and 1 (no noise) after the last.

        diffusers drops the lowest of n + 1 timesteps for leading and linspace: `leading_timesteps(n +
        1)[:-1]`.
        """
        visited = alphas_cumprod[timesteps]
        return cls(timesteps, torch.cat([visited, torch.ones_like(visited[:1])]))

    def __len__(self) -> int:
        return len(self.timesteps)

    def step(
        self,
        noise_pred: Float[Tensor, "*shape"],
        i: int,
        sample: Float[Tensor, "*shape"],
        history: History | None,
    ) -> tuple[Float[Tensor, "*shape"], History]:
        """From level i to i + 1. `history` is None on step 0, then what the step before returned.

        The first and the last step are of order 1: there is no earlier prediction yet, and the end has lambda
        = infinity.
        """
        abar = self.alphas_cumprod
        x_0 = predict_original_sample(noise_pred, sample, abar[i])
        if history is not None:
            sample = unipc_corrector(x_0, history, abar[i], abar[i - 1], abar[i - 2] if i >= 2 else None)
        history = History(sample, x_0, history.x_0 if history else None)
        second_order = 0 < i < len(self) - 1
        return unipc_predictor(history, abar[i + 1], abar[i], abar[i - 1] if second_order else None), history


def unipc_predictor(
    history: History,
    alpha_cumprod_t: Float[Tensor, ""],
    alpha_cumprod_s: Float[Tensor, ""],
    alpha_cumprod_before: Float[Tensor, ""] | None,
) -> Float[Tensor, "*shape"]:
    """UniP: from level s to t. With a level before s it is of order 2, without of order 1 (which is DDIM).

    Source: UniP-2, whose one coefficient is 1/2 whatever the spacing.
    """
    first_order, h, scale = _exponential_step(history, alpha_cumprod_t, alpha_cumprod_s)
    if alpha_cumprod_before is None or history.x_0_before is None:
        return first_order
    r = (_lambda(alpha_cumprod_before) - _lambda(alpha_cumprod_s)) / h
    # D_1 / r_1 = (m(before) - m(s)) / r_1
    slope = (history.x_0_before - history.x_0) / r
    # x_t = first order + alpha_t B(h) a_1 D_1 / r_1,  a_1 = 1/2
    return first_order + scale * slope / 2


def unipc_corrector(
    x_0: Float[Tensor, "*shape"],
    history: History,
    alpha_cumprod_t: Float[Tensor, ""],
    alpha_cumprod_s: Float[Tensor, ""],
    alpha_cumprod_before: Float[Tensor, ""] | None,
) -> Float[Tensor, "*shape"]:
    """UniC: the same step s -> t once more, now that the prediction `x_0` at t is known.

    Source: UniC-p: the coefficients solve R(h) a = phi(h) / B(h).
    """
    first_order, h, scale = _exponential_step(history, alpha_cumprod_t, alpha_cumprod_s)
    newest = x_0 - history.x_0
    if alpha_cumprod_before is None or history.x_0_before is None:
        # a_1 = 1/2
        return first_order + scale * newest / 2
    r = (_lambda(alpha_cumprod_before) - _lambda(alpha_cumprod_s)) / h
    slope = (history.x_0_before - history.x_0) / r
    # Data prediction expands in -h, with B = e^(-h) - 1:
    # b_1 = (B/(-h) - 1) / B, b_2 = 2 ((B/(-h) - 1)/(-h) - 1/2) / B
    B = torch.expm1(-h)
    phi_2 = B / -h - 1
    b_1 = phi_2 / B
    b_2 = 2 * (phi_2 / -h - 1 / 2) / B
    # (1    1) (a_1)   (b_1)
    # (r_1  1) (a_2) = (b_2)
    a_1 = (b_1 - b_2) / (1 - r)
    a_2 = b_1 - a_1
    # x_t = first order + alpha_t B(h) (a_1 D_1 / r_1 + a_2 D_t)
    return first_order + scale * (a_1 * slope + a_2 * newest)


def _exponential_step(
    history: History, alpha_cumprod_t: Tensor, alpha_cumprod_s: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """x_t of order 1 (the ODE's linear part exactly), h, and the factor of a difference of predictions."""
    # h = lambda_t - lambda_s
    h = _lambda(alpha_cumprod_t) - _lambda(alpha_cumprod_s)
    # alpha_t (1 - e^(-h))
    scale = -alpha_cumprod_t.sqrt() * torch.expm1(-h)
    # x_t = (sigma_t / sigma_s) x_s + alpha_t (1 - e^(-h)) m(s)
    ratio = ((1 - alpha_cumprod_t) / (1 - alpha_cumprod_s)).sqrt()
    return ratio * history.sample + scale * history.x_0, h, scale


def _lambda(alpha_cumprod: Tensor) -> Tensor:
    """Half the log of the signal-to-noise ratio."""
    # lambda = log(alpha / sigma) = 1/2 log(abar / (1 - abar))
    return (alpha_cumprod.log() - (1 - alpha_cumprod).log()) / 2
