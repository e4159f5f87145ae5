"""One step of a latent consistency model: denoise fully, then put fresh noise on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lessonlib.grading.draw import uniform
from lessonlib.grading.pictures import maps_beside
from lessonlib.grading.task import Misconception, Task

if TYPE_CHECKING:
    from torch import Tensor

TEXT = r"""
A latent consistency model goes straight to the end of the trajectory, and then some way back: with **fresh**
noise $z$, at the level of the next step (multistep sampling, Luo et al. 2023). You have $c_\text{skip}$ and
$c_\text{out}$ from the exercise before; the network predicts noise, so its own word for the end is
$\hat x_0$:

$$\hat x_0 = \frac{x_t - \sqrt{1 - \bar\alpha_t}\;\epsilon}{\sqrt{\bar\alpha_t}}, \qquad
f = c_\text{skip}\,x_t + c_\text{out}\,\hat x_0, \qquad
x_\text{next} = \sqrt{\bar\alpha_\text{next}}\;f + \sqrt{1 - \bar\alpha_\text{next}}\;z.$$

| | shape | dtype |
|---|---|---|
| `noise_pred` ($\epsilon$), `sample` ($x_t$), `noise` ($z$) | `(B, C, H, W)` | float32 |
| `c_skip`, `c_out` | Python floats | |
| `alpha_cumprod_t`, `alpha_cumprod_next` | Python floats | |
| returned ($x_\text{next}$) | `(B, C, H, W)` | float32 |
""".strip()


def inputs(seed: int) -> dict[str, Any]:
    """An early time, where c_skip is large enough to be missed when it is left out."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    noise_pred, sample, noise = torch.randn(3, 2, 4, 6, 5, generator=generator)
    c_skip = uniform(generator, 0.35, 0.5, digits=4)
    return {
        "noise_pred": noise_pred,
        "sample": sample,
        "noise": noise,
        "c_skip": c_skip,
        "c_out": round((1 - c_skip) ** 0.5, 6),
        "alpha_cumprod_t": uniform(generator, 0.3, 0.4, digits=4),
        "alpha_cumprod_next": uniform(generator, 0.6, 0.7, digits=4),
    }


def reference(
    noise_pred: Tensor,
    sample: Tensor,
    noise: Tensor,
    c_skip: float,
    c_out: float,
    alpha_cumprod_t: float,
    alpha_cumprod_next: float,
) -> Tensor:
    denoised = _end(noise_pred, sample, c_skip, c_out, alpha_cumprod_t)
    return _noised(denoised, noise, alpha_cumprod_next)


def _clean(noise_pred: Tensor, sample: Tensor, alpha_cumprod_t: float) -> Tensor:
    from lessonlib.scratch.schedule import predict_original_sample

    return predict_original_sample(noise_pred, sample, _number(alpha_cumprod_t))


def _end(noise_pred: Tensor, sample: Tensor, c_skip: float, c_out: float, alpha_cumprod_t: float) -> Tensor:
    return c_skip * sample + c_out * _clean(noise_pred, sample, alpha_cumprod_t)


def _noised(clean: Tensor, noise: Tensor, alpha_cumprod: float) -> Tensor:
    from lessonlib.scratch.schedule import add_noise

    return add_noise(clean, noise, _number(alpha_cumprod))


def _number(value: float) -> Tensor:
    import torch

    return torch.tensor(value, dtype=torch.float64)


def magnitude(
    noise_pred: Tensor,
    sample: Tensor,
    noise: Tensor,
    c_skip: float,
    c_out: float,
    alpha_cumprod_t: float,
    alpha_cumprod_next: float,
) -> Tensor:
    """Every term of the formulas with its sign made plus."""
    a, b = alpha_cumprod_t, alpha_cumprod_next
    clean = (sample.abs() + (1 - a) ** 0.5 * noise_pred.abs()) / a**0.5
    return b**0.5 * (c_skip * sample.abs() + c_out * clean) + (1 - b) ** 0.5 * noise.abs()


# --- Wrong answers, each with its own hint ------------------------------------------------------------------


def _not_renoised(
    noise_pred: Tensor,
    sample: Tensor,
    noise: Tensor,
    c_skip: float,
    c_out: float,
    alpha_cumprod_t: float,
    alpha_cumprod_next: float,
) -> Tensor:
    return _end(noise_pred, sample, c_skip, c_out, alpha_cumprod_t)


def _predicted_noise_back(
    noise_pred: Tensor,
    sample: Tensor,
    noise: Tensor,
    c_skip: float,
    c_out: float,
    alpha_cumprod_t: float,
    alpha_cumprod_next: float,
) -> Tensor:
    denoised = _end(noise_pred, sample, c_skip, c_out, alpha_cumprod_t)
    return _noised(denoised, noise_pred, alpha_cumprod_next)


def _no_boundary(
    noise_pred: Tensor,
    sample: Tensor,
    noise: Tensor,
    c_skip: float,
    c_out: float,
    alpha_cumprod_t: float,
    alpha_cumprod_next: float,
) -> Tensor:
    return _noised(_clean(noise_pred, sample, alpha_cumprod_t), noise, alpha_cumprod_next)


