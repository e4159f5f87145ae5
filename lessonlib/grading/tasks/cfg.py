"""Classifier-free guidance, written the way the pipelines of diffusers compute it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lessonlib.grading.pictures import maps_beside
from lessonlib.grading.task import Misconception, Task

if TYPE_CHECKING:
    from torch import Tensor

TEXT = r"""
The UNet has just looked at the same latents twice in one batch: once with the empty prompt, once with
yours. diffusers stacks the two predictions as `[uncond; cond]`: the first B rows of `noise_pred` are
$\epsilon_\varnothing$, the last B rows are $\epsilon_c$, in the same order of prompts. Combine them:

$$\hat\epsilon = \epsilon_\varnothing + w\,(\epsilon_c - \epsilon_\varnothing),$$

where $w$ is `guidance_scale`: $w = 0$ ignores the prompt, $w = 1$ is the plain conditional prediction, and
$w > 1$ walks past it.

| | shape | dtype |
|---|---|---|
| `noise_pred` | `(2B, C, H, W)` | float32 |
| `guidance_scale` | a Python float | |
| returned | `(B, C, H, W)` | float32 |
""".strip()


def inputs(seed: int) -> dict[str, Any]:
    """No two sizes are equal and B > 1, so that a split along a wrong axis or row by row is seen."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    batch = 3 + 2 * int(torch.randint(2, (), generator=generator))
    guidance_scale = 3.0 + 9.0 * float(torch.rand((), generator=generator, dtype=torch.float64))
    return {
        "noise_pred": torch.randn(2 * batch, 4, 8, 7, generator=generator),
        "guidance_scale": round(guidance_scale, 2),
    }


def reference(noise_pred: Tensor, guidance_scale: float) -> Tensor:
    from lessonlib.scratch.guidance import classifier_free_guidance

    noise_pred_uncond, noise_pred_cond = noise_pred.chunk(2)
    return classifier_free_guidance(noise_pred_uncond, noise_pred_cond, guidance_scale)


def magnitude(noise_pred: Tensor, guidance_scale: float) -> Tensor:
    """|ε_∅| + |w|(|ε_c| + |ε_∅|): every term of the formula with its sign made plus."""
    uncond, cond = noise_pred.abs().chunk(2)
    return uncond + abs(guidance_scale) * (cond + uncond)


# --- Wrong answers, each with its own hint ------------------------------------------------------------------


def _swapped(noise_pred: Tensor, guidance_scale: float) -> Tensor:
    cond, uncond = noise_pred.chunk(2)
    return uncond + guidance_scale * (cond - uncond)


def _one_plus_w(noise_pred: Tensor, guidance_scale: float) -> Tensor:
    uncond, cond = noise_pred.chunk(2)
    return (1 + guidance_scale) * cond - guidance_scale * uncond


def _w_minus_one(noise_pred: Tensor, guidance_scale: float) -> Tensor:
    uncond, cond = noise_pred.chunk(2)
    return uncond + (guidance_scale - 1) * (cond - uncond)


def _missing_uncond(noise_pred: Tensor, guidance_scale: float) -> Tensor:
    uncond, cond = noise_pred.chunk(2)
    return guidance_scale * (cond - uncond)


def _wrong_sign(noise_pred: Tensor, guidance_scale: float) -> Tensor:
    uncond, cond = noise_pred.chunk(2)
    return uncond - guidance_scale * (cond - uncond)


def _cond_scaled(noise_pred: Tensor, guidance_scale: float) -> Tensor:
    return guidance_scale * noise_pred.chunk(2)[1]


def _no_difference(noise_pred: Tensor, guidance_scale: float) -> Tensor:
    uncond, cond = noise_pred.chunk(2)
    return uncond + guidance_scale * cond


def _cond_only(noise_pred: Tensor, guidance_scale: float) -> Tensor:
    return noise_pred.chunk(2)[1]


def _interleaved(noise_pred: Tensor, guidance_scale: float) -> Tensor:
    uncond, cond = noise_pred[0::2], noise_pred[1::2]
    return uncond + guidance_scale * (cond - uncond)


def _channels(noise_pred: Tensor, guidance_scale: float) -> Tensor:
    uncond, cond = noise_pred.chunk(2, dim=1)
    return uncond + guidance_scale * (cond - uncond)


def _first_prompt(noise_pred: Tensor, guidance_scale: float) -> Tensor:
    uncond, cond = noise_pred[0], noise_pred[1]
    return uncond + guidance_scale * (cond - uncond)


# --- Right answers in other styles --------------------------------------------------------------------------


def _two_weights(noise_pred: Tensor, guidance_scale: float) -> Tensor:
    half = noise_pred.shape[0] // 2
    return (1 - guidance_scale) * noise_pred[:half] + guidance_scale * noise_pred[half:]


def _from_cond(noise_pred: Tensor, guidance_scale: float) -> Tensor:
    """The paper's form with its own w: guidance_scale = 1 + w (Ho & Salimans 2022, eq. 6)."""
    uncond, cond = noise_pred.chunk(2)
    w = guidance_scale - 1
    return (1 + w) * cond - w * uncond


