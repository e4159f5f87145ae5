"""The sinusoidal embedding that turns a time step, and SDXL's sizes and crops, into features."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from lessonlib.grading.task import Misconception, Task

if TYPE_CHECKING:
    from torch import Tensor

TEXT = r"""
A network can't read the number 981. It gets it as cosines and sines of many frequencies, as diffusers' UNets
make them, **all cosines first**:

$$\omega_i = 10000^{-i / (d/2)}, \quad i = 0, \dots, d/2 - 1, \qquad
\gamma(t) = [\cos(\omega_0 t), \dots, \cos(\omega_{d/2-1} t), \sin(\omega_0 t), \dots, \sin(\omega_{d/2-1} t)].$$

SDXL embeds its sizes and crop corners in just the same way.

| | shape | dtype |
|---|---|---|
| `timesteps` | `(N,)` | float32 |
| `dim` | an even int, $d$ | |
| returned | `(N, dim)` | float32 |
""".strip()


def inputs(seed: int) -> dict[str, Any]:
    import torch

    from lessonlib.grading.draw import integer

    generator = torch.Generator().manual_seed(seed)
    return {
        "timesteps": torch.randint(3, 1000, (5,), generator=generator).float(),
        "dim": 2 * integer(generator, 8, 16),
    }


def _angles(timesteps: Tensor, dim: int, base: float = 10000.0, last: int = 0) -> Tensor:
    import torch

    exponents = torch.arange(dim // 2, dtype=timesteps.dtype) / (dim // 2 - last)
    return timesteps[:, None] * torch.exp(-math.log(base) * exponents)


def reference(timesteps: Tensor, dim: int) -> Tensor:
    """lessonlib.scratch.embeddings.timestep_embedding, in the timesteps' own precision."""
    import torch

    angles = _angles(timesteps, dim)
    return torch.cat([angles.cos(), angles.sin()], dim=-1)


def magnitude(timesteps: Tensor, dim: int) -> Tensor:
    """An angle is rounded relative to its size, and its frequency relative to the exponent's."""
    import torch

    exponents = math.log(10000) * torch.arange(dim // 2, dtype=timesteps.dtype) / (dim // 2)
    return (1 + _angles(timesteps, dim).abs() * (1 + exponents)).repeat(1, 2)


# --- Wrong answers, each with its own hint ------------------------------------------------------------------


def _sine_first(timesteps: Tensor, dim: int) -> Tensor:
    return reference(timesteps, dim).roll(dim // 2, dims=-1)


def _interleaved(timesteps: Tensor, dim: int) -> Tensor:
    import torch

    angles = _angles(timesteps, dim)
    return torch.stack([angles.cos(), angles.sin()], dim=-1).flatten(1)


def _one_less(timesteps: Tensor, dim: int) -> Tensor:
    import torch

    angles = _angles(timesteps, dim, last=1)
    return torch.cat([angles.cos(), angles.sin()], dim=-1)


def _whole_dim(timesteps: Tensor, dim: int) -> Tensor:
    import torch

    angles = _angles(timesteps, dim, base=100.0)  # i / d in place of i / (d/2)
    return torch.cat([angles.cos(), angles.sin()], dim=-1)


def _from_one(timesteps: Tensor, dim: int) -> Tensor:
    import torch

    angles = _angles(timesteps, dim) * 10000 ** (-2 / dim)
    return torch.cat([angles.cos(), angles.sin()], dim=-1)


def _angles_only(timesteps: Tensor, dim: int) -> Tensor:
    return _angles(timesteps, dim).repeat(1, 2)


# --- Right answers in other styles --------------------------------------------------------------------------


def _power(timesteps: Tensor, dim: int) -> Tensor:
    import torch

    half = dim // 2
    angles = torch.outer(timesteps, 10000.0 ** (-torch.arange(half, dtype=torch.float32) / half))
    return torch.hstack([torch.cos(angles), torch.sin(angles)])


def _phase(timesteps: Tensor, dim: int) -> Tensor:
    """cos(x) = sin(x + π/2), in float64 inside."""
    import torch

    angles = _angles(timesteps.double(), dim)
    return torch.cat([(angles + math.pi / 2).sin(), angles.sin()], dim=1).float()


def _filled(timesteps: Tensor, dim: int) -> Tensor:
    import torch

    answer = torch.empty(len(timesteps), dim)
    for i in range(dim // 2):
        angle = timesteps * 10000 ** (-i / (dim // 2))
        answer[:, i], answer[:, dim // 2 + i] = angle.cos(), angle.sin()
    return answer


def _by_python(timesteps: Tensor, dim: int) -> Tensor:
    import torch

    def row(t: float) -> list[float]:
        angles = [t / 10000 ** (2 * i / dim) for i in range(dim // 2)]
        return [*map(math.cos, angles), *map(math.sin, angles)]

    return torch.tensor([row(t) for t in timesteps.tolist()])


TASK = Task(
    id="timestep_embedding",
    title="Sinusoidal embedding",
    notebook="01_sdxl",
    order=3,
    text=TEXT,
    points=10,
    minutes=12,
    difficulty="medium",
    inputs=inputs,
    reference=reference,
    magnitude=magnitude,
    operations=8,  # log, quotient, product, exp, product with t, cosine (2), π/2
    hints=(
        "Make the $d/2$ frequencies first, as one vector; then every time step times every frequency.",
        "`timesteps[:, None] * frequencies` has the shape `(N, dim // 2)`.",
        "`frequencies = torch.exp(-math.log(10000) * torch.arange(half) / half)`, then "
        "`torch.cat([angles.cos(), angles.sin()], dim=-1)`.",
    ),
    misconceptions=(
        Misconception(
            "sines first",
            "Your sines stand before the cosines. That is the order of the Transformer's paper and of DDPM's "
            "code; Stable Diffusion's networks were trained with `flip_sin_to_cos`.",
            _sine_first,
        ),
        Misconception(
            "interleaved",
            "You alternate cosine, sine, cosine, sine. Here all cosines come first, then all sines.",
            _interleaved,
        ),
        Misconception(
            "one less in the exponent",
            "You divided by `half - 1`, as DDPM did, so that the slowest frequency is exactly 1/10000. Stable "
            "Diffusion divides by `half` (`downscale_freq_shift = 0`).",
            _one_less,
        ),
        Misconception(
            "exponent over the whole dim",
            "You divided `i` by `dim`. There are only `dim // 2` frequencies; divide by that.",
            _whole_dim,
        ),
        Misconception(
            "counted from one",
            "Your first frequency is not 1: `i` runs from 0 to `half - 1`, as `torch.arange(half)` does.",
            _from_one,
        ),
        Misconception(
            "angles themselves",
            "You return the angles. Take their cosine and their sine.",
            _angles_only,
        ),
    ),
    alternatives=(_power, _phase, _filled, _by_python),
)
