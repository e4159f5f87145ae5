"""The capstone's score falls where a picture fails, and only there. The pictures are drawn, not painted by a model."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from lessonlib.errors import LessonError
from lessonlib.grading.capstone import Pair, pairs, score
from lessonlib.judge import Judge, load_judge
from lessonlib.world.render import render
from lessonlib.world.scene import Identity, Scene
from lessonlib.world.vocabulary import BACKGROUNDS, HAIR, OUTFITS, SKINS

COUNT = 8


@pytest.fixture(scope="module")
def judge() -> Judge:
    cv2.setNumThreads(1)
    return load_judge()


@pytest.fixture(scope="module")
def given() -> list[Pair]:
    return pairs(5, COUNT)


@pytest.fixture(scope="module")
def perfect(given: list[Pair], judge: Judge) -> dict[str, float]:
    return score([render(pair.wanted).image for pair in given], given, 8, judge)


def painted(given: list[Pair], change) -> list[np.ndarray]:
    return [render(change(pair.wanted)).image for pair in given]


def other(options, one: str) -> str:
    names = list(options)
    return names[(names.index(one) + len(names) // 2) % len(names)]


def test_the_scene_itself_scores_high(perfect: dict[str, float]) -> None:
    assert perfect["layout"] > 0.75
    assert perfect["identity"] > 0.75
    assert perfect["prompt"] > 0.75
    assert perfect["evaluations"] == 8


def test_another_person_loses_identity_alone(given, perfect, judge) -> None:
    def somebody_else(scene: Scene) -> Scene:
        assert scene.person is not None
        was = scene.person.identity
        identity = Identity(other(HAIR, was.hair), other(SKINS, was.skin), not was.glasses)
        return replace(scene, person=replace(scene.person, identity=identity))

    got = score(painted(given, somebody_else), given, 8, judge)
    assert got["identity"] < perfect["identity"] - 0.5
    assert got["prompt"] > perfect["prompt"] - 0.25
    assert got["layout"] > perfect["layout"] - 0.25


def test_a_step_aside_loses_the_layout_alone(given, perfect, judge) -> None:
    def aside(scene: Scene) -> Scene:
        assert scene.person is not None
        x = scene.person.x + (0.17 if scene.person.x < 0.5 else -0.17)
        return replace(scene, person=replace(scene.person, x=x))

    got = score(painted(given, aside), given, 8, judge)
    assert got["layout"] < perfect["layout"] - 0.4
    assert got["prompt"] > perfect["prompt"] - 0.25


def test_other_clothes_elsewhere_lose_the_prompt_alone(given, perfect, judge) -> None:
    def elsewhere(scene: Scene) -> Scene:
        assert scene.person is not None
        person = replace(scene.person, outfit=other(OUTFITS, scene.person.outfit))
        return replace(scene, background=other(BACKGROUNDS, scene.background), person=person)

    got = score(painted(given, elsewhere), given, 8, judge)
    assert got["prompt"] < perfect["prompt"] - 0.4
    assert got["identity"] > perfect["identity"] - 0.3
    assert got["layout"] > perfect["layout"] - 0.25


def test_handing_in_the_photo_or_the_sketch_does_not_pay(given, perfect, judge) -> None:
    photo = score([pair.photo for pair in given], given, 0, judge)
    assert photo["layout"] < perfect["layout"] - 0.3
    assert photo["prompt"] < perfect["prompt"] - 0.4
    sketch = score([pair.sketch for pair in given], given, 0, judge)
    assert sketch["identity"] < perfect["identity"] - 0.3
    assert sketch["prompt"] < perfect["prompt"] - 0.4


def test_pairs_come_from_the_seed_and_hide_the_person(given: list[Pair]) -> None:
    again, another = pairs(5, COUNT), pairs(6, COUNT)
    assert all(
        np.array_equal(a.photo, b.photo) and a.prompt == b.prompt for a, b in zip(given, again, strict=True)
    )
    assert [pair.prompt for pair in given] != [pair.prompt for pair in another]
    for pair in given:
        assert pair.sketch.mean() > 127  # pencil on paper, for the student to invert
        assert "person" in pair.prompt


def test_a_picture_too_few_is_one_sentence(given: list[Pair], judge: Judge) -> None:
    with pytest.raises(LessonError, match="make one for each"):
        score([given[0].photo], given, 8, judge)
