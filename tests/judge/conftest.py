"""The shipped judge and some real scenes, drawn once."""

from __future__ import annotations

import cv2
import pytest

from lessonlib.judge.evaluate import real_scenes
from lessonlib.judge.loading import Judge, load_judge
from lessonlib.world.render import Rendered, render


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    cv2.setNumThreads(1)


@pytest.fixture(scope="session")
def judge() -> Judge:
    return load_judge()


@pytest.fixture(scope="session")
def drawn() -> dict[str, list[Rendered]]:
    """Real scenes of every split."""
    counts = {"seen": 60, "held-out": 40, "pair": 40, "person": 40, "scenery": 10}
    return {split: [render(scene) for scene in real_scenes(split, n, seed=41)] for split, n in counts.items()}
