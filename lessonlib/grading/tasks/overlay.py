"""The original's own pixels outside the mask, exactly, with a soft edge."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lessonlib.grading.draw import integer
from lessonlib.grading.task import Misconception, Task

if TYPE_CHECKING:
    from torch import Tensor

TEXT = r"""
Even where nothing was repainted, a picture that has been through the VAE is not quite your picture any more.
The overlay brings the original's own pixels back (diffusers: `image_processor.apply_overlay`). So that no edge
shows, the mask is softened first: each of its pixels becomes the mean of the $(2r + 1) \times (2r + 1)$ square
around it, and beyond the border the mask goes on as its nearest pixel (`replicate`). Then

$$x = (1 - \tilde m)\,x_\text{original} + \tilde m\,x_\text{repainted}.$$

| | shape | dtype |
|---|---|---|
| `original`, `repainted` | `(3, H, W)` | float32, 0 to 1 |
| `mask` (1 is repainted) | `(1, H, W)` | float32, 0 or 1 |
| `radius` ($r$) | a Python int, at least 1 | |
| returned | `(3, H, W)` | float32 |
""".strip()


def inputs(seed: int) -> dict[str, Any]:
    """A rectangle that touches the picture's left edge, so that the border counts. From a radius of 3 on, no
    other simple rule gives 2 r + 1."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    original = torch.rand(3, 14, 16, generator=generator)
    repainted = torch.rand(3, 14, 16, generator=generator)
    mask = torch.zeros(1, 14, 16)
    top, height, width = (integer(generator, low, low + 2) for low in (1, 7, 8))
    mask[:, top : top + height, :width] = 1
    return {"original": original, "repainted": repainted, "mask": mask, "radius": integer(generator, 3, 4)}


def _softened(mask: Tensor, radius: int, mode: str = "replicate") -> Tensor:
    import torch

    padded = torch.nn.functional.pad(mask[None], (radius,) * 4, mode=mode)
    return torch.nn.functional.avg_pool2d(padded, 2 * radius + 1, stride=1)[0]


def reference(original: Tensor, repainted: Tensor, mask: Tensor, radius: int) -> Tensor:
    from lessonlib.scratch.editing import overlay

    return overlay(original, repainted, _softened(mask, radius))


def magnitude(original: Tensor, repainted: Tensor, mask: Tensor, radius: int) -> Tensor:
    """(1 + m) for 1 - m: a mask that sums to 1 with rounding still leaves a little of the original."""
    soft = _softened(mask, radius)
    return (1 + soft) * original + soft * repainted


# --- Wrong answers, each with its own hint ------------------------------------------------------------------


def _reversed(original: Tensor, repainted: Tensor, mask: Tensor, radius: int) -> Tensor:
    return reference(repainted, original, mask, radius)


def _hard_edge(original: Tensor, repainted: Tensor, mask: Tensor, radius: int) -> Tensor:
    return (1 - mask) * original + mask * repainted


def _dark_border(original: Tensor, repainted: Tensor, mask: Tensor, radius: int) -> Tensor:
    soft = _softened(mask, radius, "constant")
    return (1 - soft) * original + soft * repainted


def _picture_blurred(original: Tensor, repainted: Tensor, mask: Tensor, radius: int) -> Tensor:
    return _softened((1 - mask) * original + mask * repainted, radius)


def _summed(original: Tensor, repainted: Tensor, mask: Tensor, radius: int) -> Tensor:
    soft = _softened(mask, radius) * (2 * radius + 1) ** 2
    return (1 - soft) * original + soft * repainted


def _added(original: Tensor, repainted: Tensor, mask: Tensor, radius: int) -> Tensor:
    return original + _softened(mask, radius) * repainted


def _decided_again(original: Tensor, repainted: Tensor, mask: Tensor, radius: int) -> Tensor:
    return _hard_edge(original, repainted, (_softened(mask, radius) > 0).to(mask.dtype), radius)


# --- Right answers in other styles --------------------------------------------------------------------------


def _step_towards(original: Tensor, repainted: Tensor, mask: Tensor, radius: int) -> Tensor:
    return original + _softened(mask, radius) * (repainted - original)


def _convolved(original: Tensor, repainted: Tensor, mask: Tensor, radius: int) -> Tensor:
    import torch

    side = 2 * radius + 1
    padded = torch.nn.functional.pad(mask, (radius,) * 4, mode="replicate")
    soft = torch.nn.functional.conv2d(padded[None], torch.full((1, 1, side, side), 1 / side**2))[0]
    return torch.lerp(original, repainted, soft)


def _shifted(original: Tensor, repainted: Tensor, mask: Tensor, radius: int) -> Tensor:
    import torch

    _, height, width = mask.shape
    soft = torch.zeros_like(mask)
    for down in range(-radius, radius + 1):
        for right in range(-radius, radius + 1):
            rows = (torch.arange(height) + down).clamp(0, height - 1)
            columns = (torch.arange(width) + right).clamp(0, width - 1)
            soft += mask[:, rows][:, :, columns]
    soft /= (2 * radius + 1) ** 2
    return (1 - soft) * original + soft * repainted


def _unfolded(original: Tensor, repainted: Tensor, mask: Tensor, radius: int) -> Tensor:
    import torch

    padded = torch.nn.functional.pad(mask[None], (radius,) * 4, mode="replicate")[0]
    windows = padded.unfold(1, 2 * radius + 1, 1).unfold(2, 2 * radius + 1, 1)
    soft = windows.mean((-1, -2))
    return repainted.mul_(soft).add_(original.mul_(1 - soft))


TASK = Task(
    id="overlay",
    title="The overlay",
    notebook="05_editing_and_prompts",
    order=4,
    text=TEXT,
    points=10,
    minutes=12,
    difficulty="medium",
    inputs=inputs,
    reference=reference,
    magnitude=magnitude,
    operations=87,  # 81 pixels, a product or quotient; 1 - m, two products, a sum; lerp's difference
    hints=(
        "Soften the mask, not the pictures. Everything else is one line.",
        "`torch.nn.functional.pad(..., mode='replicate')`, then `avg_pool2d(..., stride=1)`, take care of the border "
        "and of the mean.",
        "`soft = F.avg_pool2d(F.pad(mask[None], (radius,) * 4, mode='replicate'), 2 * radius + 1, stride=1)[0]`; "
        "then fade from `original` to `repainted` by `soft`.",
    ),
    misconceptions=(
        Misconception(
            "reversed",
            "The pictures have changed places: where the mask is 0 the original belongs.",
            _reversed,
        ),
        Misconception(
            "hard edge",
            "Your edge is hard: the mask as it came. Soften it first, or a seam shows along it.",
            _hard_edge,
        ),
        Misconception(
            "border darkens the mask",
            "Near the picture's edge your mask fades: zeros from beyond the border were averaged in. Pad with "
            "`mode='replicate'`.",
            _dark_border,
        ),
        Misconception(
            "picture blurred",
            "You blur the finished picture. The original's pixels must come back exactly: only the **mask** is "
            "softened.",
            _picture_blurred,
        ),
        Misconception(
            "sum for mean",
            "Your softened mask is above 1: divide the sum of a square by its number of pixels.",
            _summed,
        ),
        Misconception(
            "added on top",
            "You add the repainted picture to the original. Where one comes, the other must go: weigh the original "
            "by 1 - m.",
            _added,
        ),
        Misconception(
            "mask decided again",
            "You soften the mask and then make it black and white again. Keep it grey: it is the weight of the fade.",
            _decided_again,
        ),
    ),
    alternatives=(_step_towards, _convolved, _shifted, _unfolded),
)
