"""Every pixel of cv2.Canny's edges, on pictures of the kinds that a student has."""

import cv2
import numpy as np
import pytest

from lessonlib.errors import LessonError
from lessonlib.scratch.canny import canny, gradient, hysteresis, smooth

THRESHOLDS = [(100, 200), (50, 150), (10, 30), (0, 0), (80.7, 160.2)]


def scene(seed: int, colour: bool) -> np.ndarray:
    """Soft light, shapes with hard and antialiased edges, texture, and sensor noise."""
    rng = np.random.default_rng(seed)
    h, w = 96, 128
    yy, xx = np.mgrid[:h, :w]
    light = 90 + 60 * np.sin(xx / 31 + seed) + 40 * np.cos(yy / 17)
    picture = np.repeat(light[..., None], 3, axis=2) * rng.uniform(0.6, 1.2, 3)
    picture = np.clip(picture, 0, 255).astype(np.uint8)
    for _ in range(6):
        tint = tuple(int(v) for v in rng.integers(0, 256, 3))
        centre = (int(rng.integers(w)), int(rng.integers(h)))
        cv2.circle(picture, centre, int(rng.integers(5, 25)), tint, -1, cv2.LINE_AA)
        cv2.line(picture, centre, (int(rng.integers(w)), int(rng.integers(h))), tint, 2)
    noisy = np.clip(picture + rng.normal(0, 4, picture.shape), 0, 255).astype(np.uint8)
    return noisy if colour else cv2.cvtColor(noisy, cv2.COLOR_RGB2GRAY)


@pytest.mark.parametrize("thresholds", THRESHOLDS)
@pytest.mark.parametrize("colour", [False, True])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_every_pixel_agrees_with_opencv(seed, colour, thresholds):
    picture = scene(seed, colour)
    theirs = cv2.Canny(picture, *thresholds)
    assert 0 < (theirs > 0).mean() < 0.7
    assert np.array_equal(canny(picture, *thresholds), theirs)


@pytest.mark.parametrize("seed", [0, 1])
def test_noise_and_smoothed_noise_agree_too(seed):
    noise = np.random.default_rng(seed).integers(0, 256, (70, 61), dtype=np.uint8)
    for picture in (noise, smooth(noise, 1.4)):
        assert np.array_equal(canny(picture, 60, 180), cv2.Canny(picture, 60, 180))


def test_the_gradient_is_sobels():
    picture = scene(3, colour=False)
    for ours, order in zip(gradient(picture), [(1, 0), (0, 1)], strict=True):
        assert np.array_equal(ours, cv2.Sobel(picture, cv2.CV_16S, *order, borderType=cv2.BORDER_REPLICATE))


@pytest.mark.parametrize("sigma", [1.0, 2.0])
def test_smoothing_is_opencvs_to_a_grey_level(sigma):
    picture = scene(4, colour=False)
    theirs = cv2.GaussianBlur(picture, (0, 0), sigma)
    assert np.abs(smooth(picture, sigma).astype(int) - theirs).max() <= 1


def test_an_edge_is_one_pixel_wide_and_where_the_step_is():
    step = np.zeros((9, 20), np.uint8)
    step[:, 10:] = 200
    columns = canny(step, 100, 200).any(axis=0).nonzero()[0]
    assert len(columns) == 1
    assert columns[0] in (9, 10)


def test_faint_edges_survive_only_with_a_strong_one():
    weak = np.array([[1, 1, 0, 0, 1], [0, 0, 1, 0, 1], [0, 0, 0, 0, 1]], bool)
    strong = np.zeros_like(weak)
    strong[0, 0] = True
    assert hysteresis(weak, strong).astype(int).tolist() == [
        [1, 1, 0, 0, 0],
        [0, 0, 1, 0, 0],
        [0, 0, 0, 0, 0],
    ]


def test_wrong_pictures_and_thresholds_are_refused():
    with pytest.raises(LessonError, match="uint8"):
        canny(np.zeros((8, 8), np.float32), 100, 200)  # pyright: ignore[reportArgumentType]
    with pytest.raises(LessonError, match="swap"):
        canny(np.zeros((8, 8), np.uint8), 200, 100)
