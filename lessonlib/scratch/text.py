"""CLIP's text tower, and what Stable Diffusion takes from it: a state for each token, and a pooled vector.

Source: Radford et al., "Learning Transferable Visual Models From Natural Language Supervision" (2021),
section 2.4; Podell et al., "SDXL: Improving Latent Diffusion Models for High-Resolution Image Synthesis"
(2023), section 2.1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from lessonlib.errors import LessonError
from lessonlib.scratch.weights import load_weights


@dataclass(frozen=True)
class TextConfig:
    """The shape of a text tower, by transformers' names; the defaults are CLIP ViT-L/14."""

    vocab_size: int = 49408
    hidden_size: int = 768
    intermediate_size: int = 3072
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    max_position_embeddings: int = 77
    hidden_act: Literal["quick_gelu", "gelu"] = "quick_gelu"
    layer_norm_eps: float = 1e-5
    projection_dim: int | None = None  # None: no projection, as SD 1.5's and SDXL's first encoder
    eos_token_id: int = 49407


class TextStates(NamedTuple):
    """What a text tower says of a prompt."""

    hidden_states: tuple[Float[Tensor, "batch tokens width"], ...]  # the embeddings, then after each layer
    last_hidden_state: Float[Tensor, "batch tokens width"]  # after the last layer and the final layer norm
    pooled: Float[Tensor, "batch pooled"]  # at the end-of-text token, projected if there is a projection


def sd_prompt_embeds(states: TextStates) -> Float[Tensor, "batch tokens width"]:
    """Stable Diffusion 1.5 attends to the last layer, after the final layer norm."""
    return states.last_hidden_state


def sdxl_prompt_embeds(
    first: TextStates, second: TextStates
) -> tuple[Float[Tensor, "batch tokens both"], Float[Tensor, "batch pooled"]]:
    """(prompt_embeds, pooled_prompt_embeds) of SDXL, from CLIP ViT-L (first) and OpenCLIP ViT-bigG (second).

    The UNet attends to both towers' penultimate states, without a final layer norm, side by side in the
    channels; the pooled vector of the second alone joins the time embedding.

    Source: Podell et al. (2023), section 2.1.
    """
    return torch.cat([first.hidden_states[-2], second.hidden_states[-2]], dim=-1), second.pooled


def eos_positions(input_ids: Int[Tensor, "batch tokens"], eos_token_id: int) -> Int[Tensor, "batch"]:
    """Where each prompt ends: the *first* end-of-text token, because padding often repeats it.

    Two short cuts find another place, silently. OpenAI's `input_ids.argmax(-1)` holds only while end-of-text
    has the largest id, which one added token ends. Comparing with an `eos_token_id` that is not the
    tokenizer's (transformers' default in a small vocabulary) finds no token at all, and an argmax over
    nothing answers 0: the begin-of-text token.

    Raises:
        LessonError: a prompt has no such token.
    """
    is_eos = input_ids == eos_token_id
    if not is_eos.any(dim=-1).all():
        raise LessonError(
            f"A prompt holds no end-of-text token {eos_token_id}: pass the tokenizer's own eos_token_id, "
            "and keep room for it when a prompt is cut."
        )
    # argmax gives the first of equals
    return is_eos.int().argmax(dim=-1)


