"""Gradient-domain blending: the picture is exact, the border is gone, the part's own gradients stay."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from lessonlib.errors import LessonError
from lessonlib.pipelines.blending import bent, blend, membrane

SHAPE = (24, 31)


def box(top=6, left=8, below=18, right=22):
    hole = np.zeros(SHAPE, bool)
    hole[top:below, left:right] = True
    return hole


def picture(seed):
    """A smooth picture away from 0 and 255, so that nothing is clipped."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    waves = np.sin(y[..., None] / 9 + rng.uniform(0, 6, 3)) + np.cos(x[..., None] / 7 + rng.uniform(0, 6, 3))
    return (127 + 25 * waves).round().astype(np.uint8)


def test_a_part_in_another_light_comes_back_in_the_pictures_own():
    original = picture(0)
    assert np.array_equal(bent(original, original + np.uint8(40), box()), original)


def test_outside_the_mask_every_pixel_is_the_originals():
    made = bent(picture(0), picture(1), box())
    assert np.array_equal(made[~box()], picture(0)[~box()])
    assert not np.array_equal(made[box()], picture(0)[box()])


def test_the_step_at_the_border_is_the_parts_own():
    original, repainted, hole = np.full((*SHAPE, 3), 60, np.uint8), np.full((*SHAPE, 3), 200, np.uint8), box()
    repainted[12, 15] = 140  # a dark spot on a bright ground
    made = bent(original, repainted, hole)
    flat = hole.copy()
    flat[12, 15] = False
    assert np.array_equal(made[flat], original[flat])
    assert (made[12, 15] == 0).all()  # the spot is as much darker as before


@pytest.mark.parametrize(
    "hole", [box(), box(top=0), box(0, 0, 24, 22), ~box()], ids=["in", "top", "three", "around"]
)
def test_the_correction_is_harmonic(hole):
    """In the hole every value is the mean of its neighbours within the frame."""
    height = np.random.default_rng(0).normal(size=(*SHAPE, 2))
    surface = membrane(height, hole)
    padded = np.pad(
        surface, ((1, 1), (1, 1), (0, 0)), mode="edge"
    )  # a neighbour beyond the frame pulls nowhere
    around = padded[:-2, 1:-1] + padded[2:, 1:-1] + padded[1:-1, :-2] + padded[1:-1, 2:]
    np.testing.assert_allclose(surface[hole], around[hole] / 4, atol=1e-10)
    assert np.array_equal(surface[~hole], height[~hole])


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_no_value_leaves_the_range_of_what_holds_it(seed):
    rng = np.random.default_rng(seed)
    hole = rng.random(SHAPE) < 0.6
    hole[0, 0] = False
    height = rng.normal(size=(*SHAPE, 1))
    surface = membrane(height, hole)[hole]
    assert height[~hole].min() - 1e-9 <= surface.min()
    assert surface.max() <= height[~hole].max() + 1e-9


def test_a_mask_of_one_colour_gives_one_of_the_two():
    original, repainted = picture(0), picture(1)
    assert np.array_equal(bent(original, repainted, np.zeros(SHAPE, bool)), original)
    assert np.array_equal(bent(original, repainted, np.ones(SHAPE, bool)), repainted)


def test_pictures_go_in_and_come_out_and_grey_is_read_as_the_pipeline_reads_it():
    original, repainted = (Image.fromarray(picture(seed)) for seed in (0, 1))
    hole = box()
    grey = Image.fromarray(np.where(hole, 128, 127).astype(np.uint8))
    made = blend(original, repainted, grey)
    assert made.size == original.size
    assert np.array_equal(np.asarray(made), bent(picture(0), picture(1), hole))


def test_pictures_of_different_sizes_are_named():
    with pytest.raises(LessonError, match="different sizes"):
        blend(Image.new("RGB", (8, 8)), Image.new("RGB", (8, 16)), Image.new("L", (8, 8)))
