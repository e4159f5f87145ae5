"""ControlNet: a trainable copy of the UNet's left half steers the frozen original through zero convolutions.

    picture ── hint encoder ──(+)── copy of the down blocks ── copy of the mid block
    sample ─────── conv_in ────┘        │ │ │                       │
                                      zero convs                zero conv
                                        ▼ ▼ ▼                       ▼
                              UNet's skip connections       after the UNet's middle

Source: Zhang, Rao, Agrawala, "Adding Conditional Control to Text-to-Image Diffusion Models" (2302.05543),
section 3.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from lessonlib.errors import LessonError
from lessonlib.scratch.embeddings import Timestep
from lessonlib.scratch.unet import UNet, UNetConfig, UNetEncoder
from lessonlib.scratch.weights import load_weights
from lessonlib.scratch.zero_conv import ZeroConv2d

HINT_CHANNELS = (16, 32, 96, 256)

# options of a ControlNet that a UNet has not, and the one value that is written here (None: any)
_OWN_OPTIONS = {
    "conditioning_channels": 3,
    "conditioning_embedding_out_channels": None,
    "controlnet_conditioning_channel_order": "rgb",
    "global_pool_conditions": False,
}


class ControlNet(UNetEncoder):
    """Reads the noisy latents *and* a picture of the condition; says what to add to the UNet.

    For SD1.5 it has 361,279,120 parameters: 1,086,480 in the hint encoder, 11,479,680 in the zero
    convolutions, the rest a copy of the UNet's down and mid blocks. Make it with `from_unet`, or load one
    with `from_diffusers`.

    Args:
        config: the UNet's configuration.
        hint_channels: widths of the hint encoder; each after the first halves the size, so four fit an f8
            VAE.
    """

    def __init__(self, config: UNetConfig, hint_channels: tuple[int, ...] = HINT_CHANNELS) -> None:
        # a distilled guidance scale stays the UNet's own business, as in the published ControlNets
        super().__init__(replace(config, time_cond_proj_dim=None))
        widths = config.block_out_channels
        self.controlnet_cond_embedding = HintEncoder(widths[0], hint_channels)
        self.controlnet_down_blocks = nn.ModuleList(ZeroConv2d(width) for width in config.skip_channels())
        self.controlnet_mid_block = ZeroConv2d(widths[-1])

    @classmethod
    def from_unet(cls, unet: UNet, hint_channels: tuple[int, ...] = HINT_CHANNELS) -> ControlNet:
        """A ControlNet whose encoder is a copy of `unet`'s: it starts trained, what is new starts at zero."""
        model = cls(unet.config, hint_channels).to(unet.conv_in.weight)
        own = model.state_dict()
        new = {key: value for key, value in own.items() if key.startswith("controlnet_")}
        load_weights(model, new | {key: value for key, value in unet.state_dict().items() if key in own})
        return model

    @classmethod
    def _from_config(cls, config: Mapping[str, Any]) -> ControlNet:
        for name, written in _OWN_OPTIONS.items():
            if written is not None and config.get(name, written) != written:
                raise LessonError(
                    f"The ControlNet option {name}={config[name]!r} is not written here, only {written!r}: "
                    "use diffusers for this model."
                )
        rest = {name: value for name, value in config.items() if name not in _OWN_OPTIONS}
        down = rest.get("down_block_types")
        if down is not None:  # a ControlNet has no way up; a UNet's mirrors its way down
            rest["up_block_types"] = tuple(block.replace("Down", "Up") for block in reversed(down))
        hint_channels = tuple(config.get("conditioning_embedding_out_channels", HINT_CHANNELS))
        return cls(UNetConfig.from_diffusers(rest), hint_channels)

    def forward(
        self,
        sample: Float[Tensor, "b c h w"],
        timestep: Timestep,
        encoder_hidden_states: Any,
        controlnet_cond: Float[Tensor, "b 3 height width"],
        conditioning_scale: float = 1.0,
        added_cond_kwargs: Mapping[str, Tensor] | None = None,
    ) -> tuple[list[Tensor], Tensor]:
        """What to add to each skip of the UNet, and after its middle.

        Args:
            sample, timestep, encoder_hidden_states, added_cond_kwargs: as for the UNet.
            controlnet_cond: the condition as a picture in [0, 1], RGB, at the size of the picture (not of the
                latent).
            conditioning_scale: multiplies every residual; 0 switches the control off exactly, 0.5 halves it.

        Raises:
            LessonError: the picture's size does not fit the latents.
        """
        emb = self.embed(timestep, len(sample), None, added_cond_kwargs)
        hidden_states, hint = self.conv_in(sample), self.controlnet_cond_embedding(controlnet_cond)
        if hint.shape[-2:] != hidden_states.shape[-2:]:
            raise LessonError(
                f"A condition of {tuple(controlnet_cond.shape[-2:])} pixels becomes {tuple(hint.shape[-2:])} "
                f"latents, but the sample has {tuple(hidden_states.shape[-2:])}: the condition needs the "
                "picture's size."
            )
        # y_c = F(x; Θ) + Z(F(x + Z(c; Θ_z1); Θ_c); Θ_z2)                             (equation 2)
        # Here the inner Z is the hint encoder's last convolution, and the sum is left to the UNet.
        middle, skips = self.encode(hidden_states + hint, emb, encoder_hidden_states)
        residuals = [
            zero_conv(skip) * conditioning_scale
            for zero_conv, skip in zip(self.controlnet_down_blocks, skips, strict=True)
        ]
        return residuals, self.controlnet_mid_block(middle) * conditioning_scale


