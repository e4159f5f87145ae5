"""A big picture through a VAE with little memory: one picture at a time, or one overlapping tile at a time.

Slicing helps batches and changes nothing else; a single picture needs tiling. A tile sees only itself (the
VAE's attention and its group norms are global), so tiles disagree a little, and their overlaps are
cross-faded.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from lessonlib.errors import LessonError

Coder = Callable[[Tensor], Tensor]  # a VAE's encoder (pictures -> moments) or decoder (latents -> pictures)


def sliced(code: Coder, batch: Float[Tensor, "batch c h w"]) -> Float[Tensor, "batch c2 h2 w2"]:
    """`code(batch)`, one sample at a time: the memory of one."""
    return torch.cat([code(sample) for sample in batch.split(1)])


def tiled(
    code: Coder, x: Float[Tensor, "batch c h w"], tile: int, coded_tile: int, overlap: float = 0.25
) -> Float[Tensor, "batch c2 h2 w2"]:
    """`code(x)`, one `tile` x `tile` window at a time: the memory of one tile, whatever the size of `x`.

    `coded_tile` is a tile's side after coding: 8 times `tile` for a decoder, an eighth for an encoder.
    Neighbours share `overlap` of a tile, over which one fades into the other. An `x` that fits one tile is
    coded whole.

    Raises:
        LessonError: the overlap is not a whole number of pixels and of latents.
    """
    if max(x.shape[-2:]) <= tile:
        return code(x)
    stride, fade = int(tile * (1 - overlap)), int(coded_tile * overlap)
    kept = coded_tile - fade
    if stride * coded_tile != kept * tile:
        raise LessonError(
            f"Tiles of {tile} (coded {coded_tile}) cannot overlap by {overlap}: "
            f"choose sizes of which {overlap} is a whole number."
        )
    height, width = x.shape[-2:]
    rows: list[Tensor] = []
    above: list[Tensor] = []
    for top in range(0, height, stride):
        row: list[Tensor] = []
        for column, left in enumerate(range(0, width, stride)):
            coded = code(x[..., top : top + tile, left : left + tile])
            if above:
                coded = _cross_fade(above[column], coded, fade, dim=-2)
            if row:
                coded = _cross_fade(row[-1], coded, fade, dim=-1)
            row.append(coded)
        # a tile's far edge is only there to be faded into the next tile
        rows.append(torch.cat([coded[..., :kept, :kept] for coded in row], dim=-1))
        above = row
    return torch.cat(rows, dim=-2)


def _cross_fade(
    before: Float[Tensor, "batch c h w"], after: Float[Tensor, "batch c h2 w2"], fade: int, dim: int
) -> Float[Tensor, "batch c h2 w2"]:
    """`after`, its first `fade` lines along `dim` mixed with the last ones of `before`, the same place."""
    fade = min(before.shape[dim], after.shape[dim], fade)
    # line y = (1 - y/n) before + (y/n) after
    share = torch.arange(fade, dtype=after.dtype, device=after.device) / fade
    share = share.view(-1, 1) if dim == -2 else share
    seam = torch.lerp(before.narrow(dim, before.shape[dim] - fade, fade), after.narrow(dim, 0, fade), share)
    return torch.cat([seam, after.narrow(dim, fade, after.shape[dim] - fade)], dim=dim)
