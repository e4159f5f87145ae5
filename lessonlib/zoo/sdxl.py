"""What the members of the SDXL family share: two text towers, micro-conditioned batches, and a start from what is known.

The family's UNet has the layout of sd15's, so that training begins with every object known. What differs, the text states it
reads, is bridged by least squares: see `linear_map`.
"""

# diffusers' and transformers' annotations are narrower than what they accept and return:
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportOptionalMemberAccess=false
# pyright: reportCallIssue=false

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from torch import Tensor
from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from lessonlib.models import store
from lessonlib.world.captions import caption
from lessonlib.world.render import SIZE
from lessonlib.zoo.latents import cached, scene
from lessonlib.zoo.micro import SHARES, Framing, cached_buckets, framing
from lessonlib.zoo.recipes.sd15 import shares_of_scenes, tokenize
from lessonlib.zoo.training import Step

ID_WIDTH = 32  # each id becomes a sinusoidal embedding of this length
EXAMPLES, SQUARES = 64_000, 8_000


class Prompt(NamedTuple):
    """What SDXL reads of a prompt."""

    states: Tensor  # [B, 77, C], both towers' last states but one, side by side
    pooled: Tensor  # [B, P], the second tower's projected end-of-text state


@dataclass(frozen=True)
class Towers:
    """The text towers of the family; the refiner reads the second alone."""

    tokenizer: CLIPTokenizer
    first: CLIPTextModel | None
    second: CLIPTextModelWithProjection

    def read(self, texts: list[str]) -> Prompt:
        """Prompts as the pipelines encode them."""
        device = next(self.second.parameters()).device
        ids = tokenize(self.tokenizer, texts).to(device)
        of_second = self.second(input_ids=ids, output_hidden_states=True)
        states = [of_second.hidden_states[-2]]
        if self.first is not None:
            states.insert(0, self.first(input_ids=ids, output_hidden_states=True).hidden_states[-2])
        return Prompt(torch.cat(states, dim=-1), of_second.text_embeds)


def deepened(text: CLIPTextModel) -> CLIPTextModel:
    """The tower with a copy of its last layer on top: its own last layer becomes the last but one, which SDXL reads."""
    config = copy.deepcopy(text.config)
    config.num_hidden_layers += 1
    deeper = CLIPTextModel(config)
    deeper.load_state_dict(text.state_dict(), strict=False)
    deeper.encoder.layers[-1].load_state_dict(text.encoder.layers[-1].state_dict())
    return deeper


# --- A UNet that begins with what another one knows ---------------------------------------------------


def linear_map(source: Tensor, target: Tensor, ridge: float = 1e-3) -> Tensor:
    """The matrix M [S, T] for which `source @ M` comes nearest to `target`, by least squares.

    Args:
        source: text states [..., S] that a new UNet is to read.
        target: the states [..., T] of the same tokens that a trained UNet reads.
        ridge: a slight pull of M to zero, as a share of the mean square of the source.
    """
    a, b = source.flatten(0, -2).double(), target.flatten(0, -2).double()
    gram = a.T @ a
    pull = ridge * gram.diagonal().mean() * torch.eye(len(gram), dtype=gram.dtype, device=gram.device)
    return torch.linalg.solve(gram + pull, a.T @ b).float()


@torch.no_grad()
def grown(
    unet: UNet2DConditionModel, states: Tensor, known: Tensor, pooled: int, ids: int
) -> UNet2DConditionModel:
    """A UNet that reads `states`, a pooled vector and ids, and at first says what `unet` says to `known`.

    Keys and values W of each cross-attention become W Mᵀ, where states M ≈ known: measured on sd15's captions, M explains
    96 % of the variance (captions it was not fitted to). The embedding of the pooled vector and of the ids ends in zeros.

    Args:
        states, known: states [B, 77, S] and [B, 77, T] of the same captions.
        pooled: length of the pooled vector.
        ids: how many ids: 6 for the base, 5 for the refiner.
    """
    config = {key: value for key, value in unet.config.items() if not key.startswith("_")}
    config |= {
        "cross_attention_dim": states.shape[-1],
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": ID_WIDTH,
        "projection_class_embeddings_input_dim": pooled + ids * ID_WIDTH,
    }
    new = UNet2DConditionModel(**config)
    bridge = linear_map(states, known)
    weights = {
        key: value @ bridge.T if key.endswith(("attn2.to_k.weight", "attn2.to_v.weight")) else value
        for key, value in unet.state_dict().items()
        if not key.startswith("add_embedding.")
    }
    missing, unexpected = new.load_state_dict(weights, strict=False)
    assert not unexpected
    assert all(key.startswith("add_embedding.") for key in missing)
    torch.nn.init.zeros_(new.add_embedding.linear_2.weight)
    torch.nn.init.zeros_(new.add_embedding.linear_2.bias)
    return new


