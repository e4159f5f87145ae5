"""The boundary condition of a consistency model: c_skip and c_out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lessonlib.grading.draw import uniform
from lessonlib.grading.task import Misconception, Task

if TYPE_CHECKING:
    from torch import Tensor

TEXT = r"""
A consistency model maps every point of a trajectory to its end. At $t = 0$ the point *is* the end, so the
model must hand it back untouched, whatever its network says. The model is therefore a mix of its input and
of what the network makes of it,

$$f(x, t) = c_\text{skip}(t)\,x + c_\text{out}(t)\,F(x, t), \qquad
c_\text{skip}(t) = \frac{\sigma^2}{(st)^2 + \sigma^2}, \qquad
c_\text{out}(t) = \frac{st}{\sqrt{(st)^2 + \sigma^2}},$$

with $\sigma$ = `sigma_data` and $s$ = `timestep_scaling` (LCM: 0.5 and 10). Return the pair
`(c_skip, c_out)`.

| | shape | dtype |
|---|---|---|
| `timestep` | `(B,)`, one of them 0 | float32 |
| `sigma_data`, `timestep_scaling` | Python floats | |
| returned | two of `(B,)` | float32 |
""".strip()


def inputs(seed: int) -> dict[str, Any]:
    """Times at which both scalings are far from 0 and 1; one is 0, where they are exactly 1 and 0."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    sigma_data, scaling = uniform(generator, 0.35, 0.65), uniform(generator, 4.0, 10.0)
    times = torch.tensor([0, 0.6, 1.1, 1.8, 2.8]) * (0.9 + 0.2 * torch.rand(5, generator=generator))
    times = times[torch.randperm(5, generator=generator)] * sigma_data / scaling
    return {"timestep": times, "sigma_data": sigma_data, "timestep_scaling": scaling}


def reference(timestep: Tensor, sigma_data: float, timestep_scaling: float) -> tuple[Tensor, Tensor]:
    from lessonlib.scratch.consistency import boundary_scalings

    return boundary_scalings(timestep, sigma_data, timestep_scaling)


magnitude = reference  # sums and products of positive numbers: nothing cancels


# --- Wrong answers, each with its own hint ------------------------------------------------------------------


def _not_scaled(timestep: Tensor, sigma_data: float, timestep_scaling: float) -> tuple[Tensor, Tensor]:
    return reference(timestep, sigma_data, 1.0)


def _divided(timestep: Tensor, sigma_data: float, timestep_scaling: float) -> tuple[Tensor, Tensor]:
    return reference(timestep, sigma_data, 1 / timestep_scaling)


def _with_sigma_data(timestep: Tensor, sigma_data: float, timestep_scaling: float) -> tuple[Tensor, Tensor]:
    c_skip, c_out = reference(timestep, sigma_data, timestep_scaling)
    return c_skip, sigma_data * c_out


def _no_root(timestep: Tensor, sigma_data: float, timestep_scaling: float) -> tuple[Tensor, Tensor]:
    t = timestep * timestep_scaling
    return sigma_data**2 / (t**2 + sigma_data**2), t / (t**2 + sigma_data**2)


def _sums_to_one(timestep: Tensor, sigma_data: float, timestep_scaling: float) -> tuple[Tensor, Tensor]:
    c_skip = reference(timestep, sigma_data, timestep_scaling)[0]
    return c_skip, 1 - c_skip


def _rooted_skip(timestep: Tensor, sigma_data: float, timestep_scaling: float) -> tuple[Tensor, Tensor]:
    c_skip, c_out = reference(timestep, sigma_data, timestep_scaling)
    return c_skip.sqrt(), c_out


def _swapped(timestep: Tensor, sigma_data: float, timestep_scaling: float) -> tuple[Tensor, Tensor]:
    c_skip, c_out = reference(timestep, sigma_data, timestep_scaling)
    return c_out, c_skip


# --- Right answers in other styles --------------------------------------------------------------------------


def _hypot(timestep: Tensor, sigma_data: float, timestep_scaling: float) -> tuple[Tensor, Tensor]:
    import torch

    t = timestep * timestep_scaling
    size = torch.hypot(t, torch.full_like(t, sigma_data))
    return (sigma_data / size) ** 2, t / size


def _in_units_of_sigma(timestep: Tensor, sigma_data: float, timestep_scaling: float) -> tuple[Tensor, Tensor]:
    u = timestep * (timestep_scaling / sigma_data)
    c_skip = 1 / (1 + u.square())
    return c_skip, u * c_skip.sqrt()


def _filled_in(timestep: Tensor, sigma_data: float, timestep_scaling: float) -> tuple[Tensor, Tensor]:
    import torch

    c_skip, c_out = torch.ones(len(timestep)), torch.zeros(len(timestep))
    for index, t in enumerate(timestep.tolist()):
        total = (t * timestep_scaling) ** 2 + sigma_data**2
        c_skip[index] = sigma_data**2 / total
        c_out[index] = t * timestep_scaling / total**0.5
    return c_skip, c_out


def _reciprocal_root(timestep: Tensor, sigma_data: float, timestep_scaling: float) -> tuple[Tensor, Tensor]:
    t = timestep.mul_(timestep_scaling)
    inverse = (t * t + sigma_data * sigma_data).rsqrt()
    return (sigma_data * inverse).pow(2), t * inverse


TASK = Task(
    id="boundary_scalings",
    title="The boundary condition of a consistency model",
    notebook="04_fast_sampling",
    order=3,
    text=TEXT,
    points=8,
    minutes=8,
    difficulty="easy",
    inputs=inputs,
    reference=reference,
    magnitude=magnitude,
    operations=12,  # s and sigma to float32, st, two squares, their sum, its root, a quotient, a square
    hints=(
        "Scale the time first, and use the scaled one everywhere after that.",
        "With `t = timestep * timestep_scaling` both have the same sum below: `t**2 + sigma_data**2`, once as "
        "it is and once under a root.",
        "`c_skip = sigma_data**2 / (t**2 + sigma_data**2)`, and `c_out` is `t` over the root of the same sum. At t = 0 "
        "they must be 1 and 0.",
    ),
    misconceptions=(
        Misconception(
            "time not scaled",
            "`timestep_scaling` has no effect in your answer. Both formulas take s·t, so that the network is "
            "trusted almost fully from the first timestep on.",
            _not_scaled,
        ),
        Misconception(
            "time divided",
            "You divide the time by `timestep_scaling`; older releases of diffusers did. The boundary lies at t = 0 "
            "alone when it is **multiplied**.",
            _divided,
        ),
        Misconception(
            "sigma_data in c_out",
            "Your c_out has a factor sigma_data. That is Song's, for a network whose output is scaled to unit "
            "variance; LCM's network predicts the clean latent itself, so c_out goes to 1.",
            _with_sigma_data,
        ),
        Misconception(
            "no root in c_out",
            "The denominator of c_out stands under a root. Without it the network fades out again at large t.",
            _no_root,
        ),
        Misconception(
            "c_out as 1 - c_skip",
            "The two need not sum to 1: it is c_skip + c_out² that does. Take c_out from its own formula.",
            _sums_to_one,
        ),
        Misconception(
            "root in c_skip",
            "You took a root in c_skip. It is a ratio of squares: only c_out has the root.",
            _rooted_skip,
        ),
        Misconception(
            "pair swapped",
            "The values are right, but c_skip comes first. At t = 0 the first of the pair is 1.",
            _swapped,
        ),
    ),
    alternatives=(_hypot, _in_units_of_sigma, _filled_in, _reciprocal_root),
)
