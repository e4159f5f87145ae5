"""From what the VAE's encoder says to the latents that the UNet was trained on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lessonlib.grading.pictures import maps_beside
from lessonlib.grading.task import Misconception, Task

if TYPE_CHECKING:
    from torch import Tensor

TEXT = r"""
The VAE's encoder does not return latents but a normal distribution over them: a mean $\mu$ and the logarithm
of the **variance**, $\log\sigma^2$. One sample of it, times the VAE's `scaling_factor` $s$, is what the UNet
works on:

$$z = s\,(\mu + \sigma\,\epsilon), \qquad \epsilon \sim \mathcal N(0, 1).$$

$s$ brings the latents to a standard deviation of about 1, as the noise schedule expects. It belongs to its
VAE: 0.18215 for Stable Diffusion 1.5, 0.13025 for SDXL. Their latents are not interchangeable.

| | shape | dtype |
|---|---|---|
| `mean`, `logvar`, `noise` | `(B, C, h, w)` | float32 |
| `scaling_factor` | a Python float | |
| returned | `(B, C, h, w)` | float32 |
""".strip()


def inputs(seed: int) -> dict[str, Any]:
    import torch

    from lessonlib.grading.draw import uniform

    generator = torch.Generator().manual_seed(seed)
    shape = (2, 4, 6, 5)
    return {
        "mean": 5 * torch.randn(shape, generator=generator),
        "logvar": torch.randn(shape, generator=generator) - 1,
        "noise": torch.randn(shape, generator=generator),
        "scaling_factor": uniform(generator, 0.1, 0.4, digits=5),
    }


def reference(mean: Tensor, logvar: Tensor, noise: Tensor, scaling_factor: float) -> Tensor:
    return scaling_factor * (mean + (logvar / 2).exp() * noise)


def magnitude(mean: Tensor, logvar: Tensor, noise: Tensor, scaling_factor: float) -> Tensor:
    """exp(x) turns an absolute error of x into a relative one: 1 + |x| of it."""
    half = logvar / 2
    return scaling_factor * (mean.abs() + half.exp() * noise.abs() * (1 + half.abs()))


# --- Wrong answers, each with its own hint ------------------------------------------------------------------


def _variance(mean: Tensor, logvar: Tensor, noise: Tensor, scaling_factor: float) -> Tensor:
    return scaling_factor * (mean + logvar.exp() * noise)


def _logarithm(mean: Tensor, logvar: Tensor, noise: Tensor, scaling_factor: float) -> Tensor:
    return scaling_factor * (mean + logvar * noise)


def _unscaled(mean: Tensor, logvar: Tensor, noise: Tensor, scaling_factor: float) -> Tensor:
    return mean + (logvar / 2).exp() * noise


def _divided(mean: Tensor, logvar: Tensor, noise: Tensor, scaling_factor: float) -> Tensor:
    return (mean + (logvar / 2).exp() * noise) / scaling_factor


def _mean_only(mean: Tensor, logvar: Tensor, noise: Tensor, scaling_factor: float) -> Tensor:
    return scaling_factor * mean


def _mean_scaled(mean: Tensor, logvar: Tensor, noise: Tensor, scaling_factor: float) -> Tensor:
    return scaling_factor * mean + (logvar / 2).exp() * noise


# --- Right answers in other styles --------------------------------------------------------------------------


def _root(mean: Tensor, logvar: Tensor, noise: Tensor, scaling_factor: float) -> Tensor:
    return (mean + logvar.exp().sqrt() * noise) * scaling_factor


def _in_place(mean: Tensor, logvar: Tensor, noise: Tensor, scaling_factor: float) -> Tensor:
    return logvar.mul_(0.5).exp_().mul_(noise).add_(mean).mul_(scaling_factor)


def _double_inside(mean: Tensor, logvar: Tensor, noise: Tensor, scaling_factor: float) -> Tensor:
    return reference(mean.double(), logvar.double(), noise.double(), scaling_factor).float()


def _distributed(mean: Tensor, logvar: Tensor, noise: Tensor, scaling_factor: float) -> Tensor:
    import torch

    return torch.addcmul(scaling_factor * mean, torch.exp(0.5 * logvar), noise, value=scaling_factor)


TASK = Task(
    id="vae_latents",
    title="From the encoder to the latents",
    notebook="01_sdxl",
    order=2,
    text=TEXT,
    points=5,
    minutes=8,
    difficulty="easy",
    inputs=inputs,
    reference=reference,
    magnitude=magnitude,
    operations=10,  # halving, exp and root (2 each at most), two products, a sum, s to float32
    hints=(
        "A sample of a normal distribution is its mean plus its standard deviation times noise.",
        "From a log-variance to a standard deviation: halve it, then take `exp`.",
        "`std = (logvar / 2).exp()`; scale the **whole** sample by `scaling_factor`.",
    ),
    misconceptions=(
        Misconception(
            "variance for deviation",
            "`logvar.exp()` is the variance $\\sigma^2$. The noise is multiplied by its square root.",
            _variance,
        ),
        Misconception(
            "logarithm as deviation",
            "You multiplied the noise by `logvar` itself. It is a logarithm, and negative half of the time.",
            _logarithm,
        ),
        Misconception(
            "not scaled",
            "This is a sample of the VAE's distribution, but the UNet was trained on latents times "
            "`scaling_factor`.",
            _unscaled,
        ),
        Misconception(
            "divided by the factor",
            "Dividing by `scaling_factor` is what happens before **decoding**. On the way in it multiplies.",
            _divided,
        ),
        Misconception(
            "no noise",
            "You return the distribution's mean. The formula asks for a sample: use `noise` and `logvar`.",
            _mean_only,
        ),
        Misconception(
            "only the mean scaled",
            "`scaling_factor` multiplies the mean **and** the noise: mind the brackets.",
            _mean_scaled,
        ),
    ),
    alternatives=(_root, _in_place, _double_inside, _distributed),
    show=maps_beside,
)
