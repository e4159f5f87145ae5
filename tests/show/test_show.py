"""Figures: what they refuse, what they say in words, and that their pixels are what was passed in."""

from __future__ import annotations

import base64
import io
import math
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from lessonlib import show
from lessonlib.errors import LessonError
from lessonlib.show import charts
from lessonlib.show.figures import COLORS, PAPER
from lessonlib.show.pixels import as_array
from lessonlib.show.strips import chosen

RED, BLUE = (np.full((64, 64, 3), color, np.uint8) for color in ((200, 30, 30), (20, 60, 220)))


def pixels(figure: show.Figure) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(figure.png)).convert("RGB")).astype(int)


def share(figure: show.Figure, color: np.ndarray) -> float:
    """The share of a figure's pixels that have this colour."""
    return float((np.abs(pixels(figure) - color[0, 0]).max(axis=2) <= 2).mean())


def luminance(color: str) -> float:
    """Relative luminance (WCAG 2.2)."""
    levels = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in levels)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_importing_show_loads_nothing_heavy() -> None:
    code = "import sys, lessonlib.show; print({'torch', 'matplotlib', 'numpy'} & set(sys.modules))"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "set()"


def test_smaller_cells_make_a_narrower_grid() -> None:
    widths = [show.grid([RED, BLUE], ["red", "blue"], cell=cell).width for cell in (2.0, 1.0)]
    assert widths == [384, 192]  # two cells at 96 CSS pixels an inch


