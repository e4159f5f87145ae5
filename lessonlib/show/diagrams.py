"""Boxes and arrows: what goes where in a network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from lessonlib.errors import LessonError
from lessonlib.show.figures import COLORS, INK, PAPER, WIDTH, Figure, canvas, finish, style

_HEIGHT = 0.62  # of a box, where rows of boxes lie 1 apart
_EDGES = ("-", "--", "-.", ":")  # kinds differ by their outline too, not by colour alone
_GREY = "#8A867D"  # of what has no kind


class Box(NamedTuple):
    """A box around `text` with its middle at (x, y); y grows downwards, and 1 is the distance of two rows.

    `kind` is one of the diagram's kinds, "" for a plain box.
    """

    x: float
    y: float
    text: str
    kind: str = ""
    width: float = 1.6


def diagram(
    boxes: Mapping[str, Box],
    arrows: Sequence[tuple[str, str]],
    *,
    kinds: Sequence[str] = (),
    alt: str,
    caption: str = "",
) -> Figure:
    """Boxes, and straight arrows from box to box.

    Args:
        arrows: (from, to), names of boxes.
        kinds: in the order of their colours, named in a legend below.

    Raises:
        LessonError: no boxes, a kind or a box that is not there, more kinds than can be told apart.
    """
    if not boxes:
        raise LessonError("A diagram needs boxes.")
    if len(kinds) > len(_EDGES):
        raise LessonError(f"{len(kinds)} kinds of boxes cannot be told apart: use at most {len(_EDGES)}.")
    for name, box in boxes.items():
        if box.kind and box.kind not in kinds:
            raise LessonError(f"The box '{name}' is of the kind '{box.kind}', which is not among the kinds.")
    if lost := {name for arrow in arrows for name in arrow} - set(boxes):
        raise LessonError(f"There is no box called {', '.join(sorted(lost))} for an arrow.")

    left, right = (
        min(b.x - b.width / 2 for b in boxes.values()),
        max(b.x + b.width / 2 for b in boxes.values()),
    )
    top, bottom = min(b.y for b in boxes.values()), max(b.y for b in boxes.values())
    inches = 0.95 * WIDTH / (right - left)  # of one unit of x
    drawing = canvas(WIDTH, (bottom - top + 1) * min(0.55, inches) + (0.35 if kinds else 0.0) + 0.1)
    with style():
        axis = drawing.subplots()
        axis.set_xlim(left - 0.05, right + 0.05)
        axis.set_ylim(bottom + 0.5, top - 0.5)
        axis.axis("off")
        looks = {kind: (COLORS[k], _EDGES[k]) for k, kind in enumerate(kinds)} | {"": (_GREY, "-")}
        patches = {name: _patch(box, *looks[box.kind]) for name, box in boxes.items()}
        for first, second in arrows:
            axis.add_patch(_arrow(boxes[first], boxes[second], patches[first], patches[second]))
        for name, box in boxes.items():
            axis.add_patch(patches[name])
            axis.text(box.x, box.y, box.text, ha="center", va="center", fontsize=8.5, zorder=4)
        if kinds:
            samples = [_patch(Box(0, 0, ""), *looks[kind]) for kind in kinds]
            axis.legend(
                samples,
                kinds,
                loc="upper center",
                bbox_to_anchor=(0.5, 0.0),
                ncols=len(kinds),
                frameon=False,
            )
    return finish(drawing, alt, caption)


def _patch(box: Box, color: str, edge: str) -> Any:
    """The rounded rectangle of a box, unlettered."""
    from matplotlib.colors import to_rgb
    from matplotlib.patches import FancyBboxPatch

    # a quarter of the colour on the paper: dark letters stay readable on all of them
    pale = tuple(0.22 * c + 0.78 * p for c, p in zip(to_rgb(color), to_rgb(PAPER), strict=True))
    corner = (box.x - box.width / 2, box.y - _HEIGHT / 2)
    return FancyBboxPatch(
        corner,
        box.width,
        _HEIGHT,
        boxstyle="round,pad=0,rounding_size=0.1",
        facecolor=pale,
        edgecolor=color,
        linestyle=edge,
        linewidth=1.4,
        zorder=3,
    )


def _arrow(first: Box, second: Box, start: Any, end: Any) -> Any:
    """From middle to middle, cut off at the outlines `start` and `end`."""
    from matplotlib.patches import FancyArrowPatch

    return FancyArrowPatch(
        (first.x, first.y),
        (second.x, second.y),
        patchA=start,
        patchB=end,
        arrowstyle="-|>",
        mutation_scale=10,
        shrinkA=0,
        shrinkB=1,
        color=INK,
        linewidth=1.0,
        zorder=2,
    )
