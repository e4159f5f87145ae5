"""A film strip: how pictures change from step to step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lessonlib.errors import LessonError
from lessonlib.show.figures import Figure
from lessonlib.show.grids import grid


def film_strip(
    rows: Mapping[str, Sequence[Any]],
    labels: Sequence[str],
    *,
    count: int = 8,
    caption: str = "",
    alt: str = "",
) -> Figure:
    """`count` frames of every row, evenly spaced, the first and the last among them.

    Args:
        rows: name -> its frames, as many in every row as there are `labels`.

    Raises:
        LessonError: rows and labels of different lengths.
    """
    lengths = {name: len(frames) for name, frames in rows.items()}
    if set(lengths.values()) != {len(labels)}:
        raise LessonError(f"The rows' lengths {lengths} must all be that of the labels, {len(labels)}.")
    shown = chosen(len(labels), count)
    return grid(
        [frames[index] for frames in rows.values() for index in shown],
        [labels[index] for index in shown],
        columns=len(shown),
        row_labels=list(rows),
        caption=caption,
        alt=alt,
    )


def chosen(length: int, count: int) -> list[int]:
    """At most `count` of the indices 0..length-1, evenly spaced, both ends included."""
    if count >= length:
        return list(range(length))
    if count == 1:
        return [length - 1]
    return [round(index * (length - 1) / (count - 1)) for index in range(count)]
