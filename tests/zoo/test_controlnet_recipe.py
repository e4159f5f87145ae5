"""What the ControlNet's recipe promises, beside a random-weight sd15."""

import numpy as np
import pytest
import torch
from diffusers import ControlNetModel, StableDiffusionControlNetPipeline
from PIL import Image

from lessonlib.conditions import CONTROLNETS, from_truth
from lessonlib.models import store
from lessonlib.world.render import render
from lessonlib.zoo.base import plain_attention
from lessonlib.zoo.recipes import RECIPES, controlnet
from lessonlib.zoo.training import Network, Plan, train

COUNT = 4


@pytest.fixture
def fresh(base):
    torch.manual_seed(1)
    model = controlnet.build(base.unet)
    plain_attention(model, base.device)
    return model


@pytest.fixture(scope="module")
def latents():
    return torch.randn(COUNT, 4, 16, 16, generator=torch.Generator().manual_seed(0)).half()


def one_step(seed=0):
    from lessonlib.zoo.training import Step

    return Step(0, np.random.default_rng(seed), torch.Generator().manual_seed(seed), torch.device("cpu"))


def inputs(base):
    generator = torch.Generator().manual_seed(5)
    latents = torch.randn(2, 4, 16, 16, generator=generator)
    hint = torch.rand(2, 3, 128, 128, generator=generator)
    return latents, torch.tensor([801, 41]), base.states(["a cat", ""]), hint


@torch.no_grad()
def predicted(base, model):
    latents, timesteps, states, hint = inputs(base)
    down, middle = model(latents, timesteps, states, controlnet_cond=hint, return_dict=False)
    return base.unet(
        latents, timesteps, states,
        down_block_additional_residuals=down, mid_block_additional_residual=middle,
    ).sample  # fmt: skip


@torch.no_grad()
def test_a_new_controlnet_changes_nothing_at_all(base, fresh):
    latents, timesteps, states, _ = inputs(base)
    assert torch.equal(predicted(base, fresh), base.unet(latents, timesteps, states).sample)


@torch.no_grad()
def test_random_output_convolutions_change_the_picture_at_once(base):
    latents, timesteps, states, _ = inputs(base)
    plain = base.unet(latents, timesteps, states).sample
    started = predicted(base, controlnet.build(base.unet, "random"))
    assert (started - plain).norm() > 0.05 * plain.norm()


def test_what_is_new_learns_eight_times_as_fast_and_nothing_is_forgotten(fresh):
    (one, copied), (factor, new) = controlnet.rates(fresh)
    assert (one, factor) == (1.0, 8.0)
    assert [factor for factor, _ in controlnet.rates(fresh, zero_rate=1.0)] == [1.0, 1.0]
    assert len(copied) + len(new) == len(list(fresh.parameters()))
    assert {id(p) for p in new}.isdisjoint(id(p) for p in copied)
    zeros = [p for p in new if not p.any()]
    assert len(zeros) >= 2 * (len(fresh.controlnet_down_blocks) + 1)
    assert not any(not p.any() and p.ndim == 4 for p in copied)  # no zero convolution learns slowly


@pytest.mark.parametrize("condition", list(CONTROLNETS))
def test_control_maps_are_kept_as_they_are_drawn(condition, tmp_path):
    maps = controlnet.control_maps(condition, tmp_path, COUNT)
    asked = controlnet.as_input(maps[:])
    assert asked.shape == (COUNT, 3, 128, 128)
    for index in range(COUNT):
        truth = from_truth(condition, render(controlnet.stream(condition)(index)))
        assert np.array_equal((asked[index] * 255).round().byte().permute(1, 2, 0).numpy(), truth)
    again = controlnet.control_maps(condition, tmp_path, COUNT)
    assert isinstance(again, np.memmap)
    assert np.array_equal(again, maps)


def test_training_steers_and_leaves_the_base_alone(base, fresh, latents, tmp_path):
    """The loss of one fixed batch falls; the saved folder loads and draws; the store gives it back."""
    before = {key: value.clone() for key, value in base.unet.state_dict().items()}
    maps = controlnet.control_maps("canny", tmp_path, COUNT)
    loss = controlnet.loss_of(base, fresh, latents, maps, controlnet.stream("canny"), COUNT)
    start = loss(one_step())["loss"].item()
    plan = Plan(steps=12, batch=COUNT, learning_rate=1e-3, seed=1, warmup=1, weight_decay=0.0, ema=False)
    train(
        "cn", Network(controlnet=fresh), lambda _, step: loss(one_step()), plan,
        runs=tmp_path, rates=controlnet.rates(fresh),
    )  # fmt: skip
    assert loss(one_step())["loss"].item() < 0.97 * start
    assert all(torch.equal(before[key], value) for key, value in base.unet.state_dict().items())

    fresh.save_pretrained(tmp_path / "controlnet-canny/model")
    pipeline = StableDiffusionControlNetPipeline.from_pretrained(
        base.folder, controlnet=ControlNetModel.from_pretrained(tmp_path / "controlnet-canny/model")
    )
    pipeline.set_progress_bar_config(disable=True)
    settings = {
        "image": Image.fromarray(from_truth("canny", render(controlnet.stream("canny")(0)))),
        "num_inference_steps": 1,
        "output_type": "np",
    }
    drawn, unsteered = (
        pipeline(
            "a cat", generator=torch.manual_seed(0), controlnet_conditioning_scale=scale, **settings
        ).images
        for scale in (1.0, 0.0)
    )
    assert drawn.shape == (1, 128, 128, 3)
    assert np.abs(drawn - unsteered).max() > 1e-3


def test_a_shipped_controlnet_is_the_trained_one(base, fresh, tmp_path, monkeypatch):
    monkeypatch.setenv("LESSON_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.setenv("LESSON_CACHE", str(tmp_path / "cache"))
    store.fold(base.folder / "unet", "sd15-unet")
    fresh.save_pretrained(tmp_path / "runs/controlnet-seg/model")
    RECIPES["controlnet-seg"].ship(tmp_path / "runs")
    again = ControlNetModel.from_pretrained(store.unfold("controlnet-seg"))
    for (name, stored), (_, trained) in zip(again.named_parameters(), fresh.named_parameters(), strict=True):
        assert (stored - trained).norm() <= 0.01 * trained.norm(), name


def test_later_conditions_start_from_the_first_once_it_is_shipped(base, fresh, tmp_path, monkeypatch):
    monkeypatch.setenv("LESSON_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.setenv("LESSON_CACHE", str(tmp_path / "cache"))
    store.fold(base.folder / "unet", "sd15-unet")
    alone = controlnet.starting(base, "depth", "scratch")
    assert not alone.controlnet_mid_block.weight.any()
    torch.nn.init.ones_(fresh.controlnet_mid_block.weight)
    fresh.save_pretrained(tmp_path / "runs/controlnet-canny/model")
    controlnet.ship(tmp_path / "runs", condition="canny")
    assert controlnet.starting(base, "depth", "scratch").controlnet_mid_block.weight.all()
    assert not controlnet.starting(base, "canny", "scratch").controlnet_mid_block.weight.any()
