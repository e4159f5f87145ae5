"""A few hundred scenes, drawn once for all the tests of this folder."""

from __future__ import annotations

import pytest

from lessonlib.world import Rendered, Scene, render, sample

SPLITS = ("seen", "all", "held-out")


@pytest.fixture(scope="session")
def scenes() -> list[Scene]:
    mixed = [sample(seed, split=SPLITS[seed % 3]) for seed in range(120)]
    pairs = [sample(seed, "pair") for seed in range(500, 590)]
    people = [sample(seed, "person") for seed in range(700, 750)]
    return [*mixed, *pairs, *people]


@pytest.fixture(scope="session")
def drawn(scenes: list[Scene]) -> list[Rendered]:
    return [render(scene) for scene in scenes]
