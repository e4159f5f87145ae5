"""Scores against verdicts made by hand: only what was asked counts, and it counts exactly."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from lessonlib.judge.network import QUESTIONS
from lessonlib.judge.scoring import Score, compare, what_is_asked
from lessonlib.judge.verdict import Found, PersonRead, Verdict
from lessonlib.world.captions import caption
from lessonlib.world.parse import parse
from lessonlib.world.scene import sample


def found(name: str, x: float, y: float, side: float, color: str = "red", score: float = 0.99) -> Found:
    box = (x - side / 2, y - side / 2, x + side / 2, y + side / 2)
    return Found(name, score, (x, y), box, color)


def verdict(
    *objects: Found, background: str = "beach", style: str = "3d", person: PersonRead | None = None
) -> Verdict:
    presence = dict.fromkeys(QUESTIONS["presence"], 0.001) | {thing.name: thing.score for thing in objects}
    body = found("person", 64, 66, 110) if person else None
    return Verdict(
        128, 128, presence, objects, background, 1.0, style, 1.0, person, body, np.zeros(192, np.float32), {}
    )


APPLE = verdict(found("apple", 30, 66, 60))


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("an apple", {"object": True}),
        ("a pear", {"object": False}),
        (
            "a red apple on the beach, 3d style",
            {"object": True, "color": True, "background": True, "style": True},
        ),
        ("a blue apple in the snow, ink style", {"object": True, "background": False, "style": False}),
        ("a blue apple", {"object": True, "color": False}),
        ("an apple on the left", {"object": True, "place": True}),
        ("an apple on the right", {"object": True, "place": False}),
        ("a pear on the left", {"object": False, "place": False}),
        ("a large apple", {"object": True, "size": False}),
        ("a cat and an apple", {"both objects": False, "relation": False}),
    ],
)
def test_only_what_the_prompt_says_is_compared(prompt: str, expected: dict[str, bool]) -> None:
    assert compare(APPLE, parse(prompt).said) == expected


def test_relations_need_both_objects_in_order() -> None:
    pair = verdict(found("cat", 35, 70, 55), found("dog", 95, 70, 55))
    answers = lambda prompt: compare(pair, parse(prompt).said)  # noqa: E731
    assert answers("a cat to the left of a dog") == {"both objects": True, "relation": True}
    assert answers("a dog to the left of a cat") == {"both objects": True, "relation": False}
    assert answers("a cat and a dog")["relation"]
    assert answers("a cat on the left and a dog on the right") == {"both objects": True, "place": True}
    assert not answers("a cat to the left of a fox")["both objects"]


def test_a_surer_stranger_displaces_the_object_asked_for() -> None:
    crowd = verdict(found("fox", 90, 60, 50, score=0.99), found("apple", 30, 60, 50, score=0.6))
    assert not compare(crowd, parse("an apple").said)["object"]
    assert compare(crowd, parse("an apple and a fox").said)["both objects"]


def test_a_weak_belief_is_no_object() -> None:
    weak = replace(verdict(), presence=dict.fromkeys(QUESTIONS["presence"], 0.001) | {"apple": 0.3})
    assert not compare(weak, parse("an apple").said)["object"]


def test_people_are_compared_attribute_by_attribute() -> None:
    read = PersonRead("beard", "dark", True, "toga", "waving", np.zeros((18, 2)), np.ones(18))
    answers = compare(
        verdict(person=read), parse("a man with a beard and glasses in a business suit waving").said
    )
    assert answers == {
        "person": True, "noun": True, "hair": True, "glasses": True, "outfit": False, "pose": True,
        "identity": True,
    }  # fmt: skip
    assert compare(verdict(person=read), parse("a woman in a toga").said) == {
        "person": True,
        "noun": False,
        "outfit": True,
    }
    nobody = compare(verdict(), parse("a man with a beard in a toga").said)
    assert not any(nobody.values())


@pytest.mark.parametrize("kind", ["single", "pair", "person", "scenery"])
def test_a_scene_asks_for_what_its_caption_says(kind) -> None:
    for seed in range(12):
        scene = sample(seed, kind)
        asked, said = what_is_asked(scene), what_is_asked(caption(scene))
        assert said.objects == asked.objects
        assert (said.background, said.style, said.relation) == (asked.background, asked.style, asked.relation)


def test_rates_count_each_question_where_it_was_asked() -> None:
    answers = ({"object": True, "style": True}, {"object": False}, {"background": True})
    score = Score(answers, (APPLE,) * 3)
    assert {name: (rate.value, rate.n) for name, rate in score.rates().items()} == {
        "object": (0.5, 2), "style": (1.0, 1), "background": (1.0, 1),
    }  # fmt: skip
    assert score.rows("seen")[0].keys() == {"metric", "split", "value", "low", "high", "n"}
