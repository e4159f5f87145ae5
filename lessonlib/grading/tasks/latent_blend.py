"""Inpainting with an ordinary UNet: put the picture back, outside the mask, after every step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lessonlib.grading.draw import uniform
from lessonlib.grading.pictures import maps_beside
from lessonlib.grading.task import Misconception, Task

if TYPE_CHECKING:
    from torch import Tensor

TEXT = r"""
A four-channel UNet knows nothing of masks. To inpaint with it, let it denoise everything, and after each step
put your picture back where it is to be kept, noised to the level the step has just reached (Lugmayr et al.
2022, equation 8). White, 1, is what is repainted:

$$z = (1 - m)\left(\sqrt{\bar\alpha}\;z_0 + \sqrt{1 - \bar\alpha}\;\epsilon\right) + m\,z_\text{step}.$$

The mask comes at the picture's size, 8 times the latents', and may be grey. As in diffusers, decide it first
(0.5 and above is 1, below is 0); then take for each latent its top left pixel, the nearest neighbour's way.

| | shape | dtype |
|---|---|---|
| `latents` ($z_\text{step}$), `image_latents` ($z_0$), `noise` ($\epsilon$) | `(B, C, H, W)` | float32 |
| `mask` ($m$ before it is decided and shrunk) | `(B, 1, 8H, 8W)` | float32, 0 to 1 |
| `alpha_cumprod` ($\bar\alpha$) | `()` | float32 |
| returned | `(B, C, H, W)` | float32 |
""".strip()


def inputs(seed: int) -> dict[str, Any]:
    """A grey mask, finer than the latents."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    latents, image_latents, noise = torch.randn(3, 2, 4, 6, 5, generator=generator)
    return {
        "latents": latents,
        "image_latents": image_latents,
        "noise": noise,
        "mask": torch.rand(2, 1, 48, 40, generator=generator),
        "alpha_cumprod": torch.tensor(uniform(generator, 0.3, 0.6, digits=4)),
    }


def reference(
    latents: Tensor, image_latents: Tensor, noise: Tensor, mask: Tensor, alpha_cumprod: Tensor
) -> Tensor:
    from lessonlib.scratch.editing import binarize_mask, latent_mask

    return _blended(latents, image_latents, noise, latent_mask(binarize_mask(mask)), alpha_cumprod)


def _blended(
    latents: Tensor, image_latents: Tensor, noise: Tensor, mask: Tensor, alpha_cumprod: Tensor
) -> Tensor:
    """The blend with a mask on the latents' grid."""
    from lessonlib.scratch.editing import keep_unmasked_latents

    return keep_unmasked_latents(latents, image_latents, noise, mask, alpha_cumprod)


def _small(mask: Tensor) -> Tensor:
    from lessonlib.scratch.editing import binarize_mask, latent_mask

    return latent_mask(binarize_mask(mask))


def magnitude(
    latents: Tensor, image_latents: Tensor, noise: Tensor, mask: Tensor, alpha_cumprod: Tensor
) -> Tensor:
    return reference(latents.abs(), image_latents.abs(), noise.abs(), mask, alpha_cumprod)


# --- Wrong answers, each with its own hint ------------------------------------------------------------------


def _mask_reversed(
    latents: Tensor, image_latents: Tensor, noise: Tensor, mask: Tensor, alpha_cumprod: Tensor
) -> Tensor:
    return _blended(latents, image_latents, noise, 1 - _small(mask), alpha_cumprod)


def _clean_picture(
    latents: Tensor, image_latents: Tensor, noise: Tensor, mask: Tensor, alpha_cumprod: Tensor
) -> Tensor:
    small = _small(mask)
    return (1 - small) * image_latents + small * latents


def _no_roots(
    latents: Tensor, image_latents: Tensor, noise: Tensor, mask: Tensor, alpha_cumprod: Tensor
) -> Tensor:
    small = _small(mask)
    kept = alpha_cumprod * image_latents + (1 - alpha_cumprod) * noise
    return (1 - small) * kept + small * latents


def _grey(
    latents: Tensor, image_latents: Tensor, noise: Tensor, mask: Tensor, alpha_cumprod: Tensor
) -> Tensor:
    return _blended(latents, image_latents, noise, mask[..., ::8, ::8], alpha_cumprod)


def _averaged(
    latents: Tensor, image_latents: Tensor, noise: Tensor, mask: Tensor, alpha_cumprod: Tensor
) -> Tensor:
    import torch

    small = torch.nn.functional.avg_pool2d((mask >= 0.5).to(mask.dtype), 8)
    return _blended(latents, image_latents, noise, small, alpha_cumprod)


