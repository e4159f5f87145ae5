"""Bounds for the magnitude of answers that several tasks share."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def attention(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """M of softmax(Q Kᵀ / √d) V: the sum over |p||v|, once for itself and twice for the largest score's terms.

    A score is rounded relative to S = Σ|q||k|/√d. exp turns that absolute error into a relative one of every
    weight, and their sum, by which they are divided, has it too: |p|·(1 + 2 max S).
    """
    dim = query.shape[-1]
    weights = (query @ key.transpose(-1, -2) / dim**0.5).softmax(-1)
    scores = query.abs() @ key.abs().transpose(-1, -2) / dim**0.5
    return (weights @ value.abs()) * (1 + 2 * scores.amax(-1, keepdim=True))


def attention_operations(dim: int, keys: int) -> int:
    """Roundings along the longest path: two sums of products, the scale, exp, the softmax's sum and quotient."""
    return dim + 2 + 2 * keys + 6
