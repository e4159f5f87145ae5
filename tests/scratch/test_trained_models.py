"""The from-scratch models run the trained tiny models exactly as diffusers does."""

import json
from pathlib import Path

import pytest
import torch
from diffusers import ControlNetModel, StableDiffusionPipeline, UNet2DConditionModel
from safetensors.torch import load_file
from tiny_unets import TOLERANCE, difference

from lessonlib.models import CATALOGUE, repo
from lessonlib.models.store import members
from lessonlib.scratch.controlnet import ControlNet
from lessonlib.scratch.ip_adapter import ImagePrompt, add_ip_adapters
from lessonlib.scratch.lora import apply_lora
from lessonlib.scratch.unet import UNet


def rows(kind):
    return [name for name, row in CATALOGUE.items() if row.kind == kind]


def folder(name):
    """The trained model's folder."""
    if CATALOGUE[name].tiny not in members():
        pytest.skip(f"the tiny {name} is not trained yet")
    return Path(repo(name, tier="tiny"))


def reference_unet(name, dtype):
    return UNet2DConditionModel.from_pretrained(folder(name), subfolder="unet", dtype=dtype).eval()


def scratch_unet(name, dtype):
    """From the files themselves, without diffusers."""
    unet = folder(name) / "unet"
    config = json.loads((unet / "config.json").read_text(encoding="utf-8"))
    weights = load_file(unet / "diffusion_pytorch_model.safetensors")
    return UNet.from_diffusers(config, weights).to(dtype).eval()


def inputs(config, dtype):
    generator = torch.Generator().manual_seed(0)

    def normal(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype)

    kwargs = {
        "sample": normal(2, config["in_channels"], 16, 16),
        "timestep": torch.tensor([801, 121]),
        "encoder_hidden_states": normal(2, 77, config["cross_attention_dim"]),
    }
    if config["addition_embed_type"]:
        ids, dim = config["projection_class_embeddings_input_dim"], config["addition_time_embed_dim"]
        count = 6 if ids > 6 * dim else 5
        kwargs["added_cond_kwargs"] = {
            "text_embeds": normal(2, ids - count * dim),
            "time_ids": torch.tensor([[128, 128, 0, 0, 128, 128][:count]] * 2, dtype=torch.float32),
        }
    if config["time_cond_proj_dim"]:
        kwargs["timestep_cond"] = normal(2, config["time_cond_proj_dim"])
    return kwargs


@torch.no_grad()
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("name", rows("pipeline"))
def test_unet(name, dtype):
    reference, unet = reference_unet(name, dtype), scratch_unet(name, dtype)
    kwargs = inputs(reference.config, dtype)
    assert difference(unet(**kwargs), reference(**kwargs).sample) <= TOLERANCE[dtype]


@torch.no_grad()
@pytest.mark.parametrize("name", rows("controlnet"))
def test_controlnet(name):
    reference = ControlNetModel.from_pretrained(folder(name), dtype=torch.float64).eval()
    controlnet = ControlNet.from_diffusers(reference.config, reference.state_dict()).eval()
    kwargs = inputs({"time_cond_proj_dim": None, **reference.config}, torch.float64)
    kwargs["controlnet_cond"] = torch.rand(2, 3, 128, 128, dtype=torch.float64)
    ours, theirs = controlnet(**kwargs), reference(**kwargs, return_dict=False)
    assert (
        max(difference(a, b) for a, b in zip([*ours[0], ours[1]], [*theirs[0], theirs[1]], strict=True))
        <= 1e-6
    )


@torch.no_grad()
@pytest.mark.parametrize("name", rows("ip-adapter"))
def test_ip_adapter(name):
    row = CATALOGUE[name]
    path = folder(name) / row.subfolder / row.weight_name
    if not path.exists():  # the three share a repository
        pytest.skip(f"the tiny {name} is not trained yet")
    file = load_file(path)
    reference, unet = reference_unet("sd15", torch.float32), scratch_unet("sd15", torch.float32)
    parts = {
        part: {
            key.removeprefix(f"{part}."): value for key, value in file.items() if key.startswith(f"{part}.")
        }
        for part in ("image_proj", "ip_adapter")
    }
    reference._load_ip_adapter_weights([parts], low_cpu_mem_usage=False)
    (projection,) = add_ip_adapters(unet, [file])
    kwargs = inputs(reference.config, torch.float32)
    if "latents" in parts["image_proj"]:
        embeds = torch.randn(2, 1, 17, parts["image_proj"]["proj_in.weight"].shape[1])
    else:
        embeds = torch.randn(2, 1, parts["image_proj"]["proj.weight"].shape[1])
    expected = reference(**kwargs, added_cond_kwargs={"image_embeds": [embeds]}).sample
    kwargs["encoder_hidden_states"] = ImagePrompt(
        kwargs["encoder_hidden_states"], [projection(embeds[:, 0])[:, None]]
    )
    assert difference(unet(**kwargs), expected) <= 1e-4


@torch.no_grad()
@pytest.mark.parametrize("name", rows("lora"))
def test_lora(name):
    row = CATALOGUE[name]
    (base,) = row.needs
    file = folder(name) / row.weight_name
    reference, unet = reference_unet(base, torch.float64), scratch_unet(base, torch.float64)
    state_dict, alphas = StableDiffusionPipeline.lora_state_dict(file.parent, weight_name=file.name)
    StableDiffusionPipeline.load_lora_into_unet(state_dict, network_alphas=alphas, unet=reference)
    apply_lora(unet, load_file(file))
    kwargs = inputs(reference.config, torch.float64)
    assert difference(unet(**kwargs), reference.eval()(**kwargs).sample) <= 1e-6
