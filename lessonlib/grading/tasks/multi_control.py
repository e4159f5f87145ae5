"""Several ControlNets at once: their residuals are summed, each with its own scale."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lessonlib.grading.task import Misconception, Task

if TYPE_CHECKING:
    from torch import Tensor

    Maps = list[Tensor]

TEXT = r"""
Edges **and** depth: with $K$ ControlNets, each gets its own picture and makes its own residuals. What is added to the
UNet's $i$-th skip is their sum, each net with its own scale (Zhang et al., 2023, section 3.4):

$$r_i = \sum_{k=1}^{K} \lambda_k\, r_i^{(k)} .$$

`residuals[k][i]` is the $i$-th residual of the $k$-th net. If there are more nets than scales, diffusers drops the
surplus nets without a word; here there are always as many.

| | shape | dtype |
|---|---|---|
| `residuals` | a list of $K$ lists of $n$ tensors; the $i$-th of all nets have one shape | float32 |
| `scales` | a list of $K$ floats | |
| returned | a list of $n$ tensors | float32 |
""".strip()


def inputs(seed: int) -> dict[str, Any]:
    import torch

    from lessonlib.grading.draw import uniform

    generator = torch.Generator().manual_seed(seed)
    shapes = [(2, 3, 4, 5), (2, 3, 2, 3), (2, 5, 1, 2), (2, 7, 1, 2)]
    return {
        "residuals": [[torch.randn(s, generator=generator) for s in shapes] for _ in range(3)],
        "scales": [uniform(generator, 0.1, 1.5) for _ in range(3)],
    }


def reference(residuals: list[Maps], scales: list[float]) -> Maps:
    import torch

    scaled = [[scale * part for part in net] for net, scale in zip(residuals, scales, strict=True)]
    return [torch.stack(parts).sum(0) for parts in zip(*scaled, strict=True)]


def magnitude(residuals: list[Maps], scales: list[float]) -> Maps:
    return reference([[part.abs() for part in net] for net in residuals], [abs(scale) for scale in scales])


# --- Wrong answers, each with its own hint ------------------------------------------------------------------


def _mean(residuals: list[Maps], scales: list[float]) -> Maps:
    return [part / len(residuals) for part in reference(residuals, scales)]


def _weighted_mean(residuals: list[Maps], scales: list[float]) -> Maps:
    return [part / sum(scales) for part in reference(residuals, scales)]


def _unscaled(residuals: list[Maps], scales: list[float]) -> Maps:
    return reference(residuals, [1.0] * len(scales))


def _last_only(residuals: list[Maps], scales: list[float]) -> Maps:
    return reference(residuals[-1:], scales[-1:])


def _last_dropped(residuals: list[Maps], scales: list[float]) -> Maps:
    return reference(residuals[:-1], scales[:-1])


def _one_scale(residuals: list[Maps], scales: list[float]) -> Maps:
    return reference(residuals, [scales[0]] * len(scales))


def _scales_reversed(residuals: list[Maps], scales: list[float]) -> Maps:
    return reference(residuals, scales[::-1])


# --- Right answers in other styles --------------------------------------------------------------------------


def _accumulated(residuals: list[Maps], scales: list[float]) -> Maps:
    total = [part * scales[0] for part in residuals[0]]
    for net, scale in zip(residuals[1:], scales[1:], strict=True):
        total = [sum_ + scale * part for sum_, part in zip(total, net, strict=True)]
    return total


def _by_part(residuals: list[Maps], scales: list[float]) -> Maps:
    nets = range(len(scales))
    return [sum(scales[k] * residuals[k][i] for k in nets) for i in range(len(residuals[0]))]  # type: ignore[misc]


def _einsum(residuals: list[Maps], scales: list[float]) -> tuple[Tensor, ...]:
    import torch

    weights = torch.tensor(scales)
    return tuple(
        torch.einsum("k,k...->...", weights, torch.stack(parts)) for parts in zip(*residuals, strict=True)
    )


def _in_place(residuals: list[Maps], scales: list[float]) -> Maps:
    import torch

    answer = [torch.zeros_like(part) for part in residuals[0]]
    for net, scale in zip(residuals, scales, strict=True):
        for sum_, part in zip(answer, net, strict=True):
            sum_.add_(part, alpha=scale)
    return answer


TASK = Task(
    id="multi_control",
    title="Several ControlNets",
    notebook="02_controlnet",
    order=7,
    text=TEXT,
    points=10,
    minutes=10,
    difficulty="medium",
    inputs=inputs,
    reference=reference,
    magnitude=magnitude,
    operations=8,  # scale to float32, a product, three sums; an einsum rounds in another order
    hints=(
        "Start with the first net's scaled residuals, then add the next net's to them, one by one.",
        "`zip(*residuals)` gives, for each skip, the residuals of all nets together.",
        "`[sum(scale * part for scale, part in zip(scales, parts)) for parts in zip(*residuals)]`.",
    ),
    misconceptions=(
        Misconception(
            "mean",
            "You divided by the number of nets. Residuals are summed: a second net does not weaken the first.",
            _mean,
        ),
        Misconception(
            "weighted mean",
            "You divided by the sum of the scales. They are strengths, not shares, and need not add up to 1.",
            _weighted_mean,
        ),
        Misconception("scales unused", "You summed the residuals at full strength: use `scales`.", _unscaled),
        Misconception(
            "last net only",
            "Only the last net is left: each round replaced what the one before had made. Add to it.",
            _last_only,
        ),
        Misconception(
            "last net dropped",
            "The last net is missing from your sum, as in diffusers when a scale is missing. Use all of them.",
            _last_dropped,
        ),
        Misconception(
            "one scale for all",
            "You used the first scale for every net. `scales[k]` belongs to `residuals[k]`.",
            _one_scale,
        ),
        Misconception(
            "scales in reverse",
            "The scales go to the wrong nets: the first scale belongs to the first net.",
            _scales_reversed,
        ),
    ),
    alternatives=(_accumulated, _by_part, _einsum, _in_place),
)
