"""The VAE: AutoencoderKL, 8x smaller per side, 4 latent channels (Rombach et al. 2022, section 3.1).

It is fully convolutional, so it learns on 64-pixel crops of scenes and serves pictures of any size. What it cannot draw,
no model of the family can: it is trained first, and longest for its size.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from torch import Tensor

from lessonlib.world.render import render
from lessonlib.world.scene import sample
from lessonlib.zoo.training import Network, Plan, Step

CROP = 64
PLAN = Plan(steps=9000, batch=16, learning_rate=1.0e-3, seed=11, warmup=100, weight_decay=0.0)


def build() -> AutoencoderKL:
    """An untrained VAE of 1.6M parameters."""
    return AutoencoderKL(
        in_channels=3,
        out_channels=3,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(16, 32, 64, 96),
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=8,
        sample_size=128,
        force_upcast=False,
    )


def crops(rng: np.random.Generator, count: int) -> Tensor:
    """Random crops of random scenes, four a scene: float32 [count, 3, CROP, CROP] in -1..1.

    Crops start at even pixels, so that the decoder also learns what is not aligned with its own grid of 8.
    """
    out = np.empty((count, CROP, CROP, 3), np.uint8)
    for index in range(count):
        if index % 4 == 0:
            image = render(sample(rng)).image
        y, x = 2 * rng.integers(0, (image.shape[0] - CROP) // 2 + 1), 2 * rng.integers(0, (image.shape[1] - CROP) // 2 + 1)
        out[index] = image[y : y + CROP, x : x + CROP]
    return torch.from_numpy(out).permute(0, 3, 1, 2).float() / 127.5 - 1


def gradient_loss(a: Tensor, b: Tensor) -> Tensor:
    """L1 between the two pictures' differences of neighbouring pixels: keeps edges sharp without a discriminator."""
    difference = a - b
    return (difference[..., 1:] - difference[..., :-1]).abs().mean() + (
        difference[..., 1:, :] - difference[..., :-1, :]
    ).abs().mean()


def loss(network: Network, step: Step) -> dict[str, Tensor]:
    """Reconstruction (L1 + gradients) and a slight pull of the posterior to the unit normal."""
    vae: AutoencoderKL = network.parts["vae"]  # type: ignore[assignment]
    pixels = crops(step.numpy, PLAN.batch).to(step.device)
    posterior = vae.encode(pixels).latent_dist
    noise = torch.randn(posterior.mean.shape, generator=step.torch).to(step.device)
    latents = posterior.mean + posterior.std * noise
    decoded = vae.decode(latents).sample.float()
    reconstruction = F.l1_loss(decoded, pixels)
    edges = gradient_loss(decoded, pixels)
    kl = posterior.kl().mean() / latents[0].numel()
    psnr = 10 * torch.log10(4 / F.mse_loss(decoded.detach(), pixels))
    return {"loss": reconstruction + 0.5 * edges + 1e-5 * kl, "l1": reconstruction, "kl": kl, "psnr": psnr}
