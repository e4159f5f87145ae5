"""Two overlapping tiles of a big picture, faded into each other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lessonlib.grading.draw import integer
from lessonlib.grading.task import Misconception, Task

if TYPE_CHECKING:
    from torch import Tensor

TEXT = r"""
A tiled VAE decodes a big picture in pieces that overlap, because a piece does not know what lies beside it and
its edge is wrong. In the overlap one tile fades into the next. With $n$ = `overlap` columns, column
$x = 0, \dots, n - 1$ of the overlap is

$$\left(1 - \frac{x}{n}\right) \text{left}_x + \frac{x}{n}\,\text{right}_x .$$

(The divisor is $n$, as in diffusers: the right tile is alone from the column *after* the overlap.) Fade a whole
row of tiles, from left to right, into one strip. Each overlaps the next by the same $n$.

| | shape | dtype |
|---|---|---|
| `tiles` | a list of `(C, H, W)`, at least two | float32 |
| `overlap` | a Python int, less than half of W | |
| returned | `(C, H, W + (len(tiles) - 1) * (W - overlap))` | float32 |
""".strip()


def inputs(seed: int) -> dict[str, Any]:
    """Three tiles that disagree where they overlap."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    tiles = list(torch.randn(3, 2, 5, 11, generator=generator))
    return {"tiles": tiles, "overlap": integer(generator, 3, 5)}


def reference(tiles: list[Tensor], overlap: int) -> Tensor:
    """The strip. `lessonlib.scratch.vae_tiling.tiled` does the same in both directions."""
    import torch

    return _strip(tiles, torch.arange(overlap) / overlap)


def _strip(tiles: list[Tensor], share: Tensor) -> Tensor:
    """Share: the right tile's weight in each column of the overlap."""
    import torch

    overlap, share = len(share), share.to(tiles[0])
    strip = tiles[0]
    for tile in tiles[1:]:
        seam = (1 - share) * strip[..., -overlap:] + share * tile[..., :overlap]
        strip = torch.cat([strip[..., :-overlap], seam, tile[..., overlap:]], -1)
    return strip


def magnitude(tiles: list[Tensor], overlap: int) -> Tensor:
    return reference([tile.abs() for tile in tiles], overlap)


# --- Wrong answers, each with its own hint ------------------------------------------------------------------


def _averaged(tiles: list[Tensor], overlap: int) -> Tensor:
    import torch

    return _strip(tiles, torch.full((overlap,), 0.5))


def _hard_seam(tiles: list[Tensor], overlap: int) -> Tensor:
    import torch

    return _strip(tiles, torch.ones(overlap))


def _left_wins(tiles: list[Tensor], overlap: int) -> Tensor:
    import torch

    return _strip(tiles, torch.zeros(overlap))


def _reversed(tiles: list[Tensor], overlap: int) -> Tensor:
    import torch

    return _strip(tiles, 1 - torch.arange(overlap) / overlap)


def _to_the_last_column(tiles: list[Tensor], overlap: int) -> Tensor:
    import torch

    return _strip(tiles, torch.linspace(0, 1, overlap))


def _from_the_second_column(tiles: list[Tensor], overlap: int) -> Tensor:
    import torch

    return _strip(tiles, (torch.arange(overlap) + 1) / overlap)


def _side_by_side(tiles: list[Tensor], overlap: int) -> Tensor:
    import torch

    return torch.cat(tiles, -1)


def _down(tiles: list[Tensor], overlap: int) -> Tensor:
    return reference([tile.mT for tile in tiles], overlap).mT


# --- Right answers in other styles --------------------------------------------------------------------------


def _accumulated(tiles: list[Tensor], overlap: int) -> Tensor:
    import torch

    channels, height, width = tiles[0].shape
    stride = width - overlap
    answer = torch.zeros(channels, height, width + (len(tiles) - 1) * stride)
    ramp = torch.arange(overlap) / overlap
    for index, tile in enumerate(tiles):
        weight = torch.ones(width)
        if index > 0:
            weight[:overlap] = ramp
        if index < len(tiles) - 1:
            weight[-overlap:] = 1 - ramp
        answer[..., index * stride : index * stride + width] += weight * tile
    return answer


def _in_the_tiles(tiles: list[Tensor], overlap: int) -> Tensor:
    """As diffusers does: the tile on the right is changed in place, and then cut."""
    from itertools import pairwise

    import torch

    width = tiles[0].shape[-1]
    for left, right in pairwise(tiles):
        for x in range(overlap):
            kept = left[..., width - overlap + x] * (1 - x / overlap)
            right[..., x] = kept + right[..., x] * (x / overlap)
    cut = [tile[..., : width - overlap] for tile in tiles[:-1]]
    return torch.cat([*cut, tiles[-1]], dim=2)


def _lerp(tiles: list[Tensor], overlap: int) -> Tensor:
    import torch

    ramp = torch.linspace(0, 1, overlap + 1)[:-1]
    strip = tiles.pop(0)
    while tiles:
        tile = tiles.pop(0)
        seam = torch.lerp(strip[:, :, -overlap:], tile[:, :, :overlap], ramp)
        strip = torch.cat((strip[:, :, :-overlap], seam, tile[:, :, overlap:]), 2)
    return strip


TASK = Task(
    id="tile_blend",
    title="Fading tiles into each other",
    notebook="06_optimisation",
    order=2,
    text=TEXT,
    points=10,
    minutes=15,
    difficulty="medium",
    inputs=inputs,
    reference=reference,
    magnitude=magnitude,
    operations=6,  # x / n, 1 minus it, two products, a sum; lerp's difference
    hints=(
        "Begin with the first tile as the strip, and let each further tile fade into its end.",
        "Only the last `overlap` columns of the strip and the first `overlap` of the next tile are mixed. The weight "
        "of the next tile is `torch.arange(overlap) / overlap`.",
        "`strip = torch.cat([strip[..., :-overlap], (1 - w) * strip[..., -overlap:] + w * tile[..., :overlap], "
        "tile[..., overlap:]], dim=-1)`.",
    ),
    misconceptions=(
        Misconception(
            "averaged",
            "You average the overlap. At its two ends the picture then jumps: the weights must run from one tile "
            "to the other.",
            _averaged,
        ),
        Misconception(
            "hard seam",
            "The right tile takes the whole overlap, so the seam shows. Fade from left to right.",
            _hard_seam,
        ),
        Misconception(
            "left tile wins",
            "The left tile keeps the whole overlap, right up to its wrong edge. Fade it out.",
            _left_wins,
        ),
        Misconception(
            "fade the wrong way",
            "Your weights run backwards: at the overlap's first column the **left** tile is alone.",
            _reversed,
        ),
        Misconception(
            "divided by n - 1",
            "Your last column of the overlap is the right tile's alone, as `linspace(0, 1, n)` makes it. Divide by "
            "n: that column still holds 1/n of the left tile.",
            _to_the_last_column,
        ),
        Misconception(
            "one column late",
            "Your weights begin at 1/n. Column 0 of the overlap has weight 0 for the right tile.",
            _from_the_second_column,
        ),
        Misconception(
            "side by side",
            "You put the tiles side by side, so the overlap is there twice. Each place has one column in the strip.",
            _side_by_side,
        ),
        Misconception(
            "fade downwards",
            "You join the tiles below each other. These lie side by side: their width is the last axis.",
            _down,
        ),
    ),
    alternatives=(_accumulated, _in_the_tiles, _lerp),
)
