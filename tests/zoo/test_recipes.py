"""What the recipes promise of their parts, on untrained weights."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, AutoencoderTiny

from lessonlib.errors import LessonError
from lessonlib.models import store
from lessonlib.world.render import render
from lessonlib.world.scene import sample
from lessonlib.zoo.latents import scene
from lessonlib.zoo.micro import BUCKETS
from lessonlib.zoo.recipes import RECIPES, recipe, sd15, taesd, text, vae
from lessonlib.zoo.training import Step


@pytest.fixture(scope="module")
def untrained():
    torch.manual_seed(0)
    return vae.build().eval()


def test_every_recipe_can_run_and_ship():
    for name in RECIPES:
        assert callable(recipe(name).run)
        assert callable(recipe(name).ship)


def test_an_unknown_recipe_is_named():
    with pytest.raises(LessonError, match="'sd16'"):
        recipe("sd16")


def test_going_on_from_what_ships_is_more_of_the_same_or_a_plan_of_its_own():
    for name in RECIPES:
        one = recipe(name)
        assert one.plan_from("scratch") == one.plan
        differs = one.plan_from("shipped") != replace(one.plan, start="shipped")
        assert one.plan_from("shipped").start == "shipped"
        assert differs == (name in ("lcm", "lcm-lora-sd15", "lcm-lora-sdxl")), name


def test_the_vae_is_f8_with_four_channels(untrained):
    latents = untrained.encode(torch.zeros(1, 3, 128, 128)).latent_dist.mean
    assert latents.shape == (1, 4, 16, 16)
    assert untrained.decode(latents).sample.shape == (1, 3, 128, 128)


@torch.no_grad()
def test_standardising_changes_the_latents_and_no_picture(untrained):
    pixels = vae.pixels([scene(k) for k in range(50)])
    before = untrained.decode(untrained.encode(pixels[:4]).latent_dist.mode()).sample
    vae.standardise(untrained, count=50)
    latents = untrained.encode(pixels).latent_dist.mean * untrained.config.scaling_factor
    torch.testing.assert_close(latents.mean(dim=(0, 2, 3)), torch.zeros(4), atol=1e-3, rtol=0)
    torch.testing.assert_close(latents.std(dim=(0, 2, 3)), torch.ones(4), atol=1e-3, rtol=0)
    after = untrained.decode(untrained.encode(pixels[:4]).latent_dist.mode()).sample
    torch.testing.assert_close(before, after, atol=1e-4, rtol=1e-4)


def test_crops_are_pieces_of_pictures():
    crops = vae.crops(np.random.default_rng(0), 8)
    assert crops.shape == (8, 3, vae.CROP, vae.CROP)
    assert crops.min() >= -1
    assert crops.max() <= 1


@pytest.mark.parametrize(
    ("module", "model", "learning"),
    [(vae, AutoencoderKL, ("decoder.", "post_quant_conv.")), (taesd, AutoencoderTiny, ("decoder.",))],
    ids=["vae", "taesd"],
)
def test_a_shipped_autoencoders_decoder_learns_and_its_latents_stay(
    module, model, learning, tmp_path, monkeypatch
):
    shipped = model.from_pretrained(store.unfold(module.__name__.rpartition(".")[2])).state_dict()
    monkeypatch.setattr(module, "SCENES", 40)  # a person is among them
    plan = replace(module.PLAN, start="shipped", steps=3, batch=2, learning_rate=1e-3, warmup=0, ema=False)
    trained = model.from_pretrained(module.run(tmp_path, plan=plan)).state_dict()
    moved = {name for name, value in trained.items() if not torch.equal(value, shipped[name])}
    assert moved == {name for name in shipped if name.startswith(learning)}


def test_the_decoder_learns_every_shape_from_latents_with_a_little_noise():
    seen = []

    def decode(latents):
        seen.append(latents)
        height, width = latents.shape[2:]
        return SimpleNamespace(sample=torch.zeros(len(latents), 3, 8 * height, 8 * width))

    network = SimpleNamespace(
        parts={"vae": SimpleNamespace(decode=decode, config=SimpleNamespace(scaling_factor=1.0))}
    )
    clean = [torch.zeros(4, 4, height // 8, width // 8) for height, width in BUCKETS]
    loss = vae.decoders_loss(replace(vae.PLAN, batch=4), clean)
    for index in range(16):
        draws = np.random.default_rng(index), torch.Generator().manual_seed(index)
        loss(network, Step(index, *draws, torch.device("cpu")))
    assert {latents.shape[2:] for latents in seen} == {shape.shape[2:] for shape in clean}
    noise = torch.cat([latents.std(dim=(1, 2, 3)) for latents in seen])
    assert 0 < noise.min() < 0.05 * vae.NOISE
    assert 0.8 * vae.NOISE < noise.max() < 1.1 * vae.NOISE
    assert noise.median() < 0.5 * vae.NOISE


def test_facts_answer_every_question_within_its_range():
    for seed in range(200):
        answers = text.facts(sample(seed, split="all"))
        assert len(answers) == len(text.QUESTIONS)
        assert all(0 <= a < n for a, n in zip(answers, text.QUESTIONS.values(), strict=True))


def test_the_unet_has_about_five_million_parameters():
    with torch.device("meta"):
        count = sum(p.numel() for p in sd15.build().parameters())
    assert 4e6 < count < 6e6


def test_min_snr_weights_are_one_where_snr_is_small_and_shrink_where_it_is_large():
    alphas_cumprod = torch.tensor([0.99, 5 / 6, 0.5, 0.01])
    weight = sd15.min_snr_weight(alphas_cumprod, torch.arange(4))
    torch.testing.assert_close(weight, torch.tensor([5 * 0.01 / 0.99, 1.0, 1.0, 1.0]))


def test_noisy_steps_weigh_as_v_prediction_does_up_to_a_most():
    alphas_cumprod = torch.tensor([0.8, 0.5, 0.2, 0.01])
    weight = sd15.lift_of_noisy_steps(alphas_cumprod, torch.arange(4), most=6.0)
    torch.testing.assert_close(weight, torch.tensor([1.25, 2.0, 5.0, 6.0]))
    # v = sqrt(a) epsilon - sqrt(1 - a) x0, with x0 read off epsilon: its error is epsilon's over sqrt(a)
    a, error = torch.tensor(0.3), torch.tensor(0.1)
    v_error = a.sqrt() * error + (1 - a).sqrt() * ((1 - a) / a).sqrt() * error
    torch.testing.assert_close(
        (v_error / error) ** 2, sd15.lift_of_noisy_steps(a[None], torch.tensor([0]))[0]
    )


def test_objects_weigh_more_at_first_and_nothing_more_at_the_end():
    masks = torch.tensor([[[0.0, 0.5], [1.0, 1.0]]])
    torch.testing.assert_close(sd15.weight_of_objects(masks, 1.0), torch.ones(1, 1, 2, 2))
    start = sd15.weight_of_objects(masks, 0.0)[0, 0]
    torch.testing.assert_close(start, torch.tensor([[1.0, 1 + (sd15.OBJECTS - 1) / 2], [sd15.OBJECTS] * 2]))


def test_ink_scenes_and_pairs_are_drawn_more_often_than_others():
    shares = sd15.shares_of_scenes(scene(index) for index in range(300))
    ink = np.array([scene(index).style == "ink" for index in range(300)])
    pair = np.array([scene(index).kind == "pair" for index in range(300)])
    assert all(chosen.any() for chosen in (ink & pair, ink & ~pair, ~ink & pair, ~ink & ~pair))
    plain = shares[~ink & ~pair][0]
    np.testing.assert_allclose(shares, plain * np.where(ink, sd15.INK, 1) * np.where(pair, sd15.PAIRS, 1))
    assert shares.sum() == pytest.approx(1)


def test_object_masks_lie_where_the_objects_are(tmp_path):
    masks = sd15.object_masks(tmp_path, 6)
    assert masks.shape == (6, 16, 16)
    for index in range(6):
        instances = render(scene(index)).instances
        assert abs(masks[index].mean() / 255 - (instances > 0).mean()) < 2e-3
        for box in (box for box in render(scene(index)).boxes if box):
            x, y = (box[0] + box[2]) // 16, (box[1] + box[3]) // 16
            assert masks[index, min(y, 15), min(x, 15)] > 0 or instances[min(y, 15) * 8, min(x, 15) * 8] == 0


def test_training_scenes_are_never_held_out():
    from lessonlib.world.scene import is_held_out

    assert not any(is_held_out(scene(k)) for k in range(500))
