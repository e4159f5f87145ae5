"""The VAE: AutoencoderKL, 8x smaller per side, 4 latent channels (Rombach et al. 2022, section 3.1).

It is fully convolutional, so it learns on crops of scenes and serves pictures of any size. What it cannot draw,
no model of the family can: it is trained first, and longest for its size.
"""

# diffusers' and transformers' annotations are narrower than what they accept and return:
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportOptionalMemberAccess=false
# pyright: reportOptionalSubscript=false, reportOperatorIssue=false

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from diffusers.models.attention_processor import Attention
from diffusers.models.downsampling import Downsample2D
from diffusers.models.resnet import ResnetBlock2D
from diffusers.models.upsampling import Upsample2D
from torch import Tensor

from lessonlib.models import store
from lessonlib.world.render import render
from lessonlib.world.scene import sample
from lessonlib.zoo.latents import cached, pixels, scene
from lessonlib.zoo.micro import BUCKETS
from lessonlib.zoo.training import Network, Plan, Step, train

PLAN = Plan(steps=5500, batch=16, learning_rate=1e-3, seed=11, warmup=50, weight_decay=0.0, optimizer="muon")
CROP = 64  # pixels a side
# What the decoder learns from when it learns alone:
SCENES = 32_000
SHARES = (0.5, 0.25, 0.25)  # of them in each of the SDXL family's shapes
NOISE = 0.2  # in their latents of unit variance, at most: standard deviation


