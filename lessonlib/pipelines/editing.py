"""Changing a picture (lesson, sections 5.1 and 5.2): inpainting, outpainting, image to image.

Pictures and masks are PIL or paths and are made RGB; sizes are (width, height), in multiples of 8. The result
always has the size of what was given: diffusers' inpainting would squash it to the model's own size without
a word unless `height` and `width` are passed.
"""

# diffusers' from_pipe is annotated narrower than what it accepts:
# pyright: reportArgumentType=false

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lessonlib.errors import LessonError
from lessonlib.pipelines import generate
from lessonlib.pipelines.checks import check_call, checked_size, one_size, rgb, sized
from lessonlib.pipelines.limits import check_guidance, check_negative, check_steps, check_strength

if TYPE_CHECKING:
    from PIL.Image import Image

GREY = (128, 128, 128)


def load_inpainting() -> Any:
    """SD 1.5's inpainting model: its UNet also sees the mask and what surrounds it (nine input channels).

    Raises:
        LessonError: weights that are missing or cannot be downloaded.
    """
    return generate.load("sd15-inpainting")


def load_img2img(model: str = "sd15") -> Any:
    """The image-to-image pipeline of any text-to-image model, out of the same networks.

    Raises:
        LessonError: `model` makes no pictures from text; weights that are missing or cannot be downloaded.
    """
    from diffusers import AutoPipelineForImage2Image

    generate.settings(model)
    return AutoPipelineForImage2Image.from_pipe(generate.load(model))


def inpaint(
    pipeline: Any,
    prompt: str,
    image: Any,
    mask: Any,
    steps: int = 30,
    guidance: float = 7.5,
    strength: float = 1.0,
    negative_prompt: str | None = None,
    seed: int = 0,
) -> Image:
    """`image` with the white part of `mask` repainted, and every pixel of the black part as it was.

    The model decides greys at one half; over the seam, a grey mask fades from the old pixels to the new.
    A trip through the VAE brings no pixel back exactly, so the old ones are laid over the result. Where a border still
    shows, `blending.blend` bends the new part's colours.

    Args:
        pipeline: `load_inpainting()`, or an inpainting pipeline around an ordinary four-channel UNet.
        strength: below 1, what is under the mask shines through.

    Raises:
        LessonError: pictures that are none, differ in size or are no multiples of 8; a mask that is black
            everywhere; numbers out of range; a pipeline whose parts do not fit together.
    """
    image, mask = sized(image), rgb(mask, "The mask").convert("L")
    width, height = one_size([image, mask], "The picture and its mask")
    if mask.getextrema()[1] < 128:
        raise LessonError(
            "The mask has no white pixel, so nothing would be repainted: white is what changes."
        )
    arguments = _arguments(pipeline, prompt, steps, guidance, strength, negative_prompt, seed)
    result = pipeline(image=image, mask_image=mask, height=height, width=width, **arguments).images[0]
    return pipeline.image_processor.apply_overlay(mask, image, result)


def outpaint(
    pipeline: Any,
    prompt: str,
    image: Any,
    size: tuple[int, int],
    position: tuple[int, int] | None = None,
    steps: int = 30,
    guidance: float = 7.5,
    negative_prompt: str | None = None,
    seed: int = 0,
) -> Image:
    """`image` on a larger canvas of `size`, painted on around it; where, says `outpaint_canvas`.

    SD 1.5 was trained at 512 pixels: grow a picture in steps rather than at once.

    Raises:
        LessonError: as `outpaint_canvas` and `inpaint`.
    """
    canvas, mask = outpaint_canvas(image, size, position)
    return inpaint(pipeline, prompt, canvas, mask, steps, guidance, 1.0, negative_prompt, seed)


def outpaint_canvas(
    image: Any, size: tuple[int, int], position: tuple[int, int] | None = None, fill: tuple[int, ...] = GREY
) -> tuple[Image, Image]:
    """(canvas, mask): the picture on a larger canvas, and white wherever it is not.

    Args:
        image: of any size that fits.
        size: (width, height) of the canvas, multiples of 8.
        position: (left, top) of the picture on it; by default in the middle.
        fill: what lies under the white part; at strength 1 the model never sees it.

    Raises:
        LessonError: the picture does not lie wholly on the canvas (PIL would crop it in silence), or fills it.
    """
    from PIL import Image as Pillow

    image, (width, height) = rgb(image), checked_size(size, "The canvas")
    left, top = position or ((width - image.width) // 2, (height - image.height) // 2)
    right, bottom = left + image.width, top + image.height
    if left < 0 or top < 0 or right > width or bottom > height:
        raise LessonError(
            f"A {image.width} x {image.height} picture at ({left}, {top}) does not fit on a {width} x {height} "
            "canvas and would be cropped: use a larger canvas, or shrink the picture first."
        )
    if image.size == (width, height):
        raise LessonError(
            "The picture fills the whole canvas, so there is nothing to paint: use a larger one."
        )
    canvas = Pillow.new("RGB", (width, height), fill)
    canvas.paste(image, (left, top))
    mask = Pillow.new("L", (width, height), 255)
    mask.paste(0, (left, top, right, bottom))  # a box; paste's third argument would be another mask
    return canvas, mask


def img2img(
    pipeline: Any,
    prompt: str,
    image: Any,
    strength: float = 0.75,
    steps: int = 30,
    guidance: float = 7.5,
    negative_prompt: str | None = None,
    seed: int = 0,
) -> Image:
    """`image` noised by `strength` and denoised towards the prompt, in int(steps strength) steps, at its size.

    Raises:
        LessonError: a picture that is none or no multiple of 8 (crop it rather than stretch it); numbers out
            of range, a strength that leaves no step; a pipeline whose parts do not fit together.
    """
    image = sized(image)
    arguments = _arguments(pipeline, prompt, steps, guidance, strength, negative_prompt, seed)
    return pipeline(image=image, **arguments).images[0]


def _arguments(
    pipeline: Any,
    prompt: str,
    steps: int,
    guidance: float,
    strength: float,
    negative_prompt: str | None,
    seed: int,
) -> dict[str, Any]:
    """What all three calls share, checked."""
    import torch

    check_steps(steps)
    check_guidance(guidance)
    check_negative(negative_prompt, guidance)
    check_strength(strength, steps)
    check_call(pipeline, {})
    return {
        "prompt": prompt,
        "negative_prompt": negative_prompt,
        "num_inference_steps": steps,
        "guidance_scale": guidance,
        "strength": strength,
        "generator": torch.Generator("cpu").manual_seed(seed),
    }
