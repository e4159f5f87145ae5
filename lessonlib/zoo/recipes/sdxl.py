"""sdxl-base: SDXL in small. Two text towers side by side, six ids of micro-conditioning, three shapes of picture.

Podell et al. (2023). It begins as sd15: the same layout of blocks, its weights, its tuned text tower as the first tower, the
new tower's states bridged by least squares (`lessonlib.zoo.sdxl.grown`). The second tower learns with the UNet until
one ships; the first stays what sd15 made of it.

A prompt is dropped the way inference drops it: seven in a hundred are all zeros, which is what the pipeline uses for
`negative_prompt=None`, and three are the encoding of "".
"""

# diffusers' and transformers' annotations are narrower than what they accept and return:
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportOptionalMemberAccess=false

from __future__ import annotations

from pathlib import Path

import torch
from diffusers import DDPMScheduler, EulerDiscreteScheduler, UNet2DConditionModel
from torch import Tensor
from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from lessonlib.models import store
from lessonlib.zoo.base import plain_attention
from lessonlib.zoo.micro import time_ids
from lessonlib.zoo.recipes import text_g
from lessonlib.zoo.recipes.sd15 import SCHEDULER, lift_of_noisy_steps, min_snr_weight, tokenize
from lessonlib.zoo.sdxl import (
    Buckets,
    Towers,
    added,
    deepened,
    grown,
    load_buckets,
    pipeline_index,
    sample_captions,
)
from lessonlib.zoo.training import Network, Plan, Step, train

# 0.58 s a step of two processes on two CPU cores that compute in bfloat16: 48 minutes
PLAN = Plan(steps=5000, batch=16, learning_rate=7e-4, seed=71, warmup=100, optimizer="muon")
ZEROS, EMPTY = 0.07, 0.03  # shares of prompts that are dropped
_NOISE = {key: SCHEDULER[key] for key in ("beta_start", "beta_end", "beta_schedule")}
FOLDERS = {
    "scheduler": "scheduler-sdxl",
    "text_encoder": "sdxl-text",
    "text_encoder_2": "sdxl-text-2",
    "tokenizer": "tokenizer-l",
    "tokenizer_2": "tokenizer-l",
    "unet": "sdxl-unet",
    "vae": "vae",
}


@torch.no_grad()
def from_sd15(sd15: Path, second: CLIPTextModelWithProjection) -> tuple[UNet2DConditionModel, Towers]:
    """UNet and towers that begin with what the pipeline in `sd15` knows."""
    tokenizer = CLIPTokenizer.from_pretrained(sd15 / "tokenizer")
    text = CLIPTextModel.from_pretrained(sd15 / "text_encoder").eval()
    towers = Towers(tokenizer, deepened(text).eval(), second.eval())
    captions = sample_captions()
    states, pooled = towers.read(captions)
    known = text(input_ids=tokenize(tokenizer, captions)).last_hidden_state
    unet = UNet2DConditionModel.from_pretrained(sd15 / "unet")
    return grown(unet, states, known, pooled.shape[1], ids=6), towers


def second_tower(runs: Path) -> CLIPTextModelWithProjection:
    """The tower that ships, which learned with an earlier UNet and stays as it is; before one does, that of `text_g`."""
    if "sdxl-base" not in store.members():
        return text_g.trained(runs)
    tower = CLIPTextModelWithProjection.from_pretrained(store.unfold("sdxl-base") / "text_encoder_2")
    return tower.requires_grad_(False)


def loss_with(plan: Plan, buckets: Buckets, tokenizer: CLIPTokenizer):
    """The loss of a step: sd15's, on a batch of one aspect with its ids."""
    alphas_cumprod = DDPMScheduler(**_NOISE).alphas_cumprod

    def loss(network: Network, step: Step) -> dict[str, Tensor]:
        parts = network.parts
        clean, frames, texts = buckets.draw(step, plan.batch)
        chance = step.numpy.random(len(texts))
        texts = [
            "" if ZEROS <= drawn < ZEROS + EMPTY else text for text, drawn in zip(texts, chance, strict=True)
        ]
        kept = torch.from_numpy(chance >= ZEROS).to(step.device)
        prompt = Towers(tokenizer, parts["text"], parts["text_2"]).read(texts)
        noise = torch.randn(clean.shape, generator=step.torch).to(step.device)
        timesteps = torch.randint(0, 1000, (len(clean),), generator=step.torch).to(step.device)
        levels = alphas_cumprod.to(step.device)
        level = levels[timesteps][:, None, None, None]
        predicted = parts["unet"](
            level.sqrt() * clean + (1 - level).sqrt() * noise,
            timesteps,
            encoder_hidden_states=prompt.states * kept[:, None, None],
            added_cond_kwargs=added(prompt.pooled * kept[:, None], time_ids(frames, step.device)),
        ).sample
        error = (predicted.float() - noise).square().mean(dim=(1, 2, 3))
        weight = min_snr_weight(levels, timesteps) * lift_of_noisy_steps(levels, timesteps)
        return {"loss": (weight * error).mean(), "mse": error.mean()}

    return loss


def run(runs: Path, minutes: float | None = None, plan: Plan = PLAN) -> Path:
    """Train from the shipped sd15 and `second_tower`, and write UNet, towers, scheduler into `runs/sdxl-base/model`."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(plan.seed)
    if plan.start == "shipped":
        shipped = store.unfold("sdxl-base")
        unet = UNet2DConditionModel.from_pretrained(shipped / "unet")
        towers = Towers(
            CLIPTokenizer.from_pretrained(shipped / "tokenizer"),
            CLIPTextModel.from_pretrained(shipped / "text_encoder"),
            second_tower(runs),
        )
    else:
        unet, towers = from_sd15(store.unfold("sd15"), second_tower(runs))
    plain_attention(unet, device)
    network = Network(unet=unet, text=towers.first.requires_grad_(False), text_2=towers.second)
    loss = loss_with(plan, load_buckets(runs, device), towers.tokenizer)
    train("sdxl-base", network, loss, plan, runs=runs, minutes=minutes)
    folder = runs / "sdxl-base/model"
    parts = network.to("cpu").parts
    parts["unet"].save_pretrained(folder / "unet")
    parts["text"].save_pretrained(folder / "text_encoder")
    parts["text_2"].save_pretrained(folder / "text_encoder_2")
    scheduler().save_pretrained(folder / "scheduler")
    return folder


def scheduler() -> EulerDiscreteScheduler:
    """Euler on the family's noise schedule, as SDXL ships it."""
    return EulerDiscreteScheduler(**_NOISE, timestep_spacing="leading", steps_offset=1)


def ship(runs: Path) -> None:
    """Store UNet, both towers and the scheduler, and register the pipeline."""
    folder = runs / "sdxl-base/model"
    for name in ("unet", "text_encoder", "text_encoder_2", "scheduler"):
        store.fold(folder / name, FOLDERS[name])
    index = pipeline_index("StableDiffusionXLPipeline", "EulerDiscreteScheduler")
    store.add_member("sdxl-base", index, FOLDERS)
