"""LoRA: a trained change of the weights, as the product of two thin matrices.

Source: Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models" (2106.09685), section 4.1. As a
latent consistency accelerator: Luo et al., "LCM-LoRA" (2311.05556).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from lessonlib.errors import LessonError


class LowRank(NamedTuple):
    """One layer's change ΔW = (α / r) B A. For a convolution, A is a convolution and B a 1×1 convolution.

    down: A, (r, in) or (r, in, k, k).
    up: B, (out, r) or (out, r, 1, 1).
    alpha: α; by default r, so that ΔW = B A.
    """

    down: Tensor
    up: Tensor
    alpha: float | None = None

    @property
    def factor(self) -> float:
        """α / r."""
        return 1.0 if self.alpha is None else self.alpha / len(self.down)

    def delta(self) -> Float[Tensor, "..."]:
        """ΔW in the weight's own shape."""
        # ΔW = (α / r) B A
        flat = self.up.flatten(1) @ self.down.flatten(1)
        return self.factor * flat.unflatten(1, self.down.shape[1:])


class LoRALayer(nn.Module):
    """A frozen layer with its change beside it.

    Args:
        base: the linear layer or convolution.
        change: the low-rank change.

    Raises:
        LessonError: the change does not fit the layer.
    """

    def __init__(self, base: nn.Linear | nn.Conv2d, change: LowRank) -> None:
        super().__init__()
        if change.down.shape[1:] != base.weight.shape[1:] or change.up.shape[0] != base.weight.shape[0]:
            raise LessonError(
                f"A LoRA with A {tuple(change.down.shape)} and B {tuple(change.up.shape)} does not fit a "
                f"weight of {tuple(base.weight.shape)}: it was trained for another model."
            )
        self.base = base
        self.down = nn.Parameter(change.down.to(base.weight))
        self.up = nn.Parameter(change.up.to(base.weight))
        self.factor = change.factor
        self.scale = 1.0

    @property
    def weight(self) -> Tensor:
        """The base layer's weight, for code that asks a layer for its shape, type or device."""
        return self.base.weight

    def forward(self, x: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        # h = W₀ x + s (α / r) B A x                                                   (equation 3)
        if isinstance(self.base, nn.Linear):
            low_rank = F.linear(F.linear(x, self.down), self.up)
        else:
            low_rank = F.conv2d(
                F.conv2d(x, self.down, stride=self.base.stride, padding=self.base.padding), self.up
            )
        return self.base(x) + self.scale * self.factor * low_rank

    def merged(self) -> nn.Linear | nn.Conv2d:
        """The base layer with the change added into its weight: nothing left to compute (section 4.1)."""
        with torch.no_grad():
            # W = W₀ + s ΔW
            self.base.weight += self.scale * LowRank(self.down, self.up, self.factor * len(self.down)).delta()
        return self.base


def apply_lora(
    model: nn.Module, state_dict: Mapping[str, Tensor], alphas: Mapping[str, float] | None = None
) -> None:
    """Put a LoRA beside the layers of `model` it was trained for, at scale 1.

    Args:
        model: changed in place.
        state_dict: a LoRA file in diffusers' (`….lora_A.weight`) or kohya's (`lora_unet_….lora_down.weight`)
            format.
        alphas: α by layer name where the file does not hold it, as peft keeps it in its configuration; r by
            default.

    Raises:
        LessonError: a key names no layer of the model, half of a pair is missing, or a shape does not fit.
    """
    if any(isinstance(module, LoRALayer) for module in model.modules()):
        raise LessonError("This model carries a LoRA already: merge_lora(model) or remove_lora(model) first.")
    changes = read_lora(model, state_dict, alphas or {})
    layers = {}
    for name, change in changes.items():
        layer = model.get_submodule(name)
        assert isinstance(layer, nn.Linear | nn.Conv2d)
        layers[name] = LoRALayer(layer, change)
    for name, layer in layers.items():
        model.set_submodule(name, layer)


def scale_lora(model: nn.Module, scale: float) -> None:
    """Set the weight of the change: 0 is the plain model, 1 the model as it was trained."""
    for _, layer in _lora_layers(model):
        layer.scale = scale


def merge_lora(model: nn.Module) -> None:
    """Add every change into its weight, at its present scale. The model is then as quick as without."""
    for name, layer in _lora_layers(model):
        model.set_submodule(name, layer.merged())


def remove_lora(model: nn.Module) -> None:
    """Put the plain layers back, as if no LoRA had been there."""
    for name, layer in _lora_layers(model):
        model.set_submodule(name, layer.base)


def _lora_layers(model: nn.Module) -> list[tuple[str, LoRALayer]]:
    return [(name, module) for name, module in model.named_modules() if isinstance(module, LoRALayer)]


# what the two formats call A and B
_PARTS = {"lora_A": "down", "lora_B": "up", "lora_down": "down", "lora_up": "up", "alpha": "alpha"}
_KEY = re.compile(
    r"^(?:unet\.|lora_unet_)?(?P<layer>.+)\.(?P<part>lora_A|lora_B|lora_down|lora_up|alpha)(?:\.\w+)*$"
)


def read_lora(
    model: nn.Module, state_dict: Mapping[str, Tensor], alphas: Mapping[str, float]
) -> dict[str, LowRank]:
    """The changes a LoRA file holds, by the name of the layer of `model` each belongs to.

    Raises:
        LessonError: as for `apply_lora`.
    """
    layers = {
        name: module for name, module in model.named_modules() if isinstance(module, nn.Linear | nn.Conv2d)
    }
    # kohya writes dots as underscores, so every layer is known by both spellings
    names = {spelling: name for name in layers for spelling in (name, name.replace(".", "_"))}
    parts: dict[str, dict[str, Tensor]] = {}
    for key, value in state_dict.items():
        match = _KEY.match(key)
        name = names.get(match["layer"]) if match else None
        if match is None or name is None:
            raise LessonError(
                f"The LoRA key {key} names no linear layer or convolution of {type(model).__name__}."
            )
        parts.setdefault(name, {})[_PARTS[match["part"]]] = value
    changes = {}
    for name, found in parts.items():
        if not {"down", "up"} <= found.keys():
            raise LessonError(
                f"The LoRA for {name} is half a pair: it holds {', '.join(sorted(found))} alone."
            )
        alpha = float(found["alpha"]) if "alpha" in found else alphas.get(name)
        changes[name] = LowRank(found["down"], found["up"], alpha)
    return changes
