"""Several pictures in one adapter: their tokens stand side by side in one softmax."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lessonlib.grading.task import Misconception, Task
from lessonlib.grading.tasks._bounds import attention_operations

if TYPE_CHECKING:
    from torch import Tensor

TEXT = r"""
Two style pictures for one adapter, `ip_adapter_image=[[a, b]]` in diffusers: each becomes its own four tokens, and
the picture's attention reads **all tokens of all pictures in one softmax**,

$$\operatorname{softmax}\!\Big(\frac{Q\,[K'_1; K'_2; \dots]^\top}{\sqrt d}\Big)\,[V'_1; V'_2; \dots],
\qquad K'_i = t_i W_K^\top,\quad V'_i = t_i W_V^\top,$$

so that every place of the picture can choose which reference it listens to. One head; return this attention alone,
without the text's.

| | shape | dtype |
|---|---|---|
| `query` | `(B, Q, d)` | float32 |
| `image_tokens` | `(B, pictures, tokens, C)` | float32 |
| `to_k`, `to_v` | `(d, C)`: $W_K$ and $W_V$ | float32 |
| returned | `(B, Q, d)` | float32 |
""".strip()


def inputs(seed: int) -> dict[str, Any]:
    import torch

    from lessonlib.grading.draw import integer

    generator = torch.Generator().manual_seed(seed)
    pictures = integer(generator, 2, 3)
    return {
        "query": 2 * torch.randn(2, 7, 5, generator=generator),
        "image_tokens": torch.randn(2, pictures, 4, 6, generator=generator),
        "to_k": torch.randn(5, 6, generator=generator) / 2,
        "to_v": torch.randn(5, 6, generator=generator) / 2,
    }


def _one_head(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    from lessonlib.scratch.attention import plain_attention

    return plain_attention(query[:, None], key[:, None], value[:, None])[:, 0]


def _attend(query: Tensor, tokens: Tensor, to_k: Tensor, to_v: Tensor) -> Tensor:
    """tokens: (B, T, C)"""
    return _one_head(query, tokens @ to_k.T, tokens @ to_v.T)


def reference(query: Tensor, image_tokens: Tensor, to_k: Tensor, to_v: Tensor) -> Tensor:
    return _attend(query, image_tokens.flatten(1, 2), to_k, to_v)


def magnitude(query: Tensor, image_tokens: Tensor, to_k: Tensor, to_v: Tensor) -> Tensor:
    """As attention's, with keys and values that are sums of products themselves."""
    tokens = image_tokens.flatten(1, 2)
    weights = (query @ (tokens @ to_k.T).mT / query.shape[-1] ** 0.5).softmax(-1)
    keys, values = (tokens.abs() @ weight.T.abs() for weight in (to_k, to_v))
    scores = query.abs() @ keys.mT / query.shape[-1] ** 0.5
    return (weights @ values) * (1 + 2 * scores.amax(-1, keepdim=True))


# --- Wrong answers, each with its own hint ------------------------------------------------------------------


def _alone(query: Tensor, image_tokens: Tensor, to_k: Tensor, to_v: Tensor) -> Tensor:
    """One answer a picture: (pictures, B, Q, d)."""
    import torch

    return torch.stack([_attend(query, tokens, to_k, to_v) for tokens in image_tokens.unbind(1)])


def _mean_of_answers(query: Tensor, image_tokens: Tensor, to_k: Tensor, to_v: Tensor) -> Tensor:
    return _alone(query, image_tokens, to_k, to_v).mean(0)


def _sum_of_answers(query: Tensor, image_tokens: Tensor, to_k: Tensor, to_v: Tensor) -> Tensor:
    return _alone(query, image_tokens, to_k, to_v).sum(0)


def _mean_of_tokens(query: Tensor, image_tokens: Tensor, to_k: Tensor, to_v: Tensor) -> Tensor:
    return _attend(query, image_tokens.mean(1), to_k, to_v)


def _first_only(query: Tensor, image_tokens: Tensor, to_k: Tensor, to_v: Tensor) -> Tensor:
    return _attend(query, image_tokens[:, 0], to_k, to_v)


def _last_only(query: Tensor, image_tokens: Tensor, to_k: Tensor, to_v: Tensor) -> Tensor:
    return _attend(query, image_tokens[:, -1], to_k, to_v)


