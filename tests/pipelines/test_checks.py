"""Pictures and pipelines that cannot work together are refused before a model runs."""

import pytest
import torch
from PIL import Image
from random_models import random_sd15

from lessonlib.errors import LessonError
from lessonlib.pipelines import checks


@pytest.fixture
def pipeline():
    return random_sd15()


def test_a_picture_must_have_sides_of_multiples_of_8():
    assert checks.sized(Image.new("RGBA", (64, 48))).mode == "RGB"
    with pytest.raises(LessonError, match="The mask is 60 x 48: both sides must be multiples of 8"):
        checks.sized(Image.new("L", (60, 48)), "The mask")


def test_pictures_must_have_one_size():
    small, large = Image.new("RGB", (64, 64)), Image.new("RGB", (96, 64))
    assert checks.one_size([large, large]) == (96, 64)
    with pytest.raises(LessonError, match=r"The maps have different sizes \(64 x 64, 96 x 64\)"):
        checks.one_size([small, large, small], "The maps")
    with pytest.raises(LessonError, match="give at least one"):
        checks.one_size([])


def test_lists_must_be_as_long_as_what_they_are_for():
    assert checks.one_each((1, 2), 2, "scales", "maps") == [1, 2]
    for wrong in ([1], [1, 2, 3]):
        with pytest.raises(LessonError, match=f"There are {len(wrong)} scales for 2 maps: give one for each"):
            checks.one_each(wrong, 2, "scales", "maps")


def test_networks_must_have_one_dtype_but_the_vae_its_own(pipeline):
    pipeline.vae.to(torch.float16)
    checks.check_one_dtype(pipeline)
    pipeline.text_encoder.to(torch.float16)
    with pytest.raises(
        LessonError, match=r"text_encoder float16.*unet float32|unet float32.*text_encoder float16"
    ):
        checks.check_call(pipeline, {})


def test_a_reference_needs_an_adapter(pipeline):
    checks.check_call(pipeline, {})
    assert not checks.has_ip_adapter(pipeline)
    with pytest.raises(LessonError, match="no IP-Adapter: load one first"):
        checks.check_call(pipeline, {"ip_adapter_image": [[Image.new("RGB", (8, 8))]]})


def test_attention_slicing_is_seen(pipeline):
    assert not checks.slices_attention(pipeline)
    pipeline.enable_attention_slicing()
    assert checks.slices_attention(pipeline)
    pipeline.disable_attention_slicing()
    assert not checks.slices_attention(pipeline)
