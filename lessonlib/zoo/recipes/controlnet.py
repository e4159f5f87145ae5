"""The ControlNets of sd15: a trained copy of its encoder that steers the frozen UNet by a control map.

Zhang, Rao and Agrawala (2023). What decides here is the learning rate of the layers that start at zero: at the copy's own
rate nothing was learned in 900 steps, at eight times that rate the picture followed the edges after a few hundred. The
output convolutions alone keep the start exact, so the hint encoder's last layer starts as any other layer.

The first ControlNet starts from the UNet; the others start from that first one, once it is shipped: how to steer is the
same, only what the map means is new.
"""

# diffusers' and transformers' annotations are narrower than what they accept and return:
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportOptionalMemberAccess=false
# pyright: reportOptionalSubscript=false, reportOptionalOperand=false, reportReturnType=false

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from diffusers import AutoencoderKL, ControlNetModel, UNet2DConditionModel
from torch import Tensor, nn

from lessonlib.conditions import CONTROLNETS, from_truth
from lessonlib.models import store
from lessonlib.world.captions import caption
from lessonlib.world.render import render
from lessonlib.world.scene import Scene
from lessonlib.zoo.base import Base, load_base, plain_attention
from lessonlib.zoo.caches import in_blocks, remembered
from lessonlib.zoo.latents import cached, person_scene, scene
from lessonlib.zoo.training import Network, Plan, Step, train

# Muon: in 80 steps the loss fell 1 % below AdamW's on the same draws
PLAN = Plan(steps=1500, batch=32, learning_rate=6e-4, seed=51, warmup=50, weight_decay=0.0, optimizer="muon")
SCENES = 8000
FIRST = "canny"  # the one that the others start from
EMPTY = 0.2  # share of captions replaced by "": the map must then say what there is
ZERO_RATE = 8.0  # the hint encoder and the zero convolutions learn this many times as fast as the copy
HINT_CHANNELS = (16, 32, 48, 64)

COLOURED = ("pose", "segmentation", "normal")  # maps with three different channels

Start = Literal["zero", "random"]


def stream(condition: str) -> Callable[[int], Scene]:
    """The training scenes of a condition: for poses people alone, else the stream that sd15 itself was trained on."""
    return person_scene if condition == "pose" else scene


def build(unet: UNet2DConditionModel, start: Start = "zero") -> ControlNetModel:
    """A copy of the UNet's encoder, ready to learn.

    Args:
        start: how the output convolutions begin: "zero", so that nothing changes at first, or "random", to see why not.
    """
    controlnet = ControlNetModel.from_unet(unet, conditioning_embedding_out_channels=HINT_CHANNELS)
    controlnet.controlnet_cond_embedding.conv_out.reset_parameters()
    if start == "random":
        for convolution in _output_convolutions(controlnet):
            convolution.reset_parameters()
    return controlnet


def _output_convolutions(controlnet: ControlNetModel) -> list[nn.Conv2d]:
    return [*controlnet.controlnet_down_blocks, controlnet.controlnet_mid_block]


def rates(
    controlnet: ControlNetModel, zero_rate: float = ZERO_RATE
) -> list[tuple[float, list[nn.Parameter]]]:
    """Two groups of parameters: the copied blocks at 1, what is new at `zero_rate`."""
    modules = [controlnet.controlnet_cond_embedding, *_output_convolutions(controlnet)]
    new = [parameter for module in modules for parameter in module.parameters()]
    known = {id(parameter) for parameter in new}
    return [(1.0, [p for p in controlnet.parameters() if id(p) not in known]), (zero_rate, new)]


def control_maps(condition: str, folder: Path, count: int) -> np.ndarray:
    """Control maps of the condition's scenes 0..count-1: uint8 [count, 128, 128], or [..., 3] where they are coloured."""

    def rows() -> Iterable[np.ndarray]:
        for index in range(count):
            control = from_truth(condition, render(stream(condition)(index)))
            yield control if condition in COLOURED else control[..., 0]

    path = folder / f"{condition}-{count}.npy"
    return remembered(path, count, lambda: in_blocks(rows()), f"{condition} maps")