def _keys_for_values(query: Tensor, image_tokens: Tensor, to_k: Tensor, to_v: Tensor) -> Tensor:
    return reference(query, image_tokens, to_v, to_k)


def _values_reversed(query: Tensor, image_tokens: Tensor, to_k: Tensor, to_v: Tensor) -> Tensor:
    keys, values = image_tokens.flatten(1, 2) @ to_k.T, image_tokens.transpose(1, 2).flatten(1, 2) @ to_v.T
    return _one_head(query, keys, values)


# --- Right answers in other styles --------------------------------------------------------------------------


def _concatenated(query: Tensor, image_tokens: Tensor, to_k: Tensor, to_v: Tensor) -> Tensor:
    import torch

    tokens = torch.cat(list(image_tokens.unbind(1)), dim=1)
    scores = query @ (tokens @ to_k.T).transpose(1, 2) / query.shape[-1] ** 0.5
    return scores.softmax(-1) @ (tokens @ to_v.T)


def _other_order(query: Tensor, image_tokens: Tensor, to_k: Tensor, to_v: Tensor) -> Tensor:
    """The order of tokens in a softmax does not matter, as long as keys and values share it."""
    tokens = image_tokens.transpose(1, 2).flatten(1, 2)
    return _attend(query, tokens, to_k, to_v)


def _fused(query: Tensor, image_tokens: Tensor, to_k: Tensor, to_v: Tensor) -> Tensor:
    from torch.nn import functional

    tokens = image_tokens.reshape(len(query), -1, image_tokens.shape[-1])
    keys, values = functional.linear(tokens, to_k), functional.linear(tokens, to_v)
    return functional.scaled_dot_product_attention(query, keys, values)


def _loop(query: Tensor, image_tokens: Tensor, to_k: Tensor, to_v: Tensor) -> Tensor:
    """One picture after the other, with the softmax's sums kept on the way."""
    total, weight = 0 * query, 0 * query[..., :1]
    for tokens in image_tokens.unbind(1):
        weights = (query @ (tokens @ to_k.T).mT * query.shape[-1] ** -0.5).exp()
        total = total + weights @ (tokens @ to_v.T)
        weight = weight + weights.sum(-1, keepdim=True)
    return total / weight


TASK = Task(
    id="several_references",
    title="Several references",
    notebook="03_ip_adapter",
    order=4,
    text=TEXT,
    points=10,
    minutes=12,
    difficulty="medium",
    inputs=inputs,
    reference=reference,
    magnitude=magnitude,
    operations=attention_operations(dim=5, keys=12) + 12,  # and the two projections over 6 channels
    hints=(
        "Attention does not know about pictures, only about tokens. Make one row of all tokens.",
        "`image_tokens.flatten(1, 2)` has the shape `(B, pictures * tokens, C)`.",
        "`k, v = tokens @ to_k.T, tokens @ to_v.T`, then `(query @ k.transpose(1, 2) / d ** 0.5).softmax(-1) @ v`.",
    ),
    misconceptions=(
        Misconception(
            "mean of the answers",
            "You attended to each picture by itself and averaged. Then no place can prefer one reference: put all "
            "tokens into one softmax.",
            _mean_of_answers,
        ),
        Misconception(
            "sum of the answers",
            "You attended to each picture by itself and added the answers up, so two pictures count twice. That is "
            "what two **adapters** do; one adapter has one softmax.",
            _sum_of_answers,
        ),
        Misconception(
            "mean of the tokens",
            "You averaged the pictures' tokens, which makes one picture that nobody gave. Keep them all.",
            _mean_of_tokens,
        ),
        Misconception("first picture only", "Only the first picture is read.", _first_only),
        Misconception("last picture only", "Only the last picture is read.", _last_only),
        Misconception(
            "keys and values swapped",
            "`to_k` makes the keys and `to_v` the values; yours are swapped.",
            _keys_for_values,
        ),
        Misconception(
            "keys and values in two orders",
            "Your keys and values list the tokens in different orders, so each key fetches another token's value.",
            _values_reversed,
        ),
    ),
    alternatives=(_concatenated, _other_order, _fused, _loop),
)
