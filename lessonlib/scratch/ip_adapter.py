"""IP-Adapter: a picture as part of the prompt, through a second cross-attention beside the text's.

    text ────────────────────────► K, V ──► Attention ──┐
    pixels ──► Q ───────────────────────────────────────(+)──► to_out
    picture ──► CLIP ──► image projection ──► K', V' ──► Attention · scale

Only the image projection and K', V' are trained: 22,319,616 parameters on SD1.5.

Sources: Ye et al., "IP-Adapter" (2308.06721), section 3.2; the resampler of the "plus" models: Alayrac et
al., "Flamingo" (2204.14198), section 2.1, and Jaegle et al., "Perceiver" (2103.03206).
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from lessonlib.errors import LessonError
from lessonlib.scratch.attention import Attention
from lessonlib.scratch.unet import UNet
from lessonlib.scratch.weights import load_weights


class ImagePrompt(NamedTuple):
    """What an adapted UNet takes as `encoder_hidden_states`: the text and, for each adapter, its pictures.

    text: text states, (b, tokens, cross_attention_dim).
    images: for each adapter the projected tokens of its pictures, (b, pictures, tokens, cross_attention_dim).
    masks: for each adapter where its pictures apply, (1, pictures, height, width) in [0, 1], or None for
        everywhere.
    """

    text: Tensor
    images: Sequence[Tensor]
    masks: Sequence[Tensor | None] | None = None


class DecoupledCrossAttention(Attention):
    """Cross-attention to the text plus, for each adapter, cross-attention to its pictures.

    Shares the projections of the layer it replaces; adds `to_k_ip` and `to_v_ip`, one pair an adapter.

    Args:
        base: the UNet's text cross-attention.
        adapters: how many adapters.
    """

    def __init__(self, base: Attention, adapters: int) -> None:
        nn.Module.__init__(self)
        self.heads, self.attention = base.heads, base.attention
        self.to_q, self.to_k, self.to_v, self.to_out = base.to_q, base.to_k, base.to_v, base.to_out
        self.scales: list[float | list[float]] = [1.0] * adapters
        like = base.to_k.weight
        inner_dim, context_dim = like.shape

        def projection() -> nn.Linear:
            return nn.Linear(context_dim, inner_dim, bias=False, dtype=like.dtype, device=like.device)

        self.to_k_ip = nn.ModuleList(projection() for _ in range(adapters))
        self.to_v_ip = nn.ModuleList(projection() for _ in range(adapters))

    def forward(
        self, hidden_states: Float[Tensor, "b q c"], encoder_hidden_states: Any
    ) -> Float[Tensor, "b q c"]:
        if not isinstance(encoder_hidden_states, ImagePrompt):
            raise LessonError(
                "This UNet has an IP-Adapter and needs a picture: give it an ImagePrompt as "
                "encoder_hidden_states, or remove_ip_adapters(unet)."
            )
        text, images, masks = encoder_hidden_states
        if not len(self.scales) == len(images) == len(masks or images):
            raise LessonError(
                f"{len(self.scales)} IP-Adapters, {len(images)} lists of pictures and {len(masks or images)} "
                "lists of masks: give one an adapter."
            )
        query = self.to_q(hidden_states)
        # Z = Softmax(Q Kᵀ / √d) V                                                    (equation 3)
        output = self.attend(query, self.to_k(text), self.to_v(text))
        for index, (tokens, scale) in enumerate(zip(images, self.scales, strict=True)):
            if scale == 0:
                continue  # exactly no adapter
            to_k, to_v = self.to_k_ip[index], self.to_v_ip[index]
            mask = masks[index] if masks else None
            if mask is None:
                if isinstance(scale, list):
                    raise LessonError(
                        "A scale for each picture needs a mask for each: give masks or one scale."
                    )
                # all pictures of an adapter in one softmax:
                # Z_new = Z + λ · Softmax(Q K'ᵀ / √d) V'                              (equations 5 and 8)
                everything = tokens.flatten(1, 2)
                output = output + scale * self.attend(query, to_k(everything), to_v(everything))
            else:
                weights = scale if isinstance(scale, list) else [scale] * mask.shape[1]
                if not tokens.shape[1] == mask.shape[1] == len(weights):
                    raise LessonError(
                        f"{tokens.shape[1]} pictures, {mask.shape[1]} masks and {len(weights)} scales: "
                        "give one mask and one scale a picture."
                    )
                # each picture by itself, in its own place m_i:
                # Z_new = Z + Σ_i λ_i · m_i ⊙ Softmax(Q K'_iᵀ / √d) V'_i
                places = mask_tokens(mask, query.shape[1]).to(query.dtype)
                for picture, (weight, place) in enumerate(zip(weights, places, strict=True)):
                    alone = tokens[:, picture]
                    output = output + weight * self.attend(query, to_k(alone), to_v(alone)) * place[:, None]
        return self.to_out[0](output)


def mask_tokens(mask: Float[Tensor, "1 pictures h w"], tokens: int) -> Float[Tensor, "pictures tokens"]:
    """The masks at the resolution of an attention layer that has `tokens` pixels, of the mask's aspect ratio.

    Raises:
        LessonError: no grid of that aspect ratio has `tokens` pixels.
    """
    height, width = mask.shape[-2:]
    divisors = [n for n in range(1, tokens + 1) if tokens % n == 0]
    # of the grids with this many pixels, rows × columns, the one nearest to the mask's height : width
    rows = min(divisors, key=lambda n: abs(math.log(n * n * width / (tokens * height))))
    columns = tokens // rows
    # every halving on the way down rounds up, by less than one pixel
    if abs(columns - rows * width / height) >= 1 and abs(rows - columns * height / width) >= 1:
        raise LessonError(
            f"A mask of {height}×{width} does not fit a layer of {tokens} pixels: give it the picture's "
            "aspect ratio."
        )
    return F.interpolate(mask, size=(rows, columns), mode="bicubic")[0].flatten(1)


# ------------------------------------------------------------------------------------------ image projections


class ImageProjection(nn.Module):
    """CLIP's image embedding becomes a few text-like tokens (section 3.2.1: a linear layer, a layer norm)."""

    def __init__(
        self, image_embed_dim: int, cross_attention_dim: int, num_image_text_embeds: int = 4
    ) -> None:
        super().__init__()
        self.num_image_text_embeds = num_image_text_embeds
        self.image_embeds = nn.Linear(image_embed_dim, num_image_text_embeds * cross_attention_dim)
        self.norm = nn.LayerNorm(cross_attention_dim)

    def forward(self, image_embeds: Float[Tensor, "n clip"]) -> Float[Tensor, "n tokens c"]:
        return self.norm(self.image_embeds(image_embeds).unflatten(-1, (self.num_image_text_embeds, -1)))