def build() -> AutoencoderKL:
    """An untrained VAE of 1.7M parameters, ready to learn (see `start_as_pooling`)."""
    vae = AutoencoderKL(
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
    start_as_pooling(vae)
    return vae


@torch.no_grad()
def start_as_pooling(vae: AutoencoderKL) -> None:
    """Make the untouched network average on the way down and repeat on the way up; residual branches start at zero.

    With the default initialisation every plain convolution on the path shrinks the signal under the posterior's noise, and
    training sat for hundreds of steps at what the mean colour of a crop alone gives.
    """
    for module in vae.modules():
        if isinstance(module, ResnetBlock2D):
            torch.nn.init.zeros_(module.conv2.weight)
            if module.conv_shortcut is not None:
                _identity(module.conv_shortcut.weight, slice(0, 1))
        elif isinstance(
            module, Downsample2D
        ):  # pads right and below: rows 0 and 1 of the kernel are the 2x2 block
            _identity(module.conv.weight, slice(0, 2))
        elif isinstance(module, Upsample2D):
            _identity(module.conv.weight, slice(1, 2))
        elif isinstance(module, Attention):
            torch.nn.init.zeros_(module.to_out[0].weight)
    vae.quant_conv.weight[4:] *= 0.1  # the posterior's log-variance starts near -6: a signal, not noise
    vae.quant_conv.bias[4:] = -6.0


def _identity(weight: Tensor, taps: slice) -> None:
    """Fill a convolution [out, in, k, k] with: channel i is the mean of input channel i (mod in) over the kernel's taps."""
    out_channels, in_channels = weight.shape[:2]
    weight.mul_(0.1)
    for channel in range(out_channels):
        cell = weight[channel, channel % in_channels, taps, taps]
        cell += 1 / cell.numel()


def crops(rng: np.random.Generator, count: int) -> Tensor:
    """Random crops of random scenes, four a scene: float32 [count, 3, CROP, CROP] in -1..1.

    Crops start at even pixels, so that the decoder also learns what is not aligned with its own grid of 8.
    """
    out = np.empty((count, CROP, CROP, 3), np.uint8)
    for index in range(count):
        if index % 4 == 0:
            image = render(sample(rng)).image
        y, x = 2 * rng.integers(0, (np.array(image.shape[:2]) - CROP) // 2 + 1)
        out[index] = image[y : y + CROP, x : x + CROP]
    return torch.from_numpy(out).permute(0, 3, 1, 2).float() / 127.5 - 1


def gradient_loss(a: Tensor, b: Tensor) -> Tensor:
    """L1 between the two pictures' differences of neighbouring pixels: keeps edges sharp without a discriminator."""
    difference = a - b
    return (difference[..., 1:] - difference[..., :-1]).abs().mean() + (
        difference[..., 1:, :] - difference[..., :-1, :]
    ).abs().mean()


def drawing_loss(drawn: Tensor, pictures: Tensor) -> tuple[Tensor, Tensor]:
    """L1, gradients and squares of what a decoder drew, all as one number, and the PSNR in dB."""
    mse = F.mse_loss(drawn, pictures)
    loss = F.l1_loss(drawn, pictures) + 0.3 * gradient_loss(drawn, pictures) + 3 * mse
    return loss, 10 * torch.log10(4 / mse.detach())


def loss_with(plan: Plan):
    """The loss of a step: reconstruction and a slight pull of the posterior to the unit normal."""

    def loss(network: Network, step: Step) -> dict[str, Tensor]:
        vae: AutoencoderKL = network.parts["vae"]
        real = crops(step.numpy, plan.batch).to(step.device)
        posterior = vae.encode(real).latent_dist
        noise = torch.randn(posterior.mean.shape, generator=step.torch).to(step.device)
        latents = posterior.mean + posterior.std * noise
        drawn, psnr = drawing_loss(vae.decode(latents).sample.float(), real)
        kl = posterior.kl().mean() / latents[0].numel()
        return {"loss": drawn + 1e-5 * kl, "kl": kl, "psnr": psnr}

    return loss


def decoders_loss(plan: Plan, latents: list[Tensor]):
    """The loss of a step of the decoder alone, on whole scenes of one of the shapes of `BUCKETS`.

    Models say latents less clean than the encoder's, one-step models most of all. So a little noise is in them here, too, of
    another size in each picture: what the decoder has learned to ignore does not mottle a flat background.

    Args:
        latents: of unit variance, a tensor [N, 4, H/8, W/8] for each shape.
    """

    def loss(network: Network, step: Step) -> dict[str, Tensor]:
        vae: AutoencoderKL = network.parts["vae"]
        shape = int(step.numpy.choice(len(BUCKETS), p=SHARES))
        rows = step.numpy.integers(0, len(latents[shape]), plan.batch)
        real = pixels([scene(int(row)) for row in rows], BUCKETS[shape]).to(step.device)
        clean = latents[shape][rows].float()
        size = NOISE * torch.rand(plan.batch, 1, 1, 1, generator=step.torch) ** 2
        noisy = (clean + size * torch.randn(clean.shape, generator=step.torch)).to(step.device)
        drawn, psnr = drawing_loss(vae.decode(noisy / vae.config.scaling_factor).sample.float(), real)
        return {"loss": drawn, "psnr": psnr}

    return loss


SCALING_FACTOR = 0.18215  # Stable Diffusion's own number: latents * 0.18215 have unit variance


@torch.no_grad()
def standardise(vae: AutoencoderKL, count: int = 1000) -> None:
    """Fold a shift and a scale of each latent channel into the 1x1 convolutions around the latents.

    Afterwards `latents * scaling_factor` has mean 0 and variance 1 in every channel over the world's scenes, so that the
    pipelines' arithmetic is Stable Diffusion's own, and nothing that the decoder draws changes.
    """
    device = next(vae.parameters()).device
    means = [
        vae.encode(pixels([scene(k) for k in range(s, s + 50)]).to(device)).latent_dist.mean
        for s in range(0, count, 50)
    ]
    latents = torch.cat(means).float()
    mean, std = latents.mean(dim=(0, 2, 3)), latents.std(dim=(0, 2, 3))
    gain = 1 / (std * SCALING_FACTOR)
    # z' = gain (z - mean), log variance' = log variance + 2 log gain
    vae.quant_conv.weight[:4] *= gain[:, None, None, None]
    vae.quant_conv.bias[:4] = (vae.quant_conv.bias[:4] - mean) * gain
    vae.quant_conv.bias[4:] += 2 * gain.log()
    # z = z' / gain + mean, then what the layer did before
    vae.post_quant_conv.bias += vae.post_quant_conv.weight[:, :, 0, 0] @ mean
    vae.post_quant_conv.weight /= gain[None, :, None, None]
    vae.register_to_config(scaling_factor=SCALING_FACTOR)


def run(runs: Path, minutes: float | None = None, plan: Plan = PLAN) -> Path:
    """Train (or go on), standardise the latents, and write `runs/vae/model`.

    From the shipped weights the decoder learns alone: every member reads these latents, so they stay.
    """
    folder = None if plan.start == "scratch" else store.unfold("vae")
    vae = build() if folder is None else AutoencoderKL.from_pretrained(folder)
    loss = loss_with(plan)
    if folder is not None:
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        latents = [
            cached(vae.to(device), _latents(runs, folder, size), round(share * SCENES), device, size=size)
            for size, share in zip(BUCKETS, SHARES, strict=True)
        ]
        vae.requires_grad_(False).decoder.requires_grad_(True)
        vae.post_quant_conv.requires_grad_(True)
        loss = decoders_loss(plan, latents)
    trained = train("vae", Network(vae=vae), loss, plan, runs=runs, minutes=minutes).to("cpu")
    if folder is None:
        standardise(vae)
    trained.parts["vae"].save_pretrained(runs / "vae/model")
    return runs / "vae/model"


def _latents(runs: Path, folder: Path, size: tuple[int, int]) -> Path:
    """Squares lie where every recipe looks for them."""
    height, width = size
    return runs / "latents" / (folder.name if height == width else f"{folder.name}-{height}x{width}")


def ship(runs: Path) -> None:
    """Store the trained VAE in the package. 16 bits: at 1.7M parameters its decoder is what every picture passes."""
    store.fold(runs / "vae/model", "vae", bits=16)
    store.add_member("vae", None, {"": "vae"})
