"""Where the parts of a picture look: one heat map for each token."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

from lessonlib.errors import LessonError
from lessonlib.show.figures import WIDTH, Figure, canvas, finish, style
from lessonlib.show.pixels import as_array, draw


def attention_maps(
    picture: Any, maps: Any, tokens: Sequence[str], *, columns: int = 6, caption: str = "", alt: str = ""
) -> Figure:
    """The picture, then for each token the picture dimmed but for where its attention is.

    Args:
        maps: [tokens, h, w], at least 0, of any size: each is stretched over the picture. All share one
            scale, from 0 to the largest value, so that tokens can be compared.
        tokens: text tokens, or names of a reference picture's.

    Raises:
        LessonError: not one map for each token, or a negative value.
    """
    import numpy as np

    weights = np.stack([as_array(part) for part in maps]) if len(maps) else np.zeros((0, 1, 1))
    if weights.ndim != 3 or not len(weights) or len(weights) != len(tokens):
        raise LessonError(
            f"Maps of shape {weights.shape} do not fit {len(tokens)} tokens: [tokens, h, w] does."
        )
    if weights.min() < 0:
        raise LessonError("Attention is never negative: pass the weights after the softmax.")

    base = as_array(picture)
    height, width = base.shape[:2]
    columns = min(columns, len(tokens) + 1)
    rows = -(-(len(tokens) + 1) // columns)
    cell = min(2.2, WIDTH / columns)
    drawing = canvas(columns * cell + 0.5, rows * (cell * height / width + 0.25))
    faded = (0.35 * base).astype(np.uint8)
    with style():
        axes = drawing.subplots(rows, columns, squeeze=False)
        heat = None
        for index, axis in enumerate(axes.flat):
            if index > len(tokens):
                axis.set_visible(False)
                continue
            draw(axis, picture if index == 0 else faded)
            axis.set_title("picture" if index == 0 else textwrap.shorten(tokens[index - 1], 18))
            if index:
                stretched = {"extent": (-0.5, width - 0.5, height - 0.5, -0.5), "alpha": 0.75}
                heat = axis.imshow(
                    weights[index - 1],
                    cmap="inferno",
                    vmin=0,
                    vmax=max(weights.max(), 1e-12),
                    interpolation="bilinear",
                    **stretched,
                )
        drawing.colorbar(heat, ax=axes, shrink=0.8, aspect=30)  # type: ignore[arg-type]
    return finish(drawing, alt or f"A picture and the attention on {', '.join(tokens)} in it.", caption)
