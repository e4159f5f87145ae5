"""Scenes as latents, encoded once: a diffusion model then trains at the cost of the UNet alone."""

# diffusers' and transformers' annotations are narrower than what they accept and return:
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportOptionalMemberAccess=false
# pyright: reportOptionalSubscript=false, reportOptionalOperand=false

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import Tensor
from tqdm.auto import tqdm

from lessonlib.files import replacing
from lessonlib.world.render import SIZE, render
from lessonlib.world.scene import Scene, sample
from lessonlib.zoo.training import mixed_precision

_SHARD = 2000  # scenes a file: what a killed run loses at most
_SEED = 31


def scene(index: int) -> Scene:
    """Training scene number `index`: the same on every machine, never a held-out combination."""
    return sample(np.random.default_rng([_SEED, index]))


def person_scene(index: int) -> Scene:
    """Training scene number `index` of people alone."""
    return sample(np.random.default_rng([_SEED, index, 1]), "person")


def pixels(scenes: list[Scene], size: tuple[int, int] = (SIZE, SIZE)) -> Tensor:
    """Pictures of (height, width) pixels as the VAE takes them: float32 [B, 3, H, W] in -1..1."""
    images = np.stack([render(one, *size).image for one in scenes])
    return torch.from_numpy(images).permute(0, 3, 1, 2).float() / 127.5 - 1


@torch.no_grad()
def cached(
    vae: AutoencoderKL,
    folder: Path,
    count: int,
    device: torch.device,
    draw: Callable[[int], Scene] = scene,
    size: tuple[int, int] = (SIZE, SIZE),
) -> Tensor:
    """Latents of the scenes 0..count-1 of (height, width) pixels, of unit variance: float16 [count, 4, H/8, W/8].

    Encoded in shards under `folder`, so that a run that was stopped goes on where it was. The folder belongs to one VAE,
    one stream of scenes (`draw`) and one size: name it after them.
    """
    shards = []
    for first in tqdm(range(0, count, _SHARD), desc="encoding scenes", unit="shard"):
        last = min(first + _SHARD, count)
        path = folder / (f"{first:06d}.pt" if last == first + _SHARD else f"{first:06d}-{last:06d}.pt")
        if not path.is_file():
            blocks = []
            for start in range(first, last, 50):
                batch = pixels([draw(index) for index in range(start, min(start + 50, last))], size).to(
                    device
                )
                blocks.append(encode(vae, batch).half().cpu())
            with replacing(path) as temporary:
                torch.save(torch.cat(blocks), temporary)
        shards.append(torch.load(path, weights_only=True))
    return torch.cat(shards)


@torch.no_grad()
def encode(vae: AutoencoderKL, pictures: Tensor) -> Tensor:
    """Pictures in -1..1 as latents of unit variance (the posterior's mean): [B, 3, H, W] -> float32 [B, 4, H/8, W/8]."""
    with torch.autocast(pictures.device.type, torch.bfloat16, enabled=mixed_precision() == "bf16"):
        mean = vae.encode(pictures).latent_dist.mean
    return mean.float() * vae.config.scaling_factor
