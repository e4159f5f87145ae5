"""Attention in slices is plain attention, in less memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lessonlib.grading.draw import pick
from lessonlib.grading.task import Misconception, Task

if TYPE_CHECKING:
    from torch import Tensor

TEXT = r"""
Plain attention keeps a score for every pair of query and key. Slicing keeps fewer at a time: it takes
`slice_size` **queries**, attends with them to **all** keys, goes on to the next ones, and puts the pieces
together. A row of the softmax belongs to one query, so rows never meet and the result is exactly plain
attention:

$$\text{Attention}(Q, K, V)_i = \text{softmax}\!\left(\frac{Q_i K^\top}{\sqrt d}\right) V .$$

Write it with a loop over slices; the last slice may be shorter. ($d$ is the size of a head.)

| | shape | dtype |
|---|---|---|
| `query` | `(B, heads, queries, d)` | float64 |
| `key`, `value` | `(B, heads, keys, d)` | float64 |
| `slice_size` | a Python int, at least 1 | |
| returned | `(B, heads, queries, d)` | float64 |
""".strip()


def inputs(seed: int) -> dict[str, Any]:
    """More queries than keys, and a slice size that does not divide them."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    query = 2 * torch.randn(2, 3, 10, 6, generator=generator, dtype=torch.float64)
    key, value = torch.randn(2, 2, 3, 7, 6, generator=generator, dtype=torch.float64)
    return {"query": query, "key": key, "value": 3 * value, "slice_size": pick(generator, [3, 4])}


def reference(query: Tensor, key: Tensor, value: Tensor, slice_size: int) -> Tensor:
    from lessonlib.scratch.attention import plain_attention

    return plain_attention(query, key, value)


def magnitude(query: Tensor, key: Tensor, value: Tensor, slice_size: int) -> Tensor:
    """A weight moves, relatively, by its score's error and by the worst other's: (1 + 2 max |s|) Σ w |v|."""
    width = query.shape[-1] ** 0.5
    scores = query @ key.transpose(-1, -2) / width
    largest = (query.abs() @ key.abs().transpose(-1, -2) / width).amax(-1, keepdim=True)
    return (1 + 2 * largest) * (scores.softmax(-1) @ value.abs())


# --- Wrong answers, each with its own hint ------------------------------------------------------------------


def _keys_sliced(query: Tensor, key: Tensor, value: Tensor, slice_size: int) -> Tensor:
    import torch

    pairs = zip(key.split(slice_size, -2), value.split(slice_size, -2), strict=True)
    return torch.stack([reference(query, k, v, slice_size) for k, v in pairs]).sum(0)


def _in_step(query: Tensor, key: Tensor, value: Tensor, slice_size: int) -> Tensor:
    """Query slice i sees key slice i alone, the last ones the last slice."""
    import torch

    keys, values = key.split(slice_size, -2), value.split(slice_size, -2)
    pieces = []
    for index, piece in enumerate(query.split(slice_size, -2)):
        index = min(index, len(keys) - 1)
        pieces.append(reference(piece, keys[index], values[index], slice_size))
    return torch.cat(pieces, -2)


def _not_scaled(query: Tensor, key: Tensor, value: Tensor, slice_size: int) -> Tensor:
    return reference(query * query.shape[-1] ** 0.5, key, value, slice_size)


def _divided_by_d(query: Tensor, key: Tensor, value: Tensor, slice_size: int) -> Tensor:
    return reference(query / query.shape[-1] ** 0.5, key, value, slice_size)


def _over_the_queries(query: Tensor, key: Tensor, value: Tensor, slice_size: int) -> Tensor:
    scores = query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5
    return scores.softmax(-2) @ value


def _over_a_slice_of_queries(query: Tensor, key: Tensor, value: Tensor, slice_size: int) -> Tensor:
    import torch

    pieces = [_over_the_queries(q, key, value, slice_size) for q in query.split(slice_size, -2)]
    return torch.cat(pieces, -2)