class Resampler(nn.Module):
    """The "plus" projection: learned queries read CLIP's patch features, layer by layer: the tokens.

    Args:
        embed_dims: channels of CLIP's penultimate patch features.
        output_dims: the UNet's cross_attention_dim.
        hidden_dims: channels inside.
        depth: number of layers.
        dim_head, heads: the attention's heads.
        num_queries: number of tokens that come out.
    """

    def __init__(
        self,
        embed_dims: int,
        output_dims: int,
        hidden_dims: int = 1280,
        depth: int = 4,
        dim_head: int = 64,
        heads: int = 16,
        num_queries: int = 16,
    ) -> None:
        super().__init__()
        self.latents = nn.Parameter(torch.randn(1, num_queries, hidden_dims) / hidden_dims**0.5)
        self.proj_in = nn.Linear(embed_dims, hidden_dims)
        self.proj_out = nn.Linear(hidden_dims, output_dims)
        self.norm_out = nn.LayerNorm(output_dims)
        self.layers = nn.ModuleList(ResamplerLayer(hidden_dims, dim_head, heads) for _ in range(depth))

    def forward(self, features: Float[Tensor, "n patches clip"]) -> Float[Tensor, "n queries c"]:
        features = self.proj_in(features)
        latents = self.latents.expand(len(features), -1, -1)
        for layer in self.layers:
            latents = layer(features, latents)
        return self.norm_out(self.proj_out(latents))