def _cropped(
    latents: Tensor, image_latents: Tensor, noise: Tensor, mask: Tensor, alpha_cumprod: Tensor
) -> Tensor:
    corner = mask[..., : latents.shape[-2], : latents.shape[-1]]
    return _blended(latents, image_latents, noise, (corner >= 0.5).to(mask.dtype), alpha_cumprod)


def _all_noised(
    latents: Tensor, image_latents: Tensor, noise: Tensor, mask: Tensor, alpha_cumprod: Tensor
) -> Tensor:
    small = _small(mask)
    return _blended((1 - small) * image_latents + small * latents, latents, noise, small * 0, alpha_cumprod)


# --- Right answers in other styles --------------------------------------------------------------------------


def _where(z: Tensor, z_0: Tensor, e: Tensor, mask: Tensor, a: Tensor) -> Tensor:
    import torch

    return torch.where(mask[:, :, ::8, ::8] >= 0.5, z, a.sqrt() * z_0 + (1 - a).sqrt() * e)


def _interpolated(z: Tensor, z_0: Tensor, e: Tensor, mask: Tensor, a: Tensor) -> Tensor:
    import torch

    mask[mask < 0.5] = 0
    mask[mask >= 0.5] = 1
    small = torch.nn.functional.interpolate(mask, size=z.shape[-2:])
    kept = a**0.5 * z_0 + (1 - a) ** 0.5 * e
    return (1 - small) * kept + small * z


def _in_place(z: Tensor, z_0: Tensor, e: Tensor, mask: Tensor, a: Tensor) -> Tensor:
    keep = (mask[..., ::8, ::8] < 0.5).expand_as(z)
    z[keep] = (a.sqrt() * z_0 + (1 - a).sqrt() * e)[keep]
    return z


def _lerp(z: Tensor, z_0: Tensor, e: Tensor, mask: Tensor, a: Tensor) -> Tensor:
    import torch

    return torch.lerp(a.sqrt() * z_0 + (1 - a).sqrt() * e, z, mask.ge(0.5).float()[..., ::8, ::8])


TASK = Task(
    id="latent_blend",
    title="Keep what is outside the mask",
    notebook="05_editing_and_prompts",
    order=2,
    text=TEXT,
    points=12,
    minutes=15,
    difficulty="medium",
    inputs=inputs,
    reference=reference,
    magnitude=magnitude,
    operations=9,  # 1 - alpha, root, product, sum; 1 - m, two products, a sum; one for lerp's difference
    hints=(
        "Three things in a row: make the mask black and white, bring it to the latents' size, blend.",
        "`(mask >= 0.5).float()[..., ::8, ::8]` is the mask on the latents' grid. What is kept is not the clean "
        "picture but the picture at the present noise level.",
        "`kept = alpha_cumprod.sqrt() * image_latents + (1 - alpha_cumprod).sqrt() * noise`; then `(1 - m) * kept "
        "+ m * latents`.",
    ),
    misconceptions=(
        Misconception(
            "mask reversed",
            "You keep what should be repainted. 1 is white, and white is **repainted**: there stand the `latents`.",
            _mask_reversed,
        ),
        Misconception(
            "clean picture put back",
            "You put the clean picture back among noisy latents. The UNet expects one noise level everywhere: "
            "noise the picture to it first.",
            _clean_picture,
        ),
        Misconception(
            "no roots",
            "alpha and 1 - alpha are shares of the variance. What multiplies latents and noise is their root.",
            _no_roots,
        ),
        Misconception(
            "grey mask",
            "Your mask is still grey, so the two pictures mix, and a mix of two noises has too little of it. Decide "
            "the mask at 0.5 first.",
            _grey,
        ),
        Misconception(
            "mask averaged",
            "You average the mask over 8x8 pixels, which makes it grey again. Take one pixel for each latent: "
            "`[..., ::8, ::8]`.",
            _averaged,
        ),
        Misconception(
            "corner of the mask",
            "You take the mask's top left corner at the latents' size. A latent stands for 8x8 pixels: take "
            "every eighth.",
            _cropped,
        ),
        Misconception(
            "picture and latents confused",
            "You noise the latents that come out of the step; they are noisy already. It is `image_latents` that "
            "is noised and put back.",
            _all_noised,
        ),
    ),
    alternatives=(_where, _interpolated, _in_place, _lerp),
    show=maps_beside,
)