class HintEncoder(nn.Module):
    """Brings the condition from pixels to the latents' size (equation 4); ends in a zero convolution."""

    def __init__(self, out_channels: int, channels: tuple[int, ...]) -> None:
        super().__init__()
        self.conv_in = nn.Conv2d(3, channels[0], 3, padding=1)
        self.blocks = nn.ModuleList()
        for narrow, wide in pairwise(channels):
            self.blocks.append(nn.Conv2d(narrow, narrow, 3, padding=1))
            self.blocks.append(nn.Conv2d(narrow, wide, 3, padding=1, stride=2))
        self.conv_out = ZeroConv2d(channels[-1], out_channels, kernel_size=3, padding=1)

    def forward(self, picture: Float[Tensor, "b 3 height width"]) -> Float[Tensor, "b c h w"]:
        h = F.silu(self.conv_in(picture))
        for conv in self.blocks:
            h = F.silu(conv(h))
        return self.conv_out(h)


class MultiControlNet(nn.Module):
    """Several ControlNets at once: their residuals are summed, each with its own scale (section 3.4)."""

    def __init__(self, nets: Sequence[ControlNet]) -> None:
        super().__init__()
        self.nets = nn.ModuleList(nets)

    def forward(
        self,
        sample: Float[Tensor, "b c h w"],
        timestep: Timestep,
        encoder_hidden_states: Any,
        controlnet_cond: Sequence[Tensor],
        conditioning_scale: Sequence[float],
        added_cond_kwargs: Mapping[str, Tensor] | None = None,
    ) -> tuple[list[Tensor], Tensor]:
        """As `ControlNet`, with one picture and one scale a net.

        Raises:
            LessonError: not as many pictures or scales as nets (diffusers drops the surplus nets silently).
        """
        if not len(self.nets) == len(controlnet_cond) == len(conditioning_scale):
            raise LessonError(
                f"{len(self.nets)} ControlNets, {len(controlnet_cond)} pictures and "
                f"{len(conditioning_scale)} scales: give one picture and one scale a ControlNet."
            )
        outputs = [
            net(sample, timestep, encoder_hidden_states, picture, scale, added_cond_kwargs)
            for net, picture, scale in zip(self.nets, controlnet_cond, conditioning_scale, strict=True)
        ]
        residuals, middles = zip(*outputs, strict=True)
        return [_sum(parts) for parts in zip(*residuals, strict=True)], _sum(middles)


def _sum(parts: Sequence[Tensor]) -> Tensor:
    return functools.reduce(torch.add, parts)
