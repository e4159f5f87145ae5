"""The sinusoidal embedding of the guidance scale, for models with guidance distilled into them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from lessonlib.grading.draw import integer
from lessonlib.grading.task import Misconception, Task

if TYPE_CHECKING:
    from torch import Tensor

TEXT = r"""
A latent consistency model needs one evaluation of its UNet a step, whatever the guidance: the scale is fed to
it as a number it was trained with, $w$ = `guidance_scale` $- 1$. Like the time, $w$ becomes a row of sines and
cosines (Meng et al. 2023; Luo et al. 2023). With $d$ = `embedding_dim` and $h = \lfloor d / 2 \rfloor$
frequencies,

$$\gamma(w) = \big[\sin(1000\,w f_0), \dots, \sin(1000\,w f_{h-1}),\;
\cos(1000\,w f_0), \dots, \cos(1000\,w f_{h-1})\big], \qquad f_k = 10000^{-k/(h-1)}.$$

If $d$ is odd, one 0 follows at the end.

| | shape | dtype |
|---|---|---|
| `guidance_scale` | `(B,)` | float32 |
| `embedding_dim` | a Python int | |
| returned | `(B, embedding_dim)` | float32 |
""".strip()


def inputs(seed: int) -> dict[str, Any]:
    """Low scales in sixteenths, so that the angles are small and 1000 w is exact in float32; one above 2."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    w = (torch.randperm(8, generator=generator)[:5] + 1) / 16
    w[integer(generator, 0, 4)] += 1
    return {"guidance_scale": 1 + w, "embedding_dim": integer(generator, 6, 9)}


def reference(guidance_scale: Tensor, embedding_dim: int) -> Tensor:
    return _embedded(guidance_scale - 1, embedding_dim)


def _embedded(w: Tensor, embedding_dim: int, *, scale: float = 1000.0, last: int = 1) -> Tensor:
    """The definition in w's own dtype; `lessonlib.scratch.guidance.w_embedding` rounds log 10000 to float32."""
    import torch

    half = embedding_dim // 2
    frequencies = 10_000 ** (-torch.arange(half, dtype=w.dtype) / (half - last))
    angles = scale * w[:, None] * frequencies
    return _padded(torch.cat([angles.sin(), angles.cos()], 1), embedding_dim)


def _padded(columns: Tensor, width: int) -> Tensor:
    import torch

    return torch.nn.functional.pad(columns, (0, width - columns.shape[1]))


def magnitude(guidance_scale: Tensor, embedding_dim: int) -> Tensor:
    """How far a sine moves when the roundings of its angle move it: |angle| (1 + the frequency's exponent)."""
    import torch

    half = embedding_dim // 2
    exponent = math.log(10_000) * torch.arange(half, dtype=torch.float64) / (half - 1)
    angle = 1000 * (guidance_scale - 1)[:, None] * torch.exp(-exponent)
    moved = 1 + (angle * (1 + exponent) * (exponent > 0))  # f_0 = 1 has no rounding
    return _padded(torch.cat([moved, moved], 1), embedding_dim)


# --- Wrong answers, each with its own hint ------------------------------------------------------------------


def _one_not_taken_away(guidance_scale: Tensor, embedding_dim: int) -> Tensor:
    return _embedded(guidance_scale, embedding_dim)


def _not_scaled(guidance_scale: Tensor, embedding_dim: int) -> Tensor:
    return _embedded(guidance_scale - 1, embedding_dim, scale=1.0)


def _divided_by_half(guidance_scale: Tensor, embedding_dim: int) -> Tensor:
    return _embedded(guidance_scale - 1, embedding_dim, last=0)


def _cosines_first(guidance_scale: Tensor, embedding_dim: int) -> Tensor:
    import torch

    half = embedding_dim // 2
    right = reference(guidance_scale, embedding_dim)
    return torch.cat([right[:, half : 2 * half], right[:, :half], right[:, 2 * half :]], 1)


def _interleaved(guidance_scale: Tensor, embedding_dim: int) -> Tensor:
    half = embedding_dim // 2
    pairs = reference(guidance_scale, embedding_dim)[:, : 2 * half].unflatten(1, (2, half))
    return _padded(pairs.transpose(1, 2).flatten(1), embedding_dim)


