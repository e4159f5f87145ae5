"""Cards read on a dark page, on a light page and in a terminal."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import numpy as np
from PIL import Image

from lessonlib.grading.cards import _BAR, Card
from lessonlib.grading.pictures import CELL, GAP, maps_beside

FULL = Card(
    "bad",
    "A title <b>",
    ("One `code` and **bold**.",),
    {"expected": "(1, 2)", "got": "<i>"},
    code="return 1 < 2",
    table=(("a", "b"), ("1", "<td>")),
    picture=Image.new("RGBA", (3, 2)),
    caption="yours",
)


def luminance(colour: str) -> float:
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(a: str, b: str) -> float:
    light, dark = sorted((luminance(a), luminance(b)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_text_keeps_the_pages_colour_and_bars_stand_out_from_any_page() -> None:
    page = FULL._repr_html_()
    colours = re.findall(r"(?<![\w-])color:([^;'\"]+)", page)
    assert set(colours) == {"inherit"}
    for bar in _BAR.values():
        for background in ("#ffffff", "#111111", "#1e1e1e"):  # WCAG 1.4.11: 3:1 for graphics
            assert contrast(bar, background) >= 3


def test_the_html_is_well_formed_and_escaped() -> None:
    class Balance(HTMLParser):
        def __init__(self) -> None:
            super().__init__()
            self.open: list[str] = []

        def handle_starttag(self, tag, attrs) -> None:
            if tag != "img":
                self.open.append(tag)

        def handle_endtag(self, tag) -> None:
            assert self.open.pop() == tag

    parser = Balance()
    parser.feed(FULL._repr_html_())
    assert parser.open == []
    assert "A title &lt;b&gt;" in FULL._repr_html_()
    assert "<td>1" not in FULL._repr_html_().replace("<td style", "")


def test_plain_text_says_the_same() -> None:
    text = str(FULL)
    for piece in ("A title <b>", "One code and bold.", "expected", "(1, 2)", "return 1 < 2"):
        assert piece in text
    assert text == repr(FULL)


def test_the_mark_does_not_rely_on_colour() -> None:
    marks = {str(Card(tone, "t"))[0] for tone in ("good", "bad", "note")}  # type: ignore[arg-type]
    assert len(marks) == 3


def test_target_and_yours_lie_beside_each_other_on_one_scale() -> None:
    expected = np.zeros((1, 1, 2, 3))
    expected[0, 0] = [[1, -1, 0], [0.5, 1, 1]]
    picture = np.asarray(maps_beside(expected, -expected))
    width = 3 * CELL
    assert picture.shape == (2 * CELL, 2 * width + GAP, 4)
    left, right = picture[:, :width], picture[:, width + GAP :]
    assert (left[..., 3] == right[..., 3]).all()
    assert left[0, 0, 0] > left[0, 0, 2]  # above zero: orange
    assert right[0, 0, 0] < right[0, 0, 2]  # below: blue
    assert left[0, -1, 3] == 0  # zero: the page shines through
    maps_beside(np.zeros((1, 1, 2, 2)), np.full((1, 1, 2, 2), np.nan))