def as_input(maps: np.ndarray) -> Tensor:
    """Control maps uint8 [B, H, W] or [B, H, W, 3] as the network takes them: float32 [B, 3, H, W] in 0..1."""
    tensor = torch.from_numpy(np.array(maps)).float() / 255
    return tensor[:, None].expand(-1, 3, -1, -1) if tensor.ndim == 3 else tensor.permute(0, 3, 1, 2)


def loss_of(
    base: Base,
    controlnet: ControlNetModel,
    latents: Tensor,
    maps: np.ndarray,
    draw: Callable[[int], Scene],
    batch: int,
) -> Callable[[Step], dict[str, Tensor]]:
    """The loss of a step on cached latents float16 [N, 4, h, w] and their control maps uint8 [N, 8h, 8w(, 3)]."""

    def loss(step: Step) -> dict[str, Tensor]:
        rows = np.sort(step.numpy.integers(0, len(latents), batch))
        texts = ["" if step.numpy.random() < EMPTY else caption(draw(int(row)), step.numpy) for row in rows]
        noised = base.noised(latents[torch.from_numpy(rows)].float().to(base.device), step)
        states = base.states(texts)
        hint = as_input(maps[rows]).to(base.device)
        down, middle = controlnet(
            noised.latents, noised.timesteps, states, controlnet_cond=hint, return_dict=False
        )
        predicted = base.unet(
            noised.latents,
            noised.timesteps,
            states,
            down_block_additional_residuals=down,
            mid_block_additional_residual=middle,
        ).sample
        return noised.loss(predicted)

    return loss


def training_data(base: Base, condition: str, folder: Path, count: int) -> tuple[Tensor, np.ndarray]:
    """Latents and control maps of the condition's scenes, cached under `folder`."""
    name = f"{store.unfold('vae').name}{'-person' if condition == 'pose' else ''}"
    latents_folder = folder / "latents" / name
    vae = AutoencoderKL.from_pretrained(base.folder / "vae").to(base.device)
    latents = cached(vae, latents_folder, count, base.device, stream(condition))
    return latents, control_maps(condition, folder / "control-maps", count)


def run(runs: Path, minutes: float | None = None, plan: Plan = PLAN, *, condition: str) -> Path:
    """Train beside the shipped sd15 and write `runs/<name>/model`. Each condition draws from a seed of its own."""
    base, name = load_base(), CONTROLNETS[condition]
    plan = replace(plan, seed=plan.seed + list(CONTROLNETS).index(condition))
    controlnet = starting(base, condition, plan.start)
    plain_attention(controlnet, base.device)
    latents, maps = training_data(base, condition, runs, SCENES)
    loss = loss_of(base, controlnet, latents, maps, stream(condition), plan.batch)
    network = Network(controlnet=controlnet)
    train(
        name, network, lambda _, step: loss(step), plan,
        runs=runs, minutes=minutes, rates=rates(controlnet),
    )  # fmt: skip
    network.parts["controlnet"].to("cpu").save_pretrained(runs / name / "model")
    return runs / name / "model"


def starting(base: Base, condition: str, start: Literal["scratch", "shipped"]) -> ControlNetModel:
    """ "shipped": the ControlNet of this name; "scratch": a copy of the first ControlNet, or of the UNet for the first."""
    names = [CONTROLNETS[condition]] if start == "shipped" else [CONTROLNETS[FIRST]]
    if start == "shipped" or (condition != FIRST and names[0] in store.members()):
        return ControlNetModel.from_pretrained(store.unfold(names[0]))
    torch.manual_seed(0)
    return build(base.unet)


def ship(runs: Path, *, condition: str) -> None:
    """Store the trained ControlNet in the package, near to what it started from."""
    name = CONTROLNETS[condition]
    first = CONTROLNETS[FIRST]
    store.fold(
        runs / name / "model", name, base=first if first in {*store.members()} - {name} else "sd15-unet"
    )
    store.add_member(name, None, {"": name})
