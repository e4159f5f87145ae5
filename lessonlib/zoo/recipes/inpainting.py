"""sd15-inpainting: sd15's UNet with five more input channels, the mask and the masked picture's latents.

As Stable Diffusion's own inpainting model it starts from the finished text-to-image model; the weights of the five new
channels start at zero, so that at first it paints exactly what sd15 paints. A fifth of the masks is everything. A fifth of
the batches is wider than high: outpainting must know canvases that are not square. What the mask keeps is easily copied,
and laid over the result anyway: it counts little in the loss.
"""

# diffusers' and transformers' annotations are narrower than what they accept and return:
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportOptionalMemberAccess=false
# pyright: reportOptionalSubscript=false, reportOptionalOperand=false, reportReturnType=false

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from torch import Tensor

from lessonlib.models import store
from lessonlib.world.captions import caption
from lessonlib.world.render import render
from lessonlib.zoo import masks
from lessonlib.zoo.base import Base, load_base, plain_attention
from lessonlib.zoo.caches import remembered
from lessonlib.zoo.latents import encode, scene
from lessonlib.zoo.training import Network, Plan, Step, train

NAME = "sd15-inpainting"
PLAN = Plan(steps=2500, batch=16, learning_rate=5e-4, seed=71, warmup=100, optimizer="muon")
EMPTY = 0.1  # share of captions replaced by ""
KEPT = 0.2  # what a latent outside the mask counts in the loss, against 1 inside
# (height, width) in pixels -> (scenes, share of the batches)
SHAPES: Mapping[tuple[int, int], tuple[int, float]] = {(128, 128): (8000, 0.8), (128, 192): (2000, 0.2)}
_BLOCK = 40


def build(unet: UNet2DConditionModel) -> UNet2DConditionModel:
    """The UNet with nine input channels: latents 4, mask 1, masked picture's latents 4; the last five weigh nothing yet."""
    wider = UNet2DConditionModel.from_config({**unet.config, "in_channels": 9})
    weights = dict(unet.state_dict())
    first = torch.zeros_like(wider.conv_in.weight)
    first[:, :4] = weights["conv_in.weight"]
    wider.load_state_dict({**weights, "conv_in.weight": first})
    return wider


def masked_example(index: int, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Training picture number `index` uint8 [H, W, 3] and its mask bool [H, W]."""
    rendered = render(scene(index), *shape)
    return rendered.image, masks.draw(np.random.default_rng([PLAN.seed, index]), rendered)


@torch.no_grad()
def nine_channels(vae: AutoencoderKL, images: np.ndarray, holes: np.ndarray) -> Tensor:
    """Pictures uint8 [B, H, W, 3] and masks bool [B, H, W] as the UNet takes them: float32 [B, 9, H/8, W/8].

    As the pipeline makes them: the mask is read at every eighth pixel, and what it hides is grey (0 in -1..1) before the
    VAE sees it.
    """
    device = next(vae.parameters()).device
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2).float().to(device) / 127.5 - 1
    hole = torch.from_numpy(holes)[:, None].float().to(device)
    both = encode(vae, torch.cat([pixels, pixels * (1 - hole)]))
    return torch.cat([both[: len(images)], hole[:, :, ::8, ::8], both[len(images) :]], dim=1)


def examples(vae: AutoencoderKL, folder: Path, shape: tuple[int, int], count: int) -> np.ndarray:
    """The examples 0..count-1 of a shape: float16 [count, 9, H/8, W/8], encoded once and kept under `folder`."""

    def blocks() -> Iterable[np.ndarray]:
        for start in range(0, count, _BLOCK):
            rows = [masked_example(index, shape) for index in range(start, min(start + _BLOCK, count))]
            images, holes = (np.stack(column) for column in zip(*rows, strict=True))
            yield nine_channels(vae, images, holes).half().cpu().numpy()

    path = folder / f"{shape[0]}x{shape[1]}-{count}.npy"
    return remembered(path, count, blocks, f"masked scenes {shape[1]} x {shape[0]}")


def loss_of(
    base: Base, unet: UNet2DConditionModel, sets: list[np.ndarray], shares: list[float], batch: int
) -> Callable[[Step], dict[str, Tensor]]:
    """The loss of a step: one of the sets of examples float16 [N, 9, h, w], drawn by its share, one size a batch."""

    def loss(step: Step) -> dict[str, Tensor]:
        chosen = sets[int(step.numpy.choice(len(sets), p=shares))]
        rows = np.sort(step.numpy.integers(0, len(chosen), batch))
        channels = torch.from_numpy(chosen[rows]).float().to(base.device)
        texts = ["" if step.numpy.random() < EMPTY else caption(scene(int(row)), step.numpy) for row in rows]
        noised = base.noised(channels[:, :4], step)
        seen = torch.cat([noised.latents, channels[:, 4:]], dim=1)
        where = KEPT + (1 - KEPT) * channels[:, 4:5]
        return noised.loss(unet(seen, noised.timesteps, base.states(texts)).sample, where)

    return loss


def run(runs: Path, minutes: float | None = None, plan: Plan = PLAN) -> Path:
    """Train from the shipped sd15 (or the shipped sd15-inpainting) and write `runs/sd15-inpainting/model/unet`."""
    base = load_base()
    if plan.start == "shipped":
        unet = UNet2DConditionModel.from_pretrained(store.unfold(NAME) / "unet")
    else:
        unet = build(base.unet.to("cpu"))
    plain_attention(unet, base.device)
    vae = AutoencoderKL.from_pretrained(base.folder / "vae").to(base.device)
    folder = runs / "masked" / store.unfold("vae").name
    sets = [examples(vae, folder, shape, count) for shape, (count, _) in SHAPES.items()]
    loss = loss_of(base, unet, sets, [share for _, share in SHAPES.values()], plan.batch)
    trained = train(NAME, Network(unet=unet), lambda _, step: loss(step), plan, runs=runs, minutes=minutes)
    trained.parts["unet"].to("cpu").save_pretrained(runs / NAME / "model/unet")
    return runs / NAME / "model"


def ship(runs: Path) -> None:
    """Store the UNet, and register the pipeline: everything else is sd15's own."""
    store.fold(runs / NAME / "model/unet", f"{NAME}-unet", base="sd15-unet")
    sd15 = store.members()["sd15"]
    index = {**(sd15["model_index"] or {}), "_class_name": "StableDiffusionInpaintPipeline"}
    store.add_member(NAME, index, {**sd15["folders"], "unet": f"{NAME}-unet"})
