"""Attention: the equation as it is written, the same in slices, the same in one fused kernel, and its layer.

Sources: Vaswani et al., "Attention Is All You Need" (1706.03762), section 3.2; cross-attention to text:
Rombach et al., "Latent Diffusion" (2112.10752), section 3.3.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from lessonlib.errors import LessonError

AttentionFunction = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(query, key, value) -> output, each of shape (batch, heads, tokens, head_dim)."""


def plain_attention(
    query: Float[Tensor, "b h q d"], key: Float[Tensor, "b h k d"], value: Float[Tensor, "b h k d"]
) -> Float[Tensor, "b h q d"]:
    """Attention exactly as the paper writes it. Holds all b·h·q·k scores at once."""
    # Attention(Q, K, V) = softmax(Q Kᵀ / √d) V                                   (equation 1)
    scores = query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5
    return scores.softmax(dim=-1) @ value


def sliced_attention(
    query: Float[Tensor, "b h q d"],
    key: Float[Tensor, "b h k d"],
    value: Float[Tensor, "b h k d"],
    slice_size: int = 1,
) -> Float[Tensor, "b h q d"]:
    """The same, `slice_size` heads at a time: at most slice_size·q·k scores at once, but a loop.

    The softmax runs over the keys of one head, so heads never mix and the result is exact.

    Raises:
        LessonError: `slice_size` is below 1.
    """
    if slice_size < 1:
        raise LessonError(f"slice_size is {slice_size}; attention is computed at least 1 head at a time.")
    q, k, v = (x.flatten(0, 1) for x in (query, key, value))
    slices = zip(q.split(slice_size), k.split(slice_size), v.split(slice_size), strict=True)
    return torch.cat([plain_attention(*(x[None] for x in piece))[0] for piece in slices]).view_as(query)


def sdpa(
    query: Float[Tensor, "b h q d"], key: Float[Tensor, "b h k d"], value: Float[Tensor, "b h k d"]
) -> Float[Tensor, "b h q d"]:
    """The same in PyTorch's fused kernel, which never stores the scores: quicker *and* smaller than slicing.

    Source: Dao et al., "FlashAttention" (2205.14135), section 3.1.
    """
    return F.scaled_dot_product_attention(query, key, value)


class Attention(nn.Module):
    """Multi-head attention, with diffusers' key names. Without `encoder_hidden_states` it is self-attention.

    Args:
        query_dim: channels of the picture's tokens, in and out.
        heads: number of heads.
        dim_head: channels of each head.
        cross_attention_dim: channels of the text's tokens; as the picture's by default.
        out_bias: whether the output projection has a bias.
    """

    def __init__(
        self,
        query_dim: int,
        heads: int,
        dim_head: int,
        cross_attention_dim: int | None = None,
        out_bias: bool = True,
    ) -> None:
        super().__init__()
        inner_dim = heads * dim_head
        self.heads = heads
        self.attention: AttentionFunction = sdpa
        self.to_q = nn.Linear(query_dim, inner_dim, bias=False)
        self.to_k = nn.Linear(cross_attention_dim or query_dim, inner_dim, bias=False)
        self.to_v = nn.Linear(cross_attention_dim or query_dim, inner_dim, bias=False)
        self.to_out = nn.ModuleList([nn.Linear(inner_dim, query_dim, bias=out_bias)])

    def forward(
        self,
        hidden_states: Float[Tensor, "b q c"],
        encoder_hidden_states: Float[Tensor, "b k context"] | None = None,
    ) -> Float[Tensor, "b q c"]:
        context = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        query, key, value = self.to_q(hidden_states), self.to_k(context), self.to_v(context)
        return self.to_out[0](self.attend(query, key, value))

    def attend(
        self,
        query: Float[Tensor, "b q inner"],
        key: Float[Tensor, "b k inner"],
        value: Float[Tensor, "b k inner"],
    ) -> Float[Tensor, "b q inner"]:
        """Split the projections into heads, attend in each, and join the heads again (section 3.2.2)."""
        q, k, v = (x.unflatten(-1, (self.heads, -1)).transpose(1, 2) for x in (query, key, value))
        return self.attention(q, k, v).transpose(1, 2).flatten(2)


def set_attention(model: nn.Module, function: AttentionFunction) -> None:
    """Let every `Attention` of `model` compute with `function`: `plain_attention`, `sdpa` or `sliced(n)`."""
    for module in model.modules():
        if isinstance(module, Attention):
            module.attention = function


def sliced(slice_size: int) -> AttentionFunction:
    """`sliced_attention` with its slice size fixed, for `set_attention`."""
    return partial(sliced_attention, slice_size=slice_size)
