"""Outpainting: a larger canvas with the picture on it, and the mask of what is empty."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lessonlib.grading.draw import integer, uniform
from lessonlib.grading.task import Misconception, Task

if TYPE_CHECKING:
    from torch import Tensor

TEXT = r"""
Outpainting is inpainting on a larger canvas: the picture lies somewhere on it, and everything else is to be
painted. Make the canvas and its mask. The canvas has `extra` = `[left, top, right, bottom]` pixels more than
the picture, rounded **up**, at the right and at the bottom, to the next multiples of 8, because the VAE needs
those:

$$W' = 8 \left\lceil \frac{\text{left} + W + \text{right}}{8} \right\rceil, \qquad
H' = 8 \left\lceil \frac{\text{top} + H + \text{bottom}}{8} \right\rceil.$$

The picture stands `left` pixels from the left and `top` from the top. The rest of the canvas is `fill`, and the
mask is 1 (repaint) there and 0 where the picture is.

| | shape | dtype |
|---|---|---|
| `image` | `(3, H, W)` | float32, 0 to 1 |
| `extra` | a list of four Python ints | |
| `fill` | a Python float | |
| returned: the pair `(canvas, mask)` | `(3, H', W')`, `(1, H', W')` | float32 |
""".strip()


def inputs(seed: int) -> dict[str, Any]:
    """Four different margins of 8 and more, and sides a little above a multiple of 8: a missing margin or a
    wrong multiple always gives another canvas."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    height, width = integer(generator, 9, 11), integer(generator, 13, 15)
    left, top = integer(generator, 8, 9), integer(generator, 10, 11)
    right = 16 - (left + width) % 8 + integer(generator, 1, 3)
    bottom = 24 - (top + height) % 8 + integer(generator, 1, 3)
    right += 8 * (right in (left, top))
    return {
        "image": 0.1 + 0.3 * torch.rand(3, height, width, generator=generator),
        "extra": [left, top, right, bottom],
        "fill": uniform(generator, 0.6, 0.9),
    }


def _canvas(
    image: Tensor, height: int, width: int, top: int, left: int, fill: float
) -> tuple[Tensor, Tensor]:
    from lessonlib.scratch.editing import outpaint_canvas

    return outpaint_canvas(image, height, width, top, left, fill)


