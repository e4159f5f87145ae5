"""Prompts are read back: whatever a caption says is recovered, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest

from lessonlib.world import Asked, AskedPerson, AskedThing, Scene, caption, parse, render, sample
from lessonlib.world.captions import _Chance, _compose
from lessonlib.world.vocabulary import (
    BACKGROUNDS,
    HAIR,
    NATURAL_COLORS,
    OBJECTS,
    OUTFITS,
    PLACES,
    POSES,
    SCENERY,
    SIZES,
    STYLES,
    SYNONYMS,
)

TABLES = {
    "background": (BACKGROUNDS, SCENERY), "style": (STYLES,), "size": (SIZES,), "place": (PLACES,), "outfit": (OUTFITS,),
    "pose": (POSES,),
}  # fmt: skip


class Recorder(_Chance):
    """Notes which attributes a caption puts into words."""

    def __init__(self, rng: np.random.Generator | None) -> None:
        super().__init__(rng)
        self.said: dict[str, str] = {}

    def one_of(self, ways: tuple[str, ...]) -> str:
        for kind, tables in TABLES.items():
            for table in tables:
                for value, listed in table.items():
                    if listed is ways:
                        self.said[kind] = value
        return super().one_of(ways)


def attributes(asked: Asked) -> dict[str, str]:
    """The tables' attributes that were asked for."""
    found = {"background": asked.background, "style": asked.style}
    for part in (*asked.things, asked.person):
        for name in ("size", "place", "outfit", "pose"):
            found[name] = getattr(part, name, None) or found.get(name)
    return {name: value for name, value in found.items() if value}


def untrue(asked: Asked, scene: Scene) -> list[str]:
    """What was asked for but is not so in the scene."""
    wrong = [
        f"{name}: {want}"
        for name, want, have in (
            ("background", asked.background, scene.background),
            ("style", asked.style, scene.style),
            ("relation", asked.relation, scene.relation),
        )
        if want not in (None, have)
    ]
    if asked.things:
        assert asked.objects == tuple(thing.name for thing in scene.things)
    for want, thing in zip(asked.things, scene.things, strict=False):
        color = thing.color or NATURAL_COLORS.get(thing.name)
        for name, have in (("color", color), ("size", thing.size_word), ("place", thing.place)):
            if getattr(want, name) not in (None, have):
                wrong.append(f"{thing.name}'s {name}: {getattr(want, name)}")
    if asked.person:
        assert scene.person
        who = scene.person.identity
        have = AskedPerson(
            HAIR[who.hair][1].split()[-1], who.hair, who.skin, who.glasses, scene.person.outfit, scene.person.pose,
            scene.person.place,
        )  # fmt: skip
        wrong += [n for n, want in vars(asked.person).items() if want not in (None, getattr(have, n))]
    return wrong


def test_a_caption_is_read_back_whatever_its_wording(scenes):
    for number, scene in enumerate(scenes):
        for wording in range(3):
            chance = Recorder(np.random.default_rng([number, wording]) if wording else None)
            text = _compose(scene, chance)
            parsed = parse(text)
            assert parsed.unknown == [], text
            assert untrue(parsed.said, scene) == [], text
            assert attributes(parsed.said) == chance.said, text
            assert len(parsed.said.things) == len(scene.things), text
            for thing, want in zip(scene.things, parsed.said.things, strict=True):
                assert thing.color in (None, want.color), text  # a painted object is always said to be so
            assert (parsed.said.relation is None) == (len(scene.things) < 2), text
            if scene.person:
                assert parsed.said.person, text
                assert (parsed.said.person.glasses is True) == ("glasses" in text), text
                assert (parsed.said.person.skin is not None) == (" skin" in text), text


def test_the_plain_caption_says_all_of_a_person(scenes):
    for scene in scenes:
        if scene.person:
            said = parse(caption(scene)).said.person
            assert said
            assert said.hair == scene.person.identity.hair
            assert said.skin == scene.person.identity.skin


def test_what_is_read_is_drawn(scenes):
    for scene in scenes[::3]:
        text = caption(scene)
        parsed = parse(text, seed=7)
        assert untrue(parsed.said, parsed.scene) == []
        again = parse(caption(parsed.scene), seed=8).said
        assert untrue(again, parsed.scene) == []
        assert again.objects == parsed.said.objects


