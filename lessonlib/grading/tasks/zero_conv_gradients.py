"""Why a convolution of zeros can learn: its gradients, and its encoder's, in the first two steps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lessonlib.grading.task import Misconception, Task

if TYPE_CHECKING:
    from torch import Tensor

    Gradients = dict[str, Tensor]

TEXT = r"""
Does zero times anything ever become something? Take the smallest ControlNet: an encoder $h = E x$ and a zero
convolution $y = Z h$ on top, both $1 \times 1$ without a bias, so matrices that act on channels. The loss is

$$L = \tfrac12 \sum (Z E x - r)^2, \qquad
\frac{\partial L}{\partial Z} = (y - r)\, h^\top, \quad
\frac{\partial L}{\partial E} = Z^\top (y - r)\, x^\top,$$

where the columns of $x$ and of the target $r$ are pixels. At step 0, $Z = 0$. Compute both gradients, make one step of
gradient descent with them, $Z \leftarrow Z - \eta\, \partial L / \partial Z$ and likewise $E$, and compute both gradients
again at step 1. Autograd or by hand, as you like.

| | shape | dtype |
|---|---|---|
| `x` | `(C, N)`: N pixels | float32 |
| `encoder` | `(D, C)`, $E$ at step 0 | float32 |
| `target` | `(O, N)`, $r$ | float32 |
| `lr` | a Python float, $\eta$ | |
| returned | a dict of tensors: `zero_0`, `encoder_0`, `zero_1`, `encoder_1` | float32 |
""".strip()


def inputs(seed: int) -> dict[str, Any]:
    import torch

    from lessonlib.grading.draw import uniform

    generator = torch.Generator().manual_seed(seed)
    return {
        "x": torch.randn(3, 7, generator=generator),
        "encoder": torch.randn(4, 3, generator=generator),
        "target": torch.randn(5, 7, generator=generator),
        "lr": uniform(generator, 0.01, 0.05, digits=3),
    }


def _gradients(zero: Tensor, encoder: Tensor, x: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    h = encoder @ x
    error = zero @ h - target
    return error @ h.T, zero.T @ error @ x.T


def reference(x: Tensor, encoder: Tensor, target: Tensor, lr: float) -> Gradients:
    zero = x.new_zeros(len(target), len(encoder))
    zero_0, encoder_0 = _gradients(zero, encoder, x, target)
    zero_1, encoder_1 = _gradients(zero - lr * zero_0, encoder - lr * encoder_0, x, target)
    return {"zero_0": zero_0, "encoder_0": encoder_0, "zero_1": zero_1, "encoder_1": encoder_1}


def magnitude(x: Tensor, encoder: Tensor, target: Tensor, lr: float) -> Gradients:
    """Every matrix in absolute values, every minus made plus; the encoder has not moved at step 1."""
    x, encoder, target = x.abs(), encoder.abs(), target.abs()
    h = encoder @ x
    zero_0 = target @ h.T
    error = lr * zero_0 @ h + target
    return {
        "zero_0": zero_0,
        "encoder_0": encoder * 0,
        "zero_1": error @ h.T,
        "encoder_1": lr * zero_0.T @ error @ x.T,
    }


# --- Wrong answers, each with its own hint ------------------------------------------------------------------


def _nothing_moves(x: Tensor, encoder: Tensor, target: Tensor, lr: float) -> Gradients:
    zero = x.new_zeros(len(target), len(encoder))
    return {"zero_0": zero, "encoder_0": encoder * 0, "zero_1": zero, "encoder_1": encoder * 0}


def _not_stepped(x: Tensor, encoder: Tensor, target: Tensor, lr: float) -> Gradients:
    right = reference(x, encoder, target, lr)
    return right | {"zero_1": right["zero_0"], "encoder_1": right["encoder_0"]}


def _accumulated(x: Tensor, encoder: Tensor, target: Tensor, lr: float) -> Gradients:
    right = reference(x, encoder, target, lr)
    return right | {"zero_1": right["zero_0"] + right["zero_1"]}


def _uphill(x: Tensor, encoder: Tensor, target: Tensor, lr: float) -> Gradients:
    return reference(x, encoder, target, -lr)


def _turned_error(x: Tensor, encoder: Tensor, target: Tensor, lr: float) -> Gradients:
    """r - y for y - r, everywhere."""
    return {name: -value for name, value in reference(x, encoder, target, -lr).items()}


def _mean(x: Tensor, encoder: Tensor, target: Tensor, lr: float) -> Gradients:
    count = target.numel()
    return {name: value * 2 / count for name, value in reference(x, encoder, target, 2 * lr / count).items()}


def _no_half(x: Tensor, encoder: Tensor, target: Tensor, lr: float) -> Gradients:
    return {name: 2 * value for name, value in reference(x, encoder, target, 2 * lr).items()}


def _one_after_the_other(x: Tensor, encoder: Tensor, target: Tensor, lr: float) -> Gradients:
    """Z is stepped before E's gradient is computed with it."""
    found = {}
    zero = x.new_zeros(len(target), len(encoder))
    for step in range(2):
        error = zero @ encoder @ x - target
        found[f"zero_{step}"] = error @ (encoder @ x).T
        zero = zero - lr * found[f"zero_{step}"]
        found[f"encoder_{step}"] = zero.T @ error @ x.T
        encoder = encoder - lr * found[f"encoder_{step}"]
    return found


