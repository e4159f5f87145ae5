"""Which of SDXL's training sizes fits a picture best."""

from __future__ import annotations

import math
from typing import Any

from lessonlib.grading.task import Misconception, Task

Size = tuple[int, int]

TEXT = r"""
SDXL was trained on buckets: sizes of about $1024^2$ pixels and many aspect ratios (Podell et al., 2023, section
2.3). Ask it for a size that is no bucket and it does worse. For a wanted picture of $h \times w$, find the bucket
whose aspect ratio is nearest. Twice as wide must count as far as twice as high, so compare logarithms:

$$\operatorname*{arg\,min}_{(H, W)} \left|\, \log\frac{h}{w} - \log\frac{H}{W} \,\right|.$$

The wanted size itself may be of any resolution: only its shape counts.

| | |
|---|---|
| `height`, `width` | ints, in pixels |
| `buckets` | a list of `(height, width)` |
| returned | the best bucket, a tuple `(height, width)` of ints |
""".strip()

BUCKETS: list[Size] = [
    (1024, 1024),
    (896, 1152),
    (1152, 896),
    (832, 1216),
    (1216, 832),
    (768, 1344),
    (1344, 768),
    (640, 1536),
    (1536, 640),
]


def inputs(seed: int) -> dict[str, Any]:
    """Pictures that every mistake below would put into another bucket; found by trying."""
    import torch

    from lessonlib.grading.draw import integer

    generator = torch.Generator().manual_seed(seed)
    while True:
        height, width = integer(generator, 300, 2600), integer(generator, 300, 2600)
        order = torch.randperm(len(BUCKETS), generator=generator).tolist()
        given = {"height": height, "width": width, "buckets": [BUCKETS[i] for i in order]}
        answers = {rule(**given) for rule in (reference, _turned, _nearest_size, _farthest, _first)}
        if len(answers) == 5 and _margin(**given) > 0.01:
            return given


def _distance(height: int, width: int, bucket: Size) -> float:
    return abs(math.log(height / width) - math.log(bucket[0] / bucket[1]))


def _margin(height: int, width: int, buckets: list[Size]) -> float:
    best, second, *_ = sorted(_distance(height, width, bucket) for bucket in buckets)
    return second - best


def reference(height: int, width: int, buckets: list[Size]) -> Size:
    return min(buckets, key=lambda bucket: _distance(height, width, bucket))


# --- Wrong answers, each with its own hint ------------------------------------------------------------------


def _turned(height: int, width: int, buckets: list[Size]) -> Size:
    return reference(width, height, buckets)


def _nearest_size(height: int, width: int, buckets: list[Size]) -> Size:
    return min(buckets, key=lambda bucket: math.dist((height, width), bucket))


def _farthest(height: int, width: int, buckets: list[Size]) -> Size:
    return max(buckets, key=lambda bucket: _distance(height, width, bucket))


def _first(height: int, width: int, buckets: list[Size]) -> Size:
    return (1024, 1024)


# --- Right answers in other styles --------------------------------------------------------------------------


def _ratio_of_ratios(height: int, width: int, buckets: list[Size]) -> Size:
    def stretch(bucket: Size) -> float:
        factor = (height * bucket[1]) / (width * bucket[0])
        return max(factor, 1 / factor)

    return sorted(buckets, key=stretch)[0]


def _by_torch(height: int, width: int, buckets: list[Size]) -> Size:
    import torch

    sizes = torch.tensor(buckets, dtype=torch.float64)
    wanted = torch.tensor(height / width, dtype=torch.float64).log()
    return buckets[int(((sizes[:, 0] / sizes[:, 1]).log() - wanted).abs().argmin())]


def _by_numpy(height: int, width: int, buckets: list[Size]) -> list[int]:
    import numpy as np

    logs = np.diff(np.log(np.array(buckets)), axis=1)[:, 0]
    return [int(side) for side in buckets[int(np.abs(logs - math.log(width / height)).argmin())]]


TASK = Task(
    id="aspect_bucket",
    title="The nearest bucket",
    notebook="01_sdxl",
    order=9,
    text=TEXT,
    points=5,
    minutes=8,
    difficulty="easy",
    inputs=inputs,
    cases=8,  # of nine buckets, a wrong rule finds the right one now and then
    reference=reference,
    hints=(
        "Write the distance between the picture's shape and one bucket first; then take the smallest.",
        "Python's `min(buckets, key=...)` finds the bucket for which a function is smallest.",
        "`abs(math.log(height / width) - math.log(bucket[0] / bucket[1]))` is that function.",
    ),
    misconceptions=(
        Misconception(
            "turned picture",
            "A wide picture got a tall bucket: somewhere width and height have changed places. All pairs here "
            "are (height, width).",
            _turned,
        ),
        Misconception(
            "nearest size",
            "You compared sizes in pixels. A small picture can have any shape: only the ratio counts.",
            _nearest_size,
        ),
        Misconception(
            "farthest bucket",
            "You took the bucket that is farthest away. `min`, not `max`.",
            _farthest,
        ),
        Misconception(
            "always square",
            "You return the square for every picture. It is the best bucket only for pictures that are nearly "
            "square.",
            _first,
        ),
    ),
    alternatives=(_ratio_of_ratios, _by_torch, _by_numpy),
)
