"""Laying a repainted part into a picture so that no border can be seen: gradients are kept, colours give way.

An eye finds an edge by its step, however small, and forgives a colour that drifts over many pixels. So the part keeps its
differences between neighbours and is bent to meet the picture at the border (Pérez, Gangnet and Blake 2003, “Poisson image
editing”).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from lessonlib.pipelines.checks import one_size, rgb

if TYPE_CHECKING:
    from PIL.Image import Image


def blend(original: Any, repainted: Any, mask: Any) -> Image:
    """`original`, and in the white part of `mask` `repainted`, with colours that meet the original's at the border.

    Every pixel of the black part is the original's own. Where the part meets the picture's frame, its colours are free.

    Args:
        original, repainted, mask: PIL pictures or paths, of one size; a grey of 128 or more is white, as for the pipeline.

    Raises:
        LessonError: pictures that are none, or differ in size.
    """
    from PIL import Image as Pillow

    pictures = [rgb(original), rgb(repainted, "The repainted picture"), rgb(mask, "The mask")]
    one_size(pictures, "The picture, the repainted one and the mask")
    before, after = (np.asarray(picture) for picture in pictures[:2])
    return Pillow.fromarray(bent(before, after, np.asarray(pictures[2].convert("L")) >= 128))


def bent(original: np.ndarray, repainted: np.ndarray, hole: np.ndarray) -> np.ndarray:
    """`blend` on arrays: uint8 [H, W, C] twice, bool [H, W] -> uint8 [H, W, C]."""
    if hole.all() or not hole.any():
        return (repainted if hole.all() else original).copy()
    correction = membrane(original.astype(np.float64) - repainted, hole)
    made = np.clip(np.round(repainted + correction), 0, 255).astype(np.uint8)
    return np.where(hole[..., None], made, original)


def membrane(difference: np.ndarray, hole: np.ndarray) -> np.ndarray:
    """The smoothest surface over the hole that has the given height all around it: float64 [H, W, C].

    Each of its pixels is the mean of its neighbours: Laplace's equation (Pérez et al., equation 5) on the grid of pixels.
    Around the hole it is `difference` itself. At the picture's frame nothing holds it.

    Args:
        difference: [H, W, C]; inside the hole it is not read.
        hole: bool [H, W], neither empty nor everything.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.linalg import splu

    number = np.full(hole.shape, -1)
    number[hole] = np.arange(hole.sum())  # the unknowns
    held, rows, columns = np.zeros((int(hole.sum()), difference.shape[2])), [], []
    neighbours = np.zeros(len(held))
    for axis, toward in ((0, 1), (0, -1), (1, 1), (1, -1)):
        here, there = _shifted(axis, toward)
        ours, theirs = number[here], number[there]
        neighbours += np.bincount(ours[ours >= 0], minlength=len(held))
        inner, outer = (ours >= 0) & (theirs >= 0), (ours >= 0) & (theirs < 0)
        rows.append(ours[inner])
        columns.append(theirs[inner])
        held[ours[outer]] += difference[there][outer]
    diagonal = np.arange(len(held))
    values = [np.full(len(row), -1.0) for row in rows]
    matrix = coo_array(
        (
            np.concatenate([*values, neighbours]),
            (np.concatenate([*rows, diagonal]), np.concatenate([*columns, diagonal])),
        )
    )
    # the ordering for symmetric matrices: half of the time at 1024 pixels
    symmetric = {"permc_spec": "MMD_AT_PLUS_A", "diag_pivot_thresh": 0.0, "options": {"SymmetricMode": True}}
    surface = difference.copy()
    surface[hole] = splu(matrix.tocsc(), **symmetric).solve(held)
    return surface


def _shifted(axis: int, toward: int) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """All pixels that have a neighbour in one direction, and these neighbours."""
    near, far = slice(None, -1), slice(1, None)
    pair = (near, far) if toward > 0 else (far, near)
    whole = slice(None)
    here, there = (((one, whole) if axis == 0 else (whole, one)) for one in pair)
    return here, there
