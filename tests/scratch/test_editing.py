from types import SimpleNamespace

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, EulerDiscreteScheduler, PNDMScheduler
from diffusers.image_processor import VaeImageProcessor
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion_img2img import (
    StableDiffusionImg2ImgPipeline,
)
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion_inpaint import (
    StableDiffusionInpaintPipeline,
)
from PIL import Image

from lessonlib.errors import LessonError
from lessonlib.scratch import editing as E
from lessonlib.scratch.samplers import DDIM, ddim_step, leading_timesteps, scaled_linear_alphas_cumprod

BETAS = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def grey_levels():
    """A mask of every grey, 0 to 255, as PIL and as numbers in [0, 1]."""
    levels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    return Image.fromarray(levels), torch.from_numpy(levels)[None, None] / 255


# -------- inpainting


def test_a_mask_is_decided_at_half_as_in_diffusers():
    picture, numbers = grey_levels()
    processor = VaeImageProcessor(do_normalize=False, do_binarize=True, do_convert_grayscale=True)
    ours = E.binarize_mask(numbers)
    assert torch.equal(ours, processor.preprocess(picture))
    assert ours.flatten()[[127, 128]].tolist() == [0, 1]


def test_masks_and_masked_pictures_reach_the_unet_as_in_diffusers():
    image, mask = random(2, 3, 32, 48), E.binarize_mask(random(2, 1, 32, 48, seed=1))
    encode = lambda x, generator=None: torch.cat([x, x[:, :1]], 1)[..., ::8, ::8]  # noqa: E731
    pipeline = SimpleNamespace(vae_scale_factor=8, _encode_vae_image=encode)
    their_mask, their_latents = StableDiffusionInpaintPipeline.prepare_mask_latents(
        pipeline, mask, image * (mask < 0.5), 2, 32, 48, image.dtype, image.device, None, False
    )
    assert torch.equal(E.latent_mask(mask), their_mask)
    assert torch.equal(encode(E.masked_image(image, mask)), their_latents)
    unet_input = E.inpaint_unet_input(random(2, 4, 4, 6), their_mask, their_latents)
    assert unet_input.shape == (2, 9, 4, 6)
    assert torch.equal(unet_input[:, 4:5], their_mask)


def test_a_mask_off_the_latents_grid_is_refused():
    with pytest.raises(LessonError, match="multiples of 8"):
        E.latent_mask(torch.zeros(1, 1, 64, 60))


def test_the_four_channel_blend_equals_diffusers_over_a_run():
    """The loop of diffusers' inpainting pipeline, against ours: the same latents after every step."""
    scheduler = DDIMScheduler(**BETAS, steps_offset=1, clip_sample=False, set_alpha_to_one=False)
    scheduler.alphas_cumprod = scheduler.alphas_cumprod.double()
    scheduler.final_alpha_cumprod = scheduler.alphas_cumprod[0]
    scheduler.set_timesteps(10)
    picture, noise, mask = (
        random(1, 4, 6, 6),
        random(1, 4, 6, 6, seed=1),
        E.binarize_mask(random(1, 1, 6, 6, seed=2)),
    )
    abar = scaled_linear_alphas_cumprod().double()
    run = list(DDIM.stable_diffusion(leading_timesteps(10), abar))
    ours = theirs = noise
    for i, t in enumerate(scheduler.timesteps):
        theirs = scheduler.step(torch.tanh(theirs), t, theirs).prev_sample
        kept = picture
        if i < 9:
            kept = scheduler.add_noise(picture, noise, scheduler.timesteps[i + 1 : i + 2])
        theirs = (1 - mask) * kept + mask * theirs
        _, abar_t, abar_prev = run[i]
        ours = ddim_step(torch.tanh(ours), ours, abar_t, abar_prev).prev_sample
        following = abar[run[i + 1][0]] if i < 9 else torch.ones_like(abar_t)
        ours = E.keep_unmasked_latents(ours, picture, noise, mask, following)
        torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=0)
    assert torch.equal(ours * (1 - mask), picture * (1 - mask))


