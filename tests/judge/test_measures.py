"""Every measure on inputs whose answer is known."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from lessonlib.judge.depth import depth_rmse
from lessonlib.judge.diversity import diversity
from lessonlib.judge.edges import edge_f1
from lessonlib.judge.intervals import bootstrap_mean, wilson
from lessonlib.judge.kid import kid, kid_difference
from lessonlib.judge.normals import normal_angle
from lessonlib.judge.places import holds, is_at, size_word
from lessonlib.judge.pose import pck
from lessonlib.judge.segmentation import mean_iou
from lessonlib.judge.sharpness import sharpness
from lessonlib.world.render import render
from lessonlib.world.scene import sample


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    return render(sample(5, "single")).image


# --- edges ---


def lines(column: int) -> np.ndarray:
    edges = np.zeros((64, 64), np.uint8)
    edges[:, column] = 255
    return edges


@pytest.mark.parametrize(("shift", "f1"), [(0, 1.0), (2, 1.0), (3, 0.0)])
def test_edges_agree_up_to_the_tolerance(shift: int, f1: float) -> None:
    assert edge_f1(lines(20 + shift), lines(20), tolerance=2) == f1


def test_edge_f1_is_the_harmonic_mean_of_precision_and_recall() -> None:
    asked = lines(10) | lines(50)
    # all that is found is right, half is missed
    assert edge_f1(lines(10), asked) == pytest.approx(2 * 1.0 * 0.5 / 1.5)
    assert edge_f1(asked, lines(10)) == pytest.approx(2 * 0.5 * 1.0 / 1.5)


def test_no_edges_agree_with_no_edges_only() -> None:
    none = np.zeros((64, 64), np.uint8)
    assert edge_f1(none, none) == 1
    assert edge_f1(none, lines(3)) == edge_f1(lines(3), none) == 0


# --- sharpness ---


def test_sharpness_falls_with_blur_and_ignores_contrast(picture: np.ndarray) -> None:
    blurred = [sharpness(cv2.GaussianBlur(picture, (0, 0), sigma)) for sigma in (0.6, 1.2, 2.4)]
    assert sharpness(picture) > blurred[0] > blurred[1] > blurred[2] > 0
    pale = (picture.astype(np.float32) * 0.5 + 64).round().astype(np.uint8)
    assert sharpness(pale) == pytest.approx(sharpness(picture), rel=0.06)  # rounding to bytes adds a little
    assert sharpness(np.full((32, 32, 3), 9, np.uint8)) == 0


# --- depth, normals, classes ---


def test_depth_rmse() -> None:
    depth = np.random.default_rng(0).random((8, 8))
    assert depth_rmse(depth, depth) == 0
    assert depth_rmse(depth + 0.1, depth) == pytest.approx(0.1)
    assert depth_rmse(np.array([0.0, 0.0]), np.array([0.0, 1.0])) == pytest.approx(np.sqrt(0.5))


@pytest.mark.parametrize("degrees", [0.0, 1e-6, 30.0, 90.0, 180.0])
def test_normal_angle_is_the_angle(degrees: float) -> None:
    turn = np.radians(degrees)
    towards = np.tile([0.0, 0.0, 1.0], (4, 4, 1))
    turned = np.tile([np.sin(turn), 0.0, np.cos(turn)], (4, 4, 1))
    assert normal_angle(turned, towards) == pytest.approx(degrees, rel=1e-6, abs=1e-9)


def test_mean_iou_averages_over_asked_classes() -> None:
    asked = np.array([[0, 0, 1, 1]])
    assert mean_iou(asked, asked) == 1
    assert mean_iou(np.array([[0, 0, 0, 0]]), asked) == pytest.approx((0.5 + 0) / 2)
    # a class nobody asked for costs only where it stands
    assert mean_iou(np.array([[0, 7, 1, 1]]), asked) == pytest.approx((0.5 + 1) / 2)


# --- pose ---


def test_pck_counts_visible_points_within_a_tenth_of_the_person() -> None:
    asked = np.array([[10.0, 10], [50, 50], [90, 10], [-20, 5]])
    found = asked + np.array([[9.9, 0], [0, 10.1], [0, 0], [99, 0]])
    visible = np.array([True, True, True, False])
    assert pck(found, asked, size=100, visible=visible) == pytest.approx(2 / 3)
    assert pck(found, asked, size=100) == pytest.approx(2 / 4)
    assert pck(None, asked, size=100) == 0


# --- sets of pictures ---


def test_diversity_is_the_mean_pairwise_distance() -> None:
    assert diversity(np.ones((5, 3))) == pytest.approx(0)
    assert diversity(np.array([[0.0, 0], [3, 4], [0, 0]])) == pytest.approx((5 + 0 + 5) / 3)
    with pytest.raises(ValueError, match="two"):
        diversity(np.ones((1, 3)))


def test_kid_is_the_unbiased_mmd_of_the_cubic_kernel() -> None:
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(7, 4)), rng.normal(size=(5, 4))
    k = lambda a, b: (a @ b / 4 + 1) ** 3  # noqa: E731
    within = lambda z: np.mean([k(a, b) for i, a in enumerate(z) for j, b in enumerate(z) if i != j])  # noqa: E731
    expected = within(x) + within(y) - 2 * np.mean([k(a, b) for a in x for b in y])
    assert kid(x, y).value == pytest.approx(expected)


def test_kid_of_one_distribution_is_zero_on_average_and_of_two_is_not() -> None:
    rng = np.random.default_rng(2)
    same = [kid(rng.normal(size=(60, 16)), rng.normal(size=(40, 16))) for _ in range(30)]
    mean, error = np.mean([s.value for s in same]), np.std([s.value for s in same]) / np.sqrt(30)
    assert abs(mean) < 3.5 * error  # unbiased: below zero as often as above
    assert np.mean([s.low <= 0 <= s.high for s in same]) >= 0.8
    other = kid(rng.normal(size=(60, 16)), rng.normal(0.7, 1, size=(40, 16)))
    assert other.low > 0
    assert other.low < other.value < other.high


def test_paired_kid_difference_sees_what_two_intervals_hide() -> None:
    rng = np.random.default_rng(3)
    real = rng.normal(size=(80, 16))
    worse = rng.normal(0.35, 1, size=(80, 16))
    better = worse - 0.1
    difference = kid_difference(better, worse, real)
    assert difference.high < 0
    assert difference.value == pytest.approx(kid(better, real).value - kid(worse, real).value)
    alone = kid(better, real)
    assert difference.high - difference.low < alone.high - alone.low
    with pytest.raises(ValueError, match="same length"):
        kid_difference(better[1:], worse, real)


# --- intervals ---


def test_wilson_matches_published_values() -> None:
    # Newcombe 1998, table I: 81 of 263 and 0 of 20, 95 %, without continuity correction
    assert wilson(81, 263)[1:3] == pytest.approx((0.2553, 0.3662), abs=1e-4)
    assert wilson(0, 20)[1:3] == pytest.approx((0.0, 0.1611), abs=1e-4)
    full = wilson(300, 300)
    assert full.value == full.high == 1
    assert 0.98 < full.low < 1
    assert wilson(0, 0).n == 0


def test_bootstrap_interval_holds_the_mean() -> None:
    data = np.random.default_rng(0).normal(5, 2, 400)
    interval = bootstrap_mean(data)
    assert interval.low < interval.value < interval.high
    assert interval.high - interval.low == pytest.approx(2 * 1.96 * data.std() / 20, rel=0.1)


# --- places ---


def box(x: float, y: float, side: float) -> tuple[float, float, float, float]:
    return (x - side / 2, y - side / 2, x + side / 2, y + side / 2)


@pytest.mark.parametrize(
    ("place", "x", "y"),
    [
        ("left", 0.28, 0.55),
        ("right", 0.72, 0.5),
        ("middle", 0.5, 0.52),
        ("top", 0.45, 0.28),
        ("bottom", 0.6, 0.72),
    ],
)
def test_a_thing_is_in_its_place_and_in_no_other(place: str, x: float, y: float) -> None:
    here = {
        word
        for word in ("left", "right", "middle", "top", "bottom")
        if is_at(word, box(128 * x, 128 * y, 50), 128, 128)
    }
    assert here == {place}


def test_size_words() -> None:
    assert [size_word(box(64, 64, side), 128, 160) for side in (46, 64, 90)] == ["small", "", "large"]


def test_relations_of_boxes() -> None:
    left, right = box(35, 70, 55), box(95, 72, 55)
    assert holds("to the left of", left, right)
    assert not holds("to the left of", right, left)
    assert holds("to the right of", right, left)
    assert holds("next to", left, right)
    assert holds("next to", right, left)
    top, bottom = box(60, 35, 55), box(70, 95, 55)
    assert holds("above", top, bottom)
    assert not holds("above", bottom, top)
    assert not holds("next to", top, bottom)
    front, back = box(80, 84, 56), box(48, 58, 70)
    assert holds("in front of", front, back)
    assert not holds("in front of", back, front)
    hat, head = box(64, 45, 42), box(64, 80, 72)
    assert holds("wearing", hat, head)
    assert not holds("wearing", head, hat)
    assert not holds("wearing", left, right)
    with pytest.raises(ValueError, match="inside"):
        holds("inside", left, right)