def _lerp(noise_pred: Tensor, guidance_scale: float) -> Tensor:
    uncond, cond = noise_pred.split(len(noise_pred) // 2)
    return uncond.lerp(cond, guidance_scale)


def _in_place(noise_pred: Tensor, guidance_scale: float) -> Tensor:
    uncond, cond = noise_pred.chunk(2)
    return cond.sub_(uncond).mul_(guidance_scale).add_(uncond)


def _double_inside(noise_pred: Tensor, guidance_scale: float) -> Tensor:
    uncond, cond = noise_pred.double().chunk(2)
    return (uncond + guidance_scale * (cond - uncond)).to(noise_pred.dtype)


def _reshaped(noise_pred: Tensor, guidance_scale: float) -> Tensor:
    pair = noise_pred.reshape(2, -1, *noise_pred.shape[1:])
    difference = pair.diff(dim=0)
    return (pair[:1] + guidance_scale * difference).squeeze(0)


def _weighted_sum(noise_pred: Tensor, guidance_scale: float) -> Tensor:
    pair = noise_pred.unflatten(0, (2, -1))
    weights = noise_pred.new_tensor([1 - guidance_scale, guidance_scale])
    return (weights.view(2, 1, 1, 1, 1) * pair).sum(0)


def _row_by_row(noise_pred: Tensor, guidance_scale: float) -> Tensor:
    answer = noise_pred[: len(noise_pred) // 2].clone()
    for row in range(len(answer)):
        answer[row] += guidance_scale * (noise_pred[len(answer) + row] - answer[row])
    return answer


TASK = Task(
    id="cfg",
    title="Classifier-free guidance",
    notebook="00_start_here",
    text=TEXT,
    points=10,
    minutes=10,
    difficulty="easy",
    inputs=inputs,
    reference=reference,
    magnitude=magnitude,
    operations=6,  # w to float32, two weights made of it, two products, a sum
    hints=(
        "Guidance is a straight line from the prediction without the prompt through the one with it; "
        "`guidance_scale` says how far along the line to walk.",
        "Take the batch apart first: `noise_pred.chunk(2)` gives its two halves along the first axis, "
        "uncond then cond.",
        "With the halves as `noise_pred_uncond` and `noise_pred_cond`: start at `noise_pred_uncond` and add "
        "`guidance_scale` times the step from uncond to cond.",
    ),
    misconceptions=(
        Misconception(
            "swapped",
            "The two halves have changed roles. diffusers stacks the empty prompt **first**: `[uncond; "
            "cond]`. As it "
            "stands, a larger `guidance_scale` walks away from the prompt.",
            _swapped,
        ),
        Misconception(
            "one plus w",
            "This is the paper's convention, (1 + w)·cond - w·uncond, where w = 0 means no guidance. "
            "diffusers' "
            "`guidance_scale` is that w plus 1: start at `uncond`, not at `cond`.",
            _one_plus_w,
        ),
        Misconception(
            "w minus one",
            "You used `guidance_scale - 1`. That is what latent consistency models embed, and what the "
            "paper calls w; "
            "in this formula the step from uncond to cond is multiplied by `guidance_scale` itself.",
            _w_minus_one,
        ),
        Misconception(
            "missing uncond",
            "You return only the step, w·(cond - uncond). It has to start somewhere: add `uncond` to it.",
            _missing_uncond,
        ),
        Misconception(
            "wrong sign",
            "The step points backwards: it goes from cond to uncond. The difference is `cond - uncond`, "
            "and it is added.",
            _wrong_sign,
        ),
        Misconception(
            "cond scaled",
            "You multiply the conditional prediction itself. Guidance does not make the noise larger; it "
            "multiplies the "
            "**difference** that the prompt makes.",
            _cond_scaled,
        ),
        Misconception(
            "no difference",
            "You add w·cond to uncond, so the part both agree on is counted more than once. Subtract "
            "`uncond` from `cond` "
            "before you multiply.",
            _no_difference,
        ),
        Misconception(
            "cond only",
            "You return the conditional prediction as it is: that is `guidance_scale = 1`, no guidance. Use "
            "`guidance_scale` and the unconditional half.",
            _cond_only,
        ),
        Misconception(
            "interleaved rows",
            "You paired the rows as uncond, cond, uncond, cond, ... With one prompt that looks right, but "
            "the batch is all "
            "uncond rows, then all cond rows: cut it in the middle.",
            _interleaved,
        ),
        Misconception(
            "channels split",
            "You cut the channels in two (axis 1). The two predictions lie along the **batch**, axis 0.",
            _channels,
        ),
        Misconception(
            "first prompt only",
            "Rows 0 and 1 are uncond and cond only when there is a single prompt. With B prompts "
            "`noise_pred` has 2B rows: "
            "take its first half and its second half.",
            _first_prompt,
        ),
    ),
    alternatives=(
        _two_weights,
        _from_cond,
        _lerp,
        _in_place,
        _double_inside,
        _reshaped,
        _weighted_sum,
        _row_by_row,
    ),
    show=maps_beside,
)