def reference(image: Tensor, extra: list[int], fill: float) -> tuple[Tensor, Tensor]:
    left, top, right, bottom = extra
    height, width = top + image.shape[1] + bottom, left + image.shape[2] + right
    return _canvas(image, -(-height // 8) * 8, -(-width // 8) * 8, top, left, fill)


def magnitude(image: Tensor, extra: list[int], fill: float) -> tuple[Tensor, Tensor]:
    return reference(image, extra, fill)


# --- Wrong answers, each with its own hint ------------------------------------------------------------------


def _mask_reversed(image: Tensor, extra: list[int], fill: float) -> tuple[Tensor, Tensor]:
    canvas, mask = reference(image, extra, fill)
    return canvas, 1 - mask


def _not_rounded(image: Tensor, extra: list[int], fill: float) -> tuple[Tensor, Tensor]:
    left, top, right, bottom = extra
    return _canvas(image, top + image.shape[1] + bottom, left + image.shape[2] + right, top, left, fill)


def _rounded_down(image: Tensor, extra: list[int], fill: float) -> tuple[Tensor, Tensor]:
    left, top, right, bottom = extra
    height, width = top + image.shape[1] + bottom, left + image.shape[2] + right
    return _canvas(image, height // 8 * 8, width // 8 * 8, top, left, fill)


def _offsets_swapped(image: Tensor, extra: list[int], fill: float) -> tuple[Tensor, Tensor]:
    _, height, width = reference(image, extra, fill)[0].shape
    return _canvas(image, height, width, extra[0], extra[1], fill)


def _centred(image: Tensor, extra: list[int], fill: float) -> tuple[Tensor, Tensor]:
    from lessonlib.scratch.editing import centred

    _, height, width = reference(image, extra, fill)[0].shape
    top, left = centred(image.shape[1], height), centred(image.shape[2], width)
    return _canvas(image, height, width, top, left, fill)


def _box_for_size(image: Tensor, extra: list[int], fill: float) -> tuple[Tensor, Tensor]:
    """The mask's hole ends at (W, H) instead of (left + W, top + H): a size where a corner belongs."""
    canvas, mask = reference(image, extra, fill)
    left, top, *_ = extra
    mask.fill_(1)
    mask[:, top : image.shape[1], left : image.shape[2]] = 0
    return canvas, mask


def _picture_missing(image: Tensor, extra: list[int], fill: float) -> tuple[Tensor, Tensor]:
    canvas, mask = reference(image, extra, fill)
    return canvas.fill_(fill), mask


# --- Right answers in other styles --------------------------------------------------------------------------


def _padded(image: Tensor, extra: list[int], fill: float) -> tuple[Tensor, Tensor]:
    from math import ceil

    import torch

    left, top, right, bottom = extra
    height, width = image.shape[1:]
    right = 8 * ceil((left + width + right) / 8) - left - width
    bottom = 8 * ceil((top + height + bottom) / 8) - top - height
    sides = (left, right, top, bottom)
    hole = torch.zeros(1, height, width)
    return torch.nn.functional.pad(image, sides, value=fill), torch.nn.functional.pad(hole, sides, value=1)


def _concatenated(image: Tensor, extra: list[int], fill: float) -> tuple[Tensor, Tensor]:
    import torch

    left, top, right, bottom = extra
    both = torch.cat([image, torch.zeros(1, *image.shape[1:])])
    empty = torch.tensor([fill, fill, fill, 1.0]).view(4, 1, 1)
    right += -(left + both.shape[2] + right) % 8
    bottom += -(top + both.shape[1] + bottom) % 8
    height = both.shape[1]
    both = torch.cat([empty.expand(4, height, left), both, empty.expand(4, height, right)], 2)
    width = both.shape[2]
    both = torch.cat([empty.expand(4, top, width), both, empty.expand(4, bottom, width)], 1)
    return both[:3], both[3:]


def _coordinates(image: Tensor, extra: list[int], fill: float) -> tuple[Tensor, Tensor]:
    import torch

    left, top, right, bottom = extra
    height, width = image.shape[1:]
    rows = torch.arange((top + height + bottom + 7) // 8 * 8)
    columns = torch.arange((left + width + right + 7) // 8 * 8)
    inside = ((rows >= top) & (rows < top + height))[:, None] & ((columns >= left) & (columns < left + width))
    canvas = torch.full((3, len(rows), len(columns)), fill)
    canvas[:, inside] = image.flatten(1)
    return canvas, (~inside)[None].float()


TASK = Task(
    id="outpaint_canvas",
    title="Canvas and mask for outpainting",
    notebook="05_editing_and_prompts",
    order=3,
    text=TEXT,
    points=8,
    minutes=10,
    difficulty="easy",
    inputs=inputs,
    cases=8,  # two operators that differ in few places of a size
    reference=reference,
    magnitude=magnitude,
    operations=1,  # the fill, to float32; pixels are copied
    hints=(
        "First the size of the canvas, then both tensors full of what the empty part holds, then the picture's place.",
        "`-(-n // 8) * 8` is n rounded up to a multiple of 8. The picture's rows are `top : top + H`.",
        "`canvas = torch.full((3, height, width), fill)`, `mask = torch.ones(1, height, width)`; then assign to "
        "`[:, top : top + H, left : left + W]` of both.",
    ),
    misconceptions=(
        Misconception(
            "mask reversed",
            "Your mask would repaint the picture and keep the empty part. White, 1, is repainted.",
            _mask_reversed,
        ),
        Misconception(
            "size not rounded",
            "Your canvas has exactly the pixels asked for. The VAE needs multiples of 8: round both sides up.",
            _not_rounded,
        ),
        Misconception(
            "size rounded down",
            "You round down, so a margin gets smaller than asked for. Round up.",
            _rounded_down,
        ),
        Misconception(
            "left and top swapped",
            "The picture is in the wrong place: rows go with `top`, columns with `left`. `extra` begins with left.",
            _offsets_swapped,
        ),
        Misconception(
            "centred",
            "You centre the picture. The margins differ: it stands `left` and `top` pixels from the corner.",
            _centred,
        ),
        Misconception(
            "size for corner",
            "The hole in your mask ends at the picture's width and height. Its far corner lies at left + W, top + H; "
            "the source lesson made the same mistake in `mask.paste`.",
            _box_for_size,
        ),
        Misconception(
            "empty canvas",
            "Your canvas is empty: put the picture on it where the mask is 0.",
            _picture_missing,
        ),
    ),
    alternatives=(_padded, _concatenated, _coordinates),
)