class TextEncoder(nn.Module):
    """The tower: token + position embeddings, causal pre-norm transformer layers, a final layer norm.

    Its parameters are named as in transformers' CLIPTextModel; `load` takes those and
    CLIPTextModelWithProjection's.
    """

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.config = config
        self.embeddings = nn.ModuleDict(
            {
                "token_embedding": nn.Embedding(config.vocab_size, config.hidden_size),
                "position_embedding": nn.Embedding(config.max_position_embeddings, config.hidden_size),
            }
        )
        self.encoder = nn.ModuleDict(
            {"layers": nn.ModuleList(_Layer(config) for _ in range(config.num_hidden_layers))}
        )
        self.final_layer_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        if config.projection_dim is not None:
            self.text_projection = nn.Linear(config.hidden_size, config.projection_dim, bias=False)

    def load(self, state_dict: Mapping[str, Tensor]) -> TextEncoder:
        """Take the weights of a CLIPTextModel, with or without projection; every key must fit."""
        # files of older transformers also keep the position numbers 0..76, which are no weights
        kept = {key: value for key, value in state_dict.items() if not key.endswith("position_ids")}
        load_weights(self, {key.removeprefix("text_model."): value for key, value in kept.items()})
        return self

    def forward(
        self,
        input_ids: Int[Tensor, "batch tokens"],
        attention_mask: Int[Tensor, "batch tokens"] | None = None,
    ) -> TextStates:
        """`attention_mask` has 0 where no token may look, 1 elsewhere; Stable Diffusion looks at padding too.

        Raises:
            LessonError: more tokens than positions, or a prompt without its end-of-text token.
        """
        tokens = input_ids.shape[1]
        if tokens > self.config.max_position_embeddings:
            raise LessonError(
                f"The prompt has {tokens} tokens, but this encoder has {self.config.max_position_embeddings} "
                "positions: cut it, or encode it in pieces."
            )
        # h_0 = E[token] + P[position]
        positions = torch.arange(tokens, device=input_ids.device)
        state = self.embeddings["token_embedding"](input_ids) + self.embeddings["position_embedding"](
            positions
        )
        # causal: a token sees itself and what came before it
        visible = torch.ones(tokens, tokens, dtype=torch.bool, device=input_ids.device).tril()[None, None]
        if attention_mask is not None:
            visible = visible & attention_mask.bool()[:, None, None, :]
        hidden_states = [state]
        for layer in self.encoder["layers"]:  # pyright: ignore[reportGeneralTypeIssues]
            state = layer(state, visible)
            hidden_states.append(state)
        last_hidden_state = self.final_layer_norm(state)
        pooled = last_hidden_state[
            torch.arange(len(input_ids)), eos_positions(input_ids, self.config.eos_token_id)
        ]
        if self.config.projection_dim is not None:
            pooled = self.text_projection(pooled)
        return TextStates(tuple(hidden_states), last_hidden_state, pooled)


class _Layer(nn.Module):
    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        width = config.hidden_size
        self.self_attn = _SelfAttention(width, config.num_attention_heads)
        self.layer_norm1 = nn.LayerNorm(width, eps=config.layer_norm_eps)
        self.layer_norm2 = nn.LayerNorm(width, eps=config.layer_norm_eps)
        self.mlp = nn.ModuleDict(
            {
                "fc1": nn.Linear(width, config.intermediate_size),
                "fc2": nn.Linear(config.intermediate_size, width),
            }
        )
        self.quick = config.hidden_act == "quick_gelu"

    def forward(
        self, x: Float[Tensor, "batch tokens width"], visible: Bool[Tensor, "#batch 1 tokens tokens"]
    ) -> Float[Tensor, "batch tokens width"]:
        # h' = h + Attention(LN(h));  h'' = h' + MLP(LN(h'))
        x = x + self.self_attn(self.layer_norm1(x), visible)
        inner = self.mlp["fc1"](self.layer_norm2(x))
        # OpenAI's towers use quick GELU, x sigmoid(1.702 x); OpenCLIP's the exact one
        inner = inner * torch.sigmoid(1.702 * inner) if self.quick else nn.functional.gelu(inner)
        return x + self.mlp["fc2"](inner)


class _SelfAttention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q_proj, self.k_proj, self.v_proj, self.out_proj = (nn.Linear(width, width) for _ in range(4))

    def forward(
        self, x: Float[Tensor, "batch tokens width"], visible: Bool[Tensor, "#batch 1 tokens tokens"]
    ) -> Float[Tensor, "batch tokens width"]:
        q, k, v = (
            projection(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for projection in (self.q_proj, self.k_proj, self.v_proj)
        )
        # softmax(Q K^T / sqrt(d)) V over what is visible
        scores = (q @ k.transpose(-1, -2)) * q.shape[-1] ** -0.5
        attention = scores.masked_fill(~visible, -torch.inf).softmax(dim=-1) @ v
        return self.out_proj(attention.transpose(1, 2).flatten(2))