def _last_slice_lost(query: Tensor, key: Tensor, value: Tensor, slice_size: int) -> Tensor:
    whole = query.shape[-2] // slice_size * slice_size
    answer = query.new_zeros(*query.shape[:-1], value.shape[-1])
    answer[..., :whole, :] = reference(query[..., :whole, :], key, value, slice_size)
    return answer


# --- Right answers in other styles --------------------------------------------------------------------------


def _split(query: Tensor, key: Tensor, value: Tensor, slice_size: int) -> Tensor:
    import torch

    scale = query.shape[-1] ** -0.5
    rows = [(q @ key.mT * scale).softmax(-1) @ value for q in query.split(slice_size, dim=2)]
    return torch.cat(rows, dim=2)


def _filled_in(query: Tensor, key: Tensor, value: Tensor, slice_size: int) -> Tensor:
    import torch

    answer = torch.empty_like(query)
    for start in range(0, query.shape[2], slice_size):
        rows = slice(start, start + slice_size)
        scores = torch.einsum("bhqd,bhkd->bhqk", query[:, :, rows], key) / query.shape[-1] ** 0.5
        answer[:, :, rows] = torch.einsum("bhqk,bhkd->bhqd", scores.softmax(-1), value)
    return answer


def _fused(query: Tensor, key: Tensor, value: Tensor, slice_size: int) -> Tensor:
    import torch

    sdpa = torch.nn.functional.scaled_dot_product_attention
    return torch.cat([sdpa(q, key, value) for q in query.split(slice_size, -2)], -2)


def _exponentials(query: Tensor, key: Tensor, value: Tensor, slice_size: int) -> Tensor:
    import torch

    pieces = []
    for q in torch.split(query, slice_size, 2):
        scores = torch.matmul(q, key.transpose(2, 3)) / q.shape[-1] ** 0.5
        weights = (scores - scores.amax(-1, keepdim=True)).exp()
        pieces.append(weights @ value / weights.sum(-1, keepdim=True))
    return torch.cat(pieces, 2)


TASK = Task(
    id="sliced_attention",
    title="Attention in slices",
    notebook="06_optimisation",
    order=1,
    text=TEXT,
    points=10,
    minutes=12,
    difficulty="medium",
    inputs=inputs,
    reference=reference,
    magnitude=magnitude,
    operations=24,  # a score: 6 products and sums, a root, a quotient; exp; 7 weights and their quotient; 7 products
    hints=(
        "Which axis can be cut without changing what a softmax sums over? The one whose rows do not meet.",
        "`query.split(slice_size, dim=-2)` gives the slices, the last one shorter. Keys and values stay whole.",
        "For each slice `q`: `(q @ key.transpose(-1, -2) / d**0.5).softmax(dim=-1) @ value`; then `torch.cat(..., "
        "dim=-2)`.",
    ),
    misconceptions=(
        Misconception(
            "keys sliced and summed",
            "You cut the keys and add the pieces up. Each piece's softmax then sums to 1 by itself, and the weights "
            "of a query to more than 1. Cut the queries.",
            _keys_sliced,
        ),
        Misconception(
            "slices in step",
            "Your first queries see the first keys only. Every slice of queries attends to **all** keys.",
            _in_step,
        ),
        Misconception(
            "not scaled",
            "The scores are divided by the root of the head's size before the softmax.",
            _not_scaled,
        ),
        Misconception(
            "divided by d",
            "You divide by the head's size; it is its **root** that keeps the variance of the scores at 1.",
            _divided_by_d,
        ),
        Misconception(
            "softmax over the queries",
            "Your softmax runs over the queries. The weights of one query, over the keys, sum to 1: `dim=-1`.",
            _over_the_queries,
        ),
        Misconception(
            "softmax over a slice of queries",
            "Your softmax runs over the queries of a slice, so the result depends on `slice_size`. It runs over "
            "the keys: `dim=-1`.",
            _over_a_slice_of_queries,
        ),
        Misconception(
            "last slice lost",
            "The last queries have no answer: their number need not be a multiple of `slice_size`.",
            _last_slice_lost,
        ),
    ),
    alternatives=(_split, _filled_in, _fused, _exponentials),
)