LESSON = {
    "A red apple": Asked((AskedThing("apple", "red"),)),
    "A blue car": Asked((AskedThing("car", "blue"),)),
    "A green forest": Asked(background="forest"),
    "A green tree": Asked((AskedThing("tree", "green"),)),
    "A yellow sun": Asked((AskedThing("sun", "yellow"),)),
    "a night city": Asked(background="night city"),
    "A beautiful sunset over mountains": Asked(background="mountain sunset"),
    "A cinematic shot of a cat wearing a hat": Asked((AskedThing("top hat"), AskedThing("cat")), "wearing"),
    "a cat and a dog": Asked((AskedThing("cat"), AskedThing("dog")), "next to"),
    "a photo of a dog": Asked((AskedThing("dog"),)),
    "A cat sitting on the couch": Asked((AskedThing("cat"),)),
    "A portrait of a woman": Asked(person=AskedPerson("woman")),
    "A photorealistic portrait": Asked(person=AskedPerson()),
    "A beautiful anime girl, studio ghibli style": Asked(person=AskedPerson("woman")),
    "A person in a business suit, professional photo": Asked(person=AskedPerson(outfit="business suit")),
    "A person as a superhero, comic book style": Asked(person=AskedPerson(outfit="superhero")),
    "A person in ancient Rome, oil painting": Asked(
        person=AskedPerson(), background="ancient rome", style="oil painting"
    ),
    "oil painting, impressionist style, vibrant colors": Asked(style="oil painting"),
    "a (beautiful)++ sunset": Asked(background="sunset"),
    "a (ugly)-- sunset": Asked(background="sunset"),
    "a (red:1.5) and (blue:0.5) sunset": Asked(background="sunset"),
    "A majestic lion in a savanna at sunset, photorealistic, 8k": Asked(
        (AskedThing("lion"),), background="sunset"
    ),
    "A cyberpunk city at night, neon lights, rain": Asked(background="night city"),
}


@pytest.mark.parametrize("prompt", LESSON)
def test_the_lessons_prompts(prompt):
    parsed = parse(prompt)
    assert parsed.said == LESSON[prompt]
    assert untrue(parsed.said, parsed.scene) == []
    assert caption(parsed.scene)
    render(parsed.scene, 64, 64)


@pytest.mark.parametrize(
    ("prompt", "things", "relation"),
    [
        ("a cat to the left of a dog", ("cat", "dog"), "to the left of"),
        ("a cat under a red umbrella", ("umbrella", "cat"), "above"),
        ("a cat behind a tree", ("tree", "cat"), "in front of"),
        ("a cat in front of a tree in front of mountains", ("cat", "tree"), "in front of"),
        ("a rabbit in a top hat", ("top hat", "rabbit"), "wearing"),
        ("a rabbit in a top hat on the beach", ("top hat", "rabbit"), "wearing"),
        ("a puppy beside a kitten", ("dog", "cat"), "next to"),
        ("a cat, a dog", ("cat", "dog"), None),
        ("a cat wearing a car", ("cat", "car"), None),
        ("a teddy bear and a palm tree", ("teddy bear", "palm tree"), "next to"),
    ],
)
def test_relations(prompt, things, relation):
    parsed = parse(prompt)
    assert (parsed.said.objects, parsed.said.relation) == (things, relation)
    assert untrue(parsed.said, parsed.scene) == []


def test_colours_and_sizes_belong_to_their_noun():
    said = parse("a small red apple to the right of a big blue car on the grass").said
    assert said.things == (AskedThing("apple", "red", "small"), AskedThing("car", "blue", "large"))
    scene = parse("a small cat and a giant dog").scene
    assert scene.things[0].size < 0.8 * scene.things[1].size


def test_places_of_two_objects_are_kept():
    for seed in range(5):
        scene = parse("a cat on the right and a dog on the left", seed).scene
        assert scene.things[0].x > 0.6 > 0.4 > scene.things[1].x


def test_unsaid_things_take_their_defaults_or_the_seed():
    parsed = parse("an apple")
    assert (parsed.scene.background, parsed.scene.style) == ("white", "3d")
    assert (parsed.said.background, parsed.said.style) == (None, None)
    assert parsed.scene.things[0].color is None
    assert parse("an apple", 1).scene == parse("an apple", 1).scene != parse("an apple", 2).scene
    assert len({parse("a woman", seed).scene.person for seed in range(8)}) == 8
    assert {parse("a woman", s).scene.person.identity.hair for s in range(30)} == {
        "long hair", "curly hair", "red hair", "white hair",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("prompt", "unknown"),
    [
        ("a majestic lion, photorealistic, 8k", ["majestic", "photorealistic", "8k"]),
        ("a cat in the snow in the mountains", ["mountains"]),  # one background
        ("a cat, a dog and a bear", ["bear"]),  # two objects
        ("a woman wearing a hat", ["hat"]),  # a person alone
        ("a cat in a toga", ["toga"]),
        ("a red sunset", ["red"]),
        ("a white background", []),
        ("", []),
        ("!?, 1.5 --- ((", ["1", "5"]),
        ("고양이", []),
    ],
)
def test_what_cannot_be_understood_is_said(prompt, unknown):
    parsed = parse(prompt)
    assert parsed.unknown == unknown
    assert caption(parsed.scene)


@pytest.mark.parametrize("word", [*OBJECTS, *SYNONYMS])
def test_every_object_and_synonym_is_read(word):
    assert parse(f"a {word} in the forest").said == Asked(
        (AskedThing(SYNONYMS.get(word, word)),), background="forest"
    )


def test_every_kind_of_scene_can_be_read_from_its_plain_caption():
    for kind in ("single", "pair", "person", "scenery"):
        for seed in range(40):
            scene = sample(seed, kind, split="all")
            assert parse(caption(scene)).scene.kind == kind
