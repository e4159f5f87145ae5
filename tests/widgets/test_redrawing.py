"""Sliders that redraw: the latest values win, and an error is a sentence after which all goes on."""

from __future__ import annotations

import io
import threading

import ipywidgets
import pytest
from PIL import Image

from lessonlib.errors import LessonError
from lessonlib.widgets import live, scribble


def grey(level: int = 10) -> Image.Image:
    return Image.new("RGB", (4, 4), (level, level, level))


def settle(box) -> None:
    worker = box._worker
    if worker is not None:
        worker.join(30)
        assert not worker.is_alive()


def shown(box) -> int:
    """The grey level of the picture that was sent to the browser."""
    return Image.open(io.BytesIO(box._screen.png)).getpixel((0, 0))[0]


def test_the_first_picture_stands_at_the_defaults_and_moves_make_others() -> None:
    box = live(grey, level=(0, 255))
    assert (box.values, shown(box)) == ({"level": 10}, 10)
    assert box._screen.alt == "The picture made for level 10."
    box.controls["level"].value = 200
    settle(box)
    assert (shown(box), box.image.getpixel((0, 0))) == (200, (200, 200, 200))
    assert box._screen.rate.endswith(" pictures a second")


def test_moves_while_a_picture_is_made_are_not_queued() -> None:
    begun, go_on, made = threading.Semaphore(0), threading.Event(), []

    def make(level: int = 0) -> Image.Image:
        made.append(level)
        begun.release()
        if level == 1:
            assert go_on.wait(30)
        return grey(level)

    box = live(make, level=(0, 255))
    slider = box.controls["level"]
    slider.value = 1
    assert begun.acquire(timeout=30)
    assert begun.acquire(timeout=30)  # level 1 is being made
    for level in range(2, 100):
        slider.value = level
    go_on.set()
    settle(box)
    assert made == [0, 1, 99]
    assert shown(box) == 99


def test_a_move_in_the_last_moment_is_not_lost() -> None:
    """Whenever the moves come, the picture shown in the end is the latest one's."""
    box = live(grey, level=(0, 255))
    for level in [*range(100, 200), 3]:
        box.controls["level"].value = level
    settle(box)
    assert shown(box) == 3


def test_an_error_is_one_sentence_and_the_next_move_works() -> None:
    def make(level: int = 0) -> Image.Image:
        if level == 1:
            raise ValueError("level 1 is <b>odd</b>\nand so on")
        if level == 2:
            raise LessonError("Level 2 is not for this model: choose another.")
        return "no picture" if level == 3 else grey(level)  # type: ignore[return-value]

    box = live(make, level=(0, 255))
    said = []
    for level in (1, 2, 3, 4):
        box.controls["level"].value = level
        settle(box)
        said.append(box._screen.problem)
    assert said == [
        "No picture for these values: ValueError: level 1 is <b>odd</b>.",
        "Level 2 is not for this model: choose another.",
        "live(make) shows PIL pictures, and make returned str.",
        "",
    ]
    assert shown(box) == 4


def test_the_first_error_is_the_cells_own() -> None:
    with pytest.raises(ZeroDivisionError):
        live(lambda level: 1 // 0, level=(0, 255))


def test_every_kind_of_control() -> None:
    def make(**values: object) -> Image.Image:
        return grey()

    canvas = scribble((8, 8))
    box = live(
        make, prompt="a cat", scale=(0.0, 1.0), steps=(1, 9, 2), kind=["DDIM", "LCM"], on=True, drawing=canvas
    )
    kinds = [type(control).__name__ for control in box.controls.values()]
    assert kinds == ["Text", "FloatSlider", "IntSlider", "Dropdown", "Checkbox", "Canvas"]
    assert all(c.description == name for name, c in box.controls.items() if name != "drawing")
    canvas.marks = [{"width": 4, "points": [4, 4]}]
    settle(box)
    assert box.values["drawing"].getpixel((4, 4)) == (255, 255, 255)
    assert "drawing" not in box.card().facts


@pytest.mark.parametrize("form", [None, (5, 1), (1, 2, 3, 4), ipywidgets.Label])
def test_what_is_no_control_is_refused(form: object) -> None:
    with pytest.raises(LessonError, match="level="):
        live(grey, level=form)


def test_no_control_at_all_is_refused() -> None:
    with pytest.raises(LessonError, match="at least one control"):
        live(grey)
