"""Reading maps: a network that answered perfectly must be read perfectly. No weights needed."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from lessonlib.judge.network import FEATURES, QUESTIONS, STRIDE
from lessonlib.judge.verdict import Verdict, read
from lessonlib.world.canvas import CLASSES
from lessonlib.world.render import Rendered, render
from lessonlib.world.scene import sample
from lessonlib.world.vocabulary import COLORS


def perfect(truth: Rendered) -> Verdict:
    """What `read` makes of the true answers and of each cell's true coverage."""
    scene, person = truth.scene, truth.scene.person
    height, width = truth.classes.shape
    rows, columns = height // STRIDE, width // STRIDE
    said = {"background": scene.background, "style": scene.style}
    if person:
        who = person.identity
        said |= {"hair": who.hair, "skin": who.skin, "glasses": "glasses" if who.glasses else "no glasses"}
        said |= {"outfit": person.outfit, "pose": person.pose}
    there = {"person"} if person else {thing.name for thing in scene.things}
    answers = {
        question: np.array([9.0 if word in there or said.get(question) == word else -9.0 for word in words])
        for question, words in QUESTIONS.items()
    }
    coverage = np.stack([(truth.classes == index).astype(np.float32) for index in range(len(CLASSES))])
    cells = coverage.reshape(len(CLASSES), rows, STRIDE, columns, STRIDE).mean((2, 4))
    maps = {
        "classes": np.log(cells + 1e-9),
        "keypoints": _peaks(truth, rows, columns),
        "colors": np.tile(_painted(truth)[:, None, None], (1, rows, columns)),
        "depth": cv2.resize(truth.depth, (columns, rows), interpolation=cv2.INTER_AREA)[None],
        "normals": np.zeros((3, rows, columns), np.float32),
    }
    return read(answers, maps, np.zeros(FEATURES, np.float32), width, height)


def _painted(truth: Rendered) -> np.ndarray:
    color = truth.scene.things[0].color if truth.scene.things else None
    return np.array([9.0 if word == color else 0.0 for word in COLORS])


def _peaks(truth: Rendered, rows: int, columns: int) -> np.ndarray:
    """Log of a weight shared by the four cells around each point."""
    ys, xs = np.mgrid[:rows, :columns]
    points = np.zeros((18, 2)) if truth.keypoints is None else truth.keypoints / STRIDE - 0.5
    across = np.clip(1 - abs(xs - points[:, 0, None, None]), 0, 1)
    down = np.clip(1 - abs(ys - points[:, 1, None, None]), 0, 1)
    return np.log(across * down + 1e-9)


@pytest.mark.parametrize("kind", ["single", "pair", "person", "scenery"])
def test_true_answers_make_a_true_verdict(kind) -> None:
    for seed in range(6):
        scene = sample(seed, kind)
        verdict = perfect(render(scene))
        assert set(verdict.names) == {thing.name for thing in scene.things}
        assert (verdict.background, verdict.style) == (scene.background, scene.style)
        assert (verdict.person is None) == (scene.person is None) == (verdict.person_found is None)
        if scene.person is not None and verdict.person is not None:
            who = scene.person.identity
            read_as = (verdict.person.hair, verdict.person.skin, verdict.person.glasses)
            assert read_as == (who.hair, who.skin, who.glasses)
            assert (verdict.person.outfit, verdict.person.pose) == (scene.person.outfit, scene.person.pose)
        if kind == "single" and scene.things[0].color:
            assert verdict.objects[0].color == scene.things[0].color


@pytest.mark.parametrize("shape", [(128, 128), (128, 192), (256, 256)])
def test_boxes_and_centroids_are_finer_than_a_cell(shape: tuple[int, int]) -> None:
    offsets, sides = [], []
    for seed in range(12):
        truth = render(sample(seed, "single"), *shape)
        found = perfect(truth).objects[0]
        ys, xs = np.nonzero(truth.mask(0))
        offsets.append(np.hypot(found.centroid[0] - xs.mean() - 0.5, found.centroid[1] - ys.mean() - 0.5))
        sides.append(np.abs(np.subtract(found.box, truth.boxes[0])))
        assert found.box[0] < found.box[2]
        assert found.box[1] < found.box[3]
    assert np.median(offsets) < 0.5
    assert np.median(sides) < 2


def test_keypoints_are_read_exactly() -> None:
    truth = render(sample(3, "person"))
    person = perfect(truth).person
    assert person is not None
    assert truth.keypoints is not None
    inside = ((truth.keypoints > 2) & (truth.keypoints < 126)).all(1)
    np.testing.assert_allclose(person.keypoints[inside], truth.keypoints[inside], atol=0.05)
    assert person.confidence[inside].min() > 0.99


def test_an_object_far_from_any_mask_still_has_a_box() -> None:
    truth = render(sample(1, "scenery"))
    verdict = perfect(truth)
    unsure = {**verdict.maps}
    answers = {question: np.full(len(words), -9.0) for question, words in QUESTIONS.items()}
    answers["presence"][0] = 9.0
    found = read(answers, unsure, verdict.features, 128, 128).objects[0]
    x0, y0, x1, y1 = found.box
    assert 0 <= x0 < x1 <= 128
    assert 0 <= y0 < y1 <= 128
