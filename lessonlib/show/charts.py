"""Measured curves, each value with its interval."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from lessonlib.errors import LessonError
from lessonlib.show.figures import COLORS, FAINT, WIDTH, Figure, canvas, finish, style

_MARKERS = "osD^vP"
_LETTER = 0.0125  # the width of a letter below the axis, as a share of what x spans
_FEW = 12  # points that are measurements, each marked; more are a smooth curve
_DASHES = ("-", "--", "-.", ":", "-", "--")

Value = float | tuple[float, float, float]  # a value, or (value, low, high)


def curves(
    x: Sequence[float],
    lines: Mapping[str, Sequence[Value]],
    *,
    x_label: str,
    y_label: str,
    y_range: tuple[float, float] | None = None,
    percent: bool = False,
    caption: str = "",
    alt: str = "",
) -> Figure:
    """One line for each name, told apart by colour, marker and dashes, with its name at its right end.

    Args:
        lines: name -> for each x a value, or (value, low, high), whose interval is drawn as a band; what the
            judge's `Interval` starts with. NaN leaves a gap.
        percent: write 0..1 as 0..100 %.
        alt: by default every line's values in words.

    Raises:
        LessonError: a line that is not as long as x, or more lines than can be told apart.
    """
    if len(lines) > len(COLORS):
        raise LessonError(f"{len(lines)} lines cannot be told apart: draw at most {len(COLORS)} in a figure.")
    for name, values in lines.items():
        if len(values) != len(x):
            raise LessonError(f"The line '{name}' has {len(values)} values for {len(x)} of x.")

    triples = {name: [_triple(value) for value in values] for name, values in lines.items()}
    few = len(x) <= _FEW
    drawing = canvas(WIDTH, 3.4)
    with style():
        axis = drawing.subplots()
        axis.grid(axis="y")
        axis.set_axisbelow(True)
        looks = zip(triples.items(), COLORS, _MARKERS, _DASHES, strict=False)
        for (name, values), color, marker, dashes in looks:
            middle, low, high = zip(*values, strict=True)
            axis.fill_between(x, low, high, color=color, alpha=0.18, linewidth=0)
            axis.plot(x, middle, dashes, color=color, marker=marker if few else "", markersize=5, label=name)
        if few:
            axis.set_xticks(x, _labels(x))
        axis.set_xlabel(x_label)
        axis.set_ylabel(y_label)
        if y_range is not None:
            axis.set_ylim(*y_range)
        if percent:
            axis.yaxis.set_major_formatter(lambda value, _position: f"{100 * value:.0f} %")
        axis.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False, handlelength=2.6)
        axis.spines["left"].set_color(FAINT)
    return finish(drawing, alt or _in_words(x, triples, x_label, y_label, percent), caption)


def _labels(x: Sequence[float]) -> list[str]:
    """Every x in figures, but for those that would touch the last one that is written."""
    letter = _LETTER * (max(x) - min(x))
    labels: list[str] = []
    last = None  # the last one written, and how many letters it has
    for value in x:
        label = f"{value:g}"
        if last and abs(value - last[0]) < letter * ((len(label) + last[1]) / 2 + 0.5):
            label = ""
        else:
            last = value, len(label)
        labels.append(label)
    return labels


def _triple(value: Value) -> tuple[float, float, float]:
    if isinstance(value, tuple):
        return value[0], value[1], value[2]
    return float(value), float(value), float(value)


def _in_words(
    x: Sequence[float],
    lines: Mapping[str, Sequence[tuple[float, float, float]]],
    x_label: str,
    y_label: str,
    percent: bool,
) -> str:
    def said(value: float) -> str:
        if math.isnan(value):
            return "unknown"
        return f"{100 * value:.0f} %" if percent else f"{value:.3g}"

    texts = [
        f"{name}: {', '.join(f'{said(value[0])} at {at:g}' for at, value in zip(x, values, strict=True))}."
        for name, values in lines.items()
    ]
    return f"Curves of {y_label} over {x_label}. {' '.join(texts)}"
