"""Pictures in rows, each under its label."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

from lessonlib.errors import LessonError
from lessonlib.show.figures import COARSE, WIDTH, Figure, canvas, finish, style
from lessonlib.show.pixels import as_array, draw

WIDEST = 2.6  # inches: a single small picture is not blown up to the whole column


def grid(
    pictures: Sequence[Any],
    labels: Sequence[str] | None = None,
    *,
    columns: int | None = None,
    row_labels: Sequence[str] | None = None,
    cell: float = WIDEST,
    caption: str = "",
    alt: str = "",
) -> Figure:
    """Pictures in rows, of whatever `pixels.as_array` takes.

    Args:
        labels: one a picture, over it; or one a column, over the first row.
        columns: pictures in a row; by default all of them, up to six.
        row_labels: one a row, to its left.
        cell: the largest width of a picture, in inches; the file grows with its square.
        alt: by default made of the labels.

    Raises:
        LessonError: no pictures, or labels that do not fit their number.
    """
    if not len(pictures):
        raise LessonError("There are no pictures to draw.")
    columns = min(columns or 6, len(pictures))
    rows = -(-len(pictures) // columns)
    labels = list(labels or [])
    if labels and len(labels) not in (columns, len(pictures)):
        raise LessonError(
            f"{len(labels)} labels fit neither {len(pictures)} pictures nor {columns} columns: "
            "give one for each."
        )
    if row_labels is not None and len(row_labels) != rows:
        raise LessonError(f"{len(row_labels)} row_labels do not fit {rows} rows: give one for each.")

    height, width = as_array(pictures[0]).shape[:2]
    margin = 0.9 if row_labels else 0.0
    cell = min(cell, (WIDTH - margin) / columns)
    letters = max(8, round(cell * 12.5))  # of the labels' size that fit over one picture
    texts = [textwrap.fill(label, letters) for label in labels]
    lines = max((text.count("\n") + 1 for text in texts), default=0)
    labelled_rows = rows if len(labels) > columns else min(1, lines)
    drawing = canvas(
        columns * cell + margin, rows * cell * height / width + labelled_rows * lines * 0.17 + 0.1
    )
    drawing.get_layout_engine().set(w_pad=0.03, h_pad=0.03, wspace=0.01, hspace=0.01)  # type: ignore[union-attr]
    with style():
        axes = drawing.subplots(rows, columns, squeeze=False)
        for index, axis in enumerate(axes.flat):
            if index >= len(pictures):
                axis.set_visible(False)
                continue
            draw(axis, pictures[index])
            if index < len(texts):
                axis.set_title(texts[index], pad=3)
            if row_labels and index % columns == 0:
                text = textwrap.fill(row_labels[index // columns], 13)
                axis.set_ylabel(text, rotation=0, ha="right", va="center", labelpad=6)
    return finish(drawing, alt or _in_words(len(pictures), labels, row_labels), caption, COARSE)


def _in_words(count: int, labels: Sequence[str], row_labels: Sequence[str] | None) -> str:
    if not labels and not row_labels:
        return ""
    rows = f" Rows: {', '.join(row_labels)}." if row_labels else ""
    names = f" {'Columns' if len(labels) < count else 'In order'}: {', '.join(labels)}." if labels else ""
    return f"{count} picture{'s' if count > 1 else ''}.{rows}{names}"
