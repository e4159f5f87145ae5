"""Consistency models: one function that maps every point of a trajectory to its clean end."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor


def boundary_scalings(
    timestep: Float[Tensor, "*batch"], sigma_data: float = 0.5, timestep_scaling: float = 10.0
) -> tuple[Float[Tensor, "*batch"], Float[Tensor, "*batch"]]:
    """(c_skip, c_out) of f(x, t) = c_skip(t) x + c_out(t) F(x, t), which is the identity at t = 0.

    `timestep_scaling` makes f take the network's word almost entirely from the first step on; LCM uses 10.

    Source: Song et al., "Consistency Models" (2023), eq. 5 and appendix C; Luo et al., "Latent Consistency
    Models" (2023), section 4.1, whose c_out has no factor sigma_data because F predicts x_0.
    """
    t = timestep * timestep_scaling
    # c_skip(t) = sigma_data^2 / (t^2 + sigma_data^2)
    c_skip = sigma_data**2 / (t**2 + sigma_data**2)
    # c_out(t) = t / sqrt(t^2 + sigma_data^2)
    c_out = t / (t**2 + sigma_data**2).sqrt()
    return c_skip, c_out
