"""Whatever a reader may call a picture becomes RGB, or one sentence says why not."""

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from lessonlib.conditions.pictures import checked_size, fitted, rgb
from lessonlib.errors import LessonError

RED = np.full((16, 24, 3), (255, 0, 0), np.uint8)


@pytest.mark.parametrize("mode", ["1", "L", "P", "CMYK", "YCbCr", "HSV", "LAB", "RGB"])
def test_modes_of_eight_bits_become_rgb(mode):
    picture = Image.new("RGB", (24, 16), "white").convert("RGB")
    picture = picture.convert(mode) if mode != "LAB" else Image.new("LAB", (24, 16))
    assert rgb(picture).mode == "RGB"


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_what_is_transparent_lies_on_white(mode):
    hidden = Image.new("RGBA", (24, 16), (0, 0, 0, 0)).convert(mode)
    assert np.asarray(rgb(hidden)).min() == 255


def test_a_transparent_colour_of_a_palette_lies_on_white(tmp_path):
    Image.fromarray(RED).quantize(2).save(tmp_path / "red.png", transparency=0)
    stored = Image.open(tmp_path / "red.png")
    assert stored.mode == "P"
    assert np.asarray(rgb(stored)).min() == 255


def test_a_file_is_read_and_turned_the_way_the_camera_was_held(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees
    Image.fromarray(RED).save(tmp_path / "photo.jpg", exif=exif)
    assert rgb(tmp_path / "photo.jpg").size == (16, 24)
    assert rgb(str(tmp_path / "photo.jpg")).mode == "RGB"


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (cv2.imread("there is no such file.jpg"), "is None, which cv2.imread returns"),
        (RED, "RGB or BGR: give Image.fromarray"),
        (RED[..., ::-1], "RGB or BGR"),
        (RED / 255, "float64 array: give Image.fromarray"),
        (torch.zeros(1, 3, 8, 8), "is a Tensor: give a PIL picture"),
        (Image.new("I;16", (8, 8)), "mode I;16, more than 8 bits"),
        (Image.new("F", (8, 8)), "mode F"),
        ("missing.png", "'missing.png' does not exist"),
    ],
)
def test_what_is_no_picture_is_said_by_its_name(given, sentence):
    with pytest.raises(LessonError, match=r"^The reference ") as error:
        rgb(given, "The reference")
    assert sentence in str(error.value)


def test_a_file_that_is_no_picture_is_named(tmp_path):
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(LessonError, match=r"notes.txt' is no picture"):
        rgb(tmp_path / "notes.txt")


def test_sizes_are_multiples_of_8():
    assert checked_size((64, 128)) == (64, 128)
    with pytest.raises(LessonError, match="is 130 x 64: both sides must be multiples of 8, such as 128 x 64"):
        checked_size((130, 64))
    for wrong in (128, "128x128", (128,), (0, 8), (-8, 8), (64.5, 64)):
        with pytest.raises(LessonError):
            checked_size(wrong)


def test_fitting_cuts_and_does_not_stretch():
    wide = Image.new("RGB", (100, 50), "white")
    wide.paste("black", (25, 0, 75, 50))
    assert np.asarray(fitted(wide, (64, 64))).max() < 30
