"""Guidance rescale: give a guided prediction the contrast of the conditional one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lessonlib.grading.draw import uniform
from lessonlib.grading.pictures import maps_beside
from lessonlib.grading.task import Misconception, Task

if TYPE_CHECKING:
    from torch import Tensor

TEXT = r"""
A large `guidance_scale` stretches the prediction: its standard deviation grows, and the picture comes out
oversaturated. Lin et al. (2023, section 3.4) give it back the deviation of the conditional prediction, and
then mix the result with what it was:

$$x_\text{rescaled} = x_\text{cfg}\,\frac{\sigma(x_\text{cond})}{\sigma(x_\text{cfg})}, \qquad
x = \phi\,x_\text{rescaled} + (1 - \phi)\,x_\text{cfg}.$$

Each picture of the batch has its own $\sigma$, taken over all its channels and places. diffusers calls
$\phi$ `guidance_rescale`; the paper likes 0.7.

| | shape | dtype |
|---|---|---|
| `noise_cfg` | `(B, C, H, W)` | float32 |
| `noise_pred_cond` | `(B, C, H, W)` | float32 |
| `phi` | a Python float | |
| returned | `(B, C, H, W)` | float32 |
""".strip()

EACH = (1, 2, 3)  # the axes of one picture


def inputs(seed: int) -> dict[str, Any]:
    """Pictures and channels of different contrast, so that a deviation over the wrong axes is seen."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    contrast = torch.tensor([[1.0, 4.0], [4.0, 1.0], [1.0, 3.0]])[torch.randperm(3, generator=generator)]
    ratio = torch.tensor([0.1, 0.25, 0.5])[torch.randperm(3, generator=generator)]
    return {
        "noise_cfg": contrast[..., None, None] * torch.randn(3, 2, 3, 2, generator=generator),
        "noise_pred_cond": 3 * ratio.view(3, 1, 1, 1) * torch.randn(3, 2, 3, 2, generator=generator),
        "phi": uniform(generator, 0.65, 0.75),
    }


def reference(noise_cfg: Tensor, noise_pred_cond: Tensor, phi: float) -> Tensor:
    from lessonlib.scratch.guidance import guidance_rescale

    return guidance_rescale(noise_cfg, noise_pred_cond, phi)


def magnitude(noise_cfg: Tensor, noise_pred_cond: Tensor, phi: float) -> Tensor:
    ratio = noise_pred_cond.std(EACH, keepdim=True) / noise_cfg.std(EACH, keepdim=True)
    return noise_cfg.abs() * (phi * ratio + 1 - phi)


# --- Wrong answers, each with its own hint ------------------------------------------------------------------


def _whole_batch(noise_cfg: Tensor, noise_pred_cond: Tensor, phi: float) -> Tensor:
    rescaled = noise_cfg * (noise_pred_cond.std() / noise_cfg.std())
    return phi * rescaled + (1 - phi) * noise_cfg


def _each_channel(noise_cfg: Tensor, noise_pred_cond: Tensor, phi: float) -> Tensor:
    ratio = noise_pred_cond.std((2, 3), keepdim=True) / noise_cfg.std((2, 3), keepdim=True)
    return phi * noise_cfg * ratio + (1 - phi) * noise_cfg


def _upside_down(noise_cfg: Tensor, noise_pred_cond: Tensor, phi: float) -> Tensor:
    ratio = noise_cfg.std(EACH, keepdim=True) / noise_pred_cond.std(EACH, keepdim=True)
    return phi * noise_cfg * ratio + (1 - phi) * noise_cfg


def _variance(noise_cfg: Tensor, noise_pred_cond: Tensor, phi: float) -> Tensor:
    ratio = noise_pred_cond.var(EACH, keepdim=True) / noise_cfg.var(EACH, keepdim=True)
    return phi * noise_cfg * ratio + (1 - phi) * noise_cfg


def _phi_reversed(noise_cfg: Tensor, noise_pred_cond: Tensor, phi: float) -> Tensor:
    return reference(noise_cfg, noise_pred_cond, 1 - phi)


def _no_mix(noise_cfg: Tensor, noise_pred_cond: Tensor, phi: float) -> Tensor:
    return reference(noise_cfg, noise_pred_cond, 1.0)


def _cond_mixed_in(noise_cfg: Tensor, noise_pred_cond: Tensor, phi: float) -> Tensor:
    return phi * noise_pred_cond + (1 - phi) * noise_cfg