# --- Right answers in other styles --------------------------------------------------------------------------


def _backward(x: Tensor, encoder: Tensor, target: Tensor, lr: float) -> Gradients:
    import torch

    encoder = encoder.requires_grad_()
    zero = torch.zeros(len(target), len(encoder), requires_grad=True)
    found = {}
    for step in range(2):
        loss = 0.5 * (zero @ encoder @ x - target).square().sum()
        loss.backward()
        for name, parameter in (("zero", zero), ("encoder", encoder)):
            assert parameter.grad is not None
            found[f"{name}_{step}"] = parameter.grad
            parameter.data = parameter.data - lr * parameter.grad
            parameter.grad = None
    return found


def _convolutions(x: Tensor, encoder: Tensor, target: Tensor, lr: float) -> Gradients:
    import torch
    from torch import nn

    first = nn.Conv2d(encoder.shape[1], len(encoder), 1, bias=False)
    second = nn.Conv2d(len(encoder), len(target), 1, bias=False)
    first.weight.data = encoder[..., None, None]
    second.weight.data.zero_()
    found = {}
    for step in range(2):
        error = second(first(x[None, :, None])) - target[None, :, None]
        grads = torch.autograd.grad((error**2).sum() / 2, (second.weight, first.weight))
        found[f"zero_{step}"], found[f"encoder_{step}"] = (grad[..., 0, 0] for grad in grads)
        with torch.no_grad():
            second.weight -= lr * grads[0]
            first.weight -= lr * grads[1]
    return found


def _by_hand(x: Tensor, encoder: Tensor, target: Tensor, lr: float) -> Gradients:
    h = encoder @ x
    zero_0 = -target @ h.T
    zero = -lr * zero_0
    error = zero @ h - target
    return {
        "zero_0": zero_0,
        "encoder_0": encoder.new_zeros(encoder.shape),
        "zero_1": error @ h.T,
        "encoder_1": zero.T @ (error @ x.T),
    }


TASK = Task(
    id="zero_conv_gradients",
    title="How zeros learn",
    notebook="02_controlnet",
    order=5,
    text=TEXT,
    points=15,
    minutes=20,
    difficulty="hard",
    inputs=inputs,
    reference=reference,
    magnitude=magnitude,
    operations=44,  # longest chain of products: 3 + 7 + 3 + 4 + 7 + 5 terms, the steps, and each again in y
    hints=(
        "At step 0, which of the two formulas has $Z$ in it as a factor? That gradient is zero; the other is not.",
        "With autograd: `torch.autograd.grad(loss, (zero, encoder))`, twice, with an update in between.",
        "By hand: `error = zero @ h - target`, then `error @ h.T` and `zero.T @ error @ x.T`. At step 0 `zero` is "
        "all zeros; at step 1 it is `-lr * zero_0`.",
    ),
    misconceptions=(
        Misconception(
            "nothing moves",
            "You say that zeros can't learn. But the gradient of $Z$ does not contain $Z$ as a factor: it is the "
            "error times the **input**, and neither is zero.",
            _nothing_moves,
        ),
        Misconception(
            "not stepped",
            "Your second gradients equal the first ones: the parameters were not updated in between.",
            _not_stepped,
        ),
        Misconception(
            "accumulated",
            "Your gradient at step 1 contains the one of step 0. `backward()` adds to `.grad`: set it to zero first.",
            _accumulated,
        ),
        Misconception(
            "uphill",
            "You added the gradient to the parameters. Descent subtracts it.",
            _uphill,
        ),
        Misconception(
            "error turned round",
            "The sign of your gradients is turned: the error is $y - r$, not $r - y$.",
            _turned_error,
        ),
        Misconception(
            "mean loss",
            "You used the mean of the squares, as `mse_loss` does. Here the loss is half of their **sum**.",
            _mean,
        ),
        Misconception(
            "no half",
            "Everything is about twice as large: the loss has a factor 1/2.",
            _no_half,
        ),
        Misconception(
            "one after the other",
            "You gave the encoder a gradient at step 0, computed with the $Z$ that was just updated. Both "
            "gradients belong to the same moment: the encoder's passes through a $Z$ that is still zero.",
            _one_after_the_other,
        ),
    ),
    alternatives=(_backward, _convolutions, _by_hand),
)
