"""Amounts side by side, as horizontal bars."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence

from lessonlib.errors import LessonError
from lessonlib.show.figures import COLORS, FAINT, INK, WIDTH, Figure, canvas, finish, style

_BAR = 0.24  # inches


def bar_chart(
    rows: Sequence[str],
    bars: Mapping[str, Sequence[float]],
    *,
    x_label: str,
    marks: Mapping[str, float] | None = None,
    digits: int = 1,
    caption: str = "",
    alt: str = "",
) -> Figure:
    """For each row one bar of each name, from the top down, its value at its end.

    Args:
        bars: name -> one value a row, at least 0. NaN leaves a gap.
        marks: name -> a value, drawn as a dashed line across all rows, such as a limit.
        digits: decimals of the written values.
        alt: by default every value in words.

    Raises:
        LessonError: not one value a row, a negative value, or more names than can be told apart.
    """
    if not 0 < len(bars) <= len(COLORS):
        raise LessonError(f"A bar chart takes 1 to {len(COLORS)} bars a row; there are {len(bars)}.")
    for name, values in bars.items():
        if len(values) != len(rows):
            raise LessonError(f"The bars '{name}' have {len(values)} values for {len(rows)} rows.")
        if any(value < 0 for value in values):
            raise LessonError(f"The bars '{name}' have a negative value, which has no length.")
    marks = dict(marks or {})
    thick = 0.8 / len(bars)
    drawing = canvas(WIDTH, (len(bars) + 0.6) * _BAR * len(rows) + 0.9)
    with style():
        axis = drawing.subplots()
        for k, ((name, values), color) in enumerate(zip(bars.items(), COLORS, strict=False)):
            at = [row + (k - (len(bars) - 1) / 2) * thick for row in range(len(rows))]
            drawn = axis.barh(at, values, 0.9 * thick, color=color, label=name, zorder=2)
            written = ["" if value != value else f" {value:,.{digits}f}" for value in values]
            axis.bar_label(drawn, written, fontsize=8.5)
        for name, value in marks.items():
            axis.axvline(value, color=INK, linestyle="--", linewidth=1, zorder=1)
            axis.text(value, -0.62, f" {name}", fontsize=8.5, va="bottom", ha="center")
        axis.set_yticks(range(len(rows)), [textwrap.fill(row, 26) for row in rows])
        axis.set_ylim(len(rows) - 0.4, -0.6)
        axis.margins(x=0.08)
        axis.tick_params(axis="y", length=0)
        axis.spines["left"].set_color(FAINT)
        axis.set_xlabel(x_label)
        if len(bars) > 1:
            axis.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False)
    return finish(drawing, alt or _in_words(rows, bars, x_label, marks, digits), caption)


def _in_words(
    rows: Sequence[str],
    bars: Mapping[str, Sequence[float]],
    x_label: str,
    marks: Mapping[str, float],
    digits: int,
) -> str:
    texts = []
    for index, row in enumerate(rows):
        values = (
            f"{name} {'unknown' if values[index] != values[index] else f'{values[index]:,.{digits}f}'}"
            for name, values in bars.items()
        )
        texts.append(f"{row}: {', '.join(values)}.")
    lines = f" Marked: {', '.join(f'{name} at {value:g}' for name, value in marks.items())}." if marks else ""
    return f"Bars of {x_label}. {' '.join(texts)}{lines}"
