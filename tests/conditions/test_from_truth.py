"""Control maps from ground truth: each family's conventions, on scenes whose truth is known."""

import cv2
import numpy as np
import pytest

from lessonlib import conditions
from lessonlib.conditions import depth, normal, pose, scribble, segmentation
from lessonlib.errors import LessonError
from lessonlib.world import Scene, parse, render, sample
from lessonlib.world.canvas import CLASS_INDEX, CLASSES

SEEDS = range(12)


@pytest.fixture(scope="module")
def scenes():
    return [render(sample(seed=seed)) for seed in SEEDS]


@pytest.fixture(scope="module")
def person():
    return render(parse("a woman in a red dress waving on the beach").scene)


@pytest.mark.parametrize("name", conditions.NAMES)
def test_a_map_is_rgb_of_the_pictures_size_and_always_the_same(name, scenes):
    for rendered in scenes:
        found = conditions.from_truth(name, rendered)
        assert found.shape == rendered.image.shape
        assert found.dtype == np.uint8
        assert np.array_equal(found, conditions.from_truth(name, render(rendered.scene)))


@pytest.mark.parametrize("name", conditions.NAMES)
def test_a_map_need_not_be_square(name):
    rendered = render(sample(seed=3), height=96, width=160)
    assert conditions.from_truth(name, rendered).shape == (96, 160, 3)


@pytest.mark.parametrize("name", ["canny", "scribble", "lineart"])
def test_lines_are_few_and_white_on_black(name, scenes):
    for rendered in scenes:
        found = conditions.from_truth(name, rendered)
        assert np.ptp(found, axis=2).max() == 0  # grey
        assert (found > 127).mean() < 0.35
    assert max(conditions.from_truth(name, rendered).max() for rendered in scenes) == 255


@pytest.mark.parametrize(("name", "reach"), [("scribble", 5), ("lineart", 2)])
def test_lines_follow_the_things_outlines(name, reach, scenes):
    """Nearly every outline of a thing is near a line, and nearly every line is near a true border or edge."""
    recalls, precisions = [], []
    for rendered in scenes:
        lines = conditions.from_truth(name, rendered)[..., 0] > 127
        things = cv2.morphologyEx(
            (rendered.instances > 0).astype(np.uint8), cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)
        )
        near = np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)
        if things.any():
            recalls.append(cv2.dilate(lines.astype(np.uint8), near)[things > 0].mean())
        if lines.any():
            true = cv2.dilate(np.maximum(rendered.outlines, rendered.edges), near) > 0
            precisions.append(true[lines].mean())
    assert np.median(recalls) > 0.9
    assert np.median(precisions) > 0.9


def test_a_scribble_draws_nothing_along_the_frame():
    """Two halves of a plain room meet in a line; the frame itself has none."""
    rendered = render(Scene(background="stage", style="flat", seed=1))
    drawn = scribble.from_truth(rendered)[..., 0] > 0
    assert drawn.any()
    columns = drawn[:, :2].any(axis=1)  # at the left edge only the border between curtain and floor is drawn
    assert columns.mean() < 0.2


def test_near_is_bright(scenes):
    for rendered in scenes:
        bright = depth.from_truth(rendered)[..., 0].astype(float).ravel()
        assert (bright.min(), bright.max()) == (0, 255)
        assert np.corrcoef(bright, -rendered.depth.ravel())[0, 1] > 0.9999


def test_depth_of_one_plane_is_black_and_finite():
    assert not depth.draw(np.full((16, 16), 0.4, np.float32)).any()


def test_normals_have_the_signs_of_midas_inverse_depth():
    """A ball: red on its left, green on its top, blue in its middle, as Sobel of nearness gives."""
    y, x = np.mgrid[-1:1:64j, -1:1:64j]
    z = np.sqrt(np.clip(1 - x**2 - y**2, 0, 1))
    inside = x**2 + y**2 < 0.8
    map_ = normal.draw(np.dstack([x, -y, z]).astype(np.float32))
    sobel = [cv2.Sobel(z, cv2.CV_64F, 1, 0), cv2.Sobel(z, cv2.CV_64F, 0, 1)]
    for channel in (0, 1):
        clear = inside & (np.abs(sobel[channel]) > 0.05)
        assert np.array_equal(map_[..., channel][clear] > 127, sobel[channel][clear] > 0)
    assert map_[32, 32, 2] > 250


def test_normals_of_a_scene_are_unit_vectors(scenes):
    for rendered in scenes:
        vectors = normal.from_truth(rendered) / 127.5 - 1
        assert np.abs(np.linalg.norm(vectors, axis=2) - 1).max() < 0.02


def test_classes_have_ade20ks_colours():
    rendered = render(parse("a red car on the beach").scene)
    drawn = segmentation.from_truth(rendered)
    for name, color in {"car": (0, 102, 200), "sky": (6, 230, 230)}.items():
        where = rendered.classes == CLASS_INDEX[name]
        assert where.any()
        assert (drawn[where] == color).all()


def test_every_class_has_a_colour_of_its_own():
    colors = {
        name: tuple(color) for name, color in zip(CLASSES, segmentation.palette().astype(float), strict=False)
    }
    assert len(set(colors.values())) == len(colors)
    own = [name for name in colors if name not in segmentation.ADE20K]
    for name in own:  # ADE20K's own colours come as near to each other as 10
        others = [np.subtract(colors[name], color) for other, color in colors.items() if other != name]
        assert np.linalg.norm(others, axis=1).min() > 45, name


def test_ade20ks_colours_belong_to_classes_of_the_world():
    assert set(segmentation.ADE20K) <= set(CLASSES)


def test_each_key_point_and_limb_has_openposes_colour(person):
    drawn = pose.from_truth(person)
    points = person.keypoints
    x, y = points[4].astype(int)  # the right wrist: nothing is drawn over it
    assert tuple(drawn[y, x]) == (170, 255, 0)
    for limb, (start, end) in enumerate(pose.LIMBS[2:6], start=2):
        x, y = ((points[start] + points[end]) / 2).astype(int)
        assert tuple(drawn[y, x]) == tuple(int(c * 0.6) for c in pose.COLORS[limb])


def test_key_points_that_were_not_found_take_their_limbs_with_them(person):
    points = [(float(x), float(y)) for x, y in person.keypoints]
    whole = pose.draw(points, 128, 128)
    points[4] = None
    part = pose.draw(points, 128, 128)
    changed = np.argwhere((whole != part).any(axis=2))[:, ::-1]
    elbow, wrist = person.keypoints[3], person.keypoints[4]
    assert len(changed)
    assert np.linalg.norm(changed - (elbow + wrist) / 2, axis=1).max() < np.linalg.norm(elbow - wrist) / 2 + 4


def test_nobody_is_a_black_map():
    assert not conditions.from_truth("pose", render(Scene("beach", "flat"))).any()


def test_an_unknown_condition_is_named_with_its_neighbour():
    with pytest.raises(LessonError, match="Did you mean 'canny'"):
        conditions.from_truth("cany", render(Scene("beach", "flat")))