def _rising(guidance_scale: Tensor, embedding_dim: int) -> Tensor:
    import torch

    half = embedding_dim // 2
    right = reference(guidance_scale, embedding_dim)
    return _padded(torch.cat([right[:, :half].flip(1), right[:, half : 2 * half].flip(1)], 1), embedding_dim)


# --- Right answers in other styles --------------------------------------------------------------------------


def _as_in_diffusers(guidance_scale: Tensor, embedding_dim: int) -> Tensor:
    import torch

    w = (guidance_scale - 1) * 1000.0
    half = embedding_dim // 2
    step = torch.log(torch.tensor(10000.0)) / (half - 1)
    frequencies = torch.exp(torch.arange(half, dtype=w.dtype) * -step)
    angles = w[:, None] * frequencies[None, :]
    columns = torch.cat([torch.sin(angles), torch.cos(angles)], dim=1)
    return torch.nn.functional.pad(columns, (0, 1)) if embedding_dim % 2 else columns


def _outer_product(guidance_scale: Tensor, embedding_dim: int) -> Tensor:
    import torch

    half = embedding_dim // 2
    angles = torch.outer(1000 * (guidance_scale - 1), torch.logspace(0, -4, half))
    columns = [angles.sin(), angles.cos(), torch.zeros(len(angles), embedding_dim % 2)]
    return torch.cat(columns, -1)


def _filled_in(guidance_scale: Tensor, embedding_dim: int) -> Tensor:
    import torch

    half = embedding_dim // 2
    answer = torch.zeros(len(guidance_scale), embedding_dim)
    for k in range(half):
        angle = 1000 * (guidance_scale - 1) * 10_000 ** (-k / (half - 1))
        answer[:, k], answer[:, half + k] = angle.sin(), angle.cos()
    return answer


def _double_inside(guidance_scale: Tensor, embedding_dim: int) -> Tensor:
    return reference(guidance_scale.double(), embedding_dim).float()


TASK = Task(
    id="w_embedding",
    title="The embedded guidance scale",
    notebook="04_fast_sampling",
    order=2,
    text=TEXT,
    points=12,
    minutes=15,
    difficulty="medium",
    inputs=inputs,
    reference=reference,
    magnitude=magnitude,
    operations=6,  # log, step, product and exp of the frequency; two products; the sine itself
    hints=(
        "Build a table of angles first: one row a scale, one column a frequency.",
        "`w[:, None] * frequencies` is the table, and `torch.cat([angles.sin(), angles.cos()], dim=1)` the "
        "embedding. The divisor in the exponent is `half - 1`.",
        "`frequencies = 10000 ** (-torch.arange(half) / (half - 1))`, `angles = 1000 * (guidance_scale - 1)[:, "
        "None] * frequencies`; `torch.nn.functional.pad(..., (0, 1))` adds a column of zeros.",
    ),
    misconceptions=(
        Misconception(
            "guidance_scale embedded",
            "You embed `guidance_scale` itself. The model was trained on the paper's w, for which 0 is no "
            "guidance: take 1 away.",
            _one_not_taken_away,
        ),
        Misconception(
            "not multiplied by 1000",
            "You left out the factor 1000. Scales near each other would then get nearly the same embedding.",
            _not_scaled,
        ),
        Misconception(
            "divided by half",
            "Your frequencies end too early: the exponent runs from 0 to exactly -1, so divide by `half - 1`.",
            _divided_by_half,
        ),
        Misconception(
            "cosines first",
            "The sines come first here. The time embedding of Stable Diffusion has its cosines first "
            "(`flip_sin_to_cos`), this one has not.",
            _cosines_first,
        ),
        Misconception(
            "interleaved",
            "You alternate sine and cosine. They stand in two blocks: all sines, then all cosines.",
            _interleaved,
        ),
        Misconception(
            "frequencies the other way",
            "Your frequencies rise from 1/10000 to 1. They fall: the first is 1, the last 1/10000.",
            _rising,
        ),
    ),
    alternatives=(_as_in_diffusers, _outer_product, _filled_in, _double_inside),
)
