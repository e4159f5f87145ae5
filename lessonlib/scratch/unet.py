"""The UNet of Stable Diffusion 1.5, SDXL and its refiner: predicts the noise in a latent.

    sample ─► conv_in ─► down ─► down ─► down ─► mid ─► up ─► up ─► up ─► conv_out ─► noise
                 └────────┴───────┴───────┴── skips ───►┴─────┴─────┘
    timestep (and SDXL's micro-conditioning) ─► emb: into every residual block
    text ─► encoder_hidden_states: into every cross-attention

One class for all of them: `UNetConfig` says which. Module names are diffusers', so its state dicts load key
by key.

Sources: Ronneberger et al., "U-Net" (1505.04597); Ho et al., "DDPM" (2006.11239), appendix B; Rombach et al.,
"Latent Diffusion" (2112.10752), section 3.3 and appendix E.2.1; Podell et al., "SDXL" (2307.01952), sections
2.1 and 2.2.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from lessonlib.errors import LessonError
from lessonlib.scratch.attention import Attention
from lessonlib.scratch.embeddings import Timestep, TimestepEmbedding, micro_conditioning, timestep_embedding
from lessonlib.scratch.weights import load_weights

DOWN_BLOCKS = ("DownBlock2D", "CrossAttnDownBlock2D")
UP_BLOCKS = ("UpBlock2D", "CrossAttnUpBlock2D")


# ---------------------------------------------------------------------------------------------- configuration


@dataclass(frozen=True)
class UNetConfig:
    """A UNet's shape. Names and defaults are those of diffusers' `config.json`.

    Per-block options list the blocks from the highest resolution to the lowest, `up_block_types` the other
    way round. `attention_head_dim` is the *number* of heads: a mistaken name that the published
    configurations have kept.

    Raises:
        LessonError: the options contradict each other.
    """

    in_channels: int = 4
    out_channels: int = 4
    down_block_types: tuple[str, ...] = (*("CrossAttnDownBlock2D",) * 3, "DownBlock2D")
    up_block_types: tuple[str, ...] = ("UpBlock2D", *("CrossAttnUpBlock2D",) * 3)
    block_out_channels: tuple[int, ...] = (320, 640, 1280, 1280)
    layers_per_block: int = 2
    transformer_layers_per_block: int | tuple[int, ...] = 1
    attention_head_dim: int | tuple[int, ...] = 8
    cross_attention_dim: int = 1280
    norm_num_groups: int = 32
    norm_eps: float = 1e-5
    use_linear_projection: bool = False
    addition_embed_type: str | None = None
    addition_time_embed_dim: int | None = None
    projection_class_embeddings_input_dim: int | None = None
    time_cond_proj_dim: int | None = None

    def __post_init__(self) -> None:
        blocks = len(self.block_out_channels)
        for name in (
            "down_block_types",
            "up_block_types",
            "transformer_layers_per_block",
            "attention_head_dim",
        ):
            value = getattr(self, name)
            if isinstance(value, tuple) and len(value) != blocks:
                raise LessonError(
                    f"{name} has {len(value)} entries for {blocks} block_out_channels: give one a block."
                )
        for name, known in (("down_block_types", DOWN_BLOCKS), ("up_block_types", UP_BLOCKS)):
            for block in getattr(self, name):
                if block not in known:
                    raise LessonError(
                        f"{name} holds {block!r}; the blocks written here are {', '.join(known)}."
                    )
        for channels in self.block_out_channels:
            if channels % self.norm_num_groups:
                raise LessonError(
                    f"norm_num_groups {self.norm_num_groups} does not divide the width {channels} in "
                    "block_out_channels: choose a common divisor of every width."
                )
        if (self.addition_embed_type == "text_time") != bool(
            self.addition_time_embed_dim and self.projection_class_embeddings_input_dim
        ):
            raise LessonError(
                "addition_embed_type 'text_time' goes together with addition_time_embed_dim and "
                "projection_class_embeddings_input_dim: set all three or none."
            )

    def per_block(self, name: str) -> tuple[int, ...]:
        """The option `name` with one entry a block, also where a single number stands for all."""
        value = getattr(self, name)
        return value if isinstance(value, tuple) else (value,) * len(self.block_out_channels)

    def skip_channels(self) -> list[int]:
        """Channels of every skip connection in the order they arise: conv_in, layers, downsamplers."""
        *above, last = self.block_out_channels
        layers = self.layers_per_block
        return [self.block_out_channels[0], *(c for c in above for _ in range(layers + 1)), *[last] * layers]

    @classmethod
    def from_diffusers(cls, config: Mapping[str, Any]) -> UNetConfig:
        """Read diffusers' `unet/config.json`, or `UNet2DConditionModel.config`.

        Raises:
            LessonError: naming the first option that is unknown, or whose value is not written here.
        """
        ours = {field.name for field in fields(cls)}
        chosen = {}
        for name, value in config.items():
            if name in ours:
                chosen[name] = tuple(value) if isinstance(value, list) else value
            elif name in _WRITTEN_FOR:
                # null and false both mean "off" in published configurations
                if value != _WRITTEN_FOR[name] and (value or _WRITTEN_FOR[name]):
                    raise LessonError(
                        f"The UNet option {name}={value!r} is not written here, only {_WRITTEN_FOR[name]!r}: "
                        "use diffusers for this model."
                    )
            elif not name.startswith("_") and name not in _WITHOUT_EFFECT:
                raise LessonError(
                    f"The UNet option {name}={value!r} is unknown here: use diffusers for this model."
                )
        for name, kind in (("layers_per_block", int), ("cross_attention_dim", int), ("norm_num_groups", int)):
            if name in chosen and not isinstance(chosen[name], kind):
                raise LessonError(
                    f"The UNet option {name}={chosen[name]!r} is not written here, only one number."
                )
        if chosen.get("addition_embed_type") not in (None, "text_time"):
            raise LessonError(
                f"The UNet option addition_embed_type={chosen['addition_embed_type']!r} is not written here, "
                "only 'text_time' (SDXL) and None: use diffusers for this model."
            )
        return cls(**chosen)


# options of diffusers that every Stable Diffusion UNet leaves alone, and the one value that is written here
_WRITTEN_FOR: dict[str, Any] = {
    "act_fn": "silu",
    "attention_type": "default",
    "center_input_sample": False,
    "class_embed_type": None,
    "class_embeddings_concat": False,
    "conv_in_kernel": 3,
    "conv_out_kernel": 3,
    "cross_attention_norm": None,
    "downsample_padding": 1,
    "dropout": 0.0,
    "dual_cross_attention": False,
    "encoder_hid_dim": None,
    "encoder_hid_dim_type": None,
    "flip_sin_to_cos": True,
    "freq_shift": 0,
    "mid_block_only_cross_attention": False,
    "mid_block_scale_factor": 1,
    "mid_block_type": "UNetMidBlock2DCrossAttn",
    "num_attention_heads": None,
    "num_class_embeds": None,
    "only_cross_attention": False,
    "resnet_out_scale_factor": 1.0,
    "resnet_skip_time_act": False,
    "resnet_time_scale_shift": "default",
    "reverse_transformer_layers_per_block": None,
    "time_embedding_act_fn": None,
    "time_embedding_dim": None,
    "time_embedding_type": "positional",
    "timestep_post_act": None,
    "upcast_attention": False,
}
# a pipeline's default picture size, and an option of an embedding type that is refused above
_WITHOUT_EFFECT = {"sample_size", "addition_embed_type_num_heads"}

SD15 = UNetConfig(cross_attention_dim=768)
"""Stable Diffusion 1.5: 859,520,964 parameters."""

SDXL = UNetConfig(
    down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    block_out_channels=(320, 640, 1280),
    transformer_layers_per_block=(1, 2, 10),
    attention_head_dim=(5, 10, 20),
    cross_attention_dim=2048,
    use_linear_projection=True,
    addition_embed_type="text_time",
    addition_time_embed_dim=256,
    projection_class_embeddings_input_dim=1280 + 6 * 256,
)
"""SDXL's base: 2,567,463,684 parameters. No attention at the highest resolution, ten layers at the lowest."""

