"""Masks of every kind, and a nine-channel UNet that starts as the four-channel one."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, StableDiffusionInpaintPipeline
from PIL import Image
from random_models import make_store

from lessonlib.models import store
from lessonlib.world.render import render
from lessonlib.zoo import masks
from lessonlib.zoo.base import plain_attention
from lessonlib.zoo.latents import scene
from lessonlib.zoo.recipes import RECIPES, inpainting
from lessonlib.zoo.training import Network, Plan, Step, train


@pytest.fixture(scope="module")
def vae(sd15_folder):
    return AutoencoderKL.from_pretrained(sd15_folder / "vae").eval()


@pytest.fixture
def fresh(base):
    unet = inpainting.build(base.unet)
    plain_attention(unet, base.device)
    return unet


def one_step():
    return Step(0, np.random.default_rng(0), torch.Generator().manual_seed(0), torch.device("cpu"))


@pytest.mark.parametrize("kind", masks.KINDS)
def test_every_kind_of_mask_hides_something_and_repeats(kind, monkeypatch):
    monkeypatch.setattr(masks, "SHARES", tuple(float(kind == other) for other in masks.KINDS))
    rendered = render(scene(0), 128, 192)
    shares = []
    for seed in range(20):
        hole = masks.draw(np.random.default_rng(seed), rendered)
        assert hole.shape == (128, 192)
        assert hole.dtype == bool
        assert np.array_equal(hole, masks.draw(np.random.default_rng(seed), rendered))
        shares.append(hole.mean())
    assert min(shares) > 0
    assert (max(shares) == 1) == (kind == "everything")


def test_the_mask_of_a_thing_covers_the_thing():
    rendered = next(r for r in map(render, map(scene, range(50))) if len(r.boxes) == 1 and r.boxes[0])
    hole = masks.thing(np.random.default_rng(0), rendered)
    assert hole[rendered.mask(0)].all()
    assert hole.sum() < 4 * rendered.mask(0).sum()


def test_a_box_has_room_around_the_thing_and_does_not_tell_its_outline():
    rendered = next(r for r in map(render, map(scene, range(50))) if len(r.boxes) == 1 and r.boxes[0])
    x0, y0, x1, y1 = rendered.boxes[0]
    rooms = set()
    for seed in range(20):
        hole = masks.box(np.random.default_rng(seed), rendered)
        rows, columns = np.nonzero(hole)
        assert hole.sum() == (np.ptp(rows) + 1) * (np.ptp(columns) + 1)  # a whole box
        assert hole[max(0, y0 - 4) : y1 + 4, max(0, x0 - 4) : x1 + 4].all()
        rooms.add((y0 - rows.min(), x0 - columns.min(), rows.max() - y1, columns.max() - x1))
    assert len(rooms) > 10


def test_what_the_mask_keeps_counts_little_in_the_loss(base, vae, tmp_path):
    examples = inpainting.examples(vae, tmp_path, (128, 128), 4)
    assert 0 < examples[:, 4].mean() < 1
    drawn = {}

    def noised(latents, step):
        drawn["noise"] = (result := base.noised(latents, step)).noise
        return result

    def counted(inside):
        """The loss of an error of 1 on one side of the masks' borders, against its mean square."""

        def unet(channels, *_):
            mask = channels[:, 4:5]
            return SimpleNamespace(sample=drawn["noise"] + (mask if inside else 1 - mask))

        watched = SimpleNamespace(noised=noised, states=base.states, device=base.device)
        values = inpainting.loss_of(watched, unet, [examples], [1.0], 4)(one_step())
        return values["loss"] / values["mse"]

    assert counted(inside=True) > 2 * counted(inside=False)


@torch.no_grad()
def test_before_training_it_paints_exactly_what_sd15_paints(base, fresh):
    generator = torch.Generator().manual_seed(3)
    channels = torch.randn(2, 9, 16, 16, generator=generator)
    states, timesteps = base.states(["a cat", "a dog"]), torch.tensor([700, 20])
    wide = fresh(channels, timesteps, states).sample
    assert torch.equal(wide, base.unet(channels[:, :4], timesteps, states).sample)


@torch.no_grad()
def test_examples_are_what_the_pipeline_makes_of_picture_and_mask(base, vae):
    pipeline = StableDiffusionInpaintPipeline.from_pretrained(base.folder)
    image, hole = inpainting.masked_example(3, (128, 192))
    channels = inpainting.nine_channels(vae, image[None], hole[None])
    assert channels.shape == (1, 9, 16, 24)
    mask = pipeline.mask_processor.preprocess(Image.fromarray(hole), height=128, width=192)
    picture = pipeline.image_processor.preprocess(Image.fromarray(image), height=128, width=192)
    vae_of_mean = lambda pixels, generator: vae.encode(pixels).latent_dist.mode() * vae.config.scaling_factor  # noqa: E731
    pipeline._encode_vae_image = vae_of_mean
    small, hidden = pipeline.prepare_mask_latents(
        mask, picture * (mask < 0.5), 1, 128, 192, torch.float32, "cpu", None, False
    )
    assert torch.equal(channels[:, 4:5], small)
    torch.testing.assert_close(channels[:, 5:], hidden, atol=0.05, rtol=0.05)  # 16-bit encoder


def test_training_learns_from_the_mask_and_ships(base, vae, fresh, tmp_path, monkeypatch):
    monkeypatch.setenv("LESSON_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.setenv("LESSON_CACHE", str(tmp_path / "cache"))
    sets = [inpainting.examples(vae, tmp_path, shape, 4) for shape in inpainting.SHAPES]
    assert [one.shape for one in sets] == [(4, 9, 16, 16), (4, 9, 16, 24)]
    loss = inpainting.loss_of(base, fresh, sets, [0.5, 0.5], 4)
    start = loss(one_step())["loss"].item()
    plan = Plan(steps=12, batch=4, learning_rate=2e-3, seed=1, warmup=1, ema=False)
    train("inpaint", Network(unet=fresh), lambda _, step: loss(one_step()), plan, runs=tmp_path)
    assert loss(one_step())["loss"].item() < 0.9 * start
    assert fresh.conv_in.weight[:, 4:].abs().max() > 0

    make_store(base.folder, tmp_path / "weights")
    fresh.save_pretrained(tmp_path / "runs/sd15-inpainting/model/unet")
    RECIPES["sd15-inpainting"].ship(tmp_path / "runs")
    folder = store.unfold("sd15-inpainting")
    assert (
        json.loads((folder / "model_index.json").read_text())["_class_name"]
        == "StableDiffusionInpaintPipeline"
    )
    pipeline = StableDiffusionInpaintPipeline.from_pretrained(folder)
    pipeline.set_progress_bar_config(disable=True)
    image, hole = inpainting.masked_example(3, (128, 192))
    drawn = pipeline(
        "a cat", image=Image.fromarray(image), mask_image=Image.fromarray(hole), height=128, width=192,
        num_inference_steps=2, generator=torch.manual_seed(0),
    ).images[0]  # fmt: skip
    assert drawn.size == (192, 128)
