"""Merging a LoRA into its layer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lessonlib.grading.draw import pick, uniform
from lessonlib.grading.task import Misconception, Task

if TYPE_CHECKING:
    from torch import Tensor

TEXT = r"""
A LoRA is a change of a weight as the product of two thin matrices, $A$ (`down`) and $B$ (`up`), of rank $r$
(Hu et al. 2021, section 4.1). Beside the layer it costs two more products at every call; merged into the weight
it costs nothing. Merge it, with the trained scale $\alpha$ and the strength $s$ of the user's choice:

$$W' = W + s\,\frac{\alpha}{r}\,B A .$$

The layer may be a convolution: then $A$ is a convolution with the same kernel and $B$ a $1 \times 1$
convolution, and $BA$ sums over the rank as before.

| | shape | dtype |
|---|---|---|
| `weight` ($W$) | `(out, in)` or `(out, in, k, k)` | float32 |
| `down` ($A$) | `(r, in)` or `(r, in, k, k)` | float32 |
| `up` ($B$) | `(out, r)` or `(out, r, 1, 1)` | float32 |
| `alpha`, `strength` | Python floats | |
| returned ($W'$) | as `weight` | float32 |
""".strip()


def inputs(seed: int) -> dict[str, Any]:
    """A linear layer or a convolution, with a strength and an alpha that are never 1."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    kernel, point = pick(generator, [((), ()), ((3, 3), (1, 1))])
    return {
        "weight": torch.randn(6, 5, *kernel, generator=generator),
        "down": torch.randn(4, 5, *kernel, generator=generator),
        "up": torch.randn(6, 4, *point, generator=generator),
        "alpha": pick(generator, [1.5, 3.0, 6.0]),
        "strength": uniform(generator, 0.6, 0.8),
    }


def reference(weight: Tensor, down: Tensor, up: Tensor, alpha: float, strength: float) -> Tensor:
    from lessonlib.scratch.lora import LowRank

    return weight + strength * LowRank(down, up, alpha).delta()


def magnitude(weight: Tensor, down: Tensor, up: Tensor, alpha: float, strength: float) -> Tensor:
    return reference(weight.abs(), down.abs(), up.abs(), alpha, strength)


def _merged(weight: Tensor, down: Tensor, up: Tensor, factor: float) -> Tensor:
    return reference(weight, down, up, factor, float(len(down)))


# --- Wrong answers, each with its own hint ------------------------------------------------------------------


def _not_divided(weight: Tensor, down: Tensor, up: Tensor, alpha: float, strength: float) -> Tensor:
    return _merged(weight, down, up, strength * alpha)


def _no_alpha(weight: Tensor, down: Tensor, up: Tensor, alpha: float, strength: float) -> Tensor:
    return _merged(weight, down, up, strength)


def _rank_over_alpha(weight: Tensor, down: Tensor, up: Tensor, alpha: float, strength: float) -> Tensor:
    return _merged(weight, down, up, strength * len(down) / alpha)


def _no_strength(weight: Tensor, down: Tensor, up: Tensor, alpha: float, strength: float) -> Tensor:
    return _merged(weight, down, up, alpha / len(down))


def _change_alone(weight: Tensor, down: Tensor, up: Tensor, alpha: float, strength: float) -> Tensor:
    return reference(weight * 0, down, up, alpha, strength)


def _interpolated(weight: Tensor, down: Tensor, up: Tensor, alpha: float, strength: float) -> Tensor:
    return reference((1 - strength) * weight, down, up, alpha, strength)


def _both_scaled(weight: Tensor, down: Tensor, up: Tensor, alpha: float, strength: float) -> Tensor:
    factor = strength * alpha / len(down)
    return _merged(weight, down, up, factor**2)


# --- Right answers in other styles --------------------------------------------------------------------------


def _einsum(w: Tensor, down: Tensor, up: Tensor, alpha: float, s: float) -> Tensor:
    import torch

    change = torch.einsum("or,r...->o...", up.reshape(up.shape[0], -1), down)
    return w + s * alpha / down.shape[0] * change


def _convolved(w: Tensor, down: Tensor, up: Tensor, alpha: float, s: float) -> Tensor:
    """The weight of a convolution is a picture to a 1x1 convolution."""
    import torch

    rank = len(down)
    picture = down.reshape(1, rank, -1, 1)
    change = torch.nn.functional.conv2d(picture, up.reshape(-1, rank, 1, 1))
    return w + (s * alpha / rank) * change.reshape(w.shape)


def _in_place(w: Tensor, down: Tensor, up: Tensor, alpha: float, s: float) -> Tensor:
    flat = up.flatten(1) @ down.flatten(1)
    return w.add_(flat.view_as(w), alpha=s * alpha / len(down))


def _rank_by_rank(w: Tensor, down: Tensor, up: Tensor, alpha: float, s: float) -> Tensor:
    rank = len(down)
    for i in range(rank):
        w = w + s * (alpha / rank) * up[:, i].reshape(-1, *[1] * (w.ndim - 1)) * down[i]
    return w


TASK = Task(
    id="lora_merge",
    title="Merging a LoRA",
    notebook="06_optimisation",
    order=4,
    text=TEXT,
    points=10,
    minutes=12,
    difficulty="medium",
    inputs=inputs,
    reference=reference,
    magnitude=magnitude,
    operations=14,  # for each of 4 ranks a product and a sum, two more products each if the factor comes first
    hints=(
        "The rank is the first side of `down`. A convolution's weight is a matrix too, once its last axes are "
        "flattened.",
        "`up.flatten(1) @ down.flatten(1)` is the change as a matrix; `.view_as(weight)` gives it its shape.",
        "`weight + strength * alpha / len(down) * (up.flatten(1) @ down.flatten(1)).view_as(weight)`.",
    ),
    misconceptions=(
        Misconception(
            "not divided by the rank",
            "Divide alpha by the rank. That is what lets one learning rate serve every rank.",
            _not_divided,
        ),
        Misconception(
            "alpha left out",
            "Your change has no alpha. Files in kohya's format often have an alpha below the rank: without it the "
            "change comes out several times too strong.",
            _no_alpha,
        ),
        Misconception(
            "rank over alpha",
            "The factor is upside down: it is alpha / r.",
            _rank_over_alpha,
        ),
        Misconception(
            "strength left out",
            "`strength` has no effect. At 0 the layer must be as it was.",
            _no_strength,
        ),
        Misconception(
            "change alone",
            "You return the change alone. Add it to `weight`.",
            _change_alone,
        ),
        Misconception(
            "interpolated",
            "You fade the weight out as the change comes in. The change is **added**, whatever its strength.",
            _interpolated,
        ),
        Misconception(
            "factor in both matrices",
            "You scaled both matrices, so the factor counts twice in their product.",
            _both_scaled,
        ),
    ),
    alternatives=(_einsum, _convolved, _in_place, _rank_by_rank),
)