def _noise_in_the_boundary(
    noise_pred: Tensor,
    sample: Tensor,
    noise: Tensor,
    c_skip: float,
    c_out: float,
    alpha_cumprod_t: float,
    alpha_cumprod_next: float,
) -> Tensor:
    return _noised(c_skip * sample + c_out * noise_pred, noise, alpha_cumprod_next)


def _old_level(
    noise_pred: Tensor,
    sample: Tensor,
    noise: Tensor,
    c_skip: float,
    c_out: float,
    alpha_cumprod_t: float,
    alpha_cumprod_next: float,
) -> Tensor:
    denoised = _end(noise_pred, sample, c_skip, c_out, alpha_cumprod_t)
    return _noised(denoised, noise, alpha_cumprod_t)


def _no_roots(
    noise_pred: Tensor,
    sample: Tensor,
    noise: Tensor,
    c_skip: float,
    c_out: float,
    alpha_cumprod_t: float,
    alpha_cumprod_next: float,
) -> Tensor:
    denoised = _end(noise_pred, sample, c_skip, c_out, alpha_cumprod_t)
    return alpha_cumprod_next * denoised + (1 - alpha_cumprod_next) * noise


# --- Right answers in other styles --------------------------------------------------------------------------


def _written_out(e: Tensor, x: Tensor, z: Tensor, c_skip: float, c_out: float, a: float, b: float) -> Tensor:
    x_0 = (x - (1 - a) ** 0.5 * e) / a**0.5
    return b**0.5 * (c_skip * x + c_out * x_0) + (1 - b) ** 0.5 * z


def _collected(e: Tensor, x: Tensor, z: Tensor, c_skip: float, c_out: float, a: float, b: float) -> Tensor:
    of_x = b**0.5 * (c_skip + c_out / a**0.5)
    of_e = b**0.5 * c_out * ((1 - a) / a) ** 0.5
    return of_x * x - of_e * e + (1 - b) ** 0.5 * z


def _in_place(e: Tensor, x: Tensor, z: Tensor, c_skip: float, c_out: float, a: float, b: float) -> Tensor:
    kept = c_skip * x
    x.sub_((1 - a) ** 0.5 * e).div_(a**0.5).mul_(c_out).add_(kept)
    return x.mul_(b**0.5).add_(z, alpha=(1 - b) ** 0.5)


def _levels_as_tensors(
    e: Tensor, x: Tensor, z: Tensor, c_skip: float, c_out: float, a: float, b: float
) -> Tensor:
    import torch

    alphas = torch.tensor([a, b])
    (root_a, root_b), (rest_a, rest_b) = alphas.sqrt(), (1 - alphas).sqrt()
    denoised = torch.add(c_skip * x, (x - rest_a * e) / root_a, alpha=c_out)
    return root_b * denoised + rest_b * z


TASK = Task(
    id="lcm_step",
    title="An LCM step",
    notebook="04_fast_sampling",
    order=5,
    text=TEXT,
    points=10,
    minutes=12,
    difficulty="medium",
    inputs=inputs,
    reference=reference,
    magnitude=magnitude,
    operations=16,  # DDIM's clean latent (7), the mix of the boundary (3), the noise (4), numbers to float32
    hints=(
        "Three lines, one for each formula. The first is the one of the DDIM step.",
        "The noise that goes back on is `noise`, fresh, and not the predicted one; its level is that of the next "
        "step.",
        "`denoised = c_skip * sample + c_out * x_0`, then `alpha_cumprod_next ** 0.5 * denoised` and "
        "`(1 - alpha_cumprod_next) ** 0.5 * noise`.",
    ),
    misconceptions=(
        Misconception(
            "not re-noised",
            "You return the clean latent. That is right on the last step only; before it the model must be asked "
            "again, at the next level, so noise goes back on.",
            _not_renoised,
        ),
        Misconception(
            "predicted noise put back",
            "You put the predicted noise back on, as DDIM does. A consistency model takes **fresh** noise: that "
            "is why its samples differ from run to run even from one start.",
            _predicted_noise_back,
        ),
        Misconception(
            "boundary condition left out",
            "You re-noise the network's own clean latent. Mix it with `sample` first, by `c_skip` and `c_out`.",
            _no_boundary,
        ),
        Misconception(
            "boundary mixed with the noise",
            "You put `noise_pred` into the boundary condition. Its F is the clean latent: turn the noise prediction "
            "into it first.",
            _noise_in_the_boundary,
        ),
        Misconception(
            "old level",
            "You re-noise to the level you came from. The next step expects less noise: `alpha_cumprod_next`.",
            _old_level,
        ),
        Misconception(
            "no roots in the re-noising",
            "alpha and 1 - alpha are shares of the variance. What multiplies a latent is their root.",
            _no_roots,
        ),
    ),
    alternatives=(_written_out, _collected, _in_place, _levels_as_tensors),
    show=maps_beside,
)
