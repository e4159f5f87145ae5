"""Numbers for the inputs of an exercise, drawn from its generator."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    import torch

T = TypeVar("T")


def uniform(generator: torch.Generator, low: float, high: float, digits: int = 2) -> float:
    """A number between `low` and `high` with so many digits after the point."""
    import torch

    share = float(torch.rand((), generator=generator, dtype=torch.float64))
    return round(low + (high - low) * share, digits)


def integer(generator: torch.Generator, low: int, high: int) -> int:
    """A whole number from `low` to `high`, both included."""
    import torch

    return int(torch.randint(low, high + 1, (), generator=generator))


def pick(generator: torch.Generator, choices: list[T]) -> T:
    """One of the choices."""
    return choices[integer(generator, 0, len(choices) - 1)]
