"""A random-weight sd15 to train adapters beside; loaded once."""

import pytest
import torch
from random_models import make_store, random_sd15
from random_variants import save_random_lora
from safetensors.torch import save_file
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from lessonlib.conditions import CONTROLNETS
from lessonlib.models import store
from lessonlib.zoo.base import load_base
from lessonlib.zoo.distillation import Sd15Teacher
from lessonlib.zoo.recipes import RECIPES, controlnet, inpainting, ip_adapter


@pytest.fixture(scope="session")
def sd15_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("random-sd15")
    random_sd15().save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def base(sd15_folder):
    return load_base(torch.device("cpu"), sd15_folder)


@pytest.fixture(scope="session")
def teacher(base):
    """That sd15 as a teacher of few-step students, over latents of 20 scenes."""
    latents = torch.randn(20, 4, 8, 8, generator=torch.Generator().manual_seed(1)).half()
    return Sd15Teacher(base, latents)


@pytest.fixture(scope="session")
def _untrained(sd15_folder, tmp_path_factory):
    """A folder with `weights` that hold untrained ControlNets, adapters and inpainting, and with their `cache`."""
    root = tmp_path_factory.mktemp("shipped")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LESSON_WEIGHTS", str(root / "weights"))
        patch.setenv("LESSON_CACHE", str(root / "cache"))
        make_store(sd15_folder, root / "weights")
        store.add_member("vae", None, {"": "sd15-vae"})
        store.add_member("text", None, {"tokenizer": "sd15-tokenizer", "text_encoder": "sd15-text_encoder"})
        base = load_base(torch.device("cpu"))  # from the store: what is served is what is measured
        torch.manual_seed(0)
        for condition in ("canny", "depth", "pose"):
            name = CONTROLNETS[condition]
            controlnet.build(base.unet).save_pretrained(root / f"runs/{name}/model")
            RECIPES[name].ship(root / "runs")
        inpainting.build(base.unet).save_pretrained(root / "runs/sd15-inpainting/model/unet")
        RECIPES["sd15-inpainting"].ship(root / "runs")
        config = CLIPVisionConfig(
            hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2,
            image_size=128, patch_size=32, projection_dim=24,
        )  # fmt: skip
        encoder = CLIPVisionModelWithProjection(config)
        encoder.save_pretrained(root / "runs/image_encoder/model")
        RECIPES["image_encoder"].ship(root / "runs")
        for kind, file in ip_adapter.FILES.items():
            (root / "runs" / kind / "model").mkdir(parents=True)
            weights = ip_adapter.fresh_weights(base.unet, kind, encoder)
            save_file({k: v.contiguous() for k, v in weights.items()}, root / "runs" / kind / "model" / file)
            RECIPES[kind].ship(root / "runs")
        pipeline = random_sd15()
        save_random_lora(pipeline.unet, root / "lora", type(pipeline))
        store.fold(root / "lora", "lcm-lora-sd15")
        store.add_member("lcm-lora-sd15", None, {"": "lcm-lora-sd15"})
    return root


@pytest.fixture
def untrained_store(_untrained, monkeypatch):
    """The store that is served, until the test ends, is one of untrained members."""
    monkeypatch.setenv("LESSON_WEIGHTS", str(_untrained / "weights"))
    monkeypatch.setenv("LESSON_CACHE", str(_untrained / "cache"))
