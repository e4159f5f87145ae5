"""Sheets to look at: many scenes with their captions, or one scene beside its ground truth."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from lessonlib.world.captions import caption
from lessonlib.world.render import Rendered, render
from lessonlib.world.scene import Scene

_GAP, _LINE = 6, 13  # pixels between panels, pixels a line of text

# pairs of OpenPose's COCO-18 key points that a bone joins
BONES: tuple[tuple[int, int], ...] = (
    (1, 2), (2, 3), (3, 4), (1, 5), (5, 6), (6, 7), (1, 8), (8, 9), (9, 10), (1, 11), (11, 12), (12, 13), (1, 0),
    (0, 14), (14, 16), (0, 15), (15, 17),
)  # fmt: skip


def sheet(
    scenes: Iterable[Scene], texts: Sequence[str] | None = None, columns: int = 6, scale: int = 1
) -> np.ndarray:
    """The scenes in rows, each over its text (by default its plain caption); uint8 [H, W, 3].

    Args:
        scale: how many pixels of the sheet a side show one pixel of a picture.
    """
    scenes = list(scenes)
    texts = [caption(scene) for scene in scenes] if texts is None else texts
    return _panels([render(scene).image for scene in scenes], texts, columns, scale)


def truth(rendered: Rendered, scale: int = 2) -> np.ndarray:
    """A picture and everything that is known of it, side by side; uint8 [H, W, 3].

    Depth is bright where it is near; normals are coloured (x, y, z) -> (red, green, blue), -1 being 0 and 1 being 255.
    """
    panels = {
        "picture": rendered.image,
        "depth": _gray(1 - rendered.depth),
        "normals": np.round((rendered.normals + 1) * 127.5).astype(np.uint8),
        "classes": _class_colors()[rendered.classes],
        "edges": _gray(rendered.edges / 255),
        "outlines": _gray(rendered.outlines / 255),
        "instances": (_class_colors()[rendered.instances] * (rendered.instances > 0)[..., None]).astype(
            np.uint8
        ),
        "boxes and key points": _annotated(rendered),
    }
    return _panels(list(panels.values()), list(panels), columns=4, scale=scale)


def _gray(values: np.ndarray) -> np.ndarray:
    return np.repeat(np.round(values * 255).astype(np.uint8)[..., None], 3, axis=2)


def _class_colors() -> np.ndarray:
    """A colour for each index, uint8 [256, 3]: hues a golden angle apart, so that neighbours differ."""
    index = np.arange(256)
    hsv = np.stack([index * 137.508 % 360 / 2, 110 + 97 * (index % 2), 150 + 35 * (index % 4)], axis=1)
    return cv2.cvtColor(hsv.astype(np.uint8)[None], cv2.COLOR_HSV2RGB)[0]


def _annotated(rendered: Rendered) -> np.ndarray:
    drawn = Image.fromarray(rendered.image // 2 + 110)
    pen = ImageDraw.Draw(drawn)
    for box in filter(None, rendered.boxes):
        pen.rectangle((box[0], box[1], box[2] - 1, box[3] - 1), outline=(220, 30, 60))
    if rendered.keypoints is not None:
        points = [(float(x), float(y)) for x, y in rendered.keypoints]
        for start, end in BONES:
            pen.line((points[start], points[end]), fill=(30, 90, 220), width=2)
        for x, y in points:
            pen.ellipse((x - 1.5, y - 1.5, x + 1.5, y + 1.5), fill=(250, 200, 40))
    return np.asarray(drawn)


def _panels(pictures: Sequence[np.ndarray], texts: Sequence[str], columns: int, scale: int) -> np.ndarray:
    """Pictures of one size in rows, each over its text."""
    height, width = (scale * side for side in pictures[0].shape[:2])
    font = ImageFont.load_default(10)
    wrapped = [textwrap.wrap(text, max(8, round(width / 5.2))) for text in texts]
    cell = height + _LINE * max(map(len, wrapped)) + 2 * _GAP
    columns = min(columns, len(pictures))
    rows = -(-len(pictures) // columns)
    page = Image.new("RGB", (_GAP + columns * (width + _GAP), _GAP + rows * cell), "white")
    pen = ImageDraw.Draw(page)
    for index, (picture, lines) in enumerate(zip(pictures, wrapped, strict=True)):
        row, column = divmod(index, columns)
        left, top = _GAP + column * (width + _GAP), _GAP + row * cell
        page.paste(Image.fromarray(picture).resize((width, height), Image.Resampling.NEAREST), (left, top))
        for number, line in enumerate(lines):
            pen.text((left, top + height + 2 + number * _LINE), line, fill=(40, 40, 48), font=font)
    return np.asarray(page)
