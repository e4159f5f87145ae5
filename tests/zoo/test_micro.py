"""The pictures of micro-conditioning really went through what their ids say."""

from dataclasses import replace

import numpy as np
import pytest

from lessonlib.judge.sharpness import sharpness
from lessonlib.world.render import render
from lessonlib.world.scene import is_held_out, sample
from lessonlib.zoo import micro
from lessonlib.zoo.micro import BUCKETS, Framing, framing, picture


def plain(scene, size=(128, 128)):
    return Framing(scene, size, (0, 0), size)


def test_an_uncropped_original_of_full_size_is_the_scene_itself():
    scene = sample(3, "single")
    np.testing.assert_array_equal(picture(plain(scene)), render(scene).image)


@pytest.mark.parametrize("bucket", range(3))
def test_pictures_have_their_buckets_size_and_true_ids(bucket):
    for index in range(12):
        frame = framing(bucket, index)
        height, width = BUCKETS[bucket]
        assert picture(frame).shape == (height, width, 3)
        assert frame.time_ids[4:] == (height, width)
        assert 0.24 <= frame.resolution <= 1
        assert not is_held_out(frame.scene)


def test_histories_vary():
    frames = [framing(0, k) for k in range(1000)]
    cropped = np.mean([f.crops_coords_top_left != (0, 0) for f in frames])
    small = np.mean([f.resolution < 0.98 for f in frames])
    assert 0.4 < cropped < 0.6
    assert 0.4 < small < 0.6
    assert {offset for f in frames for offset in f.crops_coords_top_left} == {0, 8, 16, 24, 32, 40}


def test_a_smaller_original_is_a_softer_picture():
    frame = plain(sample(5, "single"))
    sharp = [sharpness(picture(replace(frame, original_size=(s, s)))) for s in (32, 64, 96, 128)]
    assert sharp == sorted(sharp)
    assert sharp[-1] > 3 * sharp[0]


def test_a_crop_moves_the_subject_by_as_many_pixels():
    scene = next(s for s in (sample(k, "single") for k in range(50)) if s.style == "3d")
    moved = micro._in_larger_frame(scene, (128, 128), (144, 168))
    here, there = render(scene).boxes[0], render(moved, 144, 168).boxes[0]
    assert np.abs(np.array(here) - there).max() <= 2  # the same pixels of the larger canvas ...
    cropped = picture(Framing(scene, (144, 168), (16, 40), (128, 128)))
    np.testing.assert_array_equal(cropped, render(moved, 144, 168).image[16:, 40:])  # ... which the crop cuts


def test_scores_run_from_the_pipelines_one_default_to_the_other():
    frame = plain(sample(5, "single"))
    assert frame.aesthetic_score == 6.0
    assert replace(frame, original_size=(32, 32)).aesthetic_score == 2.5
    assert micro.aesthetic_ids([frame]).tolist() == [[128, 128, 0, 0, 6.0]]
