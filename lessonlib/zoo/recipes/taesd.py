"""taesd: a small, fast autoencoder for the same latents as the VAE's, for live loops and previews.

AutoencoderTiny (madebyollin's TAESD): convolutions and ReLUs alone, one width throughout. It learns from scenes and
their cached latents: the decoder draws the scene itself, so that it need not repeat the VAE's own errors, and the encoder
says the VAE's latents. The VAE never runs during training. Its latents have unit variance and its `scaling_factor` is 1:
the pipelines need nothing else to use it. What the decoder draws worst is people, so from the shipped weights it learns
alone, on batches of which half are people.
"""

# diffusers' and transformers' annotations are narrower than what they accept and return:
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL, AutoencoderTiny
from torch import Tensor

from lessonlib.files import write_text
from lessonlib.models import store
from lessonlib.zoo.latents import cached, pixels, scene
from lessonlib.zoo.recipes.vae import drawing_loss
from lessonlib.zoo.training import Network, Plan, Step, train

# 0.25 s a step on one CPU core: 25 minutes
PLAN = Plan(steps=6000, batch=16, learning_rate=2e-3, seed=61, warmup=100, weight_decay=0.0)
SCENES = 16_000
# Measured on one CPU core: 16 channels decode 6.5 times faster than the VAE, 24 or 32 only 2.5 times.
WIDTH, BLOCKS = 16, (3, 3, 1, 0)


def build() -> AutoencoderTiny:
    """An untrained autoencoder of 0.11M parameters: most layers where the picture is smallest."""
    return AutoencoderTiny(
        encoder_block_out_channels=(WIDTH,) * 4,
        decoder_block_out_channels=(WIDTH,) * 4,
        num_encoder_blocks=BLOCKS[::-1],
        num_decoder_blocks=BLOCKS,
        latent_channels=4,
    )


def decoders_loss(taesd: AutoencoderTiny, pictures: Tensor, latents: Tensor) -> dict[str, Tensor]:
    """The loss of one batch for the decoder alone.

    Args:
        pictures: float32 [B, 3, H, W] in -1..1.
        latents: their latents of unit variance, float32 [B, 4, H/8, W/8].
    """
    drawn, psnr = drawing_loss(taesd.decode(latents).sample.float(), pictures)
    return {"loss": drawn, "psnr": psnr}


def loss_of(taesd: AutoencoderTiny, pictures: Tensor, latents: Tensor) -> dict[str, Tensor]:
    """The loss of one batch for encoder and decoder; takes what `decoders_loss` takes."""
    drawn = decoders_loss(taesd, pictures, latents)
    encoded = F.mse_loss(taesd.encode(pictures).latents.float(), latents)
    return {"loss": drawn["loss"] + 0.5 * encoded, "psnr": drawn["psnr"], "latents": encoded}


def run(runs: Path, minutes: float | None = None, plan: Plan = PLAN) -> Path:
    """Train on the shipped VAE's latents and write `runs/taesd/model`.

    From the shipped weights the decoder learns alone, and half of what it learns from are people.
    """
    folder = store.unfold("vae")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    vae = AutoencoderKL.from_pretrained(folder).to(device)
    latents = cached(vae, runs / "latents" / folder.name, SCENES, device)
    torch.manual_seed(plan.seed)
    every = np.arange(SCENES)
    taesd, batch_loss, halves = build(), loss_of, (every, every)
    if plan.start == "shipped":
        taesd, batch_loss = AutoencoderTiny.from_pretrained(store.unfold("taesd")), decoders_loss
        taesd.encoder.requires_grad_(False)
        halves = (every, np.array([row for row in every if scene(int(row)).person]))

    def loss(network: Network, step: Step) -> dict[str, Tensor]:
        rows = np.concatenate([step.numpy.choice(half, plan.batch // 2) for half in halves])
        pictures = pixels([scene(int(row)) for row in rows]).to(step.device)
        return batch_loss(network.parts["taesd"], pictures, latents[rows].float().to(step.device))

    trained = train("taesd", Network(taesd=taesd), loss, plan, runs=runs, minutes=minutes)
    trained.parts["taesd"].to("cpu").save_pretrained(runs / "taesd/model")
    _without_unexpected(runs / "taesd/model/config.json")
    return runs / "taesd/model"


def _without_unexpected(config: Path) -> None:
    """AutoencoderTiny writes an entry of which it warns when it reads it."""
    entries = json.loads(config.read_text())
    entries.pop("block_out_channels", None)
    write_text(config, json.dumps(entries, indent=2) + "\n")


def ship(runs: Path) -> None:
    """Store the trained autoencoder in the package. 16 bits: it has 0.11M parameters."""
    store.fold(runs / "taesd/model", "taesd", bits=16)
    store.add_member("taesd", None, {"": "taesd"})
