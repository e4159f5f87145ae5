"""One deterministic DDIM step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lessonlib.grading.draw import uniform
from lessonlib.grading.pictures import maps_beside
from lessonlib.grading.task import Misconception, Task

if TYPE_CHECKING:
    from torch import Tensor

TEXT = r"""
A noisy latent is $x_t = \sqrt{\bar\alpha_t}\,x_0 + \sqrt{1 - \bar\alpha_t}\,\epsilon$. The UNet has guessed
$\epsilon$. DDIM takes the guess at its word: it computes the clean latent that follows from it, and puts the
same noise back on, at the lower level $\bar\alpha_\text{prev}$ (Song et al. 2021, equation 12 with
$\sigma_t = 0$):

$$\hat x_0 = \frac{x_t - \sqrt{1 - \bar\alpha_t}\;\epsilon}{\sqrt{\bar\alpha_t}}, \qquad
x_\text{prev} = \sqrt{\bar\alpha_\text{prev}}\;\hat x_0 + \sqrt{1 - \bar\alpha_\text{prev}}\;\epsilon.$$

diffusers calls $\bar\alpha$ `alphas_cumprod`.

| | shape | dtype |
|---|---|---|
| `noise_pred` ($\epsilon$), `sample` ($x_t$) | `(B, C, H, W)` | float32 |
| `alpha_cumprod_t`, `alpha_cumprod_prev` | `()`, between 0 and 1 | float32 |
| returned ($x_\text{prev}$) | `(B, C, H, W)` | float32 |
""".strip()


def inputs(seed: int) -> dict[str, Any]:
    import torch

    generator = torch.Generator().manual_seed(seed)
    alpha_cumprod_t = uniform(generator, 0.2, 0.35, digits=4)
    alpha_cumprod_prev = uniform(generator, 0.6, 0.7, digits=4)
    noise_pred, sample = torch.randn(2, 2, 4, 6, 5, generator=generator)
    return {
        "noise_pred": noise_pred,
        "sample": sample,
        "alpha_cumprod_t": torch.tensor(alpha_cumprod_t),
        "alpha_cumprod_prev": torch.tensor(alpha_cumprod_prev),
    }


def reference(
    noise_pred: Tensor, sample: Tensor, alpha_cumprod_t: Tensor, alpha_cumprod_prev: Tensor
) -> Tensor:
    from lessonlib.scratch.samplers import ddim_step

    return ddim_step(noise_pred, sample, alpha_cumprod_t, alpha_cumprod_prev).prev_sample


def magnitude(
    noise_pred: Tensor, sample: Tensor, alpha_cumprod_t: Tensor, alpha_cumprod_prev: Tensor
) -> Tensor:
    """Every term of the formula with its sign made plus; 1 - alpha loses no more than rounding alpha does."""
    e, x, a, b = noise_pred.abs(), sample.abs(), alpha_cumprod_t, alpha_cumprod_prev
    return (b / a).sqrt() * (x + (1 - a).sqrt() * e) + (1 - b).sqrt() * e


# --- Wrong answers, each with its own hint ------------------------------------------------------------------


def _only_x0(
    noise_pred: Tensor, sample: Tensor, alpha_cumprod_t: Tensor, alpha_cumprod_prev: Tensor
) -> Tensor:
    return (sample - (1 - alpha_cumprod_t).sqrt() * noise_pred) / alpha_cumprod_t.sqrt()


def _no_roots(
    noise_pred: Tensor, sample: Tensor, alpha_cumprod_t: Tensor, alpha_cumprod_prev: Tensor
) -> Tensor:
    return (
        alpha_cumprod_prev * ((sample - (1 - alpha_cumprod_t) * noise_pred) / alpha_cumprod_t)
        + (1 - alpha_cumprod_prev) * noise_pred
    )


def _levels_swapped(
    noise_pred: Tensor, sample: Tensor, alpha_cumprod_t: Tensor, alpha_cumprod_prev: Tensor
) -> Tensor:
    x_0 = (sample - (1 - alpha_cumprod_prev).sqrt() * noise_pred) / alpha_cumprod_prev.sqrt()
    return alpha_cumprod_t.sqrt() * x_0 + (1 - alpha_cumprod_t).sqrt() * noise_pred


def _old_noise_level(
    noise_pred: Tensor, sample: Tensor, alpha_cumprod_t: Tensor, alpha_cumprod_prev: Tensor
) -> Tensor:
    return (
        alpha_cumprod_prev.sqrt() * _only_x0(noise_pred, sample, alpha_cumprod_t, alpha_cumprod_prev)
        + (1 - alpha_cumprod_t).sqrt() * noise_pred
    )


def _not_divided(
    noise_pred: Tensor, sample: Tensor, alpha_cumprod_t: Tensor, alpha_cumprod_prev: Tensor
) -> Tensor:
    return (
        alpha_cumprod_prev.sqrt() * (sample - (1 - alpha_cumprod_t).sqrt() * noise_pred)
        + (1 - alpha_cumprod_prev).sqrt() * noise_pred
    )


def _noise_added(
    noise_pred: Tensor, sample: Tensor, alpha_cumprod_t: Tensor, alpha_cumprod_prev: Tensor
) -> Tensor:
    return (
        alpha_cumprod_prev.sqrt()
        * ((sample + (1 - alpha_cumprod_t).sqrt() * noise_pred) / alpha_cumprod_t.sqrt())
        + (1 - alpha_cumprod_prev).sqrt() * noise_pred
    )


def _no_noise_back(
    noise_pred: Tensor, sample: Tensor, alpha_cumprod_t: Tensor, alpha_cumprod_prev: Tensor
) -> Tensor:
    return alpha_cumprod_prev.sqrt() * _only_x0(noise_pred, sample, alpha_cumprod_t, alpha_cumprod_prev)


def _sample_put_back(
    noise_pred: Tensor, sample: Tensor, alpha_cumprod_t: Tensor, alpha_cumprod_prev: Tensor
) -> Tensor:
    return (
        alpha_cumprod_prev.sqrt() * _only_x0(noise_pred, sample, alpha_cumprod_t, alpha_cumprod_prev)
        + (1 - alpha_cumprod_prev).sqrt() * sample
    )


# --- Right answers in other styles --------------------------------------------------------------------------


def _one_line(e: Tensor, x: Tensor, a: Tensor, b: Tensor) -> Tensor:
    return (b / a).sqrt() * x + ((1 - b).sqrt() - ((1 - a) * b / a).sqrt()) * e


def _as_an_ode(e: Tensor, x: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """Song's equation 13: x / sqrt(alpha) moves in a straight line over sqrt((1 - alpha) / alpha)."""
    sigma, sigma_prev = ((1 - a) / a).sqrt(), ((1 - b) / b).sqrt()
    return (x / a.sqrt() + (sigma_prev - sigma) * e) * b.sqrt()


