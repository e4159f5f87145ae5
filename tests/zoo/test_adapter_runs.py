"""`lesson zoo train` and `ship` of the adapters, from end to end, on an untrained sd15 and a handful of scenes."""

from dataclasses import replace

import pytest
import torch
from diffusers import ControlNetModel, UNet2DConditionModel
from safetensors.torch import load_file
from transformers import CLIPVisionModelWithProjection

from lessonlib.models import store
from lessonlib.zoo.recipes import RECIPES, controlnet, image_encoder, inpainting, ip_adapter
from lessonlib.zoo.training import Plan

PLAN = Plan(steps=1, batch=2, learning_rate=1e-3, seed=0, warmup=0, ema=False)


@pytest.fixture(autouse=True)
def few(untrained_store, monkeypatch):
    """Four scenes are enough to see that everything fits together."""
    monkeypatch.setattr(controlnet, "SCENES", 4)
    monkeypatch.setattr(image_encoder, "SCENES", 4)
    monkeypatch.setattr(ip_adapter, "SCENES", 4)
    monkeypatch.setattr(inpainting, "SHAPES", {(128, 128): (4, 0.8), (128, 192): (4, 0.2)})


def differing(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> int:
    """How many tensors of two models are not the same."""
    assert a.keys() == b.keys()
    return sum(not torch.equal(a[key], b[key]) for key in a)


@pytest.mark.parametrize("start", ["scratch", "shipped"])
def test_a_controlnet_is_trained_from_the_first_one_or_from_itself(start, tmp_path):
    folder = RECIPES["controlnet-openpose"].run(tmp_path, plan=replace(PLAN, start=start))
    trained = ControlNetModel.from_pretrained(folder)
    source = "controlnet-openpose" if start == "shipped" else "controlnet-canny"
    shipped = ControlNetModel.from_pretrained(store.unfold(source))
    assert differing(trained.state_dict(), shipped.state_dict()) > 0
    convolution = trained.controlnet_cond_embedding.conv_in.weight
    assert (convolution - shipped.controlnet_cond_embedding.conv_in.weight).abs().max() < 0.05


def test_inpainting_is_trained_from_sd15(tmp_path):
    folder = RECIPES["sd15-inpainting"].run(tmp_path, plan=PLAN)
    trained = UNet2DConditionModel.from_pretrained(folder / "unet")
    assert trained.config.in_channels == 9
    base = UNet2DConditionModel.from_pretrained(store.unfold("sd15") / "unet")
    moved = trained.conv_in.weight[:, :4] - base.conv_in.weight
    assert 0 < moved.abs().max() < 0.01
    assert trained.conv_in.weight[:, 4:].abs().max() > 0


def test_the_image_encoder_is_trained_beside_the_text_tower(tmp_path):
    folder = RECIPES["image_encoder"].run(tmp_path, plan=PLAN)
    tower = CLIPVisionModelWithProjection.from_pretrained(folder)
    assert tower.config.image_size == 128


@pytest.mark.parametrize("kind", list(ip_adapter.FILES))
def test_an_adapter_goes_on_from_the_shipped_one(kind, tmp_path):
    folder = RECIPES[kind].run(tmp_path, plan=replace(PLAN, start="shipped"))
    file = ip_adapter.FILES[kind]
    trained, shipped = load_file(folder / file), load_file(store.unfold("ip-adapter") / "models" / file)
    assert 0.5 * len(shipped) < differing(trained, shipped)
    far = max((trained[key] - shipped[key]).abs().max().item() for key in shipped)
    assert far < 0.01