def sample_captions(count: int = 256) -> list[str]:
    """Captions of training scenes in all wordings, the empty one first."""
    rng = np.random.default_rng(68)
    return ["", *(caption(scene(k), rng) for k in range(count - 1))]


# --- Data ---------------------------------------------------------------------------------------------


class Examples(NamedTuple):
    """A batch of one aspect: clean latents float32 [B, 4, h, w], how each came about, a caption of each."""

    latents: Tensor
    frames: list[Framing]
    texts: list[str]


@dataclass(frozen=True)
class Buckets:
    """Cached latents, one array an aspect, and how often each of its rows is drawn (of sum 1)."""

    latents: list[np.ndarray]
    shares: list[np.ndarray]

    def draw(self, step: Step, count: int) -> Examples:
        """`count` examples of one bucket."""
        bucket = int(step.numpy.choice(len(SHARES), p=SHARES))
        rows = np.sort(step.numpy.choice(len(self.latents[bucket]), count, p=self.shares[bucket]))
        frames = [framing(bucket, int(row)) for row in rows]
        clean = torch.from_numpy(self.latents[bucket][rows]).float().to(step.device)
        return Examples(clean, frames, [caption(frame.scene, step.numpy) for frame in frames])


@dataclass(frozen=True)
class Squares:
    """Latents float16 [N, 4, 16, 16] of the training scenes 0..N-1 as they are: whole, neither enlarged nor cropped."""

    latents: Tensor

    def draw(self, step: Step, count: int) -> Examples:
        """`count` examples, with the ids that the pipeline sends by default."""
        rows = step.numpy.integers(0, len(self.latents), count)
        frames = [Framing(scene(int(row)), (SIZE, SIZE), (0, 0), (SIZE, SIZE)) for row in rows]
        texts = [caption(frame.scene, step.numpy) for frame in frames]
        return Examples(self.latents[rows].float().to(step.device), frames, texts)


def load_buckets(runs: Path, device: torch.device, examples: int = EXAMPLES) -> Buckets:
    """The shipped VAE's latents of `examples` pictures, made once and kept in `runs/latents`."""
    folder = store.unfold("vae")
    vae = AutoencoderKL.from_pretrained(folder).to(device)
    counts = tuple(round(share * examples) for share in SHARES)
    latents = cached_buckets(vae, runs / "latents" / folder.name, counts, device)
    shares = [
        shares_of_scenes(framing(bucket, row).scene for row in range(count))
        for bucket, count in enumerate(counts)
    ]
    return Buckets(latents, shares)


def load_squares(runs: Path, device: torch.device, examples: int = SQUARES) -> Squares:
    """The shipped VAE's latents of the first training scenes, made once and kept in `runs/latents`, as sd15's are."""
    folder = store.unfold("vae")
    vae = AutoencoderKL.from_pretrained(folder).to(device)
    return Squares(cached(vae, runs / "latents" / folder.name, examples, device))


def added(pooled: Tensor, ids: Tensor) -> dict[str, Tensor]:
    """`added_cond_kwargs` of the UNet."""
    return {"text_embeds": pooled, "time_ids": ids}


def pipeline_index(class_name: str, scheduler: str, *, refiner: bool = False) -> dict[str, Any]:
    """`model_index.json` of the family's pipelines; the refiner has no first tower."""
    first = [None, None] if refiner else ["transformers", "CLIPTextModel"]
    return {
        "_class_name": class_name,
        "feature_extractor": [None, None],
        "image_encoder": [None, None],
        "force_zeros_for_empty_prompt": not refiner,
        **({"requires_aesthetics_score": True} if refiner else {}),
        "scheduler": ["diffusers", scheduler],
        "text_encoder": first,
        "text_encoder_2": ["transformers", "CLIPTextModelWithProjection"],
        "tokenizer": [None, None] if refiner else ["transformers", "CLIPTokenizer"],
        "tokenizer_2": ["transformers", "CLIPTokenizer"],
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
    }
