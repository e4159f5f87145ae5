"""SDXL's micro-conditioning: six numbers, in the order the network was trained with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lessonlib.grading.task import Misconception, Task

if TYPE_CHECKING:
    from torch import Tensor

Pair = tuple[int, int]

TEXT = r"""
In training, SDXL was told of every picture how large it was before it was resized, where the crop began, and
for which size it was cropped (Podell et al., 2023, sections 2.2 and 2.3). At inference we choose these:

$$\texttt{time\_ids} = [\,h_\text{orig},\ w_\text{orig},\ c_\text{top},\ c_\text{left},\ h_\text{target},\
w_\text{target}\,].$$

diffusers' arguments are pairs already, heights and tops first: `original_size=(height, width)`,
`crops_coords_top_left=(top, left)`, `target_size=(height, width)`. PIL's `size`, which is what you are given
here for the original picture, says **width** first.

| | |
|---|---|
| `original` | `(width, height)` of the original picture, as PIL says it |
| `crops_coords_top_left` | `(top, left)` |
| `target_size` | `(height, width)` |
| returned | a float32 tensor of shape `(1, 6)` |
""".strip()


def inputs(seed: int) -> dict[str, Any]:
    import torch

    from lessonlib.grading.draw import integer

    generator = torch.Generator().manual_seed(seed)

    def pair(low: int) -> Pair:
        first = integer(generator, low, low + 60)
        return 8 * first, 8 * (first + integer(generator, 1, 30))

    return {"original": pair(100), "crops_coords_top_left": pair(2), "target_size": pair(200)}


def _ids(*numbers: int) -> Tensor:
    import torch

    return torch.tensor([numbers], dtype=torch.float32)


def reference(original: Pair, crops_coords_top_left: Pair, target_size: Pair) -> Tensor:
    from lessonlib.scratch.embeddings import time_ids

    width, height = original
    return time_ids((height, width), crops_coords_top_left, target_size)


def magnitude(original: Pair, crops_coords_top_left: Pair, target_size: Pair) -> Tensor:
    return reference(original, crops_coords_top_left, target_size)


# --- Wrong answers, each with its own hint ------------------------------------------------------------------


def _width_first(original: Pair, crops_coords_top_left: Pair, target_size: Pair) -> Tensor:
    return _ids(*original, *crops_coords_top_left, *target_size)


def _all_width_first(original: Pair, crops_coords_top_left: Pair, target_size: Pair) -> Tensor:
    return _ids(*original, *crops_coords_top_left[::-1], *target_size[::-1])


def _crop_last(original: Pair, crops_coords_top_left: Pair, target_size: Pair) -> Tensor:
    return _ids(*original[::-1], *target_size, *crops_coords_top_left)


def _target_first(original: Pair, crops_coords_top_left: Pair, target_size: Pair) -> Tensor:
    return _ids(*target_size, *crops_coords_top_left, *original[::-1])


def _original_is_target(original: Pair, crops_coords_top_left: Pair, target_size: Pair) -> Tensor:
    return _ids(*target_size, *crops_coords_top_left, *target_size)


def _no_crop(original: Pair, crops_coords_top_left: Pair, target_size: Pair) -> Tensor:
    return _ids(*original[::-1], 0, 0, *target_size)


def _five(original: Pair, crops_coords_top_left: Pair, target_size: Pair) -> Tensor:
    return _ids(*original[::-1], *crops_coords_top_left, 6)


# --- Right answers in other styles --------------------------------------------------------------------------


def _joined(original: Pair, crops_coords_top_left: Pair, target_size: Pair) -> Tensor:
    import torch

    return torch.tensor(original[::-1] + crops_coords_top_left + target_size).float()[None]


def _filled(original: Pair, crops_coords_top_left: Pair, target_size: Pair) -> Tensor:
    import torch

    ids = torch.zeros(1, 6)
    ids[0, 0], ids[0, 1] = original[1], original[0]
    ids[0, 2:4] = torch.tensor(crops_coords_top_left)
    ids[0, 4:] = torch.tensor(target_size)
    return ids


def _concatenated(original: Pair, crops_coords_top_left: Pair, target_size: Pair) -> Tensor:
    import torch

    pairs = (tuple(reversed(original)), crops_coords_top_left, target_size)
    return torch.cat([torch.tensor(pair, dtype=torch.float64) for pair in pairs]).view(1, -1).float()


TASK = Task(
    id="time_ids",
    title="Six time ids",
    notebook="01_sdxl",
    order=4,
    text=TEXT,
    points=5,
    minutes=5,
    difficulty="easy",
    inputs=inputs,
    reference=reference,
    magnitude=magnitude,
    operations=1,  # whole numbers below 2**24 are exact
    hints=(
        "Three pairs one after the other; each pair has the vertical number first.",
        "One of the three pairs you are given is the other way round.",
        "`width, height = original`, then `torch.tensor([[height, width, *crops_coords_top_left, "
        "*target_size]], dtype=torch.float32)`.",
    ),
    misconceptions=(
        Misconception(
            "original as PIL says it",
            "`original` comes as (width, height), but the ids want the height first. With a square picture "
            "nobody would notice.",
            _width_first,
        ),
        Misconception(
            "horizontal numbers first",
            "All three pairs have the horizontal number first. The network learned height, width; top, left; "
            "height, width.",
            _all_width_first,
        ),
        Misconception(
            "crop last",
            "The crop stands between the two sizes, not after them.",
            _crop_last,
        ),
        Misconception(
            "target first",
            "The two sizes have changed places: the original size comes first, the target size last.",
            _target_first,
        ),
        Misconception(
            "original taken from the target",
            "You used the target size twice. That is the pipeline's default when nothing is given; here the "
            "original size is known.",
            _original_is_target,
        ),
        Misconception(
            "no crop",
            "You put (0, 0) for the crop. That is what one usually asks for, but it is an input here.",
            _no_crop,
        ),
        Misconception(
            "the refiner's five",
            "Five ids with an aesthetic score are the refiner's. The base model takes the target size instead.",
            _five,
        ),
    ),
    alternatives=(_joined, _filled, _concatenated),
)
