"""Guidance: how strongly a picture follows its prompt.

Three forms of one number w: two forward passes mixed (CFG), the same with its contrast put right (rescale),
and w fed to a model that was distilled to need only one pass (LCM).
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


def classifier_free_guidance(
    noise_pred_uncond: Float[Tensor, "*shape"],
    noise_pred_cond: Float[Tensor, "*shape"],
    guidance_scale: float | Float[Tensor, "*any"],
) -> Float[Tensor, "*shape"]:
    """Push the noise prediction away from "no prompt", through "prompt", and beyond.

    `guidance_scale` follows diffusers and Imagen (1 = no guidance, 0 = the prompt is ignored). Ho and
    Salimans write (1 + w) eps_cond - w eps_uncond, so their w is `guidance_scale - 1`.

    Source: Ho and Salimans, "Classifier-Free Diffusion Guidance" (2022), eq. 6.
    """
    # eps~ = eps_uncond + s (eps_cond - eps_uncond)
    return noise_pred_uncond + guidance_scale * (noise_pred_cond - noise_pred_uncond)


def guidance_rescale(
    noise_cfg: Float[Tensor, "batch *shape"],
    noise_pred_cond: Float[Tensor, "batch *shape"],
    phi: float,
) -> Float[Tensor, "batch *shape"]:
    """Give the guided prediction back the contrast of the conditional one, which a large scale overdoes.

    `phi` is diffusers' `guidance_rescale`: 0 leaves `noise_cfg` as it is, 1 restores the standard deviation
    fully; the paper likes 0.7. The deviation is taken over each picture by itself.

    Source: Lin et al., "Common Diffusion Noise Schedules and Sample Steps are Flawed" (2023), section 3.4,
    eqs. 14-16.
    """
    each_picture = tuple(range(1, noise_cfg.ndim))
    # sigma_pos = std(x_pos), sigma_cfg = std(x_cfg)
    std_cond = noise_pred_cond.std(dim=each_picture, keepdim=True)
    std_cfg = noise_cfg.std(dim=each_picture, keepdim=True)
    # x_rescaled = x_cfg * sigma_pos / sigma_cfg
    rescaled = noise_cfg * (std_cond / std_cfg)
    # x_final = phi x_rescaled + (1 - phi) x_cfg
    return phi * rescaled + (1 - phi) * noise_cfg


def w_embedding(
    w: Float[Tensor, "batch"], embedding_dim: int = 256
) -> Float[Tensor, "batch {embedding_dim}"]:
    """Embed the guidance scale as a sinusoid, for a model that has guidance distilled into it.

    The UNet adds the result to its time embedding (`timestep_cond`). The w of LCM is `guidance_scale - 1`.
    The result has the dtype of `w`.

    Source: Meng et al., "On Distillation of Guided Diffusion Models" (2023), section 3.1; Luo et al., "Latent
    Consistency Models" (2023), section 4.2. The sinusoid is that of Kingma et al., "Variational Diffusion
    Models" (2021).
    """
    half = embedding_dim // 2
    # f_k = 10000^(-k / (half - 1)), k = 0 .. half - 1
    step = torch.tensor(10_000.0, device=w.device).log() / (half - 1)
    frequencies = torch.exp(-step * torch.arange(half, dtype=w.dtype, device=w.device))
    # [sin(1000 w f), cos(1000 w f)]
    angles = 1000 * w[:, None] * frequencies
    embedding = torch.cat([angles.sin(), angles.cos()], dim=1)
    # an odd width ends in a zero
    return torch.nn.functional.pad(embedding, (0, embedding_dim - 2 * half))
