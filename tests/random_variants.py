"""Random relatives of random_models' sd15, each in the true layout, and a weights root that holds them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from random_models import SD15_FOLDERS, make_store, random_sd15

from lessonlib.models import store


def random_unet(**changes: Any):
    """random_sd15's UNet with another configuration, every weight random."""
    import torch
    from diffusers import UNet2DConditionModel

    torch.manual_seed(1)
    # from_config would put defaults back in the place of what "_use_default_values" names
    config = {k: v for k, v in random_sd15().unet.config.items() if not k.startswith("_")}
    unet = UNet2DConditionModel(**{**config, **changes})
    with torch.no_grad():
        for parameter in unet.parameters():
            parameter += 0.02 * torch.randn_like(parameter)
    return unet.eval()


def random_lcm():
    """A LatentConsistencyModelPipeline: the UNet takes the guidance as an input."""
    from diffusers import LatentConsistencyModelPipeline, LCMScheduler

    parts = random_sd15().components
    return LatentConsistencyModelPipeline(
        **{
            **parts,
            "unet": random_unet(time_cond_proj_dim=16),
            "scheduler": LCMScheduler.from_config(parts["scheduler"].config),
        },
        requires_safety_checker=False,
    )


def random_inpainting():
    """A StableDiffusionInpaintPipeline: the UNet has nine input channels."""
    from diffusers import StableDiffusionInpaintPipeline

    parts = {**random_sd15().components, "unet": random_unet(in_channels=9)}
    return StableDiffusionInpaintPipeline(**parts, requires_safety_checker=False)


def save_random_lora(unet: Any, folder: Path, pipeline_class: Any) -> None:
    """A LoRA over the attention of `unet`, in the layout that `load_lora_weights` reads."""
    import torch
    from diffusers import UNet2DConditionModel
    from peft import LoraConfig, get_peft_model_state_dict

    copy = UNet2DConditionModel.from_config(unet.config)
    copy.add_adapter(LoraConfig(r=2, target_modules=["to_q", "to_k", "to_v", "to_out.0"]))
    generator = torch.Generator().manual_seed(2)
    layers = {
        key: 0.3 * torch.randn(value.shape, generator=generator)
        for key, value in get_peft_model_state_dict(copy).items()
    }
    pipeline_class.save_lora_weights(folder, unet_lora_layers=layers)


def make_family(folder: Path) -> Path:
    """A weights root with random members sd15, lcm, sd15-inpainting and lcm-lora-sd15; returns it."""
    from diffusers import StableDiffusionPipeline

    root, sd15 = folder / "weights", random_sd15()
    sd15.save_pretrained(folder / "sd15")
    make_store(folder / "sd15", root)
    for name, pipeline in (("lcm", random_lcm()), ("sd15-inpainting", random_inpainting())):
        pipeline.save_pretrained(folder / name)
        folders = {**SD15_FOLDERS, "unet": f"{name}-unet", "scheduler": f"{name}-scheduler"}
        for component in ("unet", "scheduler"):
            store.fold(folder / name / component, folders[component], root)
        index = json.loads((folder / name / "model_index.json").read_text())
        store.add_member(name, index, folders, root)
    save_random_lora(sd15.unet, folder / "lora", StableDiffusionPipeline)
    store.fold(folder / "lora", "lcm-lora-sd15", root)
    store.add_member("lcm-lora-sd15", None, {"": "lcm-lora-sd15"}, root)
    return root


def random_sdxl(sample_size: int = 8):
    """A StableDiffusionXLPipeline: two text towers, micro-conditioning, sd15's VAE at SDXL's scaling."""
    import torch
    from diffusers import EulerDiscreteScheduler, StableDiffusionXLPipeline
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    parts = random_sd15().components
    torch.manual_seed(3)
    second = CLIPTextConfig.from_dict(
        {**parts["text_encoder"].config.to_dict(), "hidden_size": 48, "num_attention_heads": 4}
        | {"projection_dim": 24, "hidden_act": "gelu"}
    )
    return StableDiffusionXLPipeline(
        vae=parts["vae"],
        text_encoder=CLIPTextModel(parts["text_encoder"].config),
        text_encoder_2=CLIPTextModelWithProjection(second),
        tokenizer=parts["tokenizer"],
        tokenizer_2=parts["tokenizer"],
        unet=random_unet(
            sample_size=sample_size,
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
            cross_attention_dim=32 + 48,
            addition_embed_type="text_time",
            addition_time_embed_dim=8,
            projection_class_embeddings_input_dim=6 * 8 + 24,
            use_linear_projection=True,
        ),
        scheduler=EulerDiscreteScheduler(
            beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", steps_offset=1
        ),
        add_watermarker=False,
    )
