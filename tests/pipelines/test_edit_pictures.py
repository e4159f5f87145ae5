"""Edits are those of lessonlib.scratch, kept pixels are kept, and what would be squashed or cropped is refused."""

import numpy as np
import pytest
import torch
from PIL import Image

from lessonlib.errors import LessonError
from lessonlib.pipelines import editing
from lessonlib.scratch import editing as scratch
from lessonlib.scratch.guidance import classifier_free_guidance
from lessonlib.scratch.samplers import DDIM, ddim_step, leading_timesteps, scaled_linear_alphas_cumprod
from lessonlib.scratch.schedule import add_noise

ABAR = scaled_linear_alphas_cumprod()


@pytest.fixture(scope="module")
def inpainting(family):
    pipeline = editing.load_inpainting()
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


@pytest.fixture(scope="module")
def img2img(family):
    pipeline = editing.load_img2img("sd15")
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


@pytest.fixture
def silent(inpainting, img2img, monkeypatch):
    """Fail if any model runs."""
    for pipeline in (inpainting, img2img):
        monkeypatch.setattr(type(pipeline), "__call__", lambda *_, **__: pytest.fail("a model ran"))


def picture(width, height, seed=0):
    values = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(values)


def right_half(width, height):
    mask = Image.new("L", (width, height), 0)
    mask.paste(255, (width // 2, 0, width, height))
    return mask


def numbers(image):
    """[1, 3, H, W] in [-1, 1]"""
    return torch.from_numpy(np.array(image)).float().permute(2, 0, 1)[None] / 127.5 - 1


def pixels(image):
    return np.asarray(image).astype(int)


def denoised(pipeline, latents, timesteps, guidance, model_input=lambda z: z):
    """DDIM with classifier-free guidance from lessonlib.scratch; the prompt is "a cat"."""
    states, empty = pipeline.encode_prompt("a cat", "cpu", 1, True)
    for t, abar_t, abar_prev in DDIM.stable_diffusion(timesteps, ABAR):
        seen = model_input(latents)
        uncond, cond = (pipeline.unet(seen, t, encoder_hidden_states=s).sample for s in (empty, states))
        eps = classifier_free_guidance(uncond, cond, guidance)
        latents = ddim_step(eps, latents, abar_t, abar_prev).prev_sample
    decoded = pipeline.vae.decode(latents / pipeline.vae.config.scaling_factor).sample
    return (decoded / 2 + 0.5).clamp(0, 1)


def encoded(pipeline, image, generator):
    posterior = pipeline.vae.encode(image).latent_dist
    return pipeline.vae.config.scaling_factor * posterior.sample(generator)


# -------- the numbers


@torch.no_grad()
def test_inpainting_equals_the_run_from_scratch(inpainting):
    image, mask = picture(96, 64), right_half(96, 64)
    theirs = editing.inpaint(inpainting, "a cat", image, mask, steps=4, guidance=3.0, seed=5)

    generator = torch.Generator().manual_seed(5)
    original = numbers(image)
    pixel_mask = scratch.binarize_mask(torch.from_numpy(np.array(mask)).float()[None, None] / 255)
    latents = torch.randn(1, 4, 8, 12, generator=generator)
    seen = encoded(inpainting, scratch.masked_image(original, pixel_mask), generator)
    grid = scratch.latent_mask(pixel_mask)
    repainted = denoised(
        inpainting,
        latents,
        leading_timesteps(4),
        3.0,
        lambda z: scratch.inpaint_unet_input(z, grid, seen),
    )
    ours = scratch.overlay((original / 2 + 0.5)[0], repainted[0], pixel_mask[0])
    assert abs((255 * ours).round().permute(1, 2, 0).numpy() - pixels(theirs)).max() <= 1


@torch.no_grad()
def test_image_to_image_equals_the_run_from_scratch(img2img):
    image = picture(64, 96)
    theirs = editing.img2img(img2img, "a cat", image, strength=0.6, steps=5, guidance=2.0, seed=7)

    generator = torch.Generator().manual_seed(7)
    clean = encoded(img2img, numbers(image), generator)
    noise = torch.randn(clean.shape, generator=generator)
    timesteps = leading_timesteps(5)
    run = scratch.img2img_timesteps(timesteps, 0.6)
    latents = add_noise(clean, noise, ABAR[run[0]])
    # the stride between timesteps is that of all five
    states, empty = img2img.encode_prompt("a cat", "cpu", 1, True)
    for t, abar_t, abar_prev in list(DDIM.stable_diffusion(timesteps, ABAR))[-len(run) :]:
        uncond, cond = (img2img.unet(latents, t, encoder_hidden_states=s).sample for s in (empty, states))
        eps = classifier_free_guidance(uncond, cond, 2.0)
        latents = ddim_step(eps, latents, abar_t, abar_prev).prev_sample
    decoded = img2img.vae.decode(latents / img2img.vae.config.scaling_factor).sample
    ours = 255 * (decoded / 2 + 0.5).clamp(0, 1)[0]
    assert abs(ours.round().permute(1, 2, 0).numpy() - pixels(theirs)).max() <= 1


def test_the_canvas_and_its_mask_are_those_from_scratch():
    image = picture(30, 20)
    canvas, mask = editing.outpaint_canvas(image, (64, 48))
    top, left = scratch.centred(20, 48), scratch.centred(30, 64)
    tensor = torch.from_numpy(np.array(image)).permute(2, 0, 1) / 255
    ours, our_mask = scratch.outpaint_canvas(tensor, 48, 64, top, left, 128 / 255)
    assert np.array_equal((255 * ours).round().permute(1, 2, 0).numpy(), pixels(canvas))
    assert np.array_equal((255 * our_mask[0]).numpy(), pixels(mask))


# -------- what is kept


def test_black_keeps_every_pixel_and_any_size(inpainting):
    image, mask = picture(96, 64), right_half(96, 64)
    result = editing.inpaint(inpainting, "a cat", image, mask, steps=1)
    assert result.size == (96, 64)  # the model's own is 64 x 64
    assert np.array_equal(pixels(result)[:, :48], pixels(image)[:, :48])
    assert not np.array_equal(pixels(result)[:, 48:], pixels(image)[:, 48:])


def test_a_mask_in_colour_or_black_and_white_is_the_same_mask(inpainting):
    image, mask = picture(64, 64), right_half(64, 64)
    results = [
        pixels(editing.inpaint(inpainting, "a cat", image, mask.convert(mode), steps=1))
        for mode in ("L", "RGB", "1")
    ]
    assert all(np.array_equal(result, results[0]) for result in results)


def test_outpainting_keeps_the_picture_and_paints_around_it(inpainting):
    image = picture(40, 50)
    result = editing.outpaint(inpainting, "a beach", image, (96, 64), (5, 7), steps=1)
    assert result.size == (96, 64)
    assert np.array_equal(pixels(result)[7:57, 5:45], pixels(image))
    assert (pixels(result)[:, 45:] != 128).any()


def test_grey_under_the_mask_is_never_seen_at_full_strength(inpainting):
    image = picture(40, 40)
    results = []
    for fill in (editing.GREY, (255, 255, 255)):
        canvas, mask = editing.outpaint_canvas(image, (64, 64), fill=fill)
        results.append(pixels(editing.inpaint(inpainting, "a beach", canvas, mask, steps=1)))
    assert np.array_equal(*results)


def test_transparency_lies_on_white(img2img):
    see_through = Image.new("RGBA", (64, 64), (200, 10, 10, 0))
    one = editing.img2img(img2img, "a cat", see_through, steps=2)
    other = editing.img2img(img2img, "a cat", Image.new("RGB", (64, 64), "white"), steps=2)
    assert np.array_equal(pixels(one), pixels(other))


def test_image_to_image_keeps_the_size_and_obeys_strength(img2img):
    image = picture(96, 64)
    weak, strong = (editing.img2img(img2img, "a cat", image, strength=s, steps=4) for s in (0.25, 1.0))
    assert weak.size == strong.size == (96, 64)
    assert not np.array_equal(pixels(weak), pixels(strong))


# -------- what is said before any model runs


@pytest.mark.parametrize(
    ("image", "mask", "words"),
    [
        (picture(96, 64), right_half(64, 64), "different sizes .96 x 64, 64 x 64."),
        (picture(100, 64), right_half(100, 64), "100 x 64.*multiples of 8"),
        (np.zeros((64, 64, 3), np.uint8), right_half(64, 64), "is an array"),
        (np.zeros((64, 64, 3), np.float32), right_half(64, 64), "float32 array"),
        (picture(64, 64), np.zeros((64, 64), np.uint8), "The mask is an array"),
        (None, right_half(64, 64), "is None"),
        ("nowhere.png", right_half(64, 64), "'nowhere.png' does not exist"),
        (picture(64, 64), Image.new("L", (64, 64), 127), "no white pixel"),
    ],
)
def test_pictures_that_cannot_work(inpainting, silent, image, mask, words):
    with pytest.raises(LessonError, match=words):
        editing.inpaint(inpainting, "a cat", image, mask)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"strength": 0.05, "steps": 10}, r"int\(0\.5\) = 0 steps.*strength to 0\.1"),
        ({"strength": 1.5}, "strength is 1.5"),
        ({"strength": float("nan")}, "strength is nan"),
        ({"steps": 0}, "steps is 0"),
        ({"guidance": 99.0}, "guidance is 99"),
        ({"guidance": 1.0, "negative_prompt": "blurry"}, "negative prompt would be ignored"),
    ],
)
def test_numbers_that_cannot_work(inpainting, img2img, silent, options, words):
    with pytest.raises(LessonError, match=words):
        editing.img2img(img2img, "a cat", picture(64, 64), **options)
    with pytest.raises(LessonError, match=words):
        editing.inpaint(inpainting, "a cat", picture(64, 64), right_half(64, 64), **options)


@pytest.mark.parametrize(
    ("size", "canvas", "position", "words"),
    [
        ((80, 20), (64, 64), None, r"80 x 20 picture at \(-8, 22\) does not fit"),
        ((20, 20), (64, 64), (50, 0), "does not fit"),
        ((20, 20), (60, 64), None, "multiples of 8"),
        ((64, 64), (64, 64), None, "nothing to paint"),
    ],
)
def test_canvases_that_cannot_work(inpainting, silent, size, canvas, position, words):
    with pytest.raises(LessonError, match=words):
        editing.outpaint(inpainting, "a beach", picture(*size), canvas, position)


def test_mixed_dtypes(inpainting, silent):
    inpainting.text_encoder.to(torch.float64)
    try:
        with pytest.raises(LessonError, match="mixes dtypes"):
            editing.inpaint(inpainting, "a cat", picture(64, 64), right_half(64, 64))
    finally:
        inpainting.text_encoder.to(torch.float32)


def test_what_makes_no_pictures_has_no_image_to_image(family):
    with pytest.raises(LessonError, match="does not make pictures"):
        editing.load_img2img("controlnet-canny")
