"""diffusers' models at a tiny size with every weight random, and inputs to call them with."""

from __future__ import annotations

import random
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from torch import Tensor, nn

# the widest difference allowed, by the type of the numbers
TOLERANCE = {torch.float32: 1e-4, torch.float64: 1e-6}

POOLED, ID_DIM = 20, 8
_TEXT_TIME = {
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": ID_DIM,
    "use_linear_projection": True,
}
_SMALL = {"norm_num_groups": 8, "cross_attention_dim": 24, "attention_head_dim": 4}
_ZOO = {
    "block_out_channels": (48, 96, 128),
    "layers_per_block": 1,
    "down_block_types": ("CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
    "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
    "norm_num_groups": 16,
}

CONFIGS: dict[str, dict[str, Any]] = {
    "sd15": {**_SMALL, "block_out_channels": (16, 32, 32, 32)},
    "sdxl": {
        **_SMALL,
        **_TEXT_TIME,
        "block_out_channels": (16, 32, 64),
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        "transformer_layers_per_block": (1, 2, 3),
        "attention_head_dim": (1, 2, 4),
        "projection_class_embeddings_input_dim": POOLED + 6 * ID_DIM,
    },
    "refiner": {
        **_SMALL,
        **_TEXT_TIME,
        "block_out_channels": (16, 32, 32, 48),
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
        "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        "transformer_layers_per_block": 2,
        "projection_class_embeddings_input_dim": POOLED + 5 * ID_DIM,
    },
    "inpainting": {**_SMALL, **_ZOO, "in_channels": 9},
    "lcm": {**_SMALL, **_ZOO, "time_cond_proj_dim": 12},
    "attention in the middle": {
        **_SMALL,
        **_ZOO,
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
        "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    },
    "heads that do not divide": {**_SMALL, **_ZOO, "attention_head_dim": 5},
    "velocity and four outputs more": {**_SMALL, **_ZOO, "out_channels": 8, "norm_eps": 1e-6},
}


def random_config(seed: int) -> dict[str, Any]:
    """Any configuration that is written here, at a tiny size."""
    rng = random.Random(seed)
    blocks = rng.randint(1, 3)
    config: dict[str, Any] = {
        "in_channels": rng.choice([4, 9]),
        "block_out_channels": tuple(8 * rng.randint(1, 5) for _ in range(blocks)),
        "down_block_types": tuple(rng.choice(["DownBlock2D", "CrossAttnDownBlock2D"]) for _ in range(blocks)),
        "up_block_types": tuple(rng.choice(["UpBlock2D", "CrossAttnUpBlock2D"]) for _ in range(blocks)),
        "layers_per_block": rng.randint(1, 3),
        "transformer_layers_per_block": tuple(rng.randint(1, 2) for _ in range(blocks)),
        "attention_head_dim": tuple(rng.randint(1, 4) for _ in range(blocks)),
        "cross_attention_dim": rng.randint(5, 30),
        "norm_num_groups": rng.choice([2, 4, 8]),
        "use_linear_projection": rng.random() < 0.5,
        "time_cond_proj_dim": rng.choice([None, 6]),
    }
    if rng.random() < 0.5:
        ids = rng.choice([5, 6])
        config |= {**_TEXT_TIME, "projection_class_embeddings_input_dim": POOLED + ids * ID_DIM}
    return config


def randomise(model: nn.Module, seed: int = 0) -> nn.Module:
    """Move every parameter a little, so that none equals another (a norm's ones, zero biases)."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.05 * torch.randn(parameter.shape, generator=generator)
    return model.eval()


def reference_unet(config: dict[str, Any], dtype: torch.dtype = torch.float32) -> UNet2DConditionModel:
    torch.manual_seed(0)
    unet = randomise(UNet2DConditionModel(**config))
    for parameter in unet.parameters():  # `.to` warns about a list of modules that is empty here
        parameter.data = parameter.data.to(dtype)
    return unet


def inputs(
    config: dict[str, Any],
    dtype: torch.dtype = torch.float32,
    size: tuple[int, int] = (16, 16),
    batch: int = 2,
) -> dict[str, Any]:
    """Keyword arguments for both UNets."""
    generator = torch.Generator().manual_seed(1)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype)

    kwargs: dict[str, Any] = {
        "sample": normal(batch, config.get("in_channels", 4), *size),
        "timestep": torch.tensor([981, 20, 500][:batch]),
        "encoder_hidden_states": normal(batch, 7, config["cross_attention_dim"]),
    }
    features = config.get("projection_class_embeddings_input_dim")
    if features:
        kwargs["added_cond_kwargs"] = {
            "text_embeds": normal(batch, POOLED),
            "time_ids": 100 * normal(batch, (features - POOLED) // ID_DIM).abs(),
        }
    if config.get("time_cond_proj_dim"):
        kwargs["timestep_cond"] = normal(batch, config["time_cond_proj_dim"])
    return kwargs


def difference(a: Tensor, b: Tensor) -> float:
    assert a.shape == b.shape
    assert a.dtype == b.dtype
    return (a - b).abs().max().item()
