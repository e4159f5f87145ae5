"""The full-size networks with random weights, made on the device: their cost is that of the real ones.

Nothing is downloaded. Only shapes decide cost, so the pictures are noise; a merged LCM-LoRA leaves the shapes
as they are, and is not even needed. The tokenizer is the tiny zoo's.

Sources of the shapes: `lessonlib.scratch.unet` (SD 1.5, SDXL); the text and image towers of OpenAI's CLIP
ViT-L/14 and of OpenCLIP's ViT-bigG/14 and ViT-H/14. Tests count every parameter.
"""

# diffusers' and transformers' annotations are narrower than what they accept and return:
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import torch

from lessonlib.scratch.unet import SD15, SDXL, UNetConfig

IMAGE_TOKENS = 4  # of the base IP-Adapter


@dataclass(frozen=True)
class Family:
    """The shapes of a pipeline's networks. `vision` is that of the IP-Adapter, which brings a ControlNet too."""

    name: str
    side: int  # pixels
    unet: UNetConfig
    text: dict[str, Any]
    text_2: dict[str, Any] | None
    vae: dict[str, Any]
    vision: dict[str, Any] | None = None


_CLIP_L = {
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "hidden_act": "quick_gelu",
}
_CLIP_G = {
    "hidden_size": 1280,
    "intermediate_size": 5120,
    "num_hidden_layers": 32,
    "num_attention_heads": 20,
    "projection_dim": 1280,
    "hidden_act": "gelu",
}
_VIT_H = {
    "hidden_size": 1280,
    "intermediate_size": 5120,
    "num_hidden_layers": 32,
    "num_attention_heads": 16,
    "projection_dim": 1024,
    "image_size": 224,
    "patch_size": 14,
    "hidden_act": "gelu",
}
_VAE = {"block_out_channels": (128, 256, 512, 512), "layers_per_block": 2, "sample_size": 512}
_SDXL_VAE = {**_VAE, "sample_size": 1024, "scaling_factor": 0.13025, "force_upcast": True}

FULL = (
    Family("SD1.5", 512, SD15, _CLIP_L, None, {**_VAE, "force_upcast": False}),
    Family("SDXL", 1024, SDXL, _CLIP_L, _CLIP_G, _SDXL_VAE),
    Family("SDXL + ControlNet + IP-Adapter", 1024, SDXL, _CLIP_L, _CLIP_G, _SDXL_VAE, _VIT_H),
)


def build(family: Family, device: str, dtype: torch.dtype) -> Any:
    """The family's diffusers pipeline, every weight random.

    Raises:
        LessonError: the tiny zoo, whose tokenizer is used, is not there.
    """
    import diffusers

    parts = networks(family, device, dtype)
    parts["scheduler"] = _scheduler(family)
    parts["tokenizer"] = _tokenizer()
    if family.text_2 is None:
        pipeline = diffusers.StableDiffusionPipeline(
            **parts, safety_checker=None, feature_extractor=None, requires_safety_checker=False
        )
    else:
        parts["tokenizer_2"] = parts["tokenizer"]
        kind = diffusers.StableDiffusionXLPipeline
        if family.vision is not None:
            kind = diffusers.StableDiffusionXLControlNetPipeline
        pipeline = kind(**parts, add_watermarker=False)
    if family.vision is not None:
        # the pipeline makes the feature extractor itself, from the encoder's picture size
        pipeline.load_ip_adapter(_ip_adapter(pipeline), subfolder="", weight_name="")
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def networks(family: Family, device: str, dtype: torch.dtype) -> dict[str, Any]:
    """The family's networks by the names of the pipeline's components; on "meta" they hold no numbers."""
    from diffusers import AutoencoderKL, ControlNetModel, UNet2DConditionModel
    from transformers import (
        CLIPTextConfig,
        CLIPTextModel,
        CLIPTextModelWithProjection,
        CLIPVisionConfig,
        CLIPVisionModelWithProjection,
    )

    with _made_on(device, dtype):
        unet = UNet2DConditionModel(sample_size=family.side // 8, **asdict(family.unet))
        count = len(family.vae["block_out_channels"])
        parts: dict[str, Any] = {
            "unet": unet,
            "vae": AutoencoderKL(
                **family.vae,
                latent_channels=4,
                down_block_types=("DownEncoderBlock2D",) * count,
                up_block_types=("UpDecoderBlock2D",) * count,
            ),
            "text_encoder": CLIPTextModel(CLIPTextConfig(**family.text)),
        }
        if family.text_2 is not None:
            parts["text_encoder_2"] = CLIPTextModelWithProjection(CLIPTextConfig(**family.text_2))
        if family.vision is not None:
            parts["controlnet"] = ControlNetModel.from_unet(unet, load_weights_from_unet=False)
            parts["image_encoder"] = CLIPVisionModelWithProjection(CLIPVisionConfig(**family.vision))
    for part in parts.values():
        # torch's own `to`: diffusers' warns of parts that stay in float32, of which these have none
        torch.nn.Module.to(part, dtype).eval().requires_grad_(False)
    return parts


@contextmanager
def _made_on(device: str, dtype: torch.dtype) -> Iterator[None]:
    """New parameters are made on `device` in `dtype`: float32 copies of the large networks might not fit."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with torch.device(device):
            yield
    finally:
        torch.set_default_dtype(before)


def _ip_adapter(pipeline: Any) -> dict[str, dict[str, torch.Tensor]]:
    """Random weights in the layout of a base IP-Adapter's file."""
    unet, dtype = pipeline.unet, pipeline.unet.dtype
    context, seen = unet.config.cross_attention_dim, pipeline.image_encoder.config.projection_dim
    cross = [
        (i, unet.get_submodule(name.removesuffix(".processor")).to_k.out_features)
        for i, name in enumerate(unet.attn_processors)
        if name.endswith("attn2.processor")
    ]
    pairs = {
        f"{i}.{which}.weight": 0.02 * torch.randn(width, context)
        for i, width in cross
        for which in ("to_k_ip", "to_v_ip")
    }
    projection = {
        "proj.weight": 0.02 * torch.randn(IMAGE_TOKENS * context, seen),
        "proj.bias": torch.zeros(IMAGE_TOKENS * context),
        "norm.weight": torch.ones(context),
        "norm.bias": torch.zeros(context),
    }
    return {
        "image_proj": {key: value.to(dtype) for key, value in projection.items()},
        "ip_adapter": {key: value.to(dtype) for key, value in pairs.items()},
    }


def _tokenizer() -> Any:
    from transformers import CLIPTokenizer

    from lessonlib.models import repo

    return CLIPTokenizer.from_pretrained(repo("sd15", tier="tiny"), subfolder="tokenizer")


def _scheduler(family: Family) -> Any:
    """SD 1.5's and SDXL's own: PNDM and Euler."""
    from diffusers import EulerDiscreteScheduler, PNDMScheduler

    betas = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "steps_offset": 1}
    if family.text_2 is None:
        return PNDMScheduler(**betas, skip_prk_steps=True, set_alpha_to_one=False)
    return EulerDiscreteScheduler(**betas, timestep_spacing="leading")
