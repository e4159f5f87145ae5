"""sdxl-refiner: an expert for the last fifth of the way, that takes over the base's half-denoised latents.

Podell et al. (2023, section 2.5): it is trained on low noise alone (t < 200), reads the second text tower alone, and takes
five ids, the last one an aesthetic score. Here the score says how sharp the original was, so that asking for a high one, and
against a low one, sharpens. It begins as the shipped base.
"""

# diffusers' and transformers' annotations are narrower than what they accept and return:
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportOptionalMemberAccess=false

from __future__ import annotations

from pathlib import Path

import torch
from diffusers import DDPMScheduler, UNet2DConditionModel
from torch import Tensor
from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from lessonlib.models import store
from lessonlib.zoo.base import plain_attention
from lessonlib.zoo.micro import aesthetic_ids
from lessonlib.zoo.recipes import sdxl
from lessonlib.zoo.recipes.sd15 import SCHEDULER
from lessonlib.zoo.sdxl import Buckets, Towers, added, grown, load_buckets, pipeline_index, sample_captions
from lessonlib.zoo.training import Network, Plan, Step, train

# 0.57 s a step on one CPU core: 28 minutes
PLAN = Plan(steps=3000, batch=16, learning_rate=3e-4, seed=73, warmup=100)
MOST_NOISE = 200  # of 1000: what the refiner ever sees, the base's `denoising_end=0.8`
EMPTY = 0.1  # the refiner's pipeline encodes "" for no prompt
FOLDERS = {
    key: part for key, part in sdxl.FOLDERS.items() if key not in ("text_encoder", "tokenizer", "unet")
} | {"unet": "refiner-unet"}


@torch.no_grad()
def from_base(base: Path) -> tuple[UNet2DConditionModel, Towers]:
    """A UNet that begins with what the base knows, and the one tower that it reads."""
    tokenizer = CLIPTokenizer.from_pretrained(base / "tokenizer")
    second = CLIPTextModelWithProjection.from_pretrained(base / "text_encoder_2").eval()
    alone = Towers(tokenizer, None, second.requires_grad_(False))
    both = Towers(tokenizer, CLIPTextModel.from_pretrained(base / "text_encoder").eval(), second)
    captions = sample_captions()
    states, pooled = alone.read(captions)
    unet = UNet2DConditionModel.from_pretrained(base / "unet")
    return grown(unet, states, both.read(captions).states, pooled.shape[1], ids=5), alone


def loss_with(plan: Plan, buckets: Buckets, towers: Towers):
    """The loss of a step: the plain error of the noise, at little noise."""
    alphas_cumprod = DDPMScheduler(
        **{key: SCHEDULER[key] for key in ("beta_start", "beta_end", "beta_schedule")}
    ).alphas_cumprod

    def loss(network: Network, step: Step) -> dict[str, Tensor]:
        clean, frames, texts = buckets.draw(step, plan.batch)
        texts = ["" if step.numpy.random() < EMPTY else text for text in texts]
        with torch.no_grad():
            prompt = towers.read(texts)
        noise = torch.randn(clean.shape, generator=step.torch).to(step.device)
        timesteps = torch.randint(0, MOST_NOISE, (len(clean),), generator=step.torch).to(step.device)
        level = alphas_cumprod.to(step.device)[timesteps][:, None, None, None]
        predicted = network.parts["unet"](
            level.sqrt() * clean + (1 - level).sqrt() * noise,
            timesteps,
            encoder_hidden_states=prompt.states,
            added_cond_kwargs=added(prompt.pooled, aesthetic_ids(frames, step.device)),
        ).sample
        return {"loss": (predicted.float() - noise).square().mean()}

    return loss


def run(runs: Path, minutes: float | None = None, plan: Plan = PLAN) -> Path:
    """Train from the shipped base and write `runs/sdxl-refiner/model/{unet,scheduler}`."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(plan.seed)
    unet, towers = from_base(store.unfold("sdxl-base"))
    if plan.start == "shipped":
        unet = UNet2DConditionModel.from_pretrained(store.unfold("sdxl-refiner") / "unet")
    plain_attention(unet, device)
    towers.second.to(device)
    network = Network(unet=unet)
    loss = loss_with(plan, load_buckets(runs, device), towers)
    train("sdxl-refiner", network, loss, plan, runs=runs, minutes=minutes)
    folder = runs / "sdxl-refiner/model"
    network.parts["unet"].to("cpu").save_pretrained(folder / "unet")
    return folder


def ship(runs: Path) -> None:
    """Store the UNet and register the pipeline; everything else is the base's."""
    store.fold(runs / "sdxl-refiner/model/unet", FOLDERS["unet"], base=sdxl.FOLDERS["unet"])
    index = pipeline_index("StableDiffusionXLImg2ImgPipeline", "EulerDiscreteScheduler", refiner=True)
    store.add_member("sdxl-refiner", index, FOLDERS)
