"""Blending prompts once they are encoded: a mean, a point on the arc between two, or one after another.

All take prompt embeddings as the UNet attends to them, [batch, tokens, width].
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from lessonlib.errors import LessonError


def linear_blend(
    embeds: Sequence[Float[Tensor, "batch tokens width"]], weights: Sequence[float]
) -> Float[Tensor, "batch tokens width"]:
    """The weighted mean, token by token: compel's `("a", "b").blend(1, 1)`.

    Raises:
        LessonError: not one weight a prompt, or weights that sum to 0.
    """
    _check(embeds, weights)
    if sum(weights) == 0:
        raise LessonError(
            f"The blend weights {list(weights)} sum to 0, so they have no mean: change one of them."
        )
    # c = sum_i w_i c_i / sum_i w_i
    return sum_weighted(embeds, weights) / sum(weights)


def sum_weighted(
    embeds: Sequence[Float[Tensor, "batch tokens width"]], weights: Sequence[float]
) -> Float[Tensor, "batch tokens width"]:
    """The weighted sum: compel's `("a", "b").blend(1, -0.3, no_normalize)`; it can take a prompt away."""
    _check(embeds, weights)
    # c = sum_i w_i c_i
    return torch.stack([weight * embed for embed, weight in zip(embeds, weights, strict=True)]).sum(dim=0)


def spherical_blend(
    first: Float[Tensor, "batch tokens width"], second: Float[Tensor, "batch tokens width"], amount: float
) -> Float[Tensor, "batch tokens width"]:
    """From `first` (amount 0) to `second` (amount 1) along the great circle, token by token.

    A mean of two directions is shorter than either; the arc keeps the length, and so the strength, of a
    token. Tokens that point the same way, or opposite ways (no arc is shortest), are blended linearly.

    Source: Shoemake, "Animating Rotation with Quaternion Curves" (1985), on great arcs (slerp).
    """
    a, b = (torch.nn.functional.normalize(x, dim=-1) for x in (first, second))
    # the angle between a and b, exact near 0 and pi where arccos(a . b) is not
    omega = 2 * torch.atan2((a - b).norm(dim=-1, keepdim=True), (a + b).norm(dim=-1, keepdim=True))
    sine = omega.sin()
    # slerp(p, q; u) = (sin((1 - u) omega) p + sin(u omega) q) / sin(omega)
    arc = ((1 - amount) * omega).sin() * first + (amount * omega).sin() * second
    straight = torch.lerp(first, second, amount)
    return torch.where(sine > 1e-4, arc / sine.clamp(min=1e-4), straight)


def and_conjunction(
    embeds: Sequence[Float[Tensor, "batch tokens width"]],
    weights: Sequence[float],
    empty_embeds: Float[Tensor, "batch tokens width"],
) -> Float[Tensor, "batch all_tokens width"]:
    """The prompts one after another, so that the UNet may attend to any: compel's `("a", "b").and(1, 0.5)`.

    A weight moves a prompt away from (above 1) or towards (below 1) the empty prompt, and is not normalised.
    The result has as many times 77 tokens as there are prompts; a negative prompt must be padded to the same
    length.
    """
    _check(embeds, weights)
    # [empty + w_1 (c_1 - empty); empty + w_2 (c_2 - empty); ...]
    moved = [torch.lerp(empty_embeds, embed, weight) for embed, weight in zip(embeds, weights, strict=True)]
    return torch.cat(moved, dim=1)


def _check(embeds: Sequence[Tensor], weights: Sequence[float]) -> None:
    if not embeds or len(embeds) != len(weights):
        raise LessonError(
            f"There are {len(embeds)} prompts and {len(weights)} weights: give one weight a prompt."
        )
