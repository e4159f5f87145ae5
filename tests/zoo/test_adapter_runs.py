"""`lesson zoo train` and `ship` of the adapters, from end to end, on an untrained sd15 and a handful of scenes."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from diffusers import ControlNetModel, UNet2DConditionModel
from safetensors.torch import load_file
from transformers import CLIPVisionModelWithProjection

from lessonlib.models import store
from lessonlib.world.render import render
from lessonlib.zoo import words
from lessonlib.zoo.base import load_base
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


@pytest.mark.parametrize("kind", ["ip-adapter", "ip-adapter-plus"])
def test_a_fresh_adapter_learns_the_words_first(kind, tmp_path, monkeypatch):
    """After a single step of diffusion its tokens lie near the words' states: `DESCRIBING` steps came before."""

    def error(steps: int) -> float:
        monkeypatch.setitem(ip_adapter.DESCRIBING, kind, steps)
        folder = RECIPES[kind].run(tmp_path / str(steps), plan=PLAN)
        base = load_base()
        network = ip_adapter.attach(base.unet, load_file(folder / ip_adapter.FILES[kind]), base.device)
        projection = network.parts["projection"].image_projection_layers[0]
        encoder = CLIPVisionModelWithProjection.from_pretrained(store.unfold("image_encoder")).eval()
        scenes = [ip_adapter.stream(kind)(index) for index in range(4)]
        pixels = image_encoder.as_pixels(np.stack([render(scene).image for scene in scenes]))
        count = ip_adapter.TOKENS if kind == "ip-adapter" else ip_adapter.PLUS_TOKENS
        wanted = words.wanted_states(base, scenes, count)
        with torch.no_grad():
            told = projection(ip_adapter.encoded(encoder, pixels, kind))
        return (told - wanted).square().mean().item()

    assert error(80) < 0.7 * error(1)