def test_the_overlay_keeps_every_unmasked_pixel_and_equals_diffusers():
    generator = np.random.default_rng(0)
    original, repainted = (generator.integers(0, 256, (24, 32, 3), dtype=np.uint8) for _ in range(2))
    mask = np.where(generator.random((24, 32)) < 0.5, 255, 0).astype(np.uint8)
    theirs = VaeImageProcessor().apply_overlay(*(Image.fromarray(x) for x in (mask, original, repainted)))
    a, b, m = (torch.from_numpy(x).double() / 255 for x in (original, repainted, mask))
    ours = E.overlay(a.permute(2, 0, 1), b.permute(2, 0, 1), m[None])
    assert torch.equal((ours * 255).round().permute(1, 2, 0), torch.from_numpy(np.array(theirs)).double())
    outside = m == 0
    assert torch.equal(ours[:, outside], a.permute(2, 0, 1)[:, outside])


# -------- outpainting


def test_the_canvas_and_its_mask_are_those_of_pil():
    picture = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    canvas = Image.new("RGB", (64, 48), (128, 128, 128))
    mask = Image.new("L", (64, 48), 255)
    x0, y0 = E.centred(30, 64), E.centred(20, 48)
    canvas.paste(Image.fromarray(picture), (x0, y0))
    mask.paste(0, (x0, y0, x0 + 30, y0 + 20))
    ours, our_mask = E.outpaint_canvas(
        torch.from_numpy(picture).permute(2, 0, 1) / 255, 48, 64, y0, x0, 128 / 255
    )
    assert np.array_equal((ours * 255).round().permute(1, 2, 0).numpy(), np.array(canvas))
    assert np.array_equal((our_mask[0] * 255).numpy(), np.array(mask))


@pytest.mark.parametrize(("size", "top", "left"), [((80, 20), -16, 5), ((20, 80), 0, 0), ((20, 20), 30, 0)])
def test_a_picture_larger_than_its_canvas_is_refused(size, top, left):
    """PIL would crop it without a word."""
    with pytest.raises(LessonError, match="does not fit"):
        E.outpaint_canvas(torch.zeros(3, *size), 48, 48, top, left)


# -------- image to image


@pytest.mark.parametrize("kind", [DDIMScheduler, EulerDiscreteScheduler])
@pytest.mark.parametrize("strength", [0.04, 0.3, 0.5, 0.75, 0.8, 0.99, 1.0])
@pytest.mark.parametrize("steps", [25, 30, 50])
def test_strength_picks_the_timesteps_that_diffusers_picks(kind, strength, steps):
    scheduler = kind(**BETAS, steps_offset=1, timestep_spacing="leading")
    scheduler.set_timesteps(steps)
    pipeline = SimpleNamespace(scheduler=scheduler)
    theirs, count = StableDiffusionImg2ImgPipeline.get_timesteps(pipeline, steps, strength, None)
    ours = E.img2img_timesteps(leading_timesteps(steps), strength)
    assert ours.tolist() == theirs.tolist()
    assert len(ours) == count


def test_the_lessons_thirty_steps_at_three_quarters_are_22():
    assert len(E.img2img_timesteps(leading_timesteps(30), 0.75)) == 22
    scheduler = PNDMScheduler(**BETAS, steps_offset=1, skip_prk_steps=True)
    scheduler.set_timesteps(30)
    theirs, _ = StableDiffusionImg2ImgPipeline.get_timesteps(
        SimpleNamespace(scheduler=scheduler), 30, 0.75, None
    )
    assert len(theirs) == 23  # PNDM, SD 1.5's default, repeats its second timestep


@pytest.mark.parametrize("strength", [-0.1, 1.01])
def test_strength_is_from_0_to_1(strength):
    with pytest.raises(LessonError, match="between 0"):
        E.img2img_timesteps(leading_timesteps(30), strength)


def test_no_step_left_is_an_error_before_anything_runs():
    with pytest.raises(LessonError, match="0 steps to run"):
        E.img2img_timesteps(leading_timesteps(10), 0.05)
