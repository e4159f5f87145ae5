"""Decoupled cross-attention: text and picture are read side by side, each with its own softmax."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lessonlib.grading.pictures import maps_beside
from lessonlib.grading.task import Misconception, Task
from lessonlib.grading.tasks._bounds import attention, attention_operations

if TYPE_CHECKING:
    from torch import Tensor

TEXT = r"""
IP-Adapter's idea: the query reads the text as it always did, and the picture's tokens through keys and values of
their own. The picture's answer is scaled and added (Ye et al., 2023, equations 4, 5 and 8):

$$Z = \operatorname{softmax}\!\Big(\frac{Q K^\top}{\sqrt d}\Big) V
  \;+\; \lambda\, \operatorname{softmax}\!\Big(\frac{Q K'^\top}{\sqrt d}\Big) V' ,$$

where $d$ is the number of channels of a head. With $\lambda = 0$ the UNet is exactly what it was.

| | shape | dtype |
|---|---|---|
| `query` | `(B, heads, Q, d)` | float32 |
| `key`, `value` | `(B, heads, T, d)`: of the text | float32 |
| `ip_key`, `ip_value` | `(B, heads, P, d)`: of the picture's tokens | float32 |
| `scale` | a Python float, $\lambda$ | |
| returned | `(B, heads, Q, d)` | float32 |
""".strip()


def inputs(seed: int) -> dict[str, Any]:
    import torch

    from lessonlib.grading.draw import uniform

    generator = torch.Generator().manual_seed(seed)

    def tokens(count: int) -> Tensor:
        return torch.randn(2, 3, count, 5, generator=generator)

    return {
        "query": 2 * tokens(8),
        "key": tokens(7),
        "value": tokens(7),
        "ip_key": tokens(4),
        "ip_value": tokens(4),
        "scale": uniform(generator, 0.2, 0.9),
    }


def _attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    from lessonlib.scratch.attention import plain_attention

    return plain_attention(query, key, value)


def reference(q: Tensor, k: Tensor, v: Tensor, ip_k: Tensor, ip_v: Tensor, scale: float) -> Tensor:
    return _attend(q, k, v) + scale * _attend(q, ip_k, ip_v)


def magnitude(q: Tensor, k: Tensor, v: Tensor, ip_k: Tensor, ip_v: Tensor, scale: float) -> Tensor:
    return attention(q, k, v) + abs(scale) * attention(q, ip_k, ip_v)


# --- Wrong answers, each with its own hint ------------------------------------------------------------------


def _one_softmax(q: Tensor, k: Tensor, v: Tensor, ip_k: Tensor, ip_v: Tensor, scale: float) -> Tensor:
    import torch

    return _attend(q, torch.cat([k, ip_k], dim=2), torch.cat([v, ip_v], dim=2))


def _one_softmax_scaled(q: Tensor, k: Tensor, v: Tensor, ip_k: Tensor, ip_v: Tensor, scale: float) -> Tensor:
    return _one_softmax(q, k, v, ip_k, scale * ip_v, scale)


def _blended(q: Tensor, k: Tensor, v: Tensor, ip_k: Tensor, ip_v: Tensor, scale: float) -> Tensor:
    return (1 - scale) * _attend(q, k, v) + scale * _attend(q, ip_k, ip_v)


def _scale_on_text(q: Tensor, k: Tensor, v: Tensor, ip_k: Tensor, ip_v: Tensor, scale: float) -> Tensor:
    return scale * _attend(q, k, v) + _attend(q, ip_k, ip_v)


def _scale_on_both(q: Tensor, k: Tensor, v: Tensor, ip_k: Tensor, ip_v: Tensor, scale: float) -> Tensor:
    return scale * reference(q, k, v, ip_k, ip_v, 1.0)


def _scale_in_softmax(q: Tensor, k: Tensor, v: Tensor, ip_k: Tensor, ip_v: Tensor, scale: float) -> Tensor:
    return _attend(q, k, v) + _attend(q, scale * ip_k, ip_v)


def _no_root(q: Tensor, k: Tensor, v: Tensor, ip_k: Tensor, ip_v: Tensor, scale: float) -> Tensor:
    return reference(q * q.shape[-1] ** 0.5, k, v, ip_k, ip_v, scale)


def _scale_unused(q: Tensor, k: Tensor, v: Tensor, ip_k: Tensor, ip_v: Tensor, scale: float) -> Tensor:
    return reference(q, k, v, ip_k, ip_v, 1.0)


def _picture_only(q: Tensor, k: Tensor, v: Tensor, ip_k: Tensor, ip_v: Tensor, scale: float) -> Tensor:
    return scale * _attend(q, ip_k, ip_v)


# --- Right answers in other styles --------------------------------------------------------------------------


def _fused(q: Tensor, k: Tensor, v: Tensor, ip_k: Tensor, ip_v: Tensor, scale: float) -> Tensor:
    from torch.nn.functional import scaled_dot_product_attention

    text = scaled_dot_product_attention(q, k, v)
    return text + scale * scaled_dot_product_attention(q, ip_k, ip_v)


def _scaled_values(q: Tensor, k: Tensor, v: Tensor, ip_k: Tensor, ip_v: Tensor, scale: float) -> Tensor:
    """λ may go into the values: they come after the softmax."""
    q = q / q.shape[-1] ** 0.5
    text = (q @ k.mT).softmax(-1) @ v
    return text + (q @ ip_k.mT).softmax(-1) @ (scale * ip_v)


def _einsum(q: Tensor, k: Tensor, v: Tensor, ip_k: Tensor, ip_v: Tensor, scale: float) -> Tensor:
    import torch

    def attend(key: Tensor, value: Tensor) -> Tensor:
        scores = torch.einsum("bhqd,bhkd->bhqk", q, key) * q.shape[-1] ** -0.5
        weights = (scores - scores.amax(-1, keepdim=True)).exp()
        return torch.einsum("bhqk,bhkd->bhqd", weights / weights.sum(-1, keepdim=True), value)

    return attend(k, v).add_(attend(ip_k, ip_v), alpha=scale)


def _by_head(q: Tensor, k: Tensor, v: Tensor, ip_k: Tensor, ip_v: Tensor, scale: float) -> Tensor:
    import torch

    answer = torch.empty_like(q)
    for head in range(q.shape[1]):
        one = slice(head, head + 1)
        text, image = _attend(q[:, one], k[:, one], v[:, one]), _attend(q[:, one], ip_k[:, one], ip_v[:, one])
        answer[:, one] = text.double() + scale * image
    return answer


TASK = Task(
    id="decoupled_attention",
    title="Decoupled cross-attention",
    notebook="03_ip_adapter",
    order=3,
    text=TEXT,
    points=15,
    minutes=15,
    difficulty="medium",
    inputs=inputs,
    reference=reference,
    magnitude=magnitude,
    operations=attention_operations(dim=5, keys=7)
    + 4,  # and the scale, its product, the sum, the shift by the max
    hints=(
        "Attention twice, with the same query: once with the text's keys and values, once with the picture's.",
        "Write `attend(key, value)` as an inner function, or use `torch.nn.functional.scaled_dot_product_attention`.",
        "`attend(key, value) + scale * attend(ip_key, ip_value)`, where `attend` is "
        "`(query @ key.transpose(-1, -2) / d ** 0.5).softmax(-1) @ value`.",
    ),
    misconceptions=(
        Misconception(
            "one softmax for both",
            "You put the picture's tokens behind the text's, into one softmax, so they take attention away from the "
            "words. Decoupled means: each has a softmax of its own.",
            _one_softmax,
        ),
        Misconception(
            "one softmax, values scaled",
            "You put the picture's tokens into the text's softmax and scaled their values. Even at scale 0 they would "
            "take attention away from the words: give them a softmax of their own.",
            _one_softmax_scaled,
        ),
        Misconception(
            "blended",
            "You faded the text by 1 - scale. The text keeps its full weight; the picture is added.",
            _blended,
        ),
        Misconception(
            "scale on the text",
            "You scaled the text's answer and left the picture's whole. It is the other way round.",
            _scale_on_text,
        ),
        Misconception(
            "scale on both",
            "You scaled the sum. At scale 0 nothing would be left of the text: scale the picture's answer alone.",
            _scale_on_both,
        ),
        Misconception(
            "scale inside the softmax",
            "You scaled the picture's keys. That makes its attention blunter, not weaker: the scale comes after the "
            "softmax.",
            _scale_in_softmax,
        ),
        Misconception(
            "no root of d",
            "The scores are not divided by the root of `d`, so the softmax is too sharp.",
            _no_root,
        ),
        Misconception(
            "scale unused", "You added the picture's answer at full strength: use `scale`.", _scale_unused
        ),
        Misconception("picture only", "The text's answer is missing.", _picture_only),
    ),
    alternatives=(_fused, _scaled_values, _einsum, _by_head),
    show=maps_beside,
)
