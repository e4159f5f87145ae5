"""What moves the weights: AdamW, or Muon for the matrices and AdamW for the rest."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer

Kind = Literal["adamw", "muon"]
Group = tuple[float, list[nn.Parameter]]  # the multiple of the learning rate, and what learns at it


class Muon(Optimizer):
    """Muon (Jordan 2024): momentum whose matrix is made orthogonal; a convolution's kernel [O, I, h, w] is [O, I·h·w].

    Updates are scaled to AdamW's (0.2 √max(rows, columns), Liu et al. 2025, section 2.2), so both optimisers take the same
    learning rate. torch's own Muon takes matrices alone and makes them orthogonal in bfloat16, which a processor without
    bfloat16 only imitates: a step of sd15-inpainting took 9.9 s there, and 1.7 s in float32.

    Args:
        dtype: what the matrices are made orthogonal in.
    """

    def __init__(
        self, groups: Sequence[Group], learning_rate: float, weight_decay: float, dtype: torch.dtype
    ) -> None:
        defaults = {"lr": learning_rate, "weight_decay": weight_decay, "momentum": 0.95}
        listed = [{"params": parameters, "lr": factor * learning_rate} for factor, parameters in groups]
        super().__init__(listed, defaults)
        self._dtype = dtype

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """One step on the gradients that the kernels hold, with Nesterov's momentum."""
        for group in self.param_groups:
            rate, momentum = group["lr"], group["momentum"]
            for kernel in group["params"]:
                if kernel.grad is None:
                    continue
                state = self.state[kernel]
                if not state:
                    state["momentum"] = torch.zeros_like(kernel.grad)
                state["momentum"].lerp_(kernel.grad, 1 - momentum)
                direction = kernel.grad.lerp(state["momentum"], momentum).flatten(1)
                update = orthogonal(direction.to(self._dtype)).to(kernel.dtype).view_as(kernel)
                kernel.mul_(1 - rate * group["weight_decay"])
                kernel.add_(update, alpha=-rate * 0.2 * max(direction.shape) ** 0.5)


def orthogonal(matrix: Tensor, steps: int = 5) -> Tensor:
    """The matrix with its singular values near 1 (0.7 to 1.2), by Newton-Schulz steps of fifth order (Jordan 2024)."""
    a, b, c = 3.4445, -4.7750, 2.0315
    upright = matrix.shape[0] > matrix.shape[1]
    x = matrix.T if upright else matrix
    x = x / x.norm().clamp(min=1e-7)
    for _ in range(steps):
        gram = x @ x.T
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.T if upright else x


def build(
    kind: Kind,
    network: nn.Module,
    groups: Sequence[Group],
    learning_rate: float,
    betas: tuple[float, float],
    weight_decay: float,
    dtype: torch.dtype = torch.float32,
) -> list[Optimizer]:
    """The optimisers of a run: one, or Muon with AdamW beside it for biases, norms, embeddings and the outermost layers.

    `dtype` is what Muon computes in.
    """
    inner = {id(matrix) for matrix in _matrices(network)} if kind == "muon" else set()
    taken = [(factor, [p for p in parameters if id(p) in inner]) for factor, parameters in groups]
    others = [(factor, [p for p in parameters if id(p) not in inner]) for factor, parameters in groups]
    adamw = AdamW(
        [{"params": parameters, "lr": factor * learning_rate} for factor, parameters in others],
        lr=learning_rate,
        betas=betas,
        weight_decay=weight_decay,
    )
    return [Muon(taken, learning_rate, weight_decay, dtype), adamw] if kind == "muon" else [adamw]


def _matrices(network: nn.Module) -> Iterator[Tensor]:
    """Weights of linear and convolution layers, but for the first and the last convolution."""
    for name, module in network.named_modules():
        if isinstance(module, nn.Linear | nn.Conv2d) and not name.endswith(("conv_in", "conv_out")):
            yield module.weight
