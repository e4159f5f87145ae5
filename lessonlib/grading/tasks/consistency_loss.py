"""The pseudo-Huber distance that latent consistency distillation minimises."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lessonlib.grading.draw import uniform
from lessonlib.grading.task import Misconception, Task

if TYPE_CHECKING:
    from torch import Tensor

TEXT = r"""
Distillation asks the student model to say at one time what its slow copy says at a slightly earlier one. How
far the two answers $a$ and $b$ lie apart is measured by the pseudo-Huber distance: a square near zero, where
squares are smooth, and a straight line far out, where they would let a few bad values rule (Song and
Dhariwal 2023). LCM's training code takes it of every element and averages:

$$L = \frac{1}{N}\sum_{i=1}^{N} \left(\sqrt{(a_i - b_i)^2 + c^2} - c\right).$$

Return one loss for each example of the batch, its mean over that example's N elements.

| | shape | dtype |
|---|---|---|
| `prediction` ($a$), `target` ($b$) | `(B, C, H, W)` | float32 |
| `c` | a Python float | |
| returned | `(B,)` | float32 |
""".strip()


def inputs(seed: int) -> dict[str, Any]:
    """Differences on both sides of c; in the last example, a distance of more than c."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    prediction, target = torch.randn(2, 4, 2, 3, 2, generator=generator)
    prediction[-1] *= 5
    return {"prediction": prediction, "target": target, "c": uniform(generator, 1.9, 2.4)}


def reference(prediction: Tensor, target: Tensor, c: float) -> Tensor:
    from lessonlib.scratch.consistency import pseudo_huber

    return pseudo_huber(prediction, target, c).flatten(1).mean(1)


def magnitude(prediction: Tensor, target: Tensor, c: float) -> Tensor:
    """The root and c are as large as each other, and one is taken from the other."""
    return (((prediction - target) ** 2 + c**2).sqrt() + c).flatten(1).mean(1)


# --- Wrong answers, each with its own hint ------------------------------------------------------------------


def _c_not_taken_away(prediction: Tensor, target: Tensor, c: float) -> Tensor:
    return reference(prediction, target, c) + c


def _squared_error(prediction: Tensor, target: Tensor, c: float) -> Tensor:
    return ((prediction - target) ** 2).flatten(1).mean(1)


def _absolute_error(prediction: Tensor, target: Tensor, c: float) -> Tensor:
    return (prediction - target).abs().flatten(1).mean(1)


def _whole_vector(prediction: Tensor, target: Tensor, c: float) -> Tensor:
    return (((prediction - target) ** 2).flatten(1).sum(1) + c**2).sqrt() - c


def _summed(prediction: Tensor, target: Tensor, c: float) -> Tensor:
    return reference(prediction, target, c) * prediction[0].numel()


def _c_not_squared(prediction: Tensor, target: Tensor, c: float) -> Tensor:
    return (((prediction - target) ** 2 + c).sqrt() - c).flatten(1).mean(1)


def _one_number(prediction: Tensor, target: Tensor, c: float) -> Tensor:
    return reference(prediction, target, c).mean()


# --- Right answers in other styles --------------------------------------------------------------------------


def _axes(prediction: Tensor, target: Tensor, c: float) -> Tensor:
    return ((prediction - target).square().add(c * c).sqrt() - c).mean(dim=(1, 2, 3))


def _c_taken_away_last(prediction: Tensor, target: Tensor, c: float) -> Tensor:
    return ((prediction - target).pow(2) + c**2).sqrt().flatten(1).sum(1) / prediction[0].numel() - c


def _hypot(prediction: Tensor, target: Tensor, c: float) -> Tensor:
    import torch

    distance = torch.hypot(prediction - target, torch.full_like(target, c)) - c
    return distance.mean((1, 2, 3))


def _in_units_of_c(prediction: Tensor, target: Tensor, c: float) -> Tensor:
    u = prediction.sub_(target).div_(c)
    return c * ((1 + u * u) ** 0.5 - 1).view(len(u), -1).mean(-1)


def _example_by_example(prediction: Tensor, target: Tensor, c: float) -> Tensor:
    import torch

    return torch.stack(
        [(((a - b) ** 2 + c**2).sqrt() - c).mean() for a, b in zip(prediction, target, strict=True)]
    )


TASK = Task(
    id="consistency_loss",
    title="The consistency loss",
    notebook="04_fast_sampling",
    order=6,
    text=TEXT,
    points=10,
    minutes=10,
    difficulty="medium",
    inputs=inputs,
    reference=reference,
    magnitude=magnitude,
    operations=20,  # c to float32, its square, difference, square, sum, root, difference; 12 terms, 1 quotient
    hints=(
        "First a tensor of distances, one an element; then its mean, example by example.",
        "`((prediction - target) ** 2 + c**2).sqrt() - c` is the distance. It is 0 where the two agree.",
        "`.flatten(1).mean(1)`, or `.mean(dim=(1, 2, 3))`, leaves one number an example.",
    ),
    misconceptions=(
        Misconception(
            "c not taken away",
            "Your loss is c where the two agree. Take `c` away after the root, so that it is 0 there.",
            _c_not_taken_away,
        ),
        Misconception(
            "squared error",
            "That is the mean squared error. It lets the largest differences rule; the root makes them count in "
            "proportion.",
            _squared_error,
        ),
        Misconception(
            "absolute error",
            "That is the mean absolute error, the limit of small c. It has a corner at 0, and its gradient does "
            "not get smaller as the answers meet.",
            _absolute_error,
        ),
        Misconception(
            "distance of whole vectors",
            "You take one root of the summed squares. That is the paper's form, for whole vectors; LCM's code takes "
            "the root of **each element** and averages.",
            _whole_vector,
        ),
        Misconception(
            "summed",
            "You add up the elements. Divide by their number, or the loss grows with the size of the picture.",
            _summed,
        ),
        Misconception(
            "c not squared",
            "Under the root stands c², not c: otherwise the distance is not 0 where the two agree.",
            _c_not_squared,
        ),
        Misconception(
            "mean over the batch",
            "You average over the batch too. Here each example keeps its own loss (training weighs them by time): "
            "leave axis 0.",
            _one_number,
        ),
    ),
    alternatives=(_axes, _c_taken_away_last, _hypot, _in_units_of_c, _example_by_example),
)
