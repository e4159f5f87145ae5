"""Random ControlNets, IP-Adapters and SDXL models in the true layout, added to random_variants' weights root."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from random_models import random_sd15
from random_variants import random_sdxl, random_unet

from lessonlib.conditions import CONTROLNETS
from lessonlib.models import store

CONTROLS = ("canny", "depth", "pose", "scribble")  # the conditions that have a random ControlNet
CLIP = 16  # width of the random image encoder, and of its projection


def random_controlnet(unet: Any, seed: int):
    """A ControlNet of `unet` whose zero convolutions are not zero, so that it changes something."""
    import torch
    from diffusers import ControlNetModel

    torch.manual_seed(seed)
    net = ControlNetModel.from_unet(unet, conditioning_embedding_out_channels=(8, 8, 16, 16))
    with torch.no_grad():
        for parameter in net.parameters():
            parameter += 0.05 * torch.randn_like(parameter)
    return net.eval()


def random_image_encoder():
    """A CLIP vision tower of 32 x 32 pixels, 16 patches."""
    import torch
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    torch.manual_seed(5)
    config = CLIPVisionConfig(
        hidden_size=CLIP,
        intermediate_size=32,
        projection_dim=CLIP,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=32,
        patch_size=8,
    )
    return CLIPVisionModelWithProjection(config).eval()


def random_ip_adapters(unet: Any) -> dict[str, dict[str, Any]]:
    """The three adapters of `unet` in the published format: {file: {key: tensor}}."""
    import torch

    generator = torch.Generator().manual_seed(6)
    text = unet.config.cross_attention_dim

    def tensor(*shape: int):
        return 0.3 * torch.randn(*shape, generator=generator)

    def attention() -> dict[str, Any]:
        cross = [name for name in unet.attn_processors if name.endswith("attn2.processor")]
        shapes = [unet.get_submodule(name.removesuffix(".processor")).to_k.weight.shape for name in cross]
        return {
            f"ip_adapter.{2 * i + 1}.{name}.weight": tensor(*shape)
            for i, shape in enumerate(shapes)
            for name in ("to_k_ip", "to_v_ip")
        }

    base = {"proj": (4 * text, CLIP), "norm": (text,)}
    plus: dict[str, tuple[int, ...]] = {"proj_in": (16, CLIP), "proj_out": (text, 16), "norm_out": (text,)}
    for i in range(4):  # diffusers' loader knows no other depth
        plus |= {f"layers.{i}.0.norm1": (16,), f"layers.{i}.0.norm2": (16,), f"layers.{i}.1.0": (16,)}
    face = {"proj.0": (CLIP, CLIP), "proj.2": (text, CLIP), "proj.3": (text,)}
    resampler = {"latents": tensor(1, 5, 16)}
    for i in range(4):
        resampler |= {
            f"layers.{i}.0.to_q.weight": tensor(64, 16),
            f"layers.{i}.0.to_kv.weight": tensor(128, 16),
            f"layers.{i}.0.to_out.weight": tensor(16, 64),
            f"layers.{i}.1.1.weight": tensor(64, 16),
            f"layers.{i}.1.3.weight": tensor(16, 64),
        }

    def projection(layers: dict[str, tuple[int, ...]], more: dict[str, Any]) -> dict[str, Any]:
        values = {f"{name}.weight": tensor(*shape) for name, shape in layers.items()}
        values |= {f"{name}.bias": tensor(shape[0]) for name, shape in layers.items()}
        return {f"image_proj.{key}": value for key, value in (values | more).items()}

    return {
        "ip-adapter_sd15.safetensors": attention() | projection(base, {}),
        "ip-adapter-plus_sd15.safetensors": attention() | projection(plus, resampler),
        "ip-adapter-full-face_sd15.safetensors": attention() | projection(face, {}),
    }


def random_refiner(base: Any):
    """A StableDiffusionXLImg2ImgPipeline that has the base's second text tower only, and asks for aesthetic scores."""
    from diffusers import StableDiffusionXLImg2ImgPipeline

    text = base.text_encoder_2.config
    unet = random_unet(
        sample_size=base.unet.config.sample_size,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=text.hidden_size,
        addition_embed_type="text_time",
        addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=5 * 8 + text.projection_dim,
        use_linear_projection=True,
    )
    return StableDiffusionXLImg2ImgPipeline(
        vae=base.vae,
        text_encoder=None,
        text_encoder_2=base.text_encoder_2,
        tokenizer=None,
        tokenizer_2=base.tokenizer_2,
        unet=unet,
        scheduler=base.scheduler,
        requires_aesthetics_score=True,
        add_watermarker=False,
    )


def add_adapters(folder: Path) -> None:
    """Add ControlNets (`CONTROLS`) and the member ip-adapter to the weights root in `folder`."""
    from safetensors.torch import save_file

    root, unet = folder / "weights", random_sd15().unet
    for seed, condition in enumerate(CONTROLS):
        name = CONTROLNETS[condition]
        random_controlnet(unet, seed).save_pretrained(folder / name)
        store.fold(folder / name, name, root)
        store.add_member(name, None, {"": name}, root)
    parts = []
    for file, tensors in random_ip_adapters(unet).items():
        parts.append(file.removesuffix(".safetensors"))
        (folder / parts[-1]).mkdir()
        save_file(tensors, folder / parts[-1] / file)
        store.fold(folder / parts[-1], parts[-1], root)
    random_image_encoder().save_pretrained(folder / "image_encoder")
    store.fold(folder / "image_encoder", "image-encoder", root)
    store.add_member("ip-adapter", None, {"models": parts, "models/image_encoder": "image-encoder"}, root)


def add_sdxl(folder: Path) -> None:
    """Add the members sdxl-base and sdxl-refiner to the weights root in `folder`; they share a text tower and a VAE."""
    root, base = folder / "weights", random_sdxl()
    for name, pipeline in (("sdxl-base", base), ("sdxl-refiner", random_refiner(base))):
        pipeline.save_pretrained(folder / name)
        index = json.loads((folder / name / "model_index.json").read_text())
        folders = {}
        for component in (k for k, v in index.items() if isinstance(v, list) and v[0]):
            shared = component in ("vae", "text_encoder_2", "tokenizer_2", "scheduler")
            folders[component] = f"sdxl-{component}" if shared else f"{name}-{component}"
            store.fold(folder / name / component, folders[component], root)
        store.add_member(name, index, folders, root)