REFINER = UNetConfig(
    down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
    up_block_types=("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    block_out_channels=(384, 768, 1536, 1536),
    transformer_layers_per_block=4,
    attention_head_dim=(6, 12, 24, 24),
    cross_attention_dim=1280,
    use_linear_projection=True,
    addition_embed_type="text_time",
    addition_time_embed_dim=256,
    projection_class_embeddings_input_dim=1280 + 5 * 256,
)
"""SDXL's refiner: 2,259,526,660 parameters."""


# -------------------------------------------------------------------------------------------------- the model


Model = TypeVar("Model", bound="UNetEncoder")


class UNetEncoder(nn.Module):
    """The left half of the UNet and its bottom: what the UNet and a ControlNet share."""

    def __init__(self, config: UNetConfig) -> None:
        super().__init__()
        self.config = config
        widths = config.block_out_channels
        time_embed_dim = 4 * widths[0]
        self.conv_in = nn.Conv2d(config.in_channels, widths[0], 3, padding=1)
        self.time_embedding = TimestepEmbedding(widths[0], time_embed_dim, config.time_cond_proj_dim)
        self.add_embedding = (
            TimestepEmbedding(config.projection_class_embeddings_input_dim, time_embed_dim)
            if config.projection_class_embeddings_input_dim
            else None
        )
        self.down_blocks = nn.ModuleList(
            DownBlock(config, index, widths[max(index - 1, 0)]) for index in range(len(widths))
        )
        self.mid_block = MidBlock(config)

    @classmethod
    def from_diffusers(
        cls: type[Model], config: Mapping[str, Any], state_dict: Mapping[str, Tensor]
    ) -> Model:
        """Build the model `config` describes and load diffusers' weights into it.

        Raises:
            LessonError: an option that is not written here, or keys that do not fit; both are named.
        """
        with torch.device("meta"):  # no time spent on random numbers that the weights replace
            model = cls._from_config(config)
        like = next(iter(state_dict.values()), torch.empty(0))
        model = model.to(like.dtype).to_empty(device=like.device)
        load_weights(model, state_dict)
        return model

    @classmethod
    def _from_config(cls: type[Model], config: Mapping[str, Any]) -> Model:
        return cls(UNetConfig.from_diffusers(config))

    def embed(
        self,
        timestep: Timestep,
        batch: int,
        timestep_cond: Float[Tensor, "b w"] | None,
        added_cond_kwargs: Mapping[str, Tensor] | None,
    ) -> Float[Tensor, "b emb"]:
        """The vector that tells every residual block the time and, in SDXL, the micro-conditioning."""
        weight = self.conv_in.weight
        timesteps = torch.as_tensor(timestep, device=weight.device).expand(batch)
        # emb = MLP(γ(t)),   γ the sinusoidal embedding
        emb = self.time_embedding(
            timestep_embedding(timesteps, weight.shape[0]).to(weight.dtype), timestep_cond
        )
        if self.add_embedding is None:
            return emb
        if added_cond_kwargs is None or not {"text_embeds", "time_ids"} <= added_cond_kwargs.keys():
            raise LessonError(
                "SDXL's UNet also needs added_cond_kwargs={'text_embeds': pooled text, 'time_ids': sizes and "
                "crops}."
            )
        assert self.config.addition_time_embed_dim is not None
        features = micro_conditioning(
            added_cond_kwargs["text_embeds"],
            added_cond_kwargs["time_ids"],
            self.config.addition_time_embed_dim,
        )
        if features.shape[-1] != self.config.projection_class_embeddings_input_dim:
            raise LessonError(
                f"text_embeds {tuple(added_cond_kwargs['text_embeds'].shape)} and time_ids "
                f"{tuple(added_cond_kwargs['time_ids'].shape)} make {features.shape[-1]} features, not "
                f"{self.config.projection_class_embeddings_input_dim}: the base takes 6 ids, the refiner 5."
            )
        # SDXL, section 2.2: emb = MLP(γ(t)) + MLP([pooled, γ(h), γ(w), …])
        return emb + self.add_embedding(features.to(weight.dtype))

    def encode(
        self, hidden_states: Float[Tensor, "b c h w"], emb: Float[Tensor, "b emb"], context: Any
    ) -> tuple[Tensor, list[Tensor]]:
        """From conv_in's output to the mid block's, and every skip on the way, conv_in's output first."""
        skips = [hidden_states]
        for block in self.down_blocks:
            hidden_states, outputs = block(hidden_states, emb, context)
            skips += outputs
        return self.mid_block(hidden_states, emb, context), skips


class UNet(UNetEncoder):
    """The denoiser ε_θ(z_t, t, c).

    >>> unet = UNet(SD15)
    >>> unet = UNet.from_diffusers(reference.config, reference.state_dict())
    """

    def __init__(self, config: UNetConfig) -> None:
        super().__init__(config)
        widths = config.block_out_channels
        skips = config.skip_channels()
        self.up_blocks = nn.ModuleList()
        channels = widths[-1]
        for index in reversed(range(len(widths))):
            taken = [skips.pop() for _ in range(config.layers_per_block + 1)]
            self.up_blocks.append(UpBlock(config, index, channels, taken))
            channels = widths[index]
        self.conv_norm_out = nn.GroupNorm(config.norm_num_groups, widths[0], config.norm_eps)
        self.conv_out = nn.Conv2d(widths[0], config.out_channels, 3, padding=1)

    def forward(
        self,
        sample: Float[Tensor, "b c h w"],
        timestep: Timestep,
        encoder_hidden_states: Any,
        timestep_cond: Float[Tensor, "b w_dim"] | None = None,
        added_cond_kwargs: Mapping[str, Tensor] | None = None,
        down_block_additional_residuals: Sequence[Tensor] | None = None,
        mid_block_additional_residual: Tensor | None = None,
    ) -> Float[Tensor, "b out h w"]:
        """Predict the noise (or velocity) in `sample`.

        Args:
            sample: noisy latents; with inpainting also mask and masked latents, nine channels in all.
            timestep: the time, one for all or one a picture.
            encoder_hidden_states: text states (b, tokens, cross_attention_dim), or whatever else the
                cross-attention layers read: see `ip_adapter.ImagePrompt`.
            timestep_cond: the embedded guidance scale of a latent consistency model.
            added_cond_kwargs: SDXL's `text_embeds` (b, pooled) and `time_ids` (b, 6; the refiner's b, 5).
            down_block_additional_residuals, mid_block_additional_residual: what a ControlNet adds.

        Raises:
            LessonError: a condition this model needs is missing or has another size, or residuals do not
                match.
        """
        emb = self.embed(timestep, len(sample), timestep_cond, added_cond_kwargs)
        hidden_states, skips = self.encode(self.conv_in(sample), emb, encoder_hidden_states)

        # ControlNet (2302.05543), section 3.2: added to the skips and after the middle, nowhere else
        if down_block_additional_residuals is not None:
            if len(down_block_additional_residuals) != len(skips):
                raise LessonError(
                    f"{len(down_block_additional_residuals)} residuals for {len(skips)} skips: the "
                    "ControlNet was made from another UNet."
                )
            skips = [s + r for s, r in zip(skips, down_block_additional_residuals, strict=True)]
        if mid_block_additional_residual is not None:
            hidden_states = hidden_states + mid_block_additional_residual

        for block in self.up_blocks:
            hidden_states = block(hidden_states, emb, encoder_hidden_states, skips)
        return self.conv_out(F.silu(self.conv_norm_out(hidden_states)))


# ------------------------------------------------------------------------------------------------- the blocks


class DownBlock(nn.Module):
    """Residual blocks, each with a transformer if there is attention, then half the size (not at the end)."""

    def __init__(self, config: UNetConfig, index: int, in_channels: int) -> None:
        super().__init__()
        channels = config.block_out_channels[index]
        inputs = [in_channels, *[channels] * (config.layers_per_block - 1)]
        self.resnets = nn.ModuleList(ResnetBlock(config, c, channels) for c in inputs)
        cross = config.down_block_types[index] == "CrossAttnDownBlock2D"
        self.attentions = nn.ModuleList(Transformer(config, index) for _ in inputs) if cross else None
        last = index == len(config.block_out_channels) - 1
        self.downsamplers = None if last else nn.ModuleList([Downsample(channels)])

    def forward(self, hidden_states: Tensor, emb: Tensor, context: Any) -> tuple[Tensor, list[Tensor]]:
        outputs = []
        for index, resnet in enumerate(self.resnets):
            hidden_states = resnet(hidden_states, emb)
            if self.attentions is not None:
                hidden_states = self.attentions[index](hidden_states, context)
            outputs.append(hidden_states)
        if self.downsamplers is not None:
            hidden_states = self.downsamplers[0](hidden_states)
            outputs.append(hidden_states)
        return hidden_states, outputs


class MidBlock(nn.Module):
    """Residual block, transformer, residual block, at the lowest resolution."""

    def __init__(self, config: UNetConfig) -> None:
        super().__init__()
        channels = config.block_out_channels[-1]
        self.attentions = nn.ModuleList([Transformer(config, len(config.block_out_channels) - 1)])
        self.resnets = nn.ModuleList(ResnetBlock(config, channels, channels) for _ in range(2))

    def forward(self, hidden_states: Tensor, emb: Tensor, context: Any) -> Tensor:
        hidden_states = self.resnets[0](hidden_states, emb)
        hidden_states = self.attentions[0](hidden_states, context)
        return self.resnets[1](hidden_states, emb)


class UpBlock(nn.Module):
    """As many layers as there are skips to take back, one more than on the way down, then twice the size."""

    def __init__(self, config: UNetConfig, index: int, in_channels: int, skip_channels: list[int]) -> None:
        super().__init__()
        channels = config.block_out_channels[index]
        inputs = [in_channels, *[channels] * config.layers_per_block]
        self.resnets = nn.ModuleList(
            ResnetBlock(config, c + skip, channels) for c, skip in zip(inputs, skip_channels, strict=True)
        )
        cross = config.up_block_types[::-1][index] == "CrossAttnUpBlock2D"
        self.attentions = nn.ModuleList(Transformer(config, index) for _ in inputs) if cross else None
        self.upsamplers = nn.ModuleList([Upsample(channels)]) if index > 0 else None

    def forward(self, hidden_states: Tensor, emb: Tensor, context: Any, skips: list[Tensor]) -> Tensor:
        for index, resnet in enumerate(self.resnets):
            hidden_states = resnet(torch.cat([hidden_states, skips.pop()], dim=1), emb)
            if self.attentions is not None:
                hidden_states = self.attentions[index](hidden_states, context)
        if self.upsamplers is not None:
            hidden_states = self.upsamplers[0](hidden_states, skips[-1].shape[-2:])
        return hidden_states


class ResnetBlock(nn.Module):
    """Two convolutions around the time embedding, and a short cut past them (DDPM, appendix B)."""

    def __init__(self, config: UNetConfig, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(config.norm_num_groups, in_channels, config.norm_eps)
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        self.time_emb_proj = nn.Linear(4 * config.block_out_channels[0], out_channels)
        self.norm2 = nn.GroupNorm(config.norm_num_groups, out_channels, config.norm_eps)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1)
        self.conv_shortcut = nn.Conv2d(in_channels, out_channels, 1) if in_channels != out_channels else None

    def forward(
        self, x: Float[Tensor, "b in h w"], emb: Float[Tensor, "b emb"]
    ) -> Float[Tensor, "b out h w"]:
        h = self.conv1(F.silu(self.norm1(x)))
        # the time shifts every channel: h ← h + W silu(emb)
        h = h + self.time_emb_proj(F.silu(emb))[:, :, None, None]
        h = self.conv2(F.silu(self.norm2(h)))
        return h + (x if self.conv_shortcut is None else self.conv_shortcut(x))


class Transformer(nn.Module):
    """Pixels as tokens through the transformer blocks, and added back (Latent Diffusion, appendix E.2.1)."""

    def __init__(self, config: UNetConfig, index: int) -> None:
        super().__init__()
        channels = config.block_out_channels[index]
        heads = config.per_block("attention_head_dim")[index]
        dim_head = channels // heads
        inner_dim = heads * dim_head
        self.norm = nn.GroupNorm(config.norm_num_groups, channels, eps=1e-6)
        # a 1×1 convolution and a linear layer are the same map; SD1.5 stored one, SDXL the other
        self.linear = config.use_linear_projection
        self.proj_in = nn.Linear(channels, inner_dim) if self.linear else nn.Conv2d(channels, inner_dim, 1)
        self.transformer_blocks = nn.ModuleList(
            TransformerBlock(inner_dim, heads, dim_head, config.cross_attention_dim)
            for _ in range(config.per_block("transformer_layers_per_block")[index])
        )
        self.proj_out = nn.Linear(inner_dim, channels) if self.linear else nn.Conv2d(inner_dim, channels, 1)

    def forward(self, x: Float[Tensor, "b c h w"], context: Any) -> Float[Tensor, "b c h w"]:
        height, width = x.shape[-2:]
        h = self.norm(x)
        tokens = self.proj_in(to_tokens(h)) if self.linear else to_tokens(self.proj_in(h))
        for block in self.transformer_blocks:
            tokens = block(tokens, context)
        if self.linear:
            return x + to_map(self.proj_out(tokens), height, width)
        return x + self.proj_out(to_map(tokens, height, width))


class TransformerBlock(nn.Module):
    """Self-attention among pixels, cross-attention to text, feed-forward: normalised before, added after."""

    def __init__(self, dim: int, heads: int, dim_head: int, cross_attention_dim: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim)
        self.attn1 = Attention(dim, heads, dim_head)
        self.norm2 = nn.LayerNorm(dim)
        self.attn2 = Attention(dim, heads, dim_head, cross_attention_dim)
        self.norm3 = nn.LayerNorm(dim)
        self.ff = FeedForward(dim)

    def forward(self, tokens: Float[Tensor, "b n dim"], context: Any) -> Float[Tensor, "b n dim"]:
        tokens = tokens + self.attn1(self.norm1(tokens))
        tokens = tokens + self.attn2(self.norm2(tokens), context)
        return tokens + self.ff(self.norm3(tokens))


class FeedForward(nn.Module):
    """Two layers with a gated activation (Shazeer, "GLU Variants Improve Transformer", 2002.05202)."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        # diffusers numbers an empty dropout between the two layers, so the second is net.2
        self.net = nn.ModuleList([GEGLU(dim, 4 * dim), nn.Identity(), nn.Linear(4 * dim, dim)])

    def forward(self, x: Float[Tensor, "b n dim"]) -> Float[Tensor, "b n dim"]:
        return self.net[2](self.net[0](x))


class GEGLU(nn.Module):
    """A linear layer gated by the GELU of another."""

    def __init__(self, dim_in: int, dim_out: int) -> None:
        super().__init__()
        self.proj = nn.Linear(dim_in, 2 * dim_out)

    def forward(self, x: Float[Tensor, "b n in"]) -> Float[Tensor, "b n out"]:
        # GEGLU(x) = GELU(xW + b) ⊗ (xV + c)
        value, gate = self.proj(x).chunk(2, dim=-1)
        return value * F.gelu(gate)


class Downsample(nn.Module):
    """Half the height and width."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=2, padding=1)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h2 w2"]:
        return self.conv(x)


class Upsample(nn.Module):
    """Up to the size of the next skip: twice, or one less where the way down rounded up."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Float[Tensor, "b c h w"], size: Sequence[int]) -> Float[Tensor, "b c h2 w2"]:
        return self.conv(F.interpolate(x, size=tuple(size), mode="nearest"))


def to_tokens(x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b hw c"]:
    """Every pixel a token, row by row."""
    return x.flatten(2).transpose(1, 2)


def to_map(tokens: Float[Tensor, "b hw c"], height: int, width: int) -> Float[Tensor, "b c h w"]:
    """The tokens as a picture again."""
    return tokens.transpose(1, 2).unflatten(2, (height, width))
