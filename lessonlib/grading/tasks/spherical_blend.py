"""Between two prompts along the arc, token by token."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lessonlib.grading.draw import pick, uniform
from lessonlib.grading.task import Misconception, Task

if TYPE_CHECKING:
    from torch import Tensor

TEXT = r"""
The straight mean of two prompt embeddings is shorter than either, and a short token counts for less. Walk along
the arc between them instead (slerp; Shoemake 1985). For each token by itself, with $\Omega$ the angle between
its two vectors,

$$c = \frac{\sin\big((1 - u)\,\Omega\big)\,a + \sin(u\,\Omega)\,b}{\sin\Omega}, \qquad
\cos\Omega = \frac{a \cdot b}{\lVert a \rVert \lVert b \rVert}.$$

At $u = 0$ that is $a$, at $u = 1$ it is $b$. (The tokens given here are never parallel.)

| | shape | dtype |
|---|---|---|
| `first` ($a$), `second` ($b$) | `(B, tokens, width)` | float64 |
| `amount` ($u$) | a Python float, 0 to 1 | |
| returned | `(B, tokens, width)` | float64 |
""".strip()


def inputs(seed: int) -> dict[str, Any]:
    """Tokens of different lengths, and every pair at another angle between 60 and 120 degrees."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    basis = torch.linalg.qr(torch.randn(2, 5, 3, 2, generator=generator, dtype=torch.float64))[0]
    angle = torch.deg2rad(60 + 60 * torch.rand(2, 5, 1, generator=generator, dtype=torch.float64))
    lengths = 1 + 2 * torch.rand(2, 2, 5, 1, generator=generator, dtype=torch.float64)
    direction = angle.cos() * basis[..., 0] + angle.sin() * basis[..., 1]
    return {
        "first": lengths[0] * basis[..., 0],
        "second": lengths[1] * direction,
        "amount": pick(generator, [0.0, 0.5]) + uniform(generator, 0.2, 0.3),
    }


def reference(first: Tensor, second: Tensor, amount: float) -> Tensor:
    from lessonlib.scratch.blending import spherical_blend

    return spherical_blend(first, second, amount)


def magnitude(first: Tensor, second: Tensor, amount: float) -> Tensor:
    """The weights stay below 1.2, and move by less than the angle does."""
    return 1.2 * (first.abs() + second.abs())


def _angle(first: Tensor, second: Tensor) -> Tensor:
    import torch

    return torch.cosine_similarity(first, second, dim=-1).acos()[..., None]


# --- Wrong answers, each with its own hint ------------------------------------------------------------------


def _straight(first: Tensor, second: Tensor, amount: float) -> Tensor:
    return (1 - amount) * first + amount * second


def _amount_reversed(first: Tensor, second: Tensor, amount: float) -> Tensor:
    return reference(first, second, 1 - amount)


def _unit_length(first: Tensor, second: Tensor, amount: float) -> Tensor:
    import torch

    a, b = (torch.nn.functional.normalize(x, dim=-1) for x in (first, second))
    return reference(a, b, amount)


def _not_divided(first: Tensor, second: Tensor, amount: float) -> Tensor:
    angle = _angle(first, second)
    return ((1 - amount) * angle).sin() * first + (amount * angle).sin() * second


def _whole_prompt(first: Tensor, second: Tensor, amount: float) -> Tensor:
    flat = reference(first.flatten(1)[:, None], second.flatten(1)[:, None], amount)
    return flat.view_as(first)


# --- Right answers in other styles --------------------------------------------------------------------------


def _by_cosine(first: Tensor, second: Tensor, amount: float) -> Tensor:
    import torch

    angle = torch.acos(torch.cosine_similarity(first, second, dim=-1)).unsqueeze(-1)
    weights = torch.sin((1 - amount) * angle) / torch.sin(angle), torch.sin(amount * angle) / torch.sin(angle)
    return weights[0] * first + weights[1] * second


def _dot_by_hand(first: Tensor, second: Tensor, amount: float) -> Tensor:
    lengths = first.norm(dim=-1, keepdim=True) * second.norm(dim=-1, keepdim=True)
    angle = ((first * second).sum(-1, keepdim=True) / lengths).clamp(-1, 1).arccos()
    first.mul_(((1 - amount) * angle).sin())
    second.mul_((amount * angle).sin())
    return first.add_(second).div_(angle.sin())


def _token_by_token(first: Tensor, second: Tensor, amount: float) -> Tensor:
    import math

    import torch

    answer = torch.empty_like(first)
    for index in torch.cartesian_prod(torch.arange(first.shape[0]), torch.arange(first.shape[1])).tolist():
        a, b = first[tuple(index)], second[tuple(index)]
        angle = math.acos(float(a @ b / (a.norm() * b.norm())))
        parts = math.sin((1 - amount) * angle) * a + math.sin(amount * angle) * b
        answer[tuple(index)] = parts / math.sin(angle)
    return answer


TASK = Task(
    id="spherical_blend",
    title="Blending two prompts along the arc",
    notebook="05_editing_and_prompts",
    order=7,
    text=TEXT,
    points=10,
    minutes=15,
    difficulty="medium",
    inputs=inputs,
    reference=reference,
    magnitude=magnitude,
    # The cosine rounds 9 times (3 products and sums, 2 norms, a quotient), the angle no more than 1.2 times as far
    # (its sine is above 0.86), and 2 times by itself; of that the weights feel 0.7. Sines, quotient, product, sum.
    operations=15,
    hints=(
        "The angle is a number for each token: shape `(B, tokens, 1)`, so that it multiplies the vectors.",
        "`torch.cosine_similarity(first, second, dim=-1)[..., None].acos()` is the angle.",
        "`(((1 - amount) * angle).sin() * first + (amount * angle).sin() * second) / angle.sin()`; the vectors "
        "keep their own lengths.",
    ),
    misconceptions=(
        Misconception(
            "straight line",
            "That is the straight mean: right at both ends, too short between them. Use the sines of the angle.",
            _straight,
        ),
        Misconception(
            "amount the other way",
            "Your blend begins at `second`. At amount 0 it must be `first`.",
            _amount_reversed,
        ),
        Misconception(
            "unit length",
            "Your tokens have lost their lengths. Normalise to find the angle, but blend the vectors as they are.",
            _unit_length,
        ),
        Misconception(
            "sine of the angle left out",
            "Divide by the sine of the whole angle: without it the blend is not `first` at amount 0.",
            _not_divided,
        ),
        Misconception(
            "one angle for the prompt",
            "You take one angle for a whole prompt. Each token has its own.",
            _whole_prompt,
        ),
    ),
    alternatives=(_by_cosine, _dot_by_hand, _token_by_token),
)