# --- Right answers in other styles --------------------------------------------------------------------------


def _one_factor(noise_cfg: Tensor, noise_pred_cond: Tensor, phi: float) -> Tensor:
    ratio = noise_pred_cond.std(EACH, keepdim=True) / noise_cfg.std(EACH, keepdim=True)
    return noise_cfg * (phi * ratio + (1 - phi))


def _flattened(noise_cfg: Tensor, noise_pred_cond: Tensor, phi: float) -> Tensor:
    ratio = noise_pred_cond.flatten(1).std(1) / noise_cfg.flatten(1).std(1)
    return noise_cfg.lerp(noise_cfg * ratio[:, None, None, None], phi)


def _biased(noise_cfg: Tensor, noise_pred_cond: Tensor, phi: float) -> Tensor:
    """Divided by N or by N - 1: the ratio is the same."""
    std = [x.var(EACH, correction=0, keepdim=True).sqrt() for x in (noise_pred_cond, noise_cfg)]
    return phi * (noise_cfg / std[1] * std[0]) + (1 - phi) * noise_cfg


def _by_norms(noise_cfg: Tensor, noise_pred_cond: Tensor, phi: float) -> Tensor:
    spread = [(x - x.mean(EACH, keepdim=True)).flatten(1).norm(dim=1) for x in (noise_pred_cond, noise_cfg)]
    return noise_cfg.mul_(1 + phi * (spread[0] / spread[1] - 1).view(-1, 1, 1, 1))


def _one_by_one(noise_cfg: Tensor, noise_pred_cond: Tensor, phi: float) -> Tensor:
    import torch

    pairs = zip(noise_cfg, noise_pred_cond, strict=True)
    return torch.stack([phi * (g * c.std() / g.std()) + (1 - phi) * g for g, c in pairs])


def _double_inside(noise_cfg: Tensor, noise_pred_cond: Tensor, phi: float) -> Tensor:
    return reference(noise_cfg.double(), noise_pred_cond.double(), phi).to(noise_cfg.dtype)


TASK = Task(
    id="guidance_rescale",
    title="Guidance rescale",
    notebook="04_fast_sampling",
    order=1,
    text=TEXT,
    points=10,
    minutes=10,
    difficulty="easy",
    inputs=inputs,
    reference=reference,
    magnitude=magnitude,
    operations=22,  # two deviations of 12 values, half of whose relative error stays under the root; 6 more
    hints=(
        "Only the size of the prediction is put right, not its direction: everything is `noise_cfg` times a "
        "number, one number a picture.",
        "`x.std(dim=(1, 2, 3), keepdim=True)` gives one deviation a picture, in a shape that multiplies it.",
        "`rescaled = noise_cfg * (std_cond / std_cfg)`, and `phi` is the weight of `rescaled`.",
    ),
    misconceptions=(
        Misconception(
            "one deviation for the batch",
            "Your deviation is taken over the whole batch, so one prompt's contrast changes another's picture. "
            "Leave the batch axis out: `dim=(1, 2, 3)`.",
            _whole_batch,
        ),
        Misconception(
            "one deviation a channel",
            "You take a deviation for each channel. That shifts the channels against each other, and so the "
            "colours: take one over all channels and places of a picture.",
            _each_channel,
        ),
        Misconception(
            "ratio upside down",
            "Your ratio makes the contrast larger still. The guided prediction is divided by **its own** "
            "deviation and multiplied by the conditional one's.",
            _upside_down,
        ),
        Misconception(
            "variance for deviation",
            "You compare variances. The prediction is scaled by the ratio of the standard deviations, their "
            "roots.",
            _variance,
        ),
        Misconception(
            "phi reversed",
            "`phi` weighs the wrong one of the two: 0 must leave `noise_cfg` as it is.",
            _phi_reversed,
        ),
        Misconception(
            "phi left out",
            "You return the fully rescaled prediction, which is phi = 1. The paper found those pictures too "
            "plain: mix with `noise_cfg`.",
            _no_mix,
        ),
        Misconception(
            "mixed with the conditional prediction",
            "You mix `noise_cfg` with `noise_pred_cond`; that takes guidance away. Of the conditional prediction "
            "only the **deviation** is used.",
            _cond_mixed_in,
        ),
    ),
    alternatives=(_one_factor, _flattened, _biased, _by_norms, _one_by_one, _double_inside),
    show=maps_beside,
)
