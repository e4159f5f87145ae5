"""Where a face is: a square around the head of a person whose head's pixels are known."""

import numpy as np
import pytest
from PIL import Image

from lessonlib.conditions import face
from lessonlib.errors import LessonError
from lessonlib.world import render, sample
from lessonlib.world.scene import Scene


def people():
    """Persons of many sizes and places, with their key points."""
    found = (render(sample(seed=seed)) for seed in range(400))
    return [rendered for rendered in found if rendered.scene.person is not None][:30]


@pytest.fixture(scope="module")
def persons():
    return people()


@pytest.fixture(autouse=True)
def tiny(monkeypatch):
    monkeypatch.setenv("LESSON_TIER", "tiny")


def head(rendered):
    """(x0, y0, x1, y1) of the head's sprite, clipped to the picture; its side is 0.36 of the figure's."""
    person = rendered.scene.person
    nose = rendered.keypoints[0]
    half = 0.18 * person.size * 128 * 0.9  # the ink of a head's sprite fills nine tenths of it
    middle = nose - (0, 0.045 * person.size * 128)
    return np.clip([*(middle - half), *(middle + half)], 0, 128)


def overlap(a, b):
    """Intersection over union of two boxes."""
    sides = [max(0, min(a[i + 2], b[i + 2]) - max(a[i], b[i])) for i in (0, 1)]
    area = [(box[2] - box[0]) * (box[3] - box[1]) for box in (a, b)]
    return sides[0] * sides[1] / (sum(area) - sides[0] * sides[1])


def test_the_square_around_true_key_points_holds_the_head(persons):
    for rendered in persons:
        box = face.around([(float(x), float(y)) for x, y in rendered.keypoints], (128, 128))
        assert box[2] - box[0] == box[3] - box[1]
        assert min(box) >= 0
        assert max(box) <= 128
        assert overlap(box, head(rendered)) > 0.6


def test_eyes_are_enough(persons):
    for rendered in persons[:10]:
        points = [(float(x), float(y)) for x, y in rendered.keypoints]
        whole = face.around(points, (128, 128))
        points[16] = None
        assert overlap(face.around(points, (128, 128)), whole) > 0.8


def test_the_judge_finds_faces_in_pictures(persons):
    overlaps = [overlap(face.find(Image.fromarray(p.image)), head(p)) for p in persons[:12]]
    assert np.median(overlaps) > 0.6


def test_a_crop_is_a_square_of_the_pictures_pixels(persons):
    picture = Image.fromarray(persons[0].image)
    found = face.find(picture)
    cropped = face.crop(picture)
    assert cropped.size[0] == cropped.size[1]
    assert np.array_equal(cropped, np.asarray(picture)[found[1] : found[3], found[0] : found[2]])
    assert face.crop(picture, (8, 16, 40, 48)).size == (32, 32)


def test_no_person_and_no_face_are_said():
    with pytest.raises(LessonError, match="No person was found"):
        face.crop(Image.fromarray(render(Scene("beach", "flat")).image))
    with pytest.raises(LessonError, match="No face was found"):
        face.around([None] * 18, (128, 128))


def test_a_box_outside_is_said():
    with pytest.raises(LessonError, match="not inside the picture of 64 x 64"):
        face.crop(Image.new("RGB", (64, 64)), (10, 10, 80, 40))