def _in_place(e: Tensor, x: Tensor, a: Tensor, b: Tensor) -> Tensor:
    x.sub_(e * (1 - a) ** 0.5).div_(a**0.5).mul_(b**0.5)
    return x.add_(e.mul_((1 - b) ** 0.5))


def _python_numbers(e: Tensor, x: Tensor, a: Tensor, b: Tensor) -> Tensor:
    a_t, a_prev = a.item(), b.item()
    x_0 = (x - (1 - a_t) ** 0.5 * e) / a_t**0.5
    return a_prev**0.5 * x_0 + (1 - a_prev) ** 0.5 * e


def _double_inside(e: Tensor, x: Tensor, a: Tensor, b: Tensor) -> Tensor:
    return reference(e.double(), x.double(), a.double(), b.double()).float()


TASK = Task(
    id="ddim_step",
    title="A DDIM step",
    notebook="04_fast_sampling",
    order=4,
    text=TEXT,
    points=10,
    minutes=10,
    difficulty="easy",
    inputs=inputs,
    reference=reference,
    magnitude=magnitude,
    operations=12,  # two levels: 1 - a, roots, products, a difference, a quotient; a product and a sum
    hints=(
        "Two steps: where would the trajectory end if the guess were right, and what does that end look like "
        "with less noise on it?",
        "First `pred_original_sample`, with the roots of the level you come **from**; then put noise on it, with "
        "the roots of the level you go **to**. The noise is the same both times.",
        "`x_0 = (sample - (1 - alpha_cumprod_t).sqrt() * noise_pred) / alpha_cumprod_t.sqrt()`; the second line "
        "is the first formula of the text, with `alpha_cumprod_prev`.",
    ),
    misconceptions=(
        Misconception(
            "stopped at the clean latent",
            "You return the predicted clean latent. It is blurred this early; noise goes back on, at the lower level.",
            _only_x0,
        ),
        Misconception(
            "no roots",
            "You use alpha and 1 - alpha themselves. They are shares of the **variance**: what multiplies a "
            "latent is their root.",
            _no_roots,
        ),
        Misconception(
            "levels swapped",
            "The two levels have changed places, so your step climbs back up to more noise. `sample` lies at "
            "`alpha_cumprod_t`.",
            _levels_swapped,
        ),
        Misconception(
            "as much noise as before",
            "You put the noise back at the old level. Its share is now 1 - alpha_cumprod_prev, which is smaller.",
            _old_noise_level,
        ),
        Misconception(
            "not divided",
            "The clean latent lies in `sample` shrunk by the root of alpha_cumprod_t. Divide by it after you "
            "have taken the noise away.",
            _not_divided,
        ),
        Misconception(
            "noise added first",
            "In the first formula the predicted noise is taken away: x_t minus it, not plus.",
            _noise_added,
        ),
        Misconception(
            "no noise put back",
            "Your result has the clean latent's share only. Add the noise's: the root of 1 - alpha_cumprod_prev "
            "times `noise_pred`.",
            _no_noise_back,
        ),
        Misconception(
            "sample put back",
            "You add `sample` where the predicted noise belongs. The direction back up is `noise_pred`.",
            _sample_put_back,
        ),
    ),
    alternatives=(_one_line, _as_an_ode, _in_place, _python_numbers, _double_inside),
    show=maps_beside,
)