class ResamplerLayer(nn.Module):
    """One layer of the resampler; diffusers' key names."""

    def __init__(self, dim: int, dim_head: int, heads: int) -> None:
        super().__init__()
        self.ln0 = nn.LayerNorm(dim)
        self.ln1 = nn.LayerNorm(dim)
        self.attn = Attention(dim, heads, dim_head, out_bias=False)
        self.ff = nn.Sequential(nn.LayerNorm(dim), FeedForward(dim))

    def forward(
        self, features: Float[Tensor, "n patches dim"], latents: Float[Tensor, "n queries dim"]
    ) -> Float[Tensor, "n queries dim"]:
        queries = self.ln1(latents)
        # Flamingo, section 2.1: keys and values from the features *and* the queries, [x; q]
        latents = latents + self.attn(queries, torch.cat([self.ln0(features), queries], dim=1))
        return latents + self.ff(latents)


class FeedForward(nn.Module):
    """Two layers with a GELU, without biases."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        # diffusers numbers an empty dropout between the two layers, so the second is net.2
        self.net = nn.ModuleList(
            [FirstLayer(dim, 4 * dim), nn.Identity(), nn.Linear(4 * dim, dim, bias=False)]
        )

    def forward(self, x: Float[Tensor, "n t dim"]) -> Float[Tensor, "n t dim"]:
        return self.net[2](self.net[0](x))


class FirstLayer(nn.Module):
    """A linear layer and its GELU."""

    def __init__(self, dim_in: int, dim_out: int) -> None:
        super().__init__()
        self.proj = nn.Linear(dim_in, dim_out, bias=False)

    def forward(self, x: Float[Tensor, "n t in"]) -> Float[Tensor, "n t out"]:
        return F.gelu(self.proj(x))


# ------------------------------------------------------------------------------------- into and out of a UNet


def add_ip_adapters(
    unet: UNet, state_dicts: Sequence[Mapping[str, Tensor]]
) -> list[ImageProjection | Resampler]:
    """Give `unet` decoupled cross-attention for one or more adapters; returns each one's image projection.

    Args:
        unet: changed in place; from then on it takes an `ImagePrompt` as `encoder_hidden_states`.
        state_dicts: published adapter files: `image_proj.*` and `ip_adapter.{1,3,5,…}.to_{k,v}_ip.weight`.

    Raises:
        LessonError: keys are missing, unknown or of another shape (they are named), or adapters are already
            there.
    """
    layers = cross_attentions(unet)
    if any(isinstance(layer, DecoupledCrossAttention) for layer in layers.values()):
        raise LessonError(
            "This UNet has IP-Adapters already: remove_ip_adapters(unet) first, then add all at once."
        )
    projections = []
    attentions = {name: DecoupledCrossAttention(layer, len(state_dicts)) for name, layer in layers.items()}
    for index, state_dict in enumerate(state_dicts):
        strangers = [key for key in state_dict if not key.startswith(("image_proj.", "ip_adapter."))]
        if strangers:
            raise LessonError(
                f"This is no IP-Adapter file: it holds {strangers[0]}, not image_proj.* and ip_adapter.*."
            )
        projections.append(image_projection(_below("image_proj.", state_dict)).to(unet.conv_in.weight))
        pairs = nn.ModuleDict()
        # published files count all attention layers, self-attention too, so the text layers are the odd ones
        for number, attention in zip(range(1, 2 * len(layers), 2), attentions.values(), strict=True):
            pairs[str(number)] = nn.ModuleDict(
                {"to_k_ip": attention.to_k_ip[index], "to_v_ip": attention.to_v_ip[index]}
            )
        load_weights(pairs, _below("ip_adapter.", state_dict), what="this UNet's IP-Adapter layers")
    for name, attention in attentions.items():
        unet.set_submodule(name, attention)
    return projections


def set_ip_adapter_scale(unet: UNet, scales: Sequence[float | list[float]]) -> None:
    """One scale an adapter (λ of equation 8), or, for an adapter with masks, a list with one scale a picture.

    Raises:
        LessonError: not one scale an adapter.
    """
    for layer in cross_attentions(unet).values():
        if not isinstance(layer, DecoupledCrossAttention) or len(layer.scales) != len(scales):
            loaded = len(layer.scales) if isinstance(layer, DecoupledCrossAttention) else 0
            raise LessonError(f"{len(scales)} scales for {loaded} IP-Adapters: give one an adapter.")
        layer.scales = list(scales)


def remove_ip_adapters(unet: UNet) -> None:
    """Put the plain cross-attention back, with the UNet's own weights; nothing is left of the adapters."""
    for name, layer in cross_attentions(unet).items():
        if isinstance(layer, DecoupledCrossAttention):
            plain = Attention(1, layer.heads, 1)  # an empty shell for the layer's own projections
            for part in ("attention", "to_q", "to_k", "to_v", "to_out"):
                setattr(plain, part, getattr(layer, part))
            unet.set_submodule(name, plain)


