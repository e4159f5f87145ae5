"""Consistency models: one function that maps every point of a trajectory to its end, and its distillation.

Source: Song et al., "Consistency Models" (2023); Luo et al., "Latent Consistency Models: Synthesizing
High-Resolution Images with Few-Step Inference" (2023), called LCM below.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lessonlib.scratch.guidance import classifier_free_guidance
from lessonlib.scratch.schedule import add_noise, predict_original_sample

# (x_t, t) -> noise prediction; the prompt, and for a student its guidance scale, are already bound
NoisePredictor = Callable[[Tensor, Tensor], Tensor]


def boundary_scalings(
    timestep: Float[Tensor, "*batch"], sigma_data: float = 0.5, timestep_scaling: float = 10.0
) -> tuple[Float[Tensor, "*batch"], Float[Tensor, "*batch"]]:
    """(c_skip, c_out) of f(x, t) = c_skip(t) x + c_out(t) F(x, t), which is the identity at t = 0.

    `timestep_scaling` makes f take the network's word almost entirely from the first step on; LCM uses 10.

    Source: Song et al. (2023), eq. 5 and appendix C; LCM, section 4.1, whose c_out has no factor sigma_data
    because its F predicts x_0.
    """
    t = timestep * timestep_scaling
    # c_skip(t) = sigma_data^2 / (t^2 + sigma_data^2)
    c_skip = sigma_data**2 / (t**2 + sigma_data**2)
    # c_out(t) = t / sqrt(t^2 + sigma_data^2)
    c_out = t / (t**2 + sigma_data**2).sqrt()
    return c_skip, c_out


def consistency_function(
    noise_pred: Float[Tensor, "*shape"],
    sample: Float[Tensor, "*shape"],
    timestep: Float[Tensor, "*any"],
    alpha_cumprod_t: Float[Tensor, "*any"],
) -> Float[Tensor, "*shape"]:
    """f(x_t, t): the clean latent that a consistency model gives in one evaluation.

    `timestep` and `alpha_cumprod_t` are scalars or broadcast over the samples.

    Source: LCM, section 4.1, for a network that predicts noise.
    """
    c_skip, c_out = boundary_scalings(timestep)
    # f(x_t, t) = c_skip(t) x_t + c_out(t) (x_t - sqrt(1 - abar_t) eps) / sqrt(abar_t)
    return c_skip * sample + c_out * predict_original_sample(noise_pred, sample, alpha_cumprod_t)


def pseudo_huber(
    a: Float[Tensor, "*shape"], b: Float[Tensor, "*shape"], c: float = 1e-3
) -> Float[Tensor, "*shape"]:
    """Smooth distance, element by element: d^2 / 2c where |d| << c, |d| - c where |d| >> c.

    Source: Song and Dhariwal, "Improved Techniques for Training Consistency Models" (2023), section 3.3, who
    take it of whole vectors; LCM's released training code takes it of elements, with c = 1e-3.
    """
    # sqrt(d^2 + c^2) - c = d^2 / (sqrt(d^2 + c^2) + c): the left form loses every digit of a small d in
    # float32
    squared = (a - b) ** 2
    return squared / ((squared + c**2).sqrt() + c)


def solver_timesteps(
    solver_steps: int = 50, num_train_timesteps: int = 1000
) -> tuple[Int[Tensor, "{solver_steps}"], Int[Tensor, "{solver_steps}"]]:
    """The pairs (t_{n+k}, t_n) that distillation trains on, k = T / solver_steps apart; the lowest t_n is 0.

    Source: LCM, section 4.3 (skipping time steps).
    """
    k = num_train_timesteps // solver_steps
    start = (torch.arange(solver_steps) + 1) * k - 1
    return start, (start - k).clamp(min=0)


def augmented_solver_step(
    noise_pred_uncond: Float[Tensor, "*shape"],
    noise_pred_cond: Float[Tensor, "*shape"],
    sample: Float[Tensor, "*shape"],
    alpha_cumprod_t: Float[Tensor, "*any"],
    alpha_cumprod_prev: Float[Tensor, "*any"],
    w: float | Float[Tensor, "*any"],
) -> Float[Tensor, "*shape"]:
    """The teacher's guess of an earlier point on the *guided* trajectory, by one DDIM step.

    `w` is the paper's: 0 is no guidance, `guidance_scale - 1`.

    Source: LCM, section 4.2 (one-stage guided distillation).
    """
    # x_n = x_{n+k} + (1 + w) Psi(x_{n+k}, c) - w Psi(x_{n+k}, no prompt); DDIM's Psi is linear: guide eps
    noise_pred = classifier_free_guidance(noise_pred_uncond, noise_pred_cond, 1 + w)
    # DDIM: the predicted noise, put back on the predicted clean sample at the lower level
    x_0 = predict_original_sample(noise_pred, sample, alpha_cumprod_t)
    return add_noise(x_0, noise_pred, alpha_cumprod_prev)


def consistency_distillation_loss(
    student: NoisePredictor,
    target: NoisePredictor,
    teacher_cond: NoisePredictor,
    teacher_uncond: NoisePredictor,
    original_sample: Float[Tensor, "batch *shape"],
    noise: Float[Tensor, "batch *shape"],
    timestep: Int[Tensor, "batch"],
    timestep_prev: Int[Tensor, "batch"],
    w: Float[Tensor, "batch"],
    alphas_cumprod: Float[Tensor, "train_steps"],
) -> Float[Tensor, ""]:
    """The student at t_{n+k} must say what its slow copy says at t_n, one guided teacher step further down.

    Gradients reach the student alone. `target` is the student's moving average, or the student itself.

    Source: LCM, Algorithm 1.
    """

    def per_sample(values: Tensor) -> Tensor:
        return values.to(original_sample.dtype).view(-1, *[1] * (original_sample.ndim - 1))

    alpha_cumprod_t, alpha_cumprod_prev = (
        per_sample(alphas_cumprod[timestep]),
        per_sample(alphas_cumprod[timestep_prev]),
    )
    # x_{n+k} ~ q(x_{n+k} | x_0)
    sample = add_noise(original_sample, noise, alpha_cumprod_t)
    online = consistency_function(student(sample, timestep), sample, per_sample(timestep), alpha_cumprod_t)
    with torch.no_grad():
        # x_n = the solver's step down the guided trajectory
        sample_prev = augmented_solver_step(
            teacher_uncond(sample, timestep),
            teacher_cond(sample, timestep),
            sample,
            alpha_cumprod_t,
            alpha_cumprod_prev,
            per_sample(w),
        )
        goal = consistency_function(
            target(sample_prev, timestep_prev), sample_prev, per_sample(timestep_prev), alpha_cumprod_prev
        )
    # L = d(f_theta(x_{n+k}, t_{n+k}), f_theta-(x_n, t_n))
    return pseudo_huber(online, goal).mean()