def test_a_grid_shows_every_picture_in_its_place() -> None:
    figure = show.grid([RED, BLUE], ["red", "blue"], caption="Two  colours.")
    assert share(figure, RED) == pytest.approx(share(figure, BLUE), rel=0.05)
    assert share(figure, RED) > 0.35
    row = pixels(figure)[pixels(figure).shape[0] // 2]
    assert row[len(row) // 4].argmax() == 0
    assert row[3 * len(row) // 4].argmax() == 2
    assert figure.alt == "2 pictures. In order: red, blue."
    assert figure.caption == "Two colours."


def test_the_ground_is_light_and_opaque_so_that_dark_pages_do_not_swallow_it() -> None:
    figure = show.grid([RED], ["red"])
    assert Image.open(io.BytesIO(figure.png)).mode == "RGB"
    corner = pixels(figure)[0, 0]
    assert "#" + "".join(f"{level:02X}" for level in corner) == PAPER


def test_every_line_stands_out_from_the_paper() -> None:
    # the first four, which most figures use, at 3 : 1, as WCAG 2.2 asks of graphics
    ratios = [(luminance(PAPER) + 0.05) / (luminance(color) + 0.05) for color in COLORS]
    assert min(ratios[:3]) >= 3
    assert min(ratios) >= 2


def test_a_figure_without_words_is_refused() -> None:
    with pytest.raises(LessonError, match="alt="):
        show.grid([RED])


def test_labels_must_fit() -> None:
    with pytest.raises(LessonError, match="3 labels"):
        show.grid([RED, BLUE], ["a", "b", "c"])
    with pytest.raises(LessonError, match="row_labels"):
        show.grid([RED, BLUE], alt="x", row_labels=["a", "b"])
    with pytest.raises(LessonError, match="no pictures"):
        show.grid([])


@pytest.mark.parametrize(
    ("length", "count", "expected"),
    [(25, 5, [0, 6, 12, 18, 24]), (3, 8, [0, 1, 2]), (10, 2, [0, 9]), (10, 1, [9])],
)
def test_a_film_strip_holds_both_ends(length: int, count: int, expected: list[int]) -> None:
    assert chosen(length, count) == expected


def test_a_film_strip_shows_the_chosen_frames_only() -> None:
    frames = [RED, BLUE, BLUE, RED]
    figure = show.film_strip({"x": frames}, ["a", "b", "c", "d"], count=2)
    assert share(figure, BLUE) == 0
    assert figure.alt == "2 pictures. Rows: x. In order: a, d."
    with pytest.raises(LessonError, match="length"):
        show.film_strip({"x": frames, "y": frames[:2]}, ["a", "b", "c", "d"])


def test_a_difference_names_its_largest_value() -> None:
    changed = RED.copy()
    changed[5, 7, 1] += 40
    figure = show.compare(RED, changed, ("before", "after"))
    assert "at most 40" in figure.alt
    assert "before, after" in figure.alt
    with pytest.raises(LessonError, match="one size"):
        show.compare(RED, changed[:32])


def test_curves_say_their_values_and_draw_their_intervals() -> None:
    wide = {"object": [(0.5, 0.1, 0.9), (0.5, 0.1, 0.9)]}
    narrow = {"object": [(0.5, 0.49, 0.51), (0.5, 0.49, 0.51)]}
    figures = [
        show.curves([0, 4], lines, x_label="w", y_label="share", y_range=(0, 1), percent=True)
        for lines in (wide, narrow)
    ]
    assert figures[0].alt == "Curves of share over w. object: 50 % at 0, 50 % at 4."
    inked = [(np.abs(pixels(figure) - pixels(figure)[0, 0]).max(axis=2) > 12).mean() for figure in figures]
    assert inked[0] > 4 * inked[1]


def test_figures_below_a_curve_do_not_touch() -> None:
    assert charts._labels([0, 7.6, 84.1, 298.8]) == ["0", "", "84.1", "298.8"]
    assert charts._labels([1, 2, 4, 50]) == ["1", "2", "4", "50"]
    assert charts._labels([1.0, 0.5, 0.0]) == ["1", "0.5", "0"]
    assert charts._labels([3]) == ["3"]


def test_curves_refuse_what_does_not_fit() -> None:
    with pytest.raises(LessonError, match="2 values for 3"):
        show.curves([0, 1, 2], {"a": [1.0, 2.0]}, x_label="x", y_label="y")
    with pytest.raises(LessonError, match="told apart"):
        show.curves([0], {str(i): [1.0] for i in range(7)}, x_label="x", y_label="y")
    assert "unknown at 1" in show.curves([0, 1], {"a": [1.0, float("nan")]}, x_label="x", y_label="y").alt


def lengths_of(figure: show.Figure, color: str) -> list[int]:
    """For every row of pixels that holds this colour: how many pixels of it."""
    wanted = np.array([int(color[i : i + 2], 16) for i in (1, 3, 5)])
    counts = (np.abs(pixels(figure) - wanted).max(axis=2) <= 2).sum(axis=1)
    return [int(count) for count in counts if count > 5]


def test_a_bar_is_as_long_as_its_value() -> None:
    figure = show.bar_chart(["whole", "half", "unknown"], {"MB": [8.0, 4.0, math.nan]}, x_label="MB")
    lengths = lengths_of(figure, COLORS[0])
    assert max(lengths) / min(lengths) == pytest.approx(2, rel=0.05)
    assert "whole: MB 8.0. half: MB 4.0. unknown: MB unknown." in figure.alt


def test_bars_refuse_what_has_no_length_or_no_row() -> None:
    with pytest.raises(LessonError, match="2 values for 1 rows"):
        show.bar_chart(["a"], {"MB": [1.0, 2.0]}, x_label="MB")
    with pytest.raises(LessonError, match="negative"):
        show.bar_chart(["a"], {"MB": [-1.0]}, x_label="MB")
    with pytest.raises(LessonError, match="1 to 6"):
        show.bar_chart(["a"], {}, x_label="MB")


def test_a_limit_is_drawn_and_said() -> None:
    plain = show.bar_chart(["a"], {"GB": [4.0]}, x_label="GB")
    limit = show.bar_chart(["a"], {"GB": [4.0]}, x_label="GB", marks={"this card": 2.0})
    assert "this card at 2" in limit.alt
    assert not np.array_equal(pixels(plain), pixels(limit))


def test_attention_lights_up_where_it_is() -> None:
    maps = np.zeros((2, 8, 8))
    maps[1, :4] = 1.0  # the second token looks at the upper half
    figure = show.attention_maps(np.zeros((64, 64, 3), np.uint8), maps, ["cat", "hat"], columns=3)
    image = pixels(figure).sum(axis=2)
    height, width = image.shape
    panel = image[:, int(0.55 * width) : int(0.8 * width)]
    assert (
        panel[int(0.25 * height) : int(0.4 * height)].mean()
        > 2 * panel[int(0.7 * height) : int(0.85 * height)].mean()
    )
    assert "cat, hat" in figure.alt
    with pytest.raises(LessonError, match="3 tokens"):
        show.attention_maps(RED, maps, ["a", "b", "c"])
    with pytest.raises(LessonError, match="never negative"):
        show.attention_maps(RED, -maps, ["a", "b"])


def test_an_overlay_covers_only_where_the_control_is() -> None:
    control = np.zeros((64, 64), np.uint8)
    control[:32] = 255
    figure = show.overlay(RED, control, opacity=1.0)
    assert share(figure, np.full((1, 1, 3), 255)) == pytest.approx(share(figure, RED) * 2 / 3, rel=0.1)
    with pytest.raises(LessonError, match="one size"):
        show.overlay(RED, control[:10])
    with pytest.raises(LessonError, match="opacity"):
        show.overlay(RED, control, opacity=2)


def test_what_counts_as_a_picture() -> None:
    import torch

    assert (as_array(Image.fromarray(RED)) == RED).all()
    assert (as_array(RED / 255) == RED).all()
    assert (as_array(torch.from_numpy(RED / 255).permute(2, 0, 1)) == RED).all()
    assert as_array(torch.randn(16, 16)).shape == (16, 16)
    for wrong in (RED[..., :2], RED.astype(float), np.full((4, 4), np.nan), "x", np.zeros((0, 4, 3))):
        with pytest.raises(LessonError):
            as_array(wrong)


def test_a_figure_reaches_a_notebook_with_its_words(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    import IPython.display

    shown = []
    monkeypatch.setattr(IPython.display, "display", lambda data, **options: shown.append((data, options)))
    figure = show.grid([RED], ["red"], caption="A colour.")
    figure._ipython_display_()
    (picture, options), (caption, _) = shown
    assert base64.b64decode(picture["image/png"]) == figure.png
    assert options["metadata"]["image/png"]["alt"] == picture["text/plain"] == "1 picture. In order: red."
    assert caption["text/markdown"] == "*A colour.*"
    figure.save(tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes() == figure.png


def test_a_terminal_gets_the_words(capsys: pytest.CaptureFixture[str]) -> None:
    show.grid([RED], ["red"], caption="A colour.").show()
    assert capsys.readouterr().out == "1 picture. In order: red.\nA colour.\n"


def test_bars_can_be_switched_off() -> None:
    code = "from lessonlib.show import progress\nfor _ in progress(range(3), 'steps'): pass"
    runs = {
        off: subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            env={"TQDM_DISABLE": off, "PATH": ""},
        )
        for off in ("", "1")
    }
    assert "steps" in runs[""].stderr
    assert runs["1"].stderr == ""
