"""The vision tower: what it is shown, what it must tell, and that it learns."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import CLIPImageProcessor, CLIPVisionModelWithProjection

from lessonlib.models import store
from lessonlib.world.canvas import CLASSES
from lessonlib.world.render import render
from lessonlib.world.scene import Identity, sample
from lessonlib.zoo.latents import person_scene, scene
from lessonlib.zoo.recipes import RECIPES, image_encoder
from lessonlib.zoo.recipes.text import QUESTIONS
from lessonlib.zoo.training import Plan, Step


@pytest.fixture(scope="module")
def tower():
    torch.manual_seed(0)
    return image_encoder.build()


def test_pixels_are_what_the_pipelines_feature_extractor_makes():
    image = render(scene(0)).image
    extractor = CLIPImageProcessor(size=128, crop_size=128)  # as `load_ip_adapter` makes it
    expected = extractor(Image.fromarray(image), return_tensors="pt").pixel_values
    torch.testing.assert_close(image_encoder.as_pixels(image[None]), expected, atol=1e-5, rtol=0)


def test_a_head_says_more_of_who_it_is_than_of_the_clothes():
    who, clothes = [], []
    for index in range(10):
        one = person_scene(index)
        person, identity = one.person, one.person.identity
        stranger = Identity(
            "long hair" if identity.hair == "bald" else "bald", identity.skin, identity.glasses
        )
        seen = [
            image_encoder.head(render(replace(one, person=replace(person, outfit=outfit, identity=shown))))
            for outfit, shown in (("jeans", identity), ("raincoat", identity), ("jeans", stranger))
        ]
        assert seen[0].shape == (128, 128, 3)
        same, dressed, other = (picture.astype(int) for picture in seen)
        clothes.append(np.abs(same - dressed).mean())
        who.append(np.abs(same - other).mean())
    assert np.mean(who) > 2 * np.mean(clothes)


def test_a_head_alone_is_asked_only_what_a_head_shows():
    heads = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        one = image_encoder.example(sample(rng, "person"), rng)
        assert one.image.shape == (128, 128, 3)
        if one.text is None:
            heads += 1
            asked = [q for q, a in zip(QUESTIONS, one.answers, strict=True) if a != image_encoder.NOT_ASKED]
            assert set(asked) == set(image_encoder.OF_A_FACE)
    assert 10 <= heads <= 30


def test_patches_answer_for_their_own_cells():
    """A patch's values land on that patch's part of the maps."""
    patches = image_encoder.Patches(6)
    states = torch.zeros(1, 64, 6)
    states[0, 3 * 8 + 5] = 1.0  # the patch in row 3, column 5
    classes, colours = patches(states)
    assert classes.shape == (1, len(CLASSES), 16, 16)
    assert colours.shape == (1, 3, 32, 32)
    for found, side in ((classes, 2), (colours, 4)):
        assert _differs(found, side).nonzero().tolist() == [[3, 5]]


def _differs(found, side):
    """bool [8, 8]: which patches say something else than the first patch."""
    cells = found[0].unfold(1, side, side).unfold(2, side, side)
    return (cells - cells[:, :1, :1]).abs().amax(dim=(0, 3, 4)) > 1e-6


def test_a_picture_that_matches_its_caption_costs_nothing():
    aligned = 10 * torch.eye(4)
    loss, found = image_encoder.contrastive(aligned, aligned, torch.tensor(4.0))
    assert loss.item() < 1e-3
    assert found.item() == 1
    worst, lost = image_encoder.contrastive(aligned, aligned.roll(1, 0), torch.tensor(4.0))
    assert worst.item() > 10
    assert lost.item() == 0


def test_a_head_alone_is_worded_without_clothes_and_place(base):
    one = person_scene(0)
    elsewhere = replace(one, background="desert" if one.background != "desert" else "forest")
    heads = image_encoder.words_of(base, [one, elsewhere], np.array([False, False]))
    assert heads.shape == (2, image_encoder.WORDS, base.text.config.hidden_size)
    torch.testing.assert_close(heads[0], heads[1])
    whole = image_encoder.words_of(base, [one, elsewhere], np.array([True, False]))
    torch.testing.assert_close(whole[1], heads[1])
    assert (whole[0] - heads[0]).abs().max() > 0.1


def test_it_learns_a_batch_and_ships(base, tower, tmp_path, monkeypatch):
    monkeypatch.setenv("LESSON_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.setenv("LESSON_CACHE", str(tmp_path / "cache"))
    network = image_encoder.network(tower, base.text.config.hidden_size)
    plan = Plan(steps=1, batch=6, learning_rate=2e-3, seed=0)
    loss = image_encoder.loss_with(plan, base.text, base, image_encoder.examples(tmp_path, 6))
    optimizer = torch.optim.AdamW(network.parameters(), lr=plan.learning_rate)
    losses = []
    for _ in range(12):
        step = Step(0, np.random.default_rng(0), torch.Generator(), torch.device("cpu"))
        values = loss(network, step)
        values["loss"].backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(values["loss"].item())
    assert losses[-1] < 0.7 * losses[0]

    tower.save_pretrained(tmp_path / "runs/image_encoder/model")
    RECIPES["image_encoder"].ship(tmp_path / "runs")
    again = CLIPVisionModelWithProjection.from_pretrained(store.unfold("image_encoder"))
    pixels = image_encoder.as_pixels(render(scene(1)).image[None])
    with torch.no_grad():
        torch.testing.assert_close(
            again(pixel_values=pixels).image_embeds,
            tower(pixel_values=pixels).image_embeds,
            atol=0.05,
            rtol=0.1,
        )


def test_trained_on_it_leaves_what_plus_and_face_read(base):
    tower = image_encoder.started("shipped")
    pixels = image_encoder.as_pixels(np.stack([render(scene(k)).image for k in range(2)]))

    def seen():
        with torch.no_grad():
            told = tower(pixel_values=pixels, output_hidden_states=True)
        return told.hidden_states[-2], told.image_embeds

    states, embedded = seen()
    parameters = [p for p in tower.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=1e-2)
    tower(pixel_values=pixels).image_embeds.square().mean().backward()
    optimizer.step()
    after, moved = seen()
    assert torch.equal(after, states)
    assert (moved - embedded).abs().max() > 0.1
    assert 0 < sum(p.numel() for p in parameters) < 0.3 * tower.num_parameters()