def cross_attentions(unet: UNet) -> dict[str, Attention]:
    """Every text cross-attention by name, in the order adapter files number them: down, up, then middle."""
    order = ("down_blocks", "up_blocks", "mid_block")
    named = [
        (name, module)
        for name, module in unet.named_modules()
        if isinstance(module, Attention) and name.endswith(".attn2")
    ]
    return dict(sorted(named, key=lambda item: order.index(item[0].split(".")[0])))


def image_projection(state_dict: Mapping[str, Tensor]) -> ImageProjection | Resampler:
    """The image projection, with its weights, that an adapter file's `image_proj` part belongs to.

    Raises:
        LessonError: it is neither the base nor the "plus" format, or a key does not fit.
    """
    if "proj.weight" in state_dict:
        tokens = 4  # every published base adapter
        rows, clip = state_dict["proj.weight"].shape
        module: ImageProjection | Resampler = ImageProjection(clip, rows // tokens, tokens)
        renamed = {re.sub(r"^proj\b", "image_embeds", key): value for key, value in state_dict.items()}
    elif "latents" in state_dict:
        renamed = dict(_plus_keys(state_dict))
        for key in ("proj_in.weight", "proj_out.weight", "layers.0.attn.to_q.weight"):
            if key not in renamed:
                raise LessonError(f"This plus adapter's image projection is incomplete: {key} is missing.")
        dim_head = 64  # every published "plus" adapter
        module = Resampler(
            embed_dims=renamed["proj_in.weight"].shape[1],
            output_dims=renamed["proj_out.weight"].shape[0],
            hidden_dims=renamed["latents"].shape[2],
            depth=1 + max(int(key.split(".")[1]) for key in renamed if key.startswith("layers.")),
            dim_head=dim_head,
            heads=renamed["layers.0.attn.to_q.weight"].shape[0] // dim_head,
            num_queries=renamed["latents"].shape[1],
        )
    else:
        raise LessonError(
            f"Unknown image projection with {next(iter(state_dict), 'no keys')}: base adapters hold "
            "proj.weight, plus adapters latents. Use diffusers for other formats."
        )
    load_weights(module, renamed)
    return module


# published "plus" files number a layer's parts; on the right diffusers' names for them
_PLUS_NAMES = {
    "0.norm1.": "ln0.",
    "0.norm2.": "ln1.",
    "0.to_q.": "attn.to_q.",
    "0.to_out.": "attn.to_out.0.",
    "1.0.": "ff.0.",
    "1.1.": "ff.1.net.0.proj.",
    "1.3.": "ff.1.net.2.",
}


def _plus_keys(state_dict: Mapping[str, Tensor]):
    """Published "plus" keys and tensors under diffusers' names; keys that already have them pass through."""
    for key, value in state_dict.items():
        layer, part = re.match(r"(layers\.\d+\.)?(.*)", key).groups()  # type: ignore[union-attr]
        if layer and part == "0.to_kv.weight":
            yield f"{layer}attn.to_k.weight", value.chunk(2)[0]
            yield f"{layer}attn.to_v.weight", value.chunk(2)[1]
            continue
        old = next((old for old in _PLUS_NAMES if layer and part.startswith(old)), "")
        yield (f"{layer}{_PLUS_NAMES[old]}{part[len(old) :]}" if old else key), value


def _below(prefix: str, state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {key.removeprefix(prefix): value for key, value in state_dict.items() if key.startswith(prefix)}
