"""Numbers a network can read: the time step, and SDXL's sizes and crops, as sines and cosines.

Sources: Vaswani et al., "Attention Is All You Need" (1706.03762), section 3.5, as used by Ho et al., DDPM
(2006.11239), appendix B; Podell et al., "SDXL" (2307.01952), section 2.2; Meng et al., "On Distillation of
Guided Diffusion Models" (2210.03142) and Luo et al., "Latent Consistency Models" (2310.04378) for the
guidance embedding, here `condition`.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from lessonlib.errors import LessonError

Timestep = Shaped[Tensor, " times"] | Shaped[Tensor, ""] | float | int
"""A time for the whole batch, or a tensor with one a picture."""


def timestep_embedding(timesteps: Shaped[Tensor, " n"], dim: int) -> Float[Tensor, "n dim"]:
    """Sinusoidal embedding of `n` numbers, cosines first, always in float32.

    Stable Diffusion's networks were trained on the float32 values: at t ≈ 1000 a more exact sine would be
    another input.

    Args:
        timesteps: the numbers (time steps, pixels, scores), whole or fractional.
        dim: length of each embedding, even.
    """
    half = dim // 2
    # ω_i = 10000^(-i / (d/2)),  i = 0 … d/2 - 1
    frequencies = torch.exp(
        -math.log(10000) * torch.arange(half, dtype=torch.float32, device=timesteps.device) / half
    )
    # [cos(ω_i t), sin(ω_i t)]
    angles = timesteps.float()[:, None] * frequencies
    return torch.cat([angles.cos(), angles.sin()], dim=-1)


class TimestepEmbedding(nn.Module):
    """The two-layer network that turns an embedding into the vector every residual block receives.

    Args:
        in_channels: length of the embedding that comes in.
        time_embed_dim: length of the vector that goes out.
        cond_proj_dim: length of the guidance embedding (LCM's w), for networks that have one.
    """

    def __init__(self, in_channels: int, time_embed_dim: int, cond_proj_dim: int | None = None) -> None:
        super().__init__()
        self.linear_1 = nn.Linear(in_channels, time_embed_dim)
        self.linear_2 = nn.Linear(time_embed_dim, time_embed_dim)
        self.cond_proj = nn.Linear(cond_proj_dim, in_channels, bias=False) if cond_proj_dim else None

    def forward(
        self, embedding: Float[Tensor, "b in"], condition: Float[Tensor, "b cond"] | None = None
    ) -> Float[Tensor, "b out"]:
        if condition is not None:
            if self.cond_proj is None:
                raise LessonError(
                    "This network has no guidance embedding (time_cond_proj_dim is not set), so it takes no "
                    "timestep_cond: leave it out, or load a latent consistency model."
                )
            # the guidance scale enters beside the time step: γ(t) + P γ(w)
            embedding = embedding + self.cond_proj(condition)
        return self.linear_2(F.silu(self.linear_1(embedding)))


def time_ids(
    original_size: tuple[int, int],
    crops_coords_top_left: tuple[int, int],
    target_size: tuple[int, int],
) -> Float[Tensor, "1 6"]:
    """SDXL's micro-conditioning: three (height, width) or (top, left) pairs, in pixels (SDXL, section 2.2).

    Args:
        original_size: the picture's size before training resized it: its apparent resolution.
        crops_coords_top_left: where the crop began; (0, 0) asks for an uncropped, centred subject.
        target_size: the size of the aspect bucket, that is, of the picture to make.
    """
    return torch.tensor([[*original_size, *crops_coords_top_left, *target_size]], dtype=torch.float32)


def aesthetic_time_ids(
    original_size: tuple[int, int],
    crops_coords_top_left: tuple[int, int],
    aesthetic_score: float = 6.0,
) -> Float[Tensor, "1 5"]:
    """The refiner's five ids: an aesthetic score (about 1 to 10) stands in place of the target size.

    The pipeline's defaults are 6.0 for the prompt and 2.5 for the negative prompt.
    """
    return torch.tensor([[*original_size, *crops_coords_top_left, aesthetic_score]], dtype=torch.float32)


def micro_conditioning(
    text_embeds: Float[Tensor, "b pooled"], time_ids: Shaped[Tensor, "b ids"], dim: int
) -> Float[Tensor, "b features"]:
    """What SDXL's `add_embedding` reads: the pooled text beside the sinusoidal embedding of every id.

    Its length is pooled + ids·dim: 1280 + 6·256 = 2816 for the base model, 1280 + 5·256 = 2560 for the
    refiner.

    Args:
        text_embeds: pooled text embedding (the projected end-of-text state of the bigG encoder).
        time_ids: micro-conditioning ids, from `time_ids` or `aesthetic_time_ids`.
        dim: length of each id's embedding (`addition_time_embed_dim`).
    """
    ids = timestep_embedding(time_ids.flatten(), dim).reshape(len(time_ids), -1)
    # c = [pooled, emb(h), emb(w), emb(top), emb(left), …]
    return torch.cat([text_embeds, ids.to(text_embeds.dtype)], dim=-1)
