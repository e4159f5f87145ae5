"""A place for every reference: one mask and one scale a picture."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lessonlib.grading.task import Misconception, Task

if TYPE_CHECKING:
    from torch import Tensor

TEXT = r"""
Two people, each with a reference, one on the left and one on the right. With masks, every picture is attended to by
itself, and its answer $A_i$ counts only where its mask is, with its own scale:

$$Z' = Z + \sum_i \lambda_i\; m_i \odot A_i ,$$

where $Z$ is the text's answer. An attention layer has no rows and columns, only a list of pixels, row after row: a mask
of $H \times W$ becomes a vector of $H W$ in that order, and multiplies all channels alike.

| | shape | dtype |
|---|---|---|
| `text` | `(B, H * W, C)`, $Z$ | float32 |
| `answers` | `(pictures, B, H * W, C)`, the $A_i$ | float32 |
| `masks` | `(pictures, H, W)`, in $[0, 1]$ | float32 |
| `scales` | a list of floats, one a picture | |
| returned | `(B, H * W, C)` | float32 |
""".strip()


def inputs(seed: int) -> dict[str, Any]:
    import torch

    from lessonlib.grading.draw import uniform

    generator = torch.Generator().manual_seed(seed)
    pictures, height, width = 3, 4, 5
    masks = torch.rand(pictures, height, width, generator=generator)
    masks[0, :, :2], masks[1, :, 3:] = 1, 0
    return {
        "text": torch.randn(2, height * width, 3, generator=generator),
        "answers": torch.randn(pictures, 2, height * width, 3, generator=generator),
        "masks": masks,
        "scales": [uniform(generator, 0.1, 1.2) for _ in range(pictures)],
    }


def _places(masks: Tensor) -> Tensor:
    """(pictures, 1, H * W, 1)"""
    return masks.flatten(1)[:, None, :, None]


def reference(text: Tensor, answers: Tensor, masks: Tensor, scales: list[float]) -> Tensor:
    weights = text.new_tensor(scales)[:, None, None, None]
    return text + (weights * _places(masks) * answers).sum(0)


def magnitude(text: Tensor, answers: Tensor, masks: Tensor, scales: list[float]) -> Tensor:
    return reference(text.abs(), answers.abs(), masks.abs(), [abs(scale) for scale in scales])


# --- Wrong answers, each with its own hint ------------------------------------------------------------------


def _column_by_column(text: Tensor, answers: Tensor, masks: Tensor, scales: list[float]) -> Tensor:
    return reference(text, answers, masks.transpose(1, 2), scales)


def _inverted(text: Tensor, answers: Tensor, masks: Tensor, scales: list[float]) -> Tensor:
    return reference(text, answers, 1 - masks, scales)


def _unmasked(text: Tensor, answers: Tensor, masks: Tensor, scales: list[float]) -> Tensor:
    return reference(text, answers, 0 * masks + 1, scales)


def _one_scale(text: Tensor, answers: Tensor, masks: Tensor, scales: list[float]) -> Tensor:
    return reference(text, answers, masks, [scales[0]] * len(scales))


def _unscaled(text: Tensor, answers: Tensor, masks: Tensor, scales: list[float]) -> Tensor:
    return reference(text, answers, masks, [1.0] * len(scales))


def _text_masked(text: Tensor, answers: Tensor, masks: Tensor, scales: list[float]) -> Tensor:
    covered = _places(masks).amax(0)
    return reference((1 - covered) * text, answers, masks, scales)


def _mean(text: Tensor, answers: Tensor, masks: Tensor, scales: list[float]) -> Tensor:
    return text + (reference(text, answers, masks, scales) - text) / len(scales)


def _first_mask(text: Tensor, answers: Tensor, masks: Tensor, scales: list[float]) -> Tensor:
    return reference(text, answers, masks[:1].expand_as(masks), scales)


# --- Right answers in other styles --------------------------------------------------------------------------


def _loop(text: Tensor, answers: Tensor, masks: Tensor, scales: list[float]) -> Tensor:
    for answer, mask, scale in zip(answers, masks, scales, strict=True):
        text = text + scale * mask.flatten()[:, None] * answer
    return text


def _einsum(text: Tensor, answers: Tensor, masks: Tensor, scales: list[float]) -> Tensor:
    import torch

    return text + torch.einsum("p,pq,pbqc->bqc", torch.tensor(scales), masks.flatten(1), answers)


def _as_maps(text: Tensor, answers: Tensor, masks: Tensor, scales: list[float]) -> Tensor:
    height, width = masks.shape[1:]
    maps = text.unflatten(1, (height, width))
    for i, scale in enumerate(scales):
        maps = maps + answers[i].unflatten(1, (height, width)) * (masks[i] * scale)[None, :, :, None]
    return maps.flatten(1, 2)


def _in_place(text: Tensor, answers: Tensor, masks: Tensor, scales: list[float]) -> Tensor:
    for i in range(len(scales)):
        text += answers[i].mul_(masks[i].reshape(1, -1, 1)).mul_(scales[i])
    return text


TASK = Task(
    id="masked_references",
    title="A place for every reference",
    notebook="03_ip_adapter",
    order=5,
    text=TEXT,
    points=10,
    minutes=10,
    difficulty="medium",
    inputs=inputs,
    reference=reference,
    magnitude=magnitude,
    operations=9,  # scale to float32, two products, three sums
    hints=(
        "One picture first: its mask as a vector, its scale, its answer. Then a loop over the pictures.",
        "`mask.flatten()[:, None]` has the shape `(H * W, 1)` and multiplies every channel of `(B, H * W, C)`.",
        "`text = text + scale * mask.flatten()[:, None] * answer`, for each picture.",
    ),
    misconceptions=(
        Misconception(
            "column by column",
            "Your mask runs down the columns. Pixels are listed row after row, as `flatten` does.",
            _column_by_column,
        ),
        Misconception(
            "inverted", "A picture counts where its mask is 1; yours counts where it is 0.", _inverted
        ),
        Misconception("masks unused", "Every picture counts everywhere: use the masks.", _unmasked),
        Misconception("one scale for all", "You used the first scale for every picture.", _one_scale),
        Misconception(
            "scales unused", "The masks are right, but every picture has full strength.", _unscaled
        ),
        Misconception(
            "text masked too",
            "You took the text away where a mask is. The text is read everywhere; the pictures are added to it.",
            _text_masked,
        ),
        Misconception("mean", "You averaged over the pictures. Their answers are added.", _mean),
        Misconception("one mask for all", "You used the first mask for every picture.", _first_mask),
    ),
    alternatives=(_loop, _einsum, _as_maps, _in_place),
)
