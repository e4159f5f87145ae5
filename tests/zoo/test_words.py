"""An adapter's tokens start near the text states of the words for what is seen."""

import numpy as np
import pytest
import torch
from torch import nn

from lessonlib.world.scene import sample
from lessonlib.zoo import words
from lessonlib.zoo.base import load_base
from lessonlib.zoo.latents import person_scene, scene


@pytest.fixture(scope="module")
def base():
    return load_base(torch.device("cpu"))


def bare(text):
    """Without the spaces that a tokenizer puts in."""
    return text.replace(" ", "")


@pytest.mark.parametrize("index", range(12))
def test_the_places_are_ends_of_phrases(base, index):
    text, phrases = words.described(scene(index), head_alone=False)
    ids = base.tokenizer(text).input_ids
    places = words.positions(base.tokenizer, text, phrases, 16)
    assert len(places) == 16
    assert places == sorted(places)
    assert places[-1] == len(ids) - 1
    said = [bare(base.tokenizer.decode(ids[: place + 1], skip_special_tokens=True)) for place in places]
    assert all(one.endswith(tuple(bare(phrase) for phrase in phrases)) for one in said)


def test_four_places_of_a_single_object_are_its_name_background_style_and_all(base):
    text, phrases = "a koala on the left in the snow, ink style", ["koala", "in the snow", "ink style"]
    ids = base.tokenizer(text).input_ids
    places = words.positions(base.tokenizer, text, phrases, 4)
    assert [base.tokenizer.decode([ids[k]]).strip() for k in places[:3]] == ["koala", "snow", "style"]
    assert words.positions(base.tokenizer, text, phrases, 2)[-1] == len(ids) - 1


def test_a_head_alone_tells_nothing_of_clothes_and_place():
    for index in range(20):
        shown = person_scene(index)
        text, _ = words.described(shown, head_alone=True)
        whole, _ = words.described(shown, head_alone=False)
        assert whole.startswith(text)
        assert shown.person.identity.skin in text
        assert shown.person.outfit not in text
        assert shown.style not in text


def test_scenery_is_described_by_what_its_caption_says(base):
    empty = next(one for k in range(200) if (one := scene(k)).kind == "scenery")
    states = words.wanted_states(base, [empty], 4)
    assert states.shape == (1, 4, base.text.config.hidden_size)


def test_the_wanted_states_are_those_of_the_caption(base):
    one = sample(np.random.default_rng(3), "single")
    text, phrases = words.described(one, head_alone=False)
    places = words.positions(base.tokenizer, text, phrases, 4)
    assert torch.equal(words.wanted_states(base, [one], 4)[0], base.states([text])[0, places])


def test_teaching_fits_the_projection():
    seen = np.random.default_rng(0).standard_normal((64, 8)).astype(np.float16)
    torch.manual_seed(0)
    wanted = (torch.from_numpy(seen).float() @ torch.randn(8, 12)).unflatten(1, (3, 4))
    projection = nn.Sequential(nn.Linear(8, 12), nn.Unflatten(1, (3, 4)))
    before = (projection(torch.from_numpy(seen).float()) - wanted).square().mean().item()
    assert words.teach(projection, seen, wanted, seed=0, steps=2000) < 0.2 * before
