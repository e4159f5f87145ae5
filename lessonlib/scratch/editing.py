"""Editing a picture is arithmetic on masks and noise levels: inpainting, outpainting, image to image.

A mask is 1 where the picture is repainted and 0 where it is kept. Pictures are [3, H, W] or [batch, 3, H, W];
those for the VAE are in [-1, 1], those to look at in [0, 1].
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from lessonlib.errors import LessonError
from lessonlib.scratch.schedule import add_noise

# -------- inpainting


def binarize_mask(mask: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Grey is decided: 0.5 and above (128 of 255) is repainted, below is kept; nothing in between."""
    return (mask >= 0.5).to(mask.dtype)


def latent_mask(
    mask: Float[Tensor, "batch 1 h w"], vae_scale_factor: int = 8
) -> Float[Tensor, "batch 1 h2 w2"]:
    """A pixel mask on the latents' grid: each latent takes its top left pixel (nearest neighbour).

    Raises:
        LessonError: a side is not a multiple of the scale factor.
    """
    height, width = mask.shape[-2:]
    if height % vae_scale_factor or width % vae_scale_factor:
        raise LessonError(
            f"The mask is {width}x{height}, but a latent stands for {vae_scale_factor}x{vae_scale_factor} "
            f"pixels: make both sides multiples of {vae_scale_factor}."
        )
    return mask[..., ::vae_scale_factor, ::vae_scale_factor]


def masked_image(
    image: Float[Tensor, "batch 3 h w"], mask: Float[Tensor, "batch 1 h w"]
) -> Float[Tensor, "batch 3 h w"]:
    """What an inpainting model may see: the picture in [-1, 1], the part to repaint set to 0, mid grey."""
    # x * (1 - m)
    return image * (mask < 0.5)


def inpaint_unet_input(
    latents: Float[Tensor, "batch 4 h w"],
    mask: Float[Tensor, "batch 1 h w"],
    masked_image_latents: Float[Tensor, "batch 4 h w"],
) -> Float[Tensor, "batch 9 h w"]:
    """The 9 channels of an inpainting UNet: what is being denoised, where, and what surrounds it.

    The mask is on the latents' grid. Only the noisy latents are scaled by the sampler, so concatenate after
    scaling.

    Source: Rombach et al., "High-Resolution Image Synthesis with Latent Diffusion Models" (2022), section
    4.5.
    """
    # [z_t, m, E(x * (1 - m))]
    return torch.cat([latents, mask, masked_image_latents], dim=1)


def keep_unmasked_latents(
    latents: Float[Tensor, "batch 4 h w"],
    image_latents: Float[Tensor, "batch 4 h w"],
    noise: Float[Tensor, "batch 4 h w"],
    mask: Float[Tensor, "batch 1 h w"],
    alpha_cumprod_next: Float[Tensor, ""],
) -> Float[Tensor, "batch 4 h w"]:
    """Inpainting with an ordinary 4-channel UNet: after each step, put the picture back where it is kept.

    `latents` are those after the step, at noise level `alpha_cumprod_next` (1 after the last step), and the
    picture is put back at that level, always with the same `noise`.

    Source: Lugmayr et al., "RePaint: Inpainting using Denoising Diffusion Probabilistic Models" (2022), eq.
    8.
    """
    # z_{t-1} = (1 - m) q(z_{t-1} | z_0) + m p(z_{t-1} | z_t)
    return (1 - mask) * add_noise(image_latents, noise, alpha_cumprod_next) + mask * latents


def overlay(
    original: Float[Tensor, "*batch 3 h w"],
    repainted: Float[Tensor, "*batch 3 h w"],
    mask: Float[Tensor, "*batch 1 h w"],
) -> Float[Tensor, "*batch 3 h w"]:
    """The original's own pixels where the mask is 0: a trip through the VAE does not bring them back exactly.

    A grey mask fades from one to the other.
    """
    # x = (1 - m) x_original + m x_repainted
    return torch.lerp(original, repainted, mask)


# -------- outpainting


def outpaint_canvas(
    image: Float[Tensor, "3 h w"], height: int, width: int, top: int, left: int, fill: float = 0.5
) -> tuple[Float[Tensor, "3 {height} {width}"], Float[Tensor, "1 {height} {width}"]]:
    """(canvas, mask): the picture, in [0, 1], on a larger canvas, and 1 wherever it is not.

    `fill` is what the empty part shows; at strength 1 the model never sees it.

    Raises:
        LessonError: the picture does not lie wholly on the canvas.
    """
    h, w = image.shape[-2:]
    if top < 0 or left < 0 or top + h > height or left + w > width:
        raise LessonError(
            f"A {w}x{h} picture at ({left}, {top}) does not fit on a {width}x{height} canvas, and would be "
            "cropped: use a larger canvas, or shrink the picture first."
        )
    canvas = image.new_full((3, height, width), fill)
    mask = image.new_ones(1, height, width)
    canvas[:, top : top + h, left : left + w] = image
    mask[:, top : top + h, left : left + w] = 0
    return canvas, mask


def centred(inner: int, outer: int) -> int:
    """The offset that puts `inner` pixels in the middle of `outer`; negative where they do not fit."""
    return (outer - inner) // 2


# -------- image to image


def img2img_timesteps(timesteps: Float[Tensor, "steps"] | Tensor, strength: float) -> Tensor:
    """The last int(n * strength) of n timesteps: noise the picture to the first of them, denoise from there.

    strength 1 forgets the picture; a small one hardly changes it. This is the rule of samplers that call the
    model once a step (DDIM, Euler, LCM, UniPC).

    Raises:
        LessonError: strength outside 0 to 1, or so small that no step is left.

    Source: Meng et al., "SDEdit: Guided Image Synthesis and Editing with Stochastic Differential Equations"
    (2022), Algorithm 1, whose t_0 is the strength.
    """
    steps = len(timesteps)
    if not 0 <= strength <= 1:
        raise LessonError(
            f"strength is {strength}: choose it between 0 (keep the picture) and 1 (forget it)."
        )
    # n_run = int(n s)
    run = int(steps * strength)
    if run == 0:
        raise LessonError(
            f"{steps} steps at strength {strength} leave int({steps * strength:g}) = 0 steps to run: "
            f"raise the strength to {1 / steps:.3g} or more, or use more steps."
        )
    return timesteps[steps - run :]
