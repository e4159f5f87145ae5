"""What moves the weights: AdamW, or Muon for the matrices and AdamW for the rest."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer

Kind = Literal["adamw", "muon"]
Group = tuple[float, list[nn.Parameter]]  # the multiple of the learning rate, and what learns at it


class Muon(torch.optim.Muon):
    """Muon (Jordan 2024): momentum whose matrix is made orthogonal; torch's, for convolutions too.

    A kernel [O, I, h, w] is the matrix [O, I·h·w]. Updates are scaled to AdamW's (0.2 √max(rows, columns), Liu et al. 2025,
    section 2.2), so both optimisers take the same learning rate.
    """

    def __init__(self, groups: Sequence[Group], learning_rate: float, weight_decay: float) -> None:
        self._kernels = [parameter for _, parameters in groups for parameter in parameters]
        matrices = iter([nn.Parameter(kernel.data.flatten(1)) for kernel in self._kernels])
        super().__init__(
            [
                {"params": [next(matrices) for _ in parameters], "lr": factor * learning_rate}
                for factor, parameters in groups
            ],  # pyright: ignore[reportArgumentType]
            lr=learning_rate,
            weight_decay=weight_decay,
            adjust_lr_fn="match_rms_adamw",
        )

    @torch.no_grad()
    def step(self, closure: Any = None) -> Tensor | None:
        """One step on the gradients that the network's own parameters hold."""
        matrices = (matrix for group in self.param_groups for matrix in group["params"])
        for matrix, kernel in zip(matrices, self._kernels, strict=True):
            # views of the same numbers, taken anew: data parallel training moves a network's numbers once
            matrix.data = kernel.data.flatten(1)
            matrix.grad = None if kernel.grad is None else kernel.grad.flatten(1)
        return super().step(closure)


def build(
    kind: Kind,
    network: nn.Module,
    groups: Sequence[Group],
    learning_rate: float,
    betas: tuple[float, float],
    weight_decay: float,
) -> list[Optimizer]:
    """The optimisers of a run: one, or Muon with AdamW beside it for biases, norms, embeddings and the outermost layers."""
    inner = {id(matrix) for matrix in _matrices(network)} if kind == "muon" else set()
    taken = [(factor, [p for p in parameters if id(p) in inner]) for factor, parameters in groups]
    others = [(factor, [p for p in parameters if id(p) not in inner]) for factor, parameters in groups]
    adamw = AdamW(
        [{"params": parameters, "lr": factor * learning_rate} for factor, parameters in others],
        lr=learning_rate,
        betas=betas,
        weight_decay=weight_decay,
    )
    return [Muon(taken, learning_rate, weight_decay), adamw] if kind == "muon" else [adamw]


def _matrices(network: nn.Module) -> Iterator[Tensor]:
    """Weights of linear and convolution layers, but for the first and the last convolution."""
    for name, module in network.named_modules():
        if isinstance(module, nn.Linear | nn.Conv2d) and not name.endswith(("conv_in", "conv_out")):
            yield module.weight
