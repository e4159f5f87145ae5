"""Diagrams: every box and arrow is drawn, kinds are told apart, and what is not there is named."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lessonlib import show
from lessonlib.errors import LessonError
from lessonlib.show import Box
from lessonlib.show.figures import COLORS, PAPER

BOXES = {"in": Box(0, 0, "picture"), "out": Box(4, 0, "noise", "trained")}


def drawn(boxes: dict[str, Box], arrows: list[tuple[str, str]], **settings: Any) -> np.ndarray:
    figure = show.diagram(boxes, arrows, alt="Two boxes.", **settings)
    return np.asarray(Image.open(io.BytesIO(figure.png)).convert("RGB")).astype(int)


def test_an_arrow_goes_between_its_boxes_and_stops_at_their_edges() -> None:
    without = drawn(BOXES, [], kinds=["trained"])
    with_arrow = drawn(BOXES, [("in", "out")], kinds=["trained"])
    changed = np.argwhere(np.abs(with_arrow - without).max(axis=2) > 30)
    width = without.shape[1]
    assert 0.2 * width < changed[:, 1].min() < 0.4 * width
    assert 0.6 * width < changed[:, 1].max() < 0.8 * width
    back = drawn(BOXES, [("out", "in")], kinds=["trained"])
    assert (back != with_arrow).any()  # its head is at the other end


def test_kinds_differ_in_colour_and_in_outline() -> None:
    plain = drawn({"one": Box(0, 0, "")}, [])
    first, second = (
        drawn({"one": Box(0, 0, "", kind)}, [], kinds=["frozen", "trained"]) for kind in ("frozen", "trained")
    )
    assert (first != second).any()
    middle = tuple(side // 2 for side in plain.shape[:2])
    assert abs(plain[middle] - plain[middle].mean()).max() < 12  # about grey

    def outline(pixels: np.ndarray) -> int:
        top = pixels[: pixels.shape[0] // 2]
        return int((np.abs(top - top[0, 0]).sum(axis=2) > 200).sum())

    assert outline(second) < 0.9 * outline(first)  # dashes leave gaps


def test_lines_and_letters_keep_256_colours_and_their_true_ones() -> None:
    figure = show.diagram(BOXES, [("in", "out")], kinds=["trained"], alt="Two boxes.")
    stored = Image.open(io.BytesIO(figure.png))
    assert stored.mode == "P"
    levels = np.asarray(stored.convert("RGB")).astype(int)
    for colour in (PAPER, COLORS[0]):  # the ground, and the outline of the first kind
        asked = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
        assert np.abs(levels - asked).max(axis=2).min() <= 2


def test_words_come_along() -> None:
    figure = show.diagram(BOXES, [], kinds=["trained"], alt="Two  boxes.", caption="What is trained.")
    assert (figure.alt, figure.caption) == ("Two boxes.", "What is trained.")


@pytest.mark.parametrize(
    ("boxes", "arrows", "kinds", "said"),
    [
        ({}, [], [], "needs boxes"),
        (BOXES, [], [], "'out' is of the kind 'trained'"),
        (BOXES, [("in", "away")], ["trained"], "no box called away"),
        (BOXES, [], ["trained", "a", "b", "c", "d"], "5 kinds"),
    ],
)
def test_what_is_not_there_is_named(boxes: Any, arrows: Any, kinds: Any, said: str) -> None:
    with pytest.raises(LessonError, match=said):
        show.diagram(boxes, arrows, kinds=kinds, alt="x")
