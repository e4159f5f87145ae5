"""Where a ControlNet enters the UNet: its residuals are added to the skips and after the middle."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lessonlib.grading.task import Misconception, Task

if TYPE_CHECKING:
    from torch import Tensor

    Maps = list[Tensor]
    Answer = tuple[Maps, Tensor]

TEXT = r"""
The UNet's way down leaves skip connections $s_1, \dots, s_n$ for its way up, and a middle $m$ between the two. The
ControlNet, a copy of the way down, makes one residual $r_i$ for each skip and one, $r_m$, for the middle. With the
`controlnet_conditioning_scale` $\lambda$ they are added:

$$s_i' = s_i + \lambda\, r_i, \qquad m' = m + \lambda\, r_m .$$

Nothing else is touched: what the way down and the middle themselves compute stays as it was.

| | shape | dtype |
|---|---|---|
| `skips`, `residuals` | lists of $n$ tensors, each pair of one shape | float32 |
| `middle`, `middle_residual` | `(B, C, h, w)` | float32 |
| `scale` | a Python float, $\lambda$ | |
| returned | a tuple: the list of new skips, in the same order, and the new middle | float32 |
""".strip()


def inputs(seed: int) -> dict[str, Any]:
    """All skips have one shape, so that adding them in the wrong order shows as wrong numbers."""
    import torch

    from lessonlib.grading.draw import integer, uniform

    generator = torch.Generator().manual_seed(seed)
    count = integer(generator, 3, 5)

    def maps() -> Maps:
        return [torch.randn(2, 3, 4, 5, generator=generator) for _ in range(count)]

    return {
        "skips": maps(),
        "middle": torch.randn(2, 3, 2, 1, generator=generator),
        "residuals": maps(),
        "middle_residual": torch.randn(2, 3, 2, 1, generator=generator),
        "scale": uniform(generator, 0.2, 0.8),
    }


def reference(skips: Maps, middle: Tensor, residuals: Maps, middle_residual: Tensor, scale: float) -> Answer:
    added = [skip + scale * residual for skip, residual in zip(skips, residuals, strict=True)]
    return added, middle + scale * middle_residual


def magnitude(skips: Maps, middle: Tensor, residuals: Maps, middle_residual: Tensor, scale: float) -> Answer:
    skips, residuals = [s.abs() for s in skips], [r.abs() for r in residuals]
    return reference(skips, middle.abs(), residuals, middle_residual.abs(), abs(scale))


# --- Wrong answers, each with its own hint ------------------------------------------------------------------


def _reversed(skips: Maps, middle: Tensor, residuals: Maps, middle_residual: Tensor, scale: float) -> Answer:
    return reference(skips, middle, residuals[::-1], middle_residual, scale)


def _answer_reversed(
    skips: Maps, middle: Tensor, residuals: Maps, middle_residual: Tensor, scale: float
) -> Answer:
    added, middle = reference(skips, middle, residuals, middle_residual, scale)
    return added[::-1], middle


def _unscaled(skips: Maps, middle: Tensor, residuals: Maps, middle_residual: Tensor, scale: float) -> Answer:
    return reference(skips, middle, residuals, middle_residual, 1.0)


def _replaced(skips: Maps, middle: Tensor, residuals: Maps, middle_residual: Tensor, scale: float) -> Answer:
    return [scale * residual for residual in residuals], scale * middle_residual


def _middle_left(
    skips: Maps, middle: Tensor, residuals: Maps, middle_residual: Tensor, scale: float
) -> Answer:
    return reference(skips, middle, residuals, 0 * middle_residual, scale)


def _middle_unscaled(
    skips: Maps, middle: Tensor, residuals: Maps, middle_residual: Tensor, scale: float
) -> Answer:
    return reference(skips, middle, residuals, middle_residual / scale, scale)


def _blended(skips: Maps, middle: Tensor, residuals: Maps, middle_residual: Tensor, scale: float) -> Answer:
    faded = [(1 - scale) * skip for skip in skips]
    return reference(faded, (1 - scale) * middle, residuals, middle_residual, scale)


# --- Right answers in other styles --------------------------------------------------------------------------


def _loop(skips: Maps, middle: Tensor, residuals: Maps, middle_residual: Tensor, scale: float) -> Answer:
    added = []
    for i in range(len(skips)):
        added.append(skips[i].add(residuals[i], alpha=scale))
    return added, middle.add(middle_residual, alpha=scale)


def _in_place(skips: Maps, middle: Tensor, residuals: Maps, middle_residual: Tensor, scale: float) -> Answer:
    for skip, residual in zip(skips, residuals, strict=True):
        skip += residual.mul_(scale)
    middle += middle_residual * scale
    return skips, middle


def _all_at_once(
    skips: Maps, middle: Tensor, residuals: Maps, middle_residual: Tensor, scale: float
) -> tuple[tuple[Tensor, ...], Tensor]:
    import torch

    added = torch.stack(skips) + scale * torch.stack(residuals)
    return added.unbind(0), torch.lerp(middle, middle + middle_residual, scale)


TASK = Task(
    id="residual_injection",
    title="Where the residuals go",
    notebook="02_controlnet",
    order=6,
    text=TEXT,
    points=10,
    minutes=8,
    difficulty="easy",
    inputs=inputs,
    reference=reference,
    magnitude=magnitude,
    operations=6,  # scale to float32, a product, a sum; lerp's extra sum and difference
    hints=(
        "One sum for each pair of a skip and its residual, and one more for the middle.",
        "`zip(skips, residuals, strict=True)` walks through both lists together.",
        "`[s + scale * r for s, r in zip(skips, residuals, strict=True)], middle + scale * middle_residual`.",
    ),
    misconceptions=(
        Misconception(
            "residuals in reverse",
            "You added the residuals in reverse order. The UNet's way up takes the skips from the end, but that is "
            "its own business: here the first residual belongs to the first skip.",
            _reversed,
        ),
        Misconception(
            "skips in reverse",
            "Your sums are right, but their list is turned round. Keep the order of the skips.",
            _answer_reversed,
        ),
        Misconception(
            "scale unused",
            "You added the residuals at full strength. Multiply them by `scale`.",
            _unscaled,
        ),
        Misconception(
            "replaced",
            "You put the residuals in place of the UNet's own maps. A ControlNet only **adds**.",
            _replaced,
        ),
        Misconception(
            "middle forgotten",
            "The skips are right, but the middle is as it was. It has a residual too.",
            _middle_left,
        ),
        Misconception(
            "middle at full strength",
            "The skips are right, but the middle's residual is not scaled.",
            _middle_unscaled,
        ),
        Misconception(
            "blended",
            "You faded the UNet's own maps by 1 - scale. They stay whole; only the residuals are scaled.",
            _blended,
        ),
    ),
    alternatives=(_loop, _in_place, _all_at_once),
)
